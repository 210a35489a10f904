package podsapi_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"

	"github.com/podseal/podseal/pkg/podsapi"
)

// FuzzEnvelope: what is read of a message is what the generated code reads.
func FuzzEnvelope(f *testing.F) {
	for _, m := range []proto.Message{
		&podsv1alpha1.GetPodResponse{Pod: []byte("pod")},
		&podsv1alpha1.WatchPodsEvent{Type: podsv1alpha1.EventType_DELETED, Pod: []byte("pod")},
		&podsv1alpha1.WatchPodsEvent{Type: podsv1alpha1.EventType_INITIAL_SYNC_COMPLETE},
		&podsv1alpha1.WatchPodsEvent{Type: -1},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0x0A, 0x00})
	f.Add([]byte("\xcd\xe7\xd8\x9f\x11\xc3\xe7\xd8\xdd")) // a field number that none may have
	f.Add([]byte{0x12, 0x05})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var get podsv1alpha1.GetPodResponse
		if pod, err := podsapi.DecodeGet(raw); err == nil {
			if err := proto.Unmarshal(raw, &get); err != nil || !bytes.Equal(pod, get.Pod) {
				t.Fatalf("pod %q, generated code %q, %v", pod, get.Pod, err)
			}
		}
		var event podsv1alpha1.WatchPodsEvent
		if kind, pod, err := podsapi.DecodeEvent(raw); err == nil {
			if err := proto.Unmarshal(raw, &event); err != nil || kind != int32(event.Type) || !bytes.Equal(pod, event.Pod) {
				t.Fatalf("event %d %q, generated code %v, %v", kind, pod, &event, err)
			}
		}
	})
}
