package podsapi

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The three messages of k8s.io/kubelet/pkg/apis/pods/v1alpha1 that are used are
// read and written here, and not by the generated package: that one copies each
// description and keeps the whole of it, for every change of every pod.

// errProtocol is an answer that the Pods API does not give.
var errProtocol = errors.New("not an answer of the Pods API")

// The methods of the service.
const (
	methodGet   = "/v1alpha1.Pods/GetPod"
	methodWatch = "/v1alpha1.Pods/WatchPods"
)

// eventType is what a watch event says.
type eventType int32

// The types of v1alpha1.EventType. Others may come one day.
const (
	eventAdded    eventType = 1
	eventModified eventType = 2
	eventDeleted  eventType = 3
	eventSync     eventType = 4
)

// getRequest is v1alpha1.GetPodRequest.
type getRequest struct{ uid string }

func (r getRequest) marshal() []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), r.uid)
}

// watchRequest is v1alpha1.WatchPodsRequest.
type watchRequest struct{}

func (watchRequest) marshal() []byte { return nil }

// getAnswer reads v1alpha1.GetPodResponse: take gets the v1.Pod, and must keep
// nothing of it. err is why there is none.
type getAnswer struct {
	take func(pod []byte)
	err  error
}

func (a *getAnswer) unmarshal(b []byte) {
	var pod []byte
	a.err = each(b, func(f field) (err error) {
		if f.number == 1 {
			pod, err = f.message()
		}
		return err
	})
	if a.err == nil && pod == nil {
		a.err = errors.New("there is no pod in it")
	}
	if a.err != nil {
		a.err = fmt.Errorf("%w: %w", errProtocol, a.err)
		return
	}
	a.take(pod)
}

// event reads v1alpha1.WatchPodsEvent: take gets its type and v1.Pod, as above.
type event struct {
	take func(t eventType, pod []byte)
	err  error
}

func (e *event) unmarshal(b []byte) {
	var t eventType
	var pod []byte
	for len(b) > 0 {
		f, rest, err := cut(b)
		switch {
		case err != nil:
		case f.number == 1 && f.kind == protowire.VarintType:
			t = eventType(f.varint) // #nosec G115 -- cut off as protobuf says
		case f.number == 1:
			err = fmt.Errorf("field 1 has the wire type %d", f.kind)
		case f.number == 2:
			pod, err = f.message()
		}
		if err != nil {
			e.err = fmt.Errorf("%w: %w", errProtocol, err)
			return
		}
		b = rest
	}
	e.take(t, pod)
}

// codec is gRPC's way to the messages above. A message that is not what it
// should be is left to who reads it: gRPC makes a text of all errors.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name makes the content type that of protobuf.
func (codec) Name() string { return "proto" }

// Marshal writes a request.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(interface{ marshal() []byte })
	if !ok {
		return nil, fmt.Errorf("no request: %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.marshal())}, nil
}

// Unmarshal reads an answer, whose bytes are gRPC's again afterwards.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(interface{ unmarshal([]byte) })
	if !ok {
		return fmt.Errorf("no answer: %T", v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	m.unmarshal(b.ReadOnlyData())
	return nil
}
