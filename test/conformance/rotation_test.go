package conformance_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
	"github.com/podseal/podseal/test/pluginproc"
)

// pushAt pushes an image that the developer has signed by that Sigstore.
func (s *signing) pushAt(name string, by *sigstoretest.Sigstore) sigstoretest.Pushed {
	pushed := s.push(name, nil)
	dev := by.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("dev@example.org")})
	s.registry.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
		Signer: dev, Digest: pushed.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{by.Rekor1},
	}))
	return pushed
}

// A trust root that is replaced is judged by without a Configure, in verdicts that are
// cached too (ADVERSARIAL.md, row 29): a signature by the new CA counts, and one by
// the CA that was withdrawn does not any more.
func TestATrustRootThatIsReplacedIsTakenUp(t *testing.T) {
	t.Parallel()
	next := sigstoretest.New()
	for name, test := range map[string]func(*testing.T, *signing) (block string, replaceBy func([]byte)){
		"a file": func(t *testing.T, s *signing) (string, func([]byte)) {
			return "", func(root []byte) { replace(t, filepath.Join(s.dir, "root.json"), root) }
		},
		// The shortest time after which a mirror is asked again is a minute. It is asked
		// at once where trust in it begins with something else.
		"TUF, the next version of the repository's root": func(t *testing.T, s *signing) (string, func([]byte)) {
			m := newMirror(t, s.TrustedRoot())
			return m.block("mirrored", filepath.Join(t.TempDir(), "cache")), func(root []byte) {
				r := m.serves.Load()
				r.Rotate(func() { r.NewKey("timestamp") })
				r.SetTarget(r.Targets, root)
				r.Publish()
				replace(t, m.root, r.RootJSON(int(r.Root.Signed.Version)))
			}
		},
		"TUF, another repository": func(t *testing.T, s *signing) (string, func([]byte)) {
			m := newMirror(t, s.TrustedRoot())
			return m.block("mirrored", filepath.Join(t.TempDir(), "cache")), func(root []byte) {
				m.serves.Store(trustroottest.New(root))
				replace(t, m.root, m.serves.Load().RootJSON(1))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			s := newSigning(t)
			block, replaceBy := test(t, s)
			policy := releasePolicy
			if block != "" {
				policy = strings.Replace(policy, `"own"`, `"mirrored"`, 1)
			}
			plugin := configured(t, node.Settings(), s.settings(block+policy+hasty))
			byOld, byNext := node.Pod(of("old", s.pushAt("old", s.Sigstore))), node.Pod(of("next", s.pushAt("next", next)))
			wantVerified(t, plugin, byOld, "release")
			wantFailure(t, plugin, byNext, codes.PermissionDenied, `image policy "release" does not hold`)

			replaceBy(next.TrustedRoot())
			eventuallyVerified(t, plugin, byNext, "release")
			wantFailure(t, plugin, byOld, codes.PermissionDenied, `image policy "release" does not hold`)
			// And back.
			replaceBy(sigstoretest.Trust(s.Fulcio, s.CT, s.Rekor1, next.Fulcio, next.CT, next.Rekor1).JSON())
			eventuallyVerified(t, plugin, byOld, "release")
			wantVerified(t, plugin, byNext, "release")
		})
	}
}

// A password that is replaced in its file is used without a Configure, from the first
// request on that needs it; the old one, which the registry takes no more, is not
// sent again. What was verified stays so: it does not depend on who asked.
func TestACredentialThatIsReplacedIsTakenUp(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	var password atomic.Pointer[string]
	var refused atomic.Int64
	s.registry.Break(sigstoretest.On{}, func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		_, got, given := q.BasicAuth()
		if given {
			q.Header.Del("Authorization") // for a registry that lets everybody read
		}
		if given && got == *password.Load() {
			serve(w, q)
			return
		}
		if given {
			refused.Add(1)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	file := filepath.Join(s.dir, "password")
	rotate := func(to string) {
		replace(t, file, []byte(to+"\n"))
		password.Store(&to)
	}
	rotate("old")
	s.block = fmt.Sprintf("username = \"puller\"\npassword_path = %q", file)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy+hasty))
	before := node.Pod(of("before", s.push("before", s.dev)))
	wantVerified(t, plugin, before, "release")

	// The registry has the new one first: until the file is replaced it denies, and
	// then it does not.
	changed := "new"
	password.Store(&changed)
	after := node.Pod(of("after", s.push("after", s.dev)))
	wantFailure(t, plugin, after, codes.Unavailable, `image policy "release" does not hold`, "the registry wants a user name and a password: the credentials for it are not accepted")
	wantVerified(t, plugin, before, "release")
	if refused.Load() == 0 {
		t.Error("the old password was not tried: the test shows nothing")
	}
	rotate(changed)
	took := eventuallyVerified(t, plugin, after, "release")
	denied := refused.Load()
	eventuallyVerified(t, plugin, before, "release")
	wantVerified(t, plugin, node.Pod(of("later", s.push("later", s.dev))), "release")
	if n := refused.Load(); n > denied {
		t.Errorf("an old password was sent %d times more", n-denied)
	}
	t.Logf("the new password was used %v after it was in its file", took)
	for _, l := range plugin.Log() {
		if text := fmt.Sprint(l.Message, l.Fields); strings.Contains(text, "puller:") || strings.Contains(text, `"new"`) {
			t.Errorf("a secret is in the log: %+v", l)
		}
	}
}

// Configure again, with a policy that refuses: the verdict of before is not served; and
// back again: it is made anew by what is kept, and no registry is asked
// (ADVERSARIAL.md, row 29).
func TestAReconfigurationServesNoVerdictOfTheOneBefore(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := pluginproc.Start(t, pluginproc.Options{})
	configure := func(policy string) {
		t.Helper()
		if err := plugin.Configure(t.Context(), node.Settings().HCL()+s.settings(policy)); err != nil {
			t.Fatal(err)
		}
	}
	other := strings.Replace(releasePolicy, "dev@", "release@", 1)
	pid := node.Pod(of("signed", s.push("signed", s.dev)))
	for range 3 {
		configure(releasePolicy)
		s.registry.Forget()
		wantVerified(t, plugin, pid, "release")
		configure(other)
		wantFailure(t, plugin, pid, codes.PermissionDenied, `image policy "release" does not hold`, "other identity")
	}
	configure(releasePolicy)
	s.registry.Forget()
	wantVerified(t, plugin, pid, "release")
	if asked := s.registry.Requests(); len(asked) > 0 {
		t.Errorf("the registry was asked %d times for what is kept: %s", len(asked), asked[0].Target)
	}
	// The policy's name is part of what is claimed.
	configure(strings.Replace(releasePolicy, `"release"`, `"renamed"`, 1))
	got, err := plugin.Selectors(t.Context(), pid)
	if err != nil || !contains(got, "image-policy:renamed") || contains(got, "image-policy:release") {
		t.Errorf("got %q, %v", got, err)
	}
}

// The same while everybody calls: who calls after a Configure has returned is answered
// by it, and by nothing that was found out for the one before.
func TestReconfigurationsWhileEverybodyCalls(t *testing.T) {
	t.Parallel()
	const callers, changes, pause = 16, 30, 50 * time.Millisecond
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := pluginproc.Start(t, pluginproc.Options{})
	policies := []string{releasePolicy, strings.Replace(releasePolicy, "dev@", "release@", 1)}
	var pids []int
	for i := range 4 {
		pids = append(pids, node.Pod(of(fmt.Sprint("app-", i), s.push(fmt.Sprint("app-", i), s.dev))))
	}
	// changed counts twice for each Configure: while it is odd there is one under way.
	var changed atomic.Int64
	configure := func() {
		t.Helper()
		n := changed.Add(1) / 2
		if err := plugin.Configure(t.Context(), node.Settings().HCL()+s.settings(policies[n%2])); err != nil {
			t.Error(err)
		}
		changed.Add(1)
	}
	configure()
	var sure [2]atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := changed.Load()
				got, err := plugin.Selectors(t.Context(), pids[i%len(pids)])
				verified, refused := err == nil && contains(got, "image-policy:release"), status.Code(err) == codes.PermissionDenied && len(got) == 0
				if !verified && !refused {
					t.Errorf("got %q, %v", got, err)
				}
				if before%2 == 1 || changed.Load() != before {
					continue
				}
				n := before/2 - 1
				sure[n%2].Add(1)
				if verified != (n%2 == 0) {
					t.Errorf("by configuration %d: %q, %v", n, got, err)
				}
			}
		})
	}
	for range changes {
		time.Sleep(pause)
		configure()
	}
	close(stop)
	all.Wait()
	t.Logf("%d and %d calls under the one and the other policy", sure[0].Load(), sure[1].Load())
	if sure[0].Load() == 0 || sure[1].Load() == 0 {
		t.Error("the test shows nothing")
	}
}

// One image in two namespaces that have policies of their own, asked for at the same
// time: the verdict of one is no verdict of the other (ADVERSARIAL.md, row 29).
func TestAVerdictIsNotAnotherNamespaces(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(policyOf("shop", "shop", "")+strings.Replace(policyOf("bank", "bank", ""), "dev@", "auditor@", 1)))
	image := s.push("shared", s.dev)
	type answer struct {
		values []string
		err    error
	}
	const callers = 16
	shop, bank := node.Pod(s.pod("shop", "shop", image)), node.Pod(s.pod("bank", "bank", image))
	answers := map[int]chan answer{shop: make(chan answer, callers), bank: make(chan answer, callers)}
	for range callers {
		for pid, to := range answers {
			go func() {
				values, err := plugin.Selectors(t.Context(), pid)
				to <- answer{values, err}
			}()
		}
	}
	for range callers {
		if a := <-answers[shop]; a.err != nil || !contains(a.values, "image-policy:shop") || contains(a.values, "image-policy:bank") {
			t.Errorf("in shop: %q, %v", a.values, a.err)
		}
		if a := <-answers[bank]; status.Code(a.err) != codes.PermissionDenied || len(a.values) > 0 {
			t.Errorf("in bank: %q, %v", a.values, a.err)
		}
	}
}
