package setup_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/cri/critest"
	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
	"github.com/podseal/podseal/test/testenv"
)

// trusted is a virtual Sigstore whose files are in a directory.
type trusted struct {
	*sigstoretest.Sigstore
	registry *sigstoretest.Registry
	key      *sigstoretest.Signer
	dir      string
}

func newTrusted(t *testing.T) *trusted {
	t.Helper()
	w := &trusted{Sigstore: sigstoretest.New(), registry: sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}), key: sigstoretest.NewKey(sigstoretest.ECDSAP256), dir: t.TempDir()}
	pki := sigstoretest.NewCA(sigstoretest.CAOptions{Name: "pki"})
	w.write(t, "registry.pem", w.registry.CAPEM())
	w.write(t, "root.json", w.TrustedRoot())
	w.write(t, "key.pub", w.key.PublicPEM())
	w.write(t, "pki.pem", pki.ChainPEM())
	w.write(t, "keys/a.pub", w.key.PublicPEM())
	w.write(t, "keys/.hidden", []byte("no key"))
	return w
}

func (w *trusted) write(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// text is a configuration of every kind of authority; change replaces parts of it.
func (w *trusted) text(change ...string) string {
	text := fmt.Sprintf(`
		trust_root "own" {
			trusted_root_path = "%[1]s/root.json"
		}
		registry "%[2]s" {
			ca_path = "%[1]s/registry.pem"
		}
		image_policy "release" {
			authority "person" {
				issuer     = "https://accounts.example.org"
				subject    = "dev@example.org"
				trust_root = "own"
			}
			authority "ci" {
				issuer         = "https://token.actions.githubusercontent.com"
				subject_regexp = "https://github\\.com/org/.+"
				source_ref     = "refs/heads/main"
				trust_root     = "own"
			}
			authority "key" {
				key_path = "%[1]s/key.pub"
			}
			authority "keys" {
				key_dir      = "%[1]s/keys"
				require_tlog = true
				trust_root   = "own"
			}
			authority "pki" {
				ca_path = "%[1]s/pki.pem"
				subject = "dev@example.org"
			}
			authority "nobody" {
				static = "deny"
			}
		}`, w.dir, w.registry.Host())
	return strings.NewReplacer(change...).Replace(text)
}

// running is a pod that runs the image, by its status.
func running(pushed sigstoretest.Pushed) *pod.Pod {
	return &pod.Pod{UID: "u", Namespace: "ns", Name: "p", ServiceAccount: "sa", Containers: []pod.Container{{Name: "c", Type: pod.Regular, ID: "1",
		SpecImage: pushed.Ref.String(), HasStatus: true, Image: pushed.Ref.String(), ImageID: pushed.Ref.String(), Running: true}}}
}

// verified are the selectors of image trust of a pod that runs the image.
func verified(t *testing.T, parts *setup.Parts, pushed sigstoretest.Pushed) ([]string, error) {
	t.Helper()
	p := running(pushed)
	r, err := parts.Attestor.Images.Container(t.Context(), p, &p.Containers[0])
	if err != nil {
		return nil, err
	}
	return selector.Images(r.Trust)
}

func TestImagePoliciesOfAConfigurationAreInForce(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w := newTrusted(t)
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	parts := build(t, process, parse(t, port, files, w.text()), nil)
	if diff := cmp.Diff([]string(nil), parts.SettleRoots(t.Context())); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	signers := map[string]*sigstoretest.Signer{
		"person": w.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("dev@example.org")}),
		"ci":     w.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/heads/main")),
		"key":    w.key,
		"branch": w.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/heads/evil")),
		"nobody": sigstoretest.NewKey(sigstoretest.ECDSAP256),
	}
	for name, signer := range signers {
		app := w.registry.PushImage("app/"+name, sigstoretest.Image{Content: name})
		w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: signer, Digest: app.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{w.Rekor1}}))
		got, err := verified(t, parts, app)
		text := strings.Join(got, "\n")
		accepted := name != "branch" && name != "nobody"
		if (err == nil) != accepted || accepted && !strings.Contains(text, "image-signer:release/"+name) {
			t.Errorf("signed by %s: %s, %v", name, text, err)
		}
	}
}

func TestMistakesInFilesAreSaidWithTheirKeys(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w := newTrusted(t)
	w.write(t, "empty/.keep", nil)
	w.write(t, "garbage", []byte("garbage"))
	w.write(t, "huge", make([]byte, 2<<20))
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	for _, test := range []struct{ from, to, want string }{
		{"/root.json", "/nowhere", "trust_root[own].trusted_root_path: "},
		{"/root.json", "/garbage", "trust_root[own].trusted_root_path: "},
		{"/root.json", "/huge", "is larger than 1048576 bytes"},
		{"/key.pub", "/nowhere", "image_policy[release].authority[key].key_path: open "},
		{"/key.pub", "/garbage", "image_policy[release].authority[key].key_path: "},
		{"/keys\"", "/empty\"", "image_policy[release].authority[keys].key_dir: "},
		{"/keys\"", "/nowhere\"", "image_policy[release].authority[keys].key_dir: open "},
		{"/pki.pem", "/nowhere", "image_policy[release].authority[pki].ca_path: open "},
		{"/pki.pem", "/key.pub", "image_policy[release].authority[pki].ca_path: "},
		{"/registry.pem", "/nowhere", "registry"},
	} {
		_, err := process.Build(parse(t, port, files, w.text(test.from, test.to)), nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("with %s: %v, want %s", test.to, err, test.want)
		}
	}
}

// A reconfiguration that has nothing to do with registries keeps their client, with
// its connections; keys are read again.
func TestTheClientOfRegistriesSurvivesAReconfiguration(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w := newTrusted(t)
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	other := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: other, Digest: app.Ref.Digest}))
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	first := build(t, process, parse(t, port, files, w.text()), nil)
	if got, err := verified(t, first, app); err == nil {
		t.Errorf("before: %q", got)
	}
	w.write(t, "key.pub", other.PublicPEM())
	second := build(t, process, parse(t, port, files, w.text()), first)
	first.CloseUnlessIn(second)
	if got, err := verified(t, second, app); err != nil {
		t.Errorf("with the new key: %q, %v", got, err)
	}
	// A broken file leaves all as it was.
	w.write(t, "key.pub", []byte("garbage"))
	if _, err := process.Build(parse(t, port, files, w.text()), second); err == nil {
		t.Error("a broken key was taken up")
	}
	if got, err := verified(t, second, app); err != nil {
		t.Errorf("after a refused configuration: %q, %v", got, err)
	}
	none := build(t, process, parse(t, port, files, ""), second)
	second.CloseUnlessIn(none)
	if none.Attestor.Images != nil {
		t.Error("images are verified although nothing asks for it")
	}
}

// ADVERSARIAL.md 37: with cri_socket it is the runtime that says what runs, whatever
// is written in the pod's status.
func TestTheRuntimeIsBelievedWhereItIsConfigured(t *testing.T) {
	t.Parallel()
	testenv.Require(t, os.Geteuid() == 0, "needs root, who alone may listen in the runtime's place")
	port, files := node(t)
	w := newTrusted(t)
	signed, unsigned := w.registry.PushImage("app", sigstoretest.Image{Content: "signed"}), w.registry.PushImage("app", sigstoretest.Image{Content: "unsigned"})
	w.registry.Attach(signed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: w.key, Digest: signed.Ref.Digest}))
	socket := filepath.Join(w.dir, "cri.sock")
	runtime, err := critest.Start(critest.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runtime.Close)
	text := w.text() + fmt.Sprintf("\ncri_socket = %q\n", socket)
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	parts := build(t, process, parse(t, port, files, text), nil)

	run := func(image sigstoretest.Pushed) {
		runtime.Pull(critest.Image{Config: image.Config.String(), Digests: []string{image.Ref.String()}})
		runtime.Run(critest.Container{ID: "1", PodUID: "u", Namespace: "ns", PodName: "p", Name: "c", Image: image.Config.String(), Spec: image.Ref.String(), State: runtimev1.ContainerState_CONTAINER_RUNNING})
	}
	run(unsigned)
	if got, err := verified(t, parts, signed); err == nil || !strings.Contains(err.Error(), unsigned.Ref.String()) {
		t.Errorf("a forged status: %q, %v", got, err)
	}
	// The same client is asked after a reconfiguration, and another one where the
	// socket is another.
	second := build(t, process, parse(t, port, files, text+"disable_container_selectors = true\n"), parts)
	parts.CloseUnlessIn(second)
	if got, err := verified(t, second, signed); err == nil || !strings.Contains(err.Error(), unsigned.Ref.String()) {
		t.Errorf("after a reconfiguration: %q, %v", got, err)
	}
	runtime.Stop()
	third := build(t, process, parse(t, port, files, w.text()+fmt.Sprintf("\ncri_socket = %q\n", socket+".other")), second)
	second.CloseUnlessIn(third)
	_, err = verified(t, third, signed)
	if e, ok := errors.AsType[*verify.Error](err); !ok || e.Kind() != verify.Unavailable {
		t.Errorf("without a runtime: %v", err)
	}
}
