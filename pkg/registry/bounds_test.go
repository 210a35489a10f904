package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// ADVERSARIAL.md row 17: answers that are too much, or that never end.
func TestAnswersBeyondABound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(r *sigstoretest.Registry) sigstoretest.Fault
		kind  registry.Kind
		says  string
	}{
		"a huge manifest": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Body(image.OCIManifest, make([]byte, 4<<20+1))
		}, registry.Limit, "longer than 4194304 bytes"},
		"a body without end": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Endless(image.OCIManifest)
		}, registry.Limit, "longer than 4194304 bytes"},
		"a length that is a lie, too much": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.ContentLength(1 << 40)
		}, registry.Limit, "longer than 4194304 bytes"},
		"a length that is a lie, a little": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.ContentLength(4 << 20)
		}, registry.Unavailable, "unexpected EOF"},
		"a length that is a lie, too little": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.ContentLength(10)
		}, registry.Malformed, "something else"},
		"a connection that is closed": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.CloseAfter(10)
		}, registry.Unavailable, "unexpected EOF"},
		"a slow loris": {func(r *sigstoretest.Registry) sigstoretest.Fault {
			return r.Slow(50 * time.Millisecond)
		}, registry.Limit, "it had begun: no complete answer within"},
		"no answer": {func(r *sigstoretest.Registry) sigstoretest.Fault {
			return r.Delay(time.Hour)
		}, registry.Unavailable, "no complete answer within"},
		"a gzip bomb": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.GzipBomb(image.OCIManifest, 1<<30)
		}, registry.Malformed, `content encoding "gzip"`},
		"redirects without end": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Redirects(-1)
		}, registry.Limit, "redirects more than 5 times"},
		"six redirects": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Redirects(6)
		}, registry.Limit, "redirects more than 5 times"},
		"a redirect to nowhere": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) { w.WriteHeader(302) }
		}, registry.Malformed, "no place"},
		"headers without end": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Header("X", strings.Repeat("x", 100<<10))
		}, registry.Unavailable, "header"},
		"an error page without end": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.WriteHeader(500)
				for err := error(nil); err == nil; {
					_, err = w.Write([]byte(strings.Repeat("\x1b[2Jx", 1000)))
				}
			}
		}, registry.Unavailable, "answered 500"},
		"a status that means nothing": {func(*sigstoretest.Registry) sigstoretest.Fault {
			return sigstoretest.Status(418)
		}, registry.Malformed, "answered 418"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
			app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
			r.Break(sigstoretest.On{}, c.fault(r))
			ask := newClient
			if strings.Contains(c.says, "within") {
				ask = hasty
			}
			_, _, err := ask(t, registry.Config{Registries: []registry.Registry{block(t, r)}}).Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
			wantKind(t, err, c.kind, c.says)
			if err != nil && (len(err.Error()) > 3000 || strings.Contains(err.Error(), "\x1b")) {
				t.Errorf("%d bytes of text: %q", len(err.Error()), err)
			}
		})
	}
}

func TestFiveRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Break(sigstoretest.On{}, sigstoretest.Redirects(5))
	if _, _, err := asks(t, r).Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest); err != nil {
		t.Error(err)
	}
}

func TestABlobIsAsLongAsTheCallerAllows(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	d := r.PutBlob("pay/api", make([]byte, 1000))
	if b, err := c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), d, 1000); err != nil || len(b) != 1000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_, err := c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), d, 999)
	wantKind(t, err, registry.Limit, "longer than 999 bytes")
}

func TestTheCallersTimeIsKept(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Break(sigstoretest.On{}, r.Delay(time.Hour))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, fmt.Errorf("the budget is spent"))
	defer cancel()
	_, err := asks(t, r).Conversation(who).Evidence(ctx, app.Ref)
	wantKind(t, err, registry.Unavailable, "the budget is spent")
}

// ADVERSARIAL.md row 16: what is within the cap is found, the rest is said.
func TestEndlessSignatures(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "good"), signed(evidence.Envelope, "good, too"))
	for i := range 40 {
		r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, fmt.Sprint("junk ", i)))
	}
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	if err != nil || len(found.Items) != 33 || !strings.Contains(contents(found), "good,good, too") {
		t.Errorf("%q, %v", contents(found), err)
	}
	wantProblem(t, found, registry.Limit, ".sig", "more than 32 signatures: 9")
}

// Layers of other kinds take nobody's place.
func TestLayersOfOtherKindsDoNotCount(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	for i := range 100 {
		junk := signed(evidence.SimpleSigning, fmt.Sprint("junk ", i))
		junk.MediaType = "application/octet-stream"
		r.Attach(app.Ref, sigstoretest.SigTag, junk)
	}
	r.Attach(app.Ref, sigstoretest.SigTag, signed(evidence.SimpleSigning, "good"))
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, "good")
}

// ADVERSARIAL.md row 16: 1,000 referrers of other kinds, sorted before the good one
// or not.
func TestJunkAmongTheReferrersCrowdsNothingOut(t *testing.T) {
	t.Parallel()
	for _, pageSize := range []int{0, 300} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{PageSize: pageSize})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		for i := range 1000 {
			bundled(r, app.Ref, fmt.Sprintf("application/x-junk-%d", i), "junk")
		}
		bundled(r, app.Ref, bundleType, "good")
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, "good,junk") // junk of one content is one item
		wantProblem(t, found, registry.Limit, "more than 64 manifests refer to it: 937")
	}
}

// The two lists are taken by turns: a full one takes no room from the other.
func TestOneListCrowdsOutNothingOfTheOther(t *testing.T) {
	t.Parallel()
	for _, full := range []sigstoretest.Place{sigstoretest.Referrers, sigstoretest.FallbackTag} {
		other := sigstoretest.Referrers + sigstoretest.FallbackTag - full
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		for i := range 80 {
			r.Attach(app.Ref, full, signed(evidence.Bundle, fmt.Sprint("junk ", i)))
		}
		r.Attach(app.Ref, other, signed(evidence.Bundle, "good"))
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		if err != nil || len(found.Items) != 64 || !strings.Contains(contents(found), "good") {
			t.Errorf("%q, %v", contents(found), err)
		}
		wantProblem(t, found, registry.Limit, "more than 64 manifests", "17 were not")
	}
}

// Evidence that is too long is left, and what is short is taken beside any amount of
// what is long.
func TestLongEvidenceTakesNoRoomFromShort(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, strings.Repeat("s", 64<<10)), signed(evidence.SimpleSigning, strings.Repeat("s", 64<<10+1)),
		signed(evidence.Envelope, strings.Repeat("e", 8<<10+1)), signed(evidence.Bundle, strings.Repeat("b", 8<<10+1)))
	for i := range 5 {
		r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.Envelope, strings.Repeat(fmt.Sprint(i), 200<<10)), signed(evidence.Bundle, strings.Repeat(fmt.Sprint(i), 200<<10)))
	}
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "short s"), signed(evidence.Envelope, "short e"), signed(evidence.Bundle, "short b"))
	c := newClient(t, registry.Config{Limits: registry.Limits{MaxBundle: 200 << 10}, Registries: []registry.Registry{block(t, r)}})
	found, err := c.Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, strings.Repeat("204800 bytes,", 2)+"65536 bytes,8193 bytes,8193 bytes,short b,short e,short s")
	if err == nil && len(found.Problems) != 9 {
		t.Errorf("%d problems: %v", len(found.Problems), found.Problems)
	}
	for _, problem := range found.Problems {
		wantKind(t, problem, registry.Limit, "bytes long")
	}
}

func TestAnnotationsBeyondABound(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	long := signed(evidence.SimpleSigning, "long")
	long.Annotations["x"] = strings.Repeat("x", 128<<10)
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "good"), long)
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, "good")
	wantProblem(t, found, registry.Limit, "annotations are")
}

func TestLimitsCanBeSet(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	for i := range 3 {
		r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, fmt.Sprint("s", i)), signed(evidence.Bundle, strings.Repeat("b", 10+i)))
	}
	c := newClient(t, registry.Config{Limits: registry.Limits{MaxSignatures: 1, MaxReferrers: 2, MaxBundle: 11}, Registries: []registry.Registry{block(t, r)}})
	found, err := c.Conversation(who).Evidence(t.Context(), app.Ref)
	if err != nil || !strings.Contains(contents(found), "s0") || strings.Contains(contents(found), "s1") || len(found.Items) > 3 {
		t.Errorf("%q, %v", contents(found), err)
	}
	c = newClient(t, registry.Config{Limits: registry.Limits{MaxManifest: 100}, Registries: []registry.Registry{block(t, r)}})
	_, _, err = c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.Limit, "longer than 100 bytes")
}

// ADVERSARIAL.md row 18: pages that go round in circles, that lead elsewhere, that
// have no end, and whose first has nothing but junk.
func TestPages(t *testing.T) {
	t.Parallel()
	page := func(next, entry string) sigstoretest.Fault {
		return func(w http.ResponseWriter, q *http.Request, _ http.HandlerFunc) {
			link := strings.ReplaceAll(next, "THIS", q.URL.Path)
			if strings.Contains(next, "NEXT") {
				link = strings.ReplaceAll(link, "NEXT", q.URL.RawQuery+"x")
			}
			if link != "" {
				w.Header().Set("Link", link)
			}
			w.Header().Set("Content-Type", image.OCIIndex)
			fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[{"digest":%q}]}`, entry)
		}
	}
	for name, c := range map[string]struct {
		next     string
		kind     registry.Kind
		says     string
		requests int
	}{
		"a circle":                {`<THIS>; rel="next"`, registry.Malformed, "round in a circle", 1},
		"no end":                  {`<THIS?NEXT>; rel="next"`, registry.Limit, "more than 4 pages", 4},
		"another host":            {`<https://registry.example.org/v2/x/referrers/y>; rel="next"`, registry.Malformed, "another host", 1},
		"another host, no scheme": {`<//registry.example.org/>; rel="next"`, registry.Malformed, "another host", 1},
		"metadata":                {`<http://169.254.169.254/>; rel="next"`, registry.Malformed, "another host", 1},
		"another port":            {`<https://127.0.0.1:1/>; rel="next"`, registry.Malformed, "another host", 1},
		"without protection":      {`<http://HOST/>; rel="next"`, registry.Malformed, "another host", 1},
		"a user":                  {`<https://u:p@HOST/>; rel="next"`, registry.Malformed, "another host", 1},
		"nowhere":                 {"<https://%zz/>; rel=next", registry.Malformed, "no place", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
			app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
			good := bundled(r, app.Ref, "", "good")
			r.Break(sigstoretest.On{Path: "/referrers/"}, page(strings.ReplaceAll(c.next, "HOST", r.Host()), good.String()))
			found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
			wantItems(t, found, err, "good")
			wantProblem(t, found, c.kind, c.says)
			requests := 0
			for _, q := range r.Requests() {
				if strings.Contains(q.Target, "/referrers/") {
					requests++
				}
			}
			if requests != c.requests {
				t.Errorf("%d pages were asked for, want %d", requests, c.requests)
			}
		})
	}

	t.Run("the good one is on the last page", func(t *testing.T) {
		t.Parallel()
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{PageSize: 3})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		for i := range 12 {
			bundled(r, app.Ref, fmt.Sprint("junk/", i), fmt.Sprint("b", i%10))
		}
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, "b0,b1,b2,b3,b4,b5,b6,b7,b8,b9")
		if err == nil && len(found.Problems) > 0 {
			t.Error(found.Problems)
		}
	})
	t.Run("a page that fails hides not the ones before", func(t *testing.T) {
		t.Parallel()
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{PageSize: 1})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		bundled(r, app.Ref, "", "a")
		bundled(r, app.Ref, "x/y", "a")
		r.Break(sigstoretest.On{Path: "/referrers/", After: 1}, sigstoretest.Status(http.StatusInternalServerError))
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, "a")
		wantProblem(t, found, registry.Incomplete, "500")
	})
}
