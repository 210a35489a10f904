package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// BenchmarkRead reads a record and a blob of 6 KiB, as a bundle is.
func BenchmarkRead(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "directory": filepath.Join(b.TempDir(), "store")} {
		b.Run(name, func(b *testing.B) {
			s := open(b, store.Config{Dir: dir})
			r := put(b, s, "app", make([]byte, 6<<10))
			s.PutRecord(key("a"), "ns", make([]byte, 1<<10), []image.Ref{r})
			if dir != "" {
				s.Close()
				s = open(b, store.Config{Dir: dir})
			}
			b.ReportAllocs()
			for b.Loop() {
				_, isRecord := s.Record(key("a"))
				_, _, isBlob := s.Get(r)
				if !isRecord || !isBlob {
					b.Fatal("it is not there")
				}
			}
		})
	}
}

// BenchmarkEvict puts one record and its blobs into a store that is full.
func BenchmarkEvict(b *testing.B) {
	for name, cfg := range map[string]store.Config{
		"records": {MaxBytes: 1 << 30},
		"bytes":   {MaxBytes: 24 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b, cfg)
			refs := make([]image.Ref, 16)
			i := 0
			one := func() {
				i++
				for j := range refs {
					refs[j] = put(b, s, "app", body(i*len(refs)+j))
				}
				s.PutRecord(key(fmt.Sprint(i)), fmt.Sprint(i%30), body(i), refs)
			}
			for range store.DefaultRecords {
				one()
			}
			for b.Loop() {
				one()
			}
		})
	}
}
