package kubelet_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// listing returns a source of answers about n pods, each in a new order.
func listing(t testing.TB, n int) func() []byte {
	t.Helper()
	s, err := kubelettest.Start(kubelettest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := s.SetPods(webPods(n)...); err != nil {
		t.Fatal(err)
	}
	return s.List
}

func BenchmarkDecode(b *testing.B) {
	list := listing(b, 500)
	answers := make([][]byte, 20)
	for i := range answers {
		answers[i] = list()
	}
	b.Run("unchanged", func(b *testing.B) {
		d := kubelet.NewDecoder(slog.New(slog.DiscardHandler))
		benchmarkDecode(b, func() kubelet.Decoder { return d }, answers)
	})
	b.Run("changed", func(b *testing.B) {
		benchmarkDecode(b, func() kubelet.Decoder { return kubelet.NewDecoder(slog.New(slog.DiscardHandler)) }, answers)
	})
}

func benchmarkDecode(b *testing.B, decoder func() kubelet.Decoder, answers [][]byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(answers[0])))
	for b.Loop() {
		x, err := decoder().Decode(bytes.NewReader(answers[rand.IntN(len(answers))]), time.Time{})
		if err != nil || x.Len() != 500 {
			b.Fatal(x, err)
		}
	}
}
