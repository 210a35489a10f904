package verify_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// ADVERSARIAL.md row 45: a thousand images that never verify, each for as many and as
// long reasons as somebody can make up, fill no memory; how many reasons there were is
// said.
func TestWhatIsKeptOfAFailureIsShort(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	for _, c := range []struct{ number, size, fewest int }{{100, 2 << 10, 3}, {100, 1000, 4}, {100, 10, 16}, {16, 10, 16}, {4, 2 << 10, 3}} {
		for _, explain := range []bool{false, true} {
			var problems []error
			for i := range c.number {
				problems = append(problems, &registry.Error{Repository: s.app.Ref.Repository, What: "it", Kind: registry.Malformed, Err: fmt.Errorf("%d%s", i, strings.Repeat("x", c.size))})
			}
			cfg := s.cfg
			cfg.Explain = explain
			v := remembering(t, cfg, between{s.shelf, func(image.Ref, func() (*registry.Found, error)) (*registry.Found, error) {
				return &registry.Found{Problems: slices.Clone(problems)}, nil
			}}, verify.RecordStatuses{}, nowhere{})
			f := theFailure(t, v, running(s.app))
			total, more := 0, 0
			for _, reason := range f.Reasons {
				if n, _ := fmt.Sscanf(reason.Error(), "and %d more reasons", &more); n == 0 {
					total += len(reason.Error())
				}
			}
			n := len(f.Reasons)
			if more > 0 {
				n--
			}
			all := c.number + 1 // and that there is no signature
			if n+more != all || n < min(c.fewest, all) || n > 16 || !explain && total > verify.MaxKept {
				t.Errorf("%d reasons of %d bytes, explain %t: %d of %d bytes, and %d more", c.number, c.size, explain, n, total, more)
			}
		}
	}
}

// A pod's author may write a million bytes for a name, and others each time: that is kept
// nowhere, and no two of them are one.
func TestANameThatIsTooLongForAnImageIsNotKept(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	long := s.app.Ref.Repository.String() + ":" + strings.Repeat("x", 1<<20)
	runs := verify.Runs{SpecImage: long, ImageID: long, Pulled: []string{long, long}}
	if n := verify.Kept(runs); n > 1<<10 {
		t.Errorf("%d bytes are kept", n)
	}
	v := remembering(t, s.cfg, verify.Registries(s.client), verify.RecordStatuses{}, memory())
	for _, change := range []func(p *sigstoretest.Pushed) (spec, id string){
		func(p *sigstoretest.Pushed) (string, string) { return long, p.Ref.String() },
		func(p *sigstoretest.Pushed) (string, string) { return long + "y", p.Ref.String() },
		func(p *sigstoretest.Pushed) (string, string) { return p.Ref.String(), long },
	} {
		p := running(s.app)
		c := &p.Containers[0]
		c.SpecImage, c.ImageID = change(&s.app)
		r, err := v.Container(t.Context(), p, c)
		if e, ok := errors.AsType[*verify.Error](err); !ok || e.Kind() != verify.NotVerified || len(err.Error()) > 8<<10 || len(r.Trust.Accepted) > 0 {
			t.Errorf("%d bytes of an error: %.200s", len(fmt.Sprint(err)), fmt.Sprint(err))
		}
	}
	s.holds(t, v)
}
