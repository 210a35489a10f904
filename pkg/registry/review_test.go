package registry_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// trickle is a body that has a byte from time to time, until the request ends.
type trickle struct{ ctx context.Context }

func (t trickle) Read(p []byte) (int, error) {
	select {
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	case <-time.After(100 * time.Millisecond):
		p[0] = ' '
		return 1, nil
	}
}

// ADVERSARIAL.md, row 38: how long something is that was pushed is for somebody else to
// choose than for who runs the registry. That it can't be read in time is a bound that
// is hit, and not a registry that does not answer.
func TestWhatIsTooLongToBeReadInTimeIsNotSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			a := answered(200, "")
			a.Body, a.ContentLength = io.NopCloser(trickle{r.Context()}), -1
			return a, nil
		})
		c := online(t, n, registry.Config{Registries: []registry.Registry{{Host: "example.org"}}})
		repository, err := image.ParseRepository("example.org/a")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Conversation(who).Tag(t.Context(), repository, "long")
		wantKind(t, err, registry.Limit, "no complete answer within 5s")
	})
}
