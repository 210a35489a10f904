package verify_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// follows is what is said of a policy that does not hold, but for the reasons.
func follows(f verify.Failure) verify.Failure {
	f.Reasons = nil
	return f
}

// one is a policy p of one authority, with that mode.
func one(t testing.TB, cfg verify.Config, mode policy.Mode, do policy.OnUnavailable) verify.Config {
	t.Helper()
	cfg.Policies = set(t, &policy.Policy{Name: "p", Mode: mode, OnUnavailable: do, Authorities: []policy.Authority{{Name: "a"}}})
	return cfg
}

// everyMode fails the test unless what follows in each mode, and with each
// on_unavailable, is what it should be: a policy that fails withholds only when all that
// is the matter is that somebody whom the operator has named does not answer, and the
// operator has said so.
func everyMode(t *testing.T, cfg verify.Config, p *pod.Pod, kind verify.Kind, silent bool, anew func(verify.Config) *verify.Verifier) {
	t.Helper()
	for _, mode := range []policy.Mode{policy.Fail, policy.Withhold, policy.Audit} {
		for _, do := range []policy.OnUnavailable{policy.FailUnavailable, policy.WithholdUnavailable, policy.Stale, ""} {
			v := anew(one(t, cfg, mode, do))
			want := verify.Failure{
				Kind: kind, Mode: mode, Unavailable: silent, Dialect: verify.DialectPolicy, Policy: "p",
				Container: p.Containers[0].Name, Image: p.Containers[0].SpecImage, ImageID: p.Containers[0].ImageID,
			}
			if mode == policy.Fail && do == policy.WithholdUnavailable && silent {
				want.Mode = policy.Withhold
			}
			got := theFailure(t, v, p)
			if diff := gocmp.Diff(want, follows(got)); diff != "" {
				t.Errorf("mode %q, on_unavailable %q: %v (-want +got):\n%s", mode, do, got, diff)
			}
			// A broker hears the same of the pod, and gets no selector for it.
			r, err := v.Pod(t.Context(), p)
			if (err == nil) != (want.Mode != policy.Fail) || len(r.Trust.Pod) > 0 || (len(r.Withheld) == 1) != (want.Mode != policy.Fail) {
				t.Errorf("mode %q, on_unavailable %q: the pod: %v, %d withheld, for %q", mode, do, err, len(r.Withheld), r.Trust.Pod)
			}
		}
	}
}

// ADVERSARIAL.md row 38: a registry that does not answer turns nothing that fails into
// something that withholds, unless the operator has named it and wants that; and whatever
// else the image's author can bring about does not either.
func TestWhatTurnsFailIntoWithhold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do     func(*world)
		change func(*verify.Config, *registry.Limits)
		kind   verify.Kind
		silent bool
	}{
		"it is away": {func(w *world) { w.registry.Close() }, nil, verify.Unavailable, true},
		"it is broken": {func(w *world) {
			w.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusInternalServerError))
		}, nil, verify.Unavailable, true},
		"for some only": {func(w *world) {
			w.registry.Break(sigstoretest.On{Path: ".sig"}, sigstoretest.Status(http.StatusBadGateway))
		}, nil, verify.Unavailable, false},
		"for what it lists": {func(w *world) {
			w.registry.Break(sigstoretest.On{Path: "/blobs/"}, sigstoretest.Status(http.StatusBadGateway))
		}, nil, verify.Unavailable, false},
		"401": {func(w *world) { w.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusUnauthorized)) }, nil, verify.Unavailable, false},
		"403": {func(w *world) { w.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusForbidden)) }, nil, verify.Unavailable, false},
		"404": {func(w *world) { w.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusNotFound)) }, nil, verify.NotVerified, false},
		"nonsense": {func(w *world) {
			w.registry.Break(sigstoretest.On{Path: ".sig"}, sigstoretest.Body("application/vnd.oci.image.manifest.v1+json", []byte("{")))
		}, nil, verify.NotVerified, false},
		"no more time": {
			func(w *world) { w.registry.Break(sigstoretest.On{}, w.registry.Delay(time.Minute)) },
			func(c *verify.Config, _ *registry.Limits) { c.Budget = 50 * time.Millisecond }, verify.Limit, false,
		},
		"no more time for some": {
			func(w *world) { w.registry.Break(sigstoretest.On{Path: ".sig"}, w.registry.Delay(time.Minute)) },
			func(c *verify.Config, _ *registry.Limits) { c.Budget = 300 * time.Millisecond }, verify.Limit, false,
		},
		"a bound": {nil, func(_ *verify.Config, l *registry.Limits) { l.MaxSignatures = 1 }, verify.Limit, false},
		"a bound, and the rest is away": {
			func(w *world) {
				w.registry.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Status(http.StatusBadGateway))
			},
			func(_ *verify.Config, l *registry.Limits) { l.MaxSignatures = 1 }, verify.Limit, false,
		},
		"no trust root": {nil, func(c *verify.Config, _ *registry.Limits) {
			c.Judges = map[verify.AuthorityName]verify.Judge{{Policy: "p", Authority: "a"}: {Authority: keyless(t, devIssuer, devSubject), Root: fixed{}}}
		}, verify.Unavailable, false},
		"no trust root, and it is away": {func(w *world) { w.registry.Close() }, func(c *verify.Config, _ *registry.Limits) {
			c.Judges = map[verify.AuthorityName]verify.Judge{{Policy: "p", Authority: "a"}: {Authority: keyless(t, devIssuer, devSubject), Root: fixed{}}}
		}, verify.Unavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sigstoretest.RegistryOptions{})
			app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
			mallory := sigstoretest.NewKey(sigstoretest.ECDSAP256)
			w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(mallory, app.Ref.Digest, evidence.SimpleSigning), w.sign(mallory, app.Ref.Digest, evidence.SimpleSigning))
			cfg, limits := w.requires(t, keyless(t, devIssuer, devSubject)), registry.Limits{}
			if c.change != nil {
				c.change(&cfg, &limits)
			}
			if c.do != nil {
				c.do(w)
			}
			everyMode(t, cfg, running(app), c.kind, c.silent, func(cfg verify.Config) *verify.Verifier {
				return verifier(t, cfg, w.asks(t, limits, w.registry), verify.RecordStatuses{})
			})
		})
	}
}

// onlyOne is a shelf of which only one registry has a block.
type onlyOne struct {
	*shelf
	named string
}

func (o onlyOne) IsConfigured(registry string) bool { return registry == o.named }

// The same for what several places say, of which a stranger may have brought about one.
func TestWhatSeveralPlacesSayTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	stranger, err := image.ParseRepository("registry.example.org/theirs")
	if err != nil {
		t.Fatal(err)
	}
	says := func(r image.Repository, k registry.Kind) error {
		return &registry.Error{Repository: r, What: "it", Kind: k, Err: errors.New("says so")}
	}
	named := app.Ref.Repository
	away := says(named, registry.Unavailable)
	cfg := w.requires(t, keyless(t, devIssuer, devSubject))
	images := onlyOne{w.filled(t, cfg, func(v *verify.Verifier) { wantRefusal(t, v, running(app), verify.NotVerified) }), named.Registry()}
	for name, c := range map[string]struct {
		problems []error
		kind     verify.Kind
		silent   bool
	}{
		"one named registry is away":          {[]error{away}, verify.Unavailable, true},
		"twice":                               {[]error{away, away}, verify.Unavailable, true},
		"and a stranger's":                    {[]error{away, says(stranger, registry.Unavailable)}, verify.Unavailable, false},
		"only a stranger's":                   {[]error{says(stranger, registry.Unavailable)}, verify.Unavailable, false},
		"and something is denied":             {[]error{away, says(named, registry.Denied)}, verify.Unavailable, false},
		"and a registry's bound is hit":       {[]error{says(named, registry.Limit), away}, verify.Limit, false},
		"and another bound is hit":            {[]error{away, image.ErrLimit}, verify.Limit, false},
		"and something else is the matter":    {[]error{away, context.DeadlineExceeded}, verify.Unavailable, false},
		"and a stranger's is not asked":       {[]error{away, says(stranger, registry.NotAllowed)}, verify.Unavailable, true},
		"and something there can't be read":   {[]error{says(named, registry.Malformed), away}, verify.Unavailable, true},
		"and something there is not there":    {[]error{says(named, registry.NotFound), away}, verify.Unavailable, true},
		"only something that is not there":    {[]error{says(named, registry.NotFound)}, verify.NotVerified, false},
		"only a stranger's that is not asked": {[]error{says(stranger, registry.NotAllowed)}, verify.NotVerified, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, cfg, running(app), c.kind, c.silent, func(cfg verify.Config) *verify.Verifier {
				return remembering(t, cfg, between{images, func(_ image.Ref, ask func() (*registry.Found, error)) (*registry.Found, error) {
					found, err := ask()
					found.Problems = append(slices.Clone(found.Problems), c.problems...)
					return found, err
				}}, verify.RecordStatuses{}, memory())
			})
		})
	}
	t.Run("and a panic", func(t *testing.T) {
		t.Parallel()
		everyMode(t, w.requires(t, keyless(t, devIssuer, devSubject)), running(app), verify.Unavailable, false, func(cfg verify.Config) *verify.Verifier {
			return w.through(t, cfg, verify.RecordStatuses{}, func(image.Ref, func() (*registry.Found, error)) (*registry.Found, error) { panic("evidence") })
		})
	})
	// What is there, and good, counts in spite of all that.
	good := w.registry.PushImage("good", sigstoretest.Image{Content: "good", Tag: "1"})
	w.registry.Attach(good.Ref, sigstoretest.Usual, w.sign(w.dev(), good.Ref.Digest, evidence.SimpleSigning))
	v := w.through(t, one(t, w.requires(t, keyless(t, devIssuer, devSubject)), policy.Fail, policy.WithholdUnavailable), verify.RecordStatuses{},
		func(_ image.Ref, ask func() (*registry.Found, error)) (*registry.Found, error) {
			found, err := ask()
			found.Problems = append(found.Problems, away, says(stranger, registry.Unavailable))
			return found, err
		})
	has(t, v, good, "image-policy:p", "image-signer-identity:p/a:")
}

// fleet is a policy of each kind for one image: "allow" always holds, the others want
// the developer's signature.
func (w *world) fleet(t testing.TB, policies ...*policy.Policy) verify.Config {
	t.Helper()
	cfg := verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(), Judges: map[verify.AuthorityName]verify.Judge{}}
	for _, p := range policies {
		p.Authorities = []policy.Authority{{Name: "a", Static: policy.Allow}}
		if p.Name != "allow" {
			p.Authorities[0].Static = policy.NotStatic
			cfg.Judges[verify.AuthorityName{Policy: p.Name, Authority: "a"}] = verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{w.root}}
		}
	}
	cfg.Policies = set(t, policies...)
	return cfg
}

func allow() *policy.Policy { return &policy.Policy{Name: "allow", Mode: policy.Fail} }

func tried() *policy.Policy { return &policy.Policy{Name: "tried", Mode: policy.Audit} }

func nice() *policy.Policy { return &policy.Policy{Name: "nice", Mode: policy.Withhold} }

func patient() *policy.Policy {
	return &policy.Policy{Name: "patient", Mode: policy.Fail, OnUnavailable: policy.WithholdUnavailable}
}

func strict() *policy.Policy { return &policy.Policy{Name: "strict", Mode: policy.Fail} }

// names are those of the policies, and what follows from them.
func names(failures []verify.Failure) []string {
	all := []string{}
	for _, f := range failures {
		all = append(all, fmt.Sprintf("%s %s %s", cmp.Or(f.Policy, string(f.Dialect)), f.Mode, f.Kind))
	}
	return all
}

// Several policies with different modes apply to one image: one that does not hold and
// withholds costs its own selectors; one that fails costs all of them.
func TestPoliciesOfDifferentModesOnOneImage(t *testing.T) {
	t.Parallel()
	block := func(w *world, cfg verify.Config) verify.Config {
		cfg.Block = &verify.Block{Judge: verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{w.root}}}
		return cfg
	}
	for name, c := range map[string]struct {
		config            func(*world) verify.Config
		do                func(*world, image.Ref)
		failing, withheld []string
		want              []string // policies with selectors
	}{
		"unsigned": {
			func(w *world) verify.Config { return w.fleet(t, allow(), tried(), nice()) }, nil,
			nil, []string{"nice withhold not verified", "tried audit not verified"}, []string{"image-policy:allow"},
		},
		"unsigned, and one fails": {
			func(w *world) verify.Config { return w.fleet(t, allow(), tried(), nice(), strict(), patient()) }, nil,
			[]string{"patient fail not verified", "strict fail not verified"}, []string{"nice withhold not verified", "tried audit not verified"}, nil,
		},
		"away": {
			func(w *world) verify.Config { return w.fleet(t, allow(), tried(), nice(), patient()) },
			func(w *world, _ image.Ref) { w.registry.Close() },
			nil, []string{"nice withhold unavailable", "patient withhold unavailable", "tried audit unavailable"}, []string{"image-policy:allow"},
		},
		"away, and one fails": {
			func(w *world) verify.Config { return w.fleet(t, allow(), patient(), strict()) },
			func(w *world, _ image.Ref) { w.registry.Close() },
			[]string{"strict fail unavailable"}, []string{"patient withhold unavailable"}, nil,
		},
		"away, and there is a block": {
			func(w *world) verify.Config { return block(w, w.fleet(t, allow(), patient(), nice())) },
			func(w *world, _ image.Ref) { w.registry.Close() },
			[]string{"sigstore fail unavailable"}, []string{"nice withhold unavailable", "patient withhold unavailable"}, nil,
		},
		"signed": {
			func(w *world) verify.Config {
				return block(w, w.fleet(t, allow(), tried(), nice(), patient(), strict()))
			},
			func(w *world, app image.Ref) {
				w.registry.Attach(app, sigstoretest.Usual, w.sign(w.dev(), app.Digest, evidence.SimpleSigning))
			},
			nil, nil, []string{"image-policy:allow", "image-policy:nice", "image-policy:patient", "image-policy:strict", "image-policy:tried", "image-signature:verified"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sigstoretest.RegistryOptions{})
			app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
			cfg := c.config(w)
			if c.do != nil {
				c.do(w, app.Ref)
			}
			v := w.verifier(t, cfg)
			for range 2 { // looked at, and remembered
				failing, withheld := failures(t, v, running(app))
				if diff := gocmp.Diff([2][]string{c.failing, c.withheld}, [2][]string{names(failing), names(withheld)}, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("failing, withheld (-want +got):\n%s", diff)
				}
				got, _ := selectors(t, v, running(app))
				got = slices.DeleteFunc(got, func(s string) bool {
					return !strings.HasPrefix(s, "image-policy:") && s != "image-signature:verified"
				})
				if diff := gocmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("selectors (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Somebody who leaves, or has no more time, hears that where a policy fails the
// attestation; one that withholds costs its own selectors then too.
func TestACallerWithoutTimeInEveryMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	w.registry.Break(sigstoretest.On{}, w.registry.Delay(time.Minute))
	left := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	for _, mode := range []policy.Mode{policy.Fail, policy.Withhold, policy.Audit} {
		cfg := one(t, w.requires(t, keyless(t, devIssuer, devSubject)), mode, policy.WithholdUnavailable)
		cfg.Budget = time.Second // which is what its flight has
		v := w.verifier(t, cfg)
		p := running(app)
		r, err := v.Container(ctx, p, &p.Containers[0])
		if failing := mode == policy.Fail; errors.Is(err, left) != failing || (err == nil) == failing || len(r.Trust.Accepted) > 0 || len(r.Withheld) == 1 == failing {
			t.Errorf("mode %q: %v, withheld %q", mode, err, names(r.Withheld))
		}
	}
}
