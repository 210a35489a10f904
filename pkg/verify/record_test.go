package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// tampered is a store that somebody else writes to as well.
type tampered struct {
	*store.Store
	// planted is in place of each record, where it is not nil, get in place of a blob.
	planted []byte
	get     func(ref image.Ref, body []byte) ([]byte, bool)

	mu   sync.Mutex
	kept [][]byte // records, in their order
}

func newTampered() *tampered { return &tampered{Store: memory()} }

func (s *tampered) Record(key store.Key) ([]byte, bool) {
	if s.planted != nil {
		return slices.Clone(s.planted), true
	}
	return s.Store.Record(key)
}

func (s *tampered) PutRecord(key store.Key, tenant string, body []byte, refs []image.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, slices.Clone(body))
	s.Store.PutRecord(key, tenant, body, refs)
}

func (s *tampered) Get(ref image.Ref) ([]byte, string, bool) {
	body, mediaType, ok := s.Store.Get(ref)
	if s.get != nil {
		body, ok = s.get(ref, body)
	}
	return body, mediaType, ok
}

// last is the record that was kept last.
func (s *tampered) last(t testing.TB) []byte {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		t.Fatal("no record was kept")
	}
	return s.kept[len(s.kept)-1]
}

// poisoned is a registry with an image that the developer has signed and one that
// nobody has, and a store with all of both.
type poisoned struct {
	*signed
	evil sigstoretest.Pushed
	// theirs and its own are the records.
	goodRecord, evilRecord []byte
}

func newPoisoned(t *testing.T) *poisoned {
	t.Helper()
	p := &poisoned{signed: newSigned(t)}
	p.evil = p.registry.PushImage("app", sigstoretest.Image{Content: "evil"}) // whose spec has the good one's tag
	both := newTampered()
	p.shelf = p.filled(t, p.cfg, func(v *verify.Verifier) { p.holds(t, v) }, func(v *verify.Verifier) { wantRefusal(t, v, running(p.evil), verify.NotVerified) })
	v := remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, both)
	p.holds(t, v)
	p.goodRecord = both.last(t)
	wantRefusal(t, v, running(p.evil), verify.NotVerified)
	p.evilRecord = both.last(t)
	return p
}

// store is one with the contents of both images.
func (p *poisoned) store(t testing.TB) *tampered {
	t.Helper()
	s := newTampered()
	v := remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s)
	for _, app := range []sigstoretest.Pushed{p.app, p.evil} {
		pod := running(app)
		_, _ = v.Container(t.Context(), pod, &pod.Containers[0])
	}
	return s
}

// edit is a record after a change to its JSON.
func edit(t testing.TB, record []byte, change func(r map[string]any)) []byte {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal(record, &r); err != nil {
		t.Fatal(err)
	}
	change(r)
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// within is the object that is in an object under that name.
func within(r map[string]any, name string) map[string]any {
	if r[name] == nil {
		r[name] = map[string]any{}
	}
	return r[name].(map[string]any)
}

// ADVERSARIAL.md row 29: what somebody plants in the store makes no image a signed one,
// whatever the record says: each content is its digest's, and each signature names what
// it is of.
func TestAPlantedRecordSignsNothing(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	good, evil := p.app.Ref.String(), p.evil.Ref.String()
	tag := p.app.Ref.Repository.String() + ":1"
	items := func(t *testing.T) any {
		var r map[string]any
		if err := json.Unmarshal(p.goodRecord, &r); err != nil {
			t.Fatal(err)
		}
		return within(r, "places")[good]
	}
	change := func(f func(t *testing.T, r map[string]any)) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return edit(t, p.evilRecord, func(r map[string]any) { f(t, r) }) }
	}
	for name, plant := range map[string]func(t *testing.T) []byte{
		"the other image's":    func(*testing.T) []byte { return p.goodRecord },
		"the other's evidence": change(func(t *testing.T, r map[string]any) { within(r, "places")[evil] = items(t) }),
		"a tag of the other": change(func(t *testing.T, r map[string]any) {
			within(r, "tags")[tag] = map[string]any{"digest": p.app.Ref.Digest.String(), "media_type": image.OCIManifest}
			within(r, "places")[good] = items(t)
		}),
		"its manifest is missing, and there is the other's tag": change(func(t *testing.T, r map[string]any) {
			within(r, "missing")[evil] = "not found"
			within(r, "tags")[tag] = map[string]any{"digest": p.app.Ref.Digest.String(), "media_type": image.OCIManifest}
			within(r, "places")[good] = items(t)
		}),
		"of everything the other's": change(func(t *testing.T, r map[string]any) {
			for place := range within(r, "places") {
				within(r, "places")[place] = items(t)
			}
			within(r, "places")[good], within(r, "places")[evil] = items(t), items(t)
		}),
		"its name in place of the other's": func(*testing.T) []byte {
			return bytes.ReplaceAll(p.goodRecord, []byte(p.app.Ref.Digest.Hex()), []byte(p.evil.Ref.Digest.Hex()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := p.store(t)
			s.planted = plant(t)
			wantRefusal(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s), running(p.evil), verify.NotVerified)
			// The same with everything in the store that is not there taken for the
			// other's: a store that does not hash, or whose disk was written to since.
			s.get = func(ref image.Ref, body []byte) ([]byte, bool) {
				if other, _, ok := s.Store.Get(p.app.Ref); ok && (body == nil || ref == p.evil.Ref) {
					return other, true
				}
				return body, body != nil
			}
			wantRefusal(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s), running(p.evil), verify.NotVerified)
		})
	}
}

// A record that can't count any more, or never could, is none: the registry is asked,
// and where it does not answer nothing holds.
func TestARecordThatDoesNotCount(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	at := func(when time.Time) func(map[string]any) {
		return func(r map[string]any) { r["fetched"] = when.UTC().Format(time.RFC3339Nano) }
	}
	changed := func(change func(map[string]any)) func(*tampered) {
		return func(s *tampered) { s.planted = edit(t, p.goodRecord, change) }
	}
	just := func(body string) func(*tampered) { return func(s *tampered) { s.planted = []byte(body) } }
	with := func(more string) func(*tampered) {
		return just(strings.TrimSuffix(string(p.goodRecord), "}") + more)
	}
	without := func(which func(ref image.Ref) bool) func(*tampered) {
		return func(s *tampered) {
			s.planted = p.goodRecord
			s.get = func(ref image.Ref, body []byte) ([]byte, bool) { return body, body != nil && !which(ref) }
		}
	}
	for name, plant := range map[string]func(*tampered){
		"of the future":              changed(at(time.Now().Add(time.Minute))),
		"of a far future":            changed(at(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))),
		"too old":                    changed(at(time.Now().Add(-ages.TTL))),
		"of year one":                changed(at(time.Time{})),
		"of another version":         changed(func(r map[string]any) { r["version"] = "0000" }),
		"of no version":              changed(func(r map[string]any) { delete(r, "version") }),
		"without places":             changed(func(r map[string]any) { delete(r, "places") }),
		"with a member more":         changed(func(r map[string]any) { r["accepted"] = true }),
		"with a member of its items": with(`,"places":{"x":{"items":[{"signer":"x"}]}}}`),
		"a member twice":             with(`,"elsewhere":true}`),
		"in another case":            changed(func(r map[string]any) { r["Fetched"] = r["fetched"]; delete(r, "fetched") }),
		"two documents":              with("}{}"),
		"half of it":                 just(string(p.goodRecord[:len(p.goodRecord)/2])),
		"nothing":                    just(""),
		"null":                       just("null"),
		"an object":                  just("{}"),
		"a list":                     just("[]"),
		"a negative time":            changed(func(r map[string]any) { r["fetched"] = -1 }),
		"a time of its own":          changed(func(r map[string]any) { r["fetched"] = "-0001-01-01T00:00:00Z" }),
		"numbers for texts":          changed(func(r map[string]any) { r["missing"] = map[string]any{"x": -1} }),
		"a digest that is none":      changed(func(r map[string]any) { within(r, "tags")["x"] = map[string]any{"digest": "sha256:../../x"} }),
		"a MiB of nothing":           just(strings.Repeat("[", 1<<20)),
		"its manifest is gone":       without(func(ref image.Ref) bool { return ref.Digest == p.app.Ref.Digest }),
		"its signature is gone":      without(func(ref image.Ref) bool { return ref.Digest != p.app.Ref.Digest && ref.Digest != p.app.Config }),
		"its signature is something else": func(s *tampered) {
			s.planted = edit(t, p.goodRecord, func(r map[string]any) { r["elsewhere"] = true })
			s.get = func(ref image.Ref, body []byte) ([]byte, bool) {
				if ref.Digest == p.app.Ref.Digest || ref.Digest == p.app.Config {
					return body, body != nil
				}
				return []byte("something else"), true
			}
		},
		"all is gone": without(func(image.Ref) bool { return true }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := p.store(t)
			plant(s)
			r := p.holds(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s))
			if r.Images[0].Stored {
				t.Error("it was judged by what was planted")
			}
			away := p.away()
			wantRefusal(t, remembering(t, p.cfg, away, verify.RecordStatuses{}, s), running(p.app), verify.Unavailable)
			if _, n := away.had(); n == 0 {
				t.Error("the registry was not asked")
			}
		})
	}
	// The same record without a change counts: what is refused above is refused for that.
	s := p.store(t)
	s.planted = p.goodRecord
	if r := p.holds(t, remembering(t, p.cfg, p.away(), verify.RecordStatuses{}, s)); !r.Images[0].Stored {
		t.Error("it was not judged by the record")
	}
}

// away is a registry that has a block and does not answer.
func (p *poisoned) away() *shelf {
	return &shelf{before: away}
}

// What is stored as a text is a text: a record can't say that a registry is away, and
// what it says does not get into a log as it is.
func TestAProblemInARecordIsOnlyAText(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	cfg := p.cfg
	cfg.Policies = set(t, &policy.Policy{Name: "p", Mode: policy.Fail, OnUnavailable: policy.WithholdUnavailable, Authorities: []policy.Authority{{Name: "a"}}})
	problems := []string{(&registry.Error{Repository: p.app.Ref.Repository, What: "it", Kind: registry.Unavailable, Err: errors.New("away")}).Error(), "\x1b[31m\nred", strings.Repeat("x", 1<<16)}
	for range 100 {
		problems = append(problems, "more")
	}
	s := p.store(t)
	s.planted = edit(t, p.evilRecord, func(r map[string]any) {
		within(r, "places")[p.evil.Ref.String()] = map[string]any{"problems": problems}
	})
	f := theFailure(t, remembering(t, cfg, p.away(), verify.RecordStatuses{}, s), running(p.evil))
	if f.Kind != verify.NotVerified || f.Unavailable || f.Mode != policy.Fail || len(f.Reasons) > 17 || strings.ContainsAny(f.String(), "\x1b\n") || len(f.String()) > 20<<10 {
		t.Errorf("kind %q, unavailable %t, %q, %d reasons: %v", f.Kind, f.Unavailable, f.Mode, len(f.Reasons), f)
	}
}
