package podsapi_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

func BenchmarkDecodePod(b *testing.B) {
	raw := marshal(b, webPod("web"))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := podsapi.DecodePod(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNext is an answer that was confirmed within its time to live, one that
// has to be confirmed through the socket, and a list over a new connection. The
// stand-in's work is in it.
func BenchmarkNext(b *testing.B) {
	for _, pods := range []int{110, 500} {
		n := newNode(b, podsapitest.Options{Unlimited: true})
		n.SetPods(webPods(pods)...)
		n.cfg.TTL = time.Hour
		c := n.client(b)
		watched(b, c)
		uid := kubelettest.UID("web-7")
		b.Run(fmt.Sprintf("confirmed/pods=%d", pods), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				next(b, c, uid, time.Time{})
			}
		})
		b.Run(fmt.Sprintf("asked/pods=%d", pods), func(b *testing.B) {
			asking := *n
			asking.cfg.TTL = 1
			c := asking.client(b)
			watched(b, c)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				time.Sleep(25 * time.Millisecond) // the limiter's
				b.StartTimer()
				next(b, c, uid, time.Time{})
			}
		})
		b.Run(fmt.Sprintf("all/pods=%d", pods), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Inspect(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvent is what a change costs of a pod that nobody asked about, without
// what gRPC costs; told with somebody who wants to know what was started.
func BenchmarkEvent(b *testing.B) {
	raw, err := proto.Marshal(&podsv1alpha1.WatchPodsEvent{Type: podsv1alpha1.EventType_MODIFIED, Pod: marshal(b, webPod("web"))})
	if err != nil {
		b.Fatal(err)
	}
	for _, told := range []bool{false, true} {
		b.Run(fmt.Sprint("told=", told), func(b *testing.B) {
			c := newNode(b, podsapitest.Options{}).client(b)
			if told {
				c.Tell(pod.NewRoster(func(*pod.Pod) {}))
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Event(raw)
			}
		})
	}
}

// TestAnIdleWatchKeepsNothingOfThePods: its memory must not grow with the node.
func TestAnIdleWatchKeepsNothingOfThePods(t *testing.T) {
	n := newNode(t, podsapitest.Options{Unlimited: true})
	pods := webPods(500)
	for range 2 {
		for _, p := range pods {
			n.AddPod(p) // what the stand-in keeps is there before
		}
	}
	runtime.GC()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	// What is on its way to the client, which may be slow here, is not kept.
	within := func(most int64) bool {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.HeapAlloc)-int64(before.HeapAlloc) <= most
	}
	c := n.client(t)
	watched(t, c)
	for _, p := range pods {
		n.AddPod(p)
	}
	eventually(t, "the heap has grown by less than 2 MiB", func() bool { return within(2 << 20) })
	t.Logf("%d KiB for a watch on 500 pods", (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	if c.Known() != 0 {
		t.Errorf("%d pods are kept", c.Known())
	}
	if _, err := c.Next(t.Context(), "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the heap has grown by less than 4 MiB", func() bool { return within(4 << 20) })
	t.Logf("%d KiB with the records of 500 pods", (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	runtime.KeepAlive(pods)
}
