package kubelet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

// streamed is an answer that is made while it is read.
func streamed(t *testing.T, pods int, write func(w io.Writer, i int) error) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	go func() {
		_, err := io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[`)
		for i := 0; i < pods && err == nil; i++ {
			if i > 0 {
				_, err = io.WriteString(w, ",")
			}
			if err == nil {
				err = write(w, i)
			}
		}
		if err == nil {
			_, err = io.WriteString(w, "]}\n")
		}
		w.CloseWithError(err)
	}()
	return r
}

// fat writes a pod with an annotation of that size.
func fat(w io.Writer, uid string, size int) error {
	const chunk = 32 << 10
	_, err := fmt.Fprintf(w, `{"metadata":{"uid":%q,"name":"fat","annotations":{"a":"`, uid)
	for ; size > 0 && err == nil; size -= chunk {
		_, err = io.WriteString(w, filler[:min(size, chunk)])
	}
	if err == nil {
		_, err = io.WriteString(w, `"}}}`)
	}
	return err
}

var filler = strings.Repeat(`{\"[`, 8<<10)

// peak decodes and returns how far the heap, garbage included, went above what
// it was.
func peak(t *testing.T, d kubelet.Decoder, r io.Reader) (*pod.Index, uint64, error) {
	t.Helper()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var most uint64
	watched := readerFunc(func(p []byte) (int, error) {
		if time.Now().UnixNano()%16 == 0 { // it stops the world
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return r.Read(p)
	})
	x, err := d.Decode(watched, time.Time{})
	runtime.ReadMemStats(&now)
	most = max(most, now.HeapAlloc)
	return x, most - min(most, before.HeapAlloc), err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// These run alone: they measure the heap of the process.
func TestMemoryIsBounded(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	quiet := slog.New(slog.DiscardHandler)

	t.Run("110 pods of 1.4 MB", func(t *testing.T) {
		x, most, err := peak(t, kubelet.NewDecoder(quiet), streamed(t, 110, func(w io.Writer, i int) error { return fat(w, fmt.Sprint("u", i), 1_400_000) }))
		if err != nil || x.Len() != 110 {
			t.Fatalf("%v, %v", x, err)
		}
		checkPeak(t, most, 32<<20)
	})
	t.Run("a pod of 10 MB among good ones", func(t *testing.T) {
		x, most, err := peak(t, kubelet.NewDecoder(quiet), streamed(t, 3, func(w io.Writer, i int) error {
			return fat(w, fmt.Sprint("u", i), []int{1000, 10_000_000, 1000}[i])
		}))
		if err != nil || x.Len() != 2 {
			t.Fatalf("%v, %v", x, err)
		}
		if _, err := x.ByUID("u1"); !errors.Is(err, pod.ErrUndecodable) {
			t.Errorf("the pod of 10 MB: %v", err)
		}
		checkPeak(t, most, 16<<20)
	})
	t.Run("a pod of 100 MB", func(t *testing.T) {
		x, most, err := peak(t, kubelet.NewDecoder(quiet), streamed(t, 3, func(w io.Writer, i int) error {
			return fat(w, fmt.Sprint("u", i), []int{1000, 100_000_000, 1000}[i])
		}))
		if err != nil || x.Len() != 2 {
			t.Fatalf("%v, %v", x, err)
		}
		checkPeak(t, most, 16<<20)
	})
	t.Run("2 MiB of empty statuses, 10 times", func(t *testing.T) {
		statuses := strings.Repeat("{},", kubelet.MaxPod/3-100)
		x, most, err := peak(t, kubelet.NewDecoder(quiet), streamed(t, 10, func(w io.Writer, i int) error {
			_, err := fmt.Fprintf(w, `{"metadata":{"uid":"u%d"},"status":{"containerStatuses":[%s{}]}}`, i, statuses)
			return err
		}))
		if err != nil || x.Len() != 0 {
			t.Fatalf("%v, %v", x, err)
		}
		checkPeak(t, most, 32<<20)
	})
	t.Run("5,000 pods", func(t *testing.T) {
		one, err := json.Marshal(webPod("web"))
		if err != nil {
			t.Fatal(err)
		}
		d := kubelet.NewDecoder(quiet)
		for range 2 {
			x, most, err := peak(t, d, streamed(t, 5000, func(w io.Writer, i int) error {
				_, err := w.Write(bytes.Replace(one, []byte(kubelettest.UID("web")), fmt.Appendf(nil, "uid-%d", i), 1))
				return err
			}))
			if err != nil || x.Len() != 5000 {
				t.Fatalf("%v, %v", x, err)
			}
			checkPeak(t, most, 32<<20)
		}
	})
	t.Run("as much of every pod as is kept", func(t *testing.T) {
		label := strings.Repeat("x", 200<<10)
		_, most, err := peak(t, kubelet.NewDecoder(quiet), streamed(t, kubelet.MaxPods, func(w io.Writer, i int) error {
			_, err := fmt.Fprintf(w, `{"metadata":{"uid":"u%d","labels":{"a":"%s"}}}`, i, label)
			return err
		}))
		if !errors.Is(err, kubelet.ErrLimit) || !strings.Contains(err.Error(), "64 MiB") {
			t.Errorf("error %v, want the limit of 64 MiB", err)
		}
		checkPeak(t, most, 160<<20)
	})
}

// checkPeak compares with the bound that would show a leak or a copy of the
// whole; the budget of the process is 256 MiB.
func checkPeak(t *testing.T, most, bound uint64) {
	t.Helper()
	t.Logf("%d MiB at most", most>>20)
	if most > bound {
		t.Errorf("the heap grew by %d MiB, more than %d", most>>20, bound>>20)
	}
}

func TestRecordsDoNotKeepTheAnswerAlive(t *testing.T) {
	d := kubelet.NewDecoder(slog.New(slog.DiscardHandler))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	x, err := d.Decode(streamed(t, 20, func(w io.Writer, i int) error { return fat(w, fmt.Sprint("u", i), 1<<20) }), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc && after.HeapAlloc-before.HeapAlloc > 2<<20 {
		t.Errorf("%d KiB are kept of 20 pods", (after.HeapAlloc-before.HeapAlloc)>>10)
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(d)
}
