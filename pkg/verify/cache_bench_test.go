package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// benchSigned is an image as a release workflow signs and attests it, and the kinds of
// configuration that it is looked at for.
type benchSigned struct {
	*world
	app     sigstoretest.Pushed
	configs map[string]verify.Config
}

func newBenchSigned(tb testing.TB) *benchSigned {
	tb.Helper()
	s := &benchSigned{world: newWorld(tb, sigstoretest.RegistryOptions{})}
	s.app = s.registry.PushImage("org/app", sigstoretest.Image{Content: "app", Tag: "1"})
	workflow := s.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
	s.registry.Attach(s.app.Ref, sigstoretest.Usual,
		s.sign(workflow, s.app.Ref.Digest, evidence.SimpleSigning), s.sign(workflow, s.app.Ref.Digest, evidence.Envelope))
	a := authority(tb)(sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: sigstore.Exact(sigstoretest.GitHubIssuer), Subject: sigstore.Exact(benchWorkflow)}}}))
	both := s.requires(tb, a)
	both.Block = s.block(a, nil).Block
	s.configs = map[string]verify.Config{"policy": s.requires(tb, a), "sigstore block": s.block(a, nil), "both": both}
	return s
}

var benchConfigs = []string{"policy", "sigstore block", "both"}

// seen is a verifier that has verified the image.
func (s *benchSigned) seen(tb testing.TB, config string) (*verify.Verifier, *pod.Pod) {
	tb.Helper()
	v, p := s.verifier(tb, s.configs[config]), running(s.app)
	if _, err := v.Container(tb.Context(), p, &p.Containers[0]); err != nil {
		tb.Fatal(err)
	}
	s.registry.Forget()
	return v, p
}

// BenchmarkSeenBefore is what the verification of an image adds to an attestation when
// its verdict is known (DESIGN.md section 8).
func BenchmarkSeenBefore(b *testing.B) {
	s := newBenchSigned(b)
	for _, config := range benchConfigs {
		b.Run(config, func(b *testing.B) {
			v, p := s.seen(b, config)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Container(b.Context(), p, &p.Containers[0]); err != nil {
					b.Fatal(err)
				}
			}
			if n := len(s.registry.Requests()); n != 0 {
				b.Fatalf("the registry was asked %d times", n)
			}
		})
	}
}

// BenchmarkSeenBeforeParallel is the same for many callers at once.
func BenchmarkSeenBeforeParallel(b *testing.B) {
	s := newBenchSigned(b)
	v, p := s.seen(b, "both")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Container(b.Context(), p, &p.Containers[0]); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkFromStore is the first look at an image after a start, by what was kept.
func BenchmarkFromStore(b *testing.B) {
	s := newBenchSigned(b)
	for _, place := range []string{"memory", "disk"} {
		for _, config := range benchConfigs {
			b.Run(place+"/"+config, func(b *testing.B) {
				cfg := store.Config{}
				if place == "disk" {
					cfg.Dir = b.TempDir()
				}
				kept := store.Open(cfg)
				p := running(s.app)
				once := func() {
					if _, err := remembering(b, s.configs[config], verify.Registries(s.client), verify.RecordStatuses{}, kept).Container(b.Context(), p, &p.Containers[0]); err != nil {
						b.Fatal(err)
					}
				}
				once()
				kept.Close() // so that what is kept is on the disk
				kept = store.Open(cfg)
				defer func() { kept.Close() }()
				if place == "memory" {
					once()
				}
				s.registry.Forget()
				b.ReportAllocs()
				for b.Loop() {
					once()
				}
				if n := len(s.registry.Requests()); n != 0 {
					b.Fatalf("the registry was asked %d times", n)
				}
			})
		}
	}
}

// manyTags is a shelf on which every tag is the first one, and every answer has memory
// of its own, as from a network.
type manyTags struct {
	*shelf
	problem error
}

func (m manyTags) Conversation(who fair.Who) verify.Conversation {
	return manyTagsTalk{m.shelf.Conversation(who), m.problem}
}

type manyTagsTalk struct {
	verify.Conversation
	problem error
}

func (m manyTagsTalk) Tag(ctx context.Context, r image.Repository, _ string) ([]byte, string, error) {
	body, mediaType, err := m.Conversation.Tag(ctx, r, "1")
	return bytes.Clone(body), mediaType, err
}

func (m manyTagsTalk) Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error) {
	found, err := m.Conversation.Evidence(ctx, ref)
	if err != nil {
		return nil, err
	}
	if m.problem != nil {
		return &registry.Found{Problems: slices.Repeat([]error{m.problem}, 64)}, nil
	}
	items := slices.Clone(found.Items)
	for i := range items {
		items[i].Content = bytes.Clone(items[i].Content)
		annotations := map[string]string{}
		for name, value := range items[i].Annotations {
			annotations[name] = strings.Clone(value)
		}
		items[i].Annotations = annotations
	}
	return &registry.Found{Items: items}, nil
}

// BenchmarkFullCache measures the memory of verdicts, on as many images as are kept by
// default: run it with -benchtime 1x.
func BenchmarkFullCache(b *testing.B) {
	s := newBenchSigned(b)
	filled := s.filled(b, s.configs["both"], func(v *verify.Verifier) {
		p := running(s.app)
		if _, err := v.Container(b.Context(), p, &p.Containers[0]); err != nil {
			b.Fatal(err)
		}
	})
	hostile := &registry.Error{Repository: s.app.Ref.Repository, What: "it", Kind: registry.Malformed, Err: errors.New(strings.Repeat("x", 2<<10))}
	for _, kind := range []struct {
		name    string
		problem error
	}{{"accepted", nil}, {"hostile", hostile}} {
		for _, config := range benchConfigs {
			b.Run(kind.name+"/"+config, func(b *testing.B) {
				const entries = 2048
				for b.Loop() {
					before := heap()
					v := remembering(b, s.configs[config], manyTags{filled, kind.problem}, verify.RecordStatuses{}, nowhere{})
					for i := range entries {
						p := running(s.app)
						p.UID = fmt.Sprintf("00000000-0000-0000-0000-%012d", i)
						p.Containers[0].SpecImage = fmt.Sprintf("%s:%d", s.app.Ref.Repository, i)
						if _, err := v.Container(b.Context(), p, &p.Containers[0]); (err == nil) != (kind.problem == nil) {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(heap()-before)/entries, "B/entry")
					goruntime.KeepAlive(v)
				}
			})
		}
	}
}

// heap is how much is in use.
func heap() int64 {
	var m goruntime.MemStats
	for range 3 {
		goruntime.GC()
	}
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc) // #nosec G115 -- this machine has less
}
