package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/verify"
)

// shelf is what a real registry answered, for tests of time: in those nobody may wait
// for a network. What it was never asked before is not there.
type shelf struct {
	mu        sync.Mutex
	from      verify.Conversation // nil once it is full
	contents  map[image.Ref]content
	tags      map[string]content
	evidence  map[image.Ref]*registry.Found
	version   registry.Version
	strangers bool // whether registries have no blocks
	// before is called before each answer, and may be the answer.
	before func(ctx context.Context) error
	// conversations and questions are counted.
	conversations, questions int
}

type content struct {
	body      []byte
	mediaType string
	err       error
}

// filled is a shelf with everything that the verifier asks about the pods' first
// containers.
func (w *world) filled(t testing.TB, cfg verify.Config, asks ...func(v *verify.Verifier)) *shelf {
	t.Helper()
	s := &shelf{from: verify.Registries(w.client).Conversation(fair.Who{}), contents: map[image.Ref]content{}, tags: map[string]content{}, evidence: map[image.Ref]*registry.Found{}}
	for _, ask := range asks {
		ask(remembering(t, cfg, s, verify.RecordStatuses{}, nowhere{}))
	}
	s.from, s.conversations, s.questions = nil, 0, 0
	return s
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shelf) had() (conversations, questions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conversations, s.questions
}

func (s *shelf) Conversation(fair.Who) verify.Conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conversations++
	return s
}

func (s *shelf) IsConfigured(string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.strangers
}

func (s *shelf) Version(image.Repository) registry.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// answer counts a question and answers it.
func answer[K comparable, V any](ctx context.Context, s *shelf, in image.Repository, answers map[K]V, about K, ask func() V) (V, error) {
	s.mu.Lock()
	s.questions++
	before := s.before
	s.mu.Unlock()
	var none V
	if before != nil {
		if err := before(ctx); err != nil {
			return none, &registry.Error{Repository: in, What: fmt.Sprint(about), Kind: kindOf(err), Err: err}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from != nil {
		answers[about] = ask()
	}
	if v, ok := answers[about]; ok {
		return v, nil
	}
	return none, &registry.Error{Repository: in, What: fmt.Sprint(about), Kind: registry.NotFound, Err: errors.New("not on the shelf")}
}

// faulty is why a registry fails.
type faulty registry.Kind

func (f faulty) Error() string { return registry.Kind(f).String() }

// away is what a registry says that does not answer.
func away(context.Context) error { return faulty(registry.Unavailable) }

func kindOf(err error) registry.Kind {
	if f, ok := errors.AsType[faulty](err); ok {
		return registry.Kind(f)
	}
	return registry.Unavailable
}

func (s *shelf) Manifest(ctx context.Context, r image.Repository, d image.Digest) ([]byte, string, error) {
	ref := image.Ref{Repository: r, Digest: d}
	c, err := answer(ctx, s, r, s.contents, ref, func() (c content) {
		c.body, c.mediaType, c.err = s.from.Manifest(ctx, r, d)
		return c
	})
	return c.body, c.mediaType, errors.Join(err, c.err)
}

func (s *shelf) Blob(ctx context.Context, r image.Repository, d image.Digest, most int64) ([]byte, error) {
	c, err := answer(ctx, s, r, s.contents, image.Ref{Repository: r, Digest: d}, func() (c content) {
		c.body, c.err = s.from.Blob(ctx, r, d, most)
		return c
	})
	return c.body, errors.Join(err, c.err)
}

func (s *shelf) Tag(ctx context.Context, r image.Repository, tag string) ([]byte, string, error) {
	c, err := answer(ctx, s, r, s.tags, r.String()+":"+tag, func() (c content) {
		c.body, c.mediaType, c.err = s.from.Tag(ctx, r, tag)
		return c
	})
	return c.body, c.mediaType, errors.Join(err, c.err)
}

func (s *shelf) Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error) {
	found, err := answer(ctx, s, ref.Repository, s.evidence, ref, func() *registry.Found {
		found, err := s.from.Evidence(ctx, ref)
		if err != nil {
			panic(err) // a test takes only what is there
		}
		return found
	})
	if err != nil {
		return nil, err
	}
	whole := *found
	return &whole, nil
}
