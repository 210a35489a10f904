package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/terminal"
)

const (
	devIssuer  = "https://accounts.example.org"
	devSubject = "dev@example.org"
)

// signedWorld is a registry with an image that dev signed and one that nobody did,
// and the files that a configuration names.
type signedWorld struct {
	t                *testing.T
	sigstore         *sigstoretest.Sigstore
	registry         *sigstoretest.Registry
	dir              string
	signed, unsigned image.Ref
}

func newSignedWorld(t *testing.T) *signedWorld {
	t.Helper()
	w := &signedWorld{t: t, sigstore: sigstoretest.New(), registry: sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}), dir: t.TempDir()}
	w.signed = w.registry.PushImage("pay/api", sigstoretest.Image{Content: "signed"}).Ref
	w.unsigned = w.registry.PushImage("pay/api", sigstoretest.Image{Content: "unsigned"}).Ref
	w.sign(w.sigstore.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email(devSubject)}), w.signed)
	w.write("root.json", w.sigstore.TrustedRoot())
	w.write("ca.pem", w.registry.CAPEM())
	return w
}

func (w *signedWorld) sign(by *sigstoretest.Signer, ref image.Ref) {
	w.registry.Attach(ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
		Signer: by, Digest: ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{w.sigstore.Rekor2, w.sigstore.TSA},
	}))
}

func (w *signedWorld) write(name string, text []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// config is a file with the registry, the trust root and that.
func (w *signedWorld) config(name, text string) string {
	return w.write(name, fmt.Appendf(nil, "registry %q {\nca_path = %q\n}\ntrust_root \"test\" {\ntrusted_root_path = %q\n}\n%s",
		w.registry.Host(), filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "root.json"), text))
}

// policyFor is an image_policy for dev, with that in it.
func policyFor(name, text string) string {
	return fmt.Sprintf("image_policy %q {\n%s\nauthority \"dev\" {\nissuer = %q\nsubject = %q\ntrust_root = \"test\"\n}\n}\n", name, text, devIssuer, devSubject)
}

// run runs a command line and returns what it wrote.
func (w *signedWorld) run(stdin string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = Main(w.t.Context(), Env{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &terminal.Output{W: &out}, Stderr: &terminal.Output{W: &errs},
		Getenv: func(string) string { return "" }, Proc: "/proc", Executable: "/opt/podseal/podseal",
	})
	return code, out.String(), errs.String()
}

// verify runs the command and reads its document.
func (w *signedWorld) verify(wantCode int, args ...string) verification {
	w.t.Helper()
	code, stdout, stderr := w.run("", append([]string{"verify", "-o", "json"}, args...)...)
	var v verification
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		w.t.Fatalf("%v; exit code %d, stdout %q, stderr %q", err, code, stdout, stderr)
	}
	if code != wantCode {
		w.t.Errorf("exit code %d, want %d; %s", code, wantCode, stdout)
	}
	return v
}

func TestVerifyASignedImage(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", policyFor("release", ""))
	v := w.verify(exitOK, "--config", conf, w.signed.String())
	want := verification{header: kind("Verification"), Outcome: outcomeVerified, Images: []verifiedImage{{
		Image: w.signed.String(), ImageID: w.signed.String(), Outcome: outcomeVerified,
		Policies: []judgedPolicy{{Name: "image_policy release", Result: "accepted"}},
		Selectors: []string{
			"k8s:image-policy:release",
			"k8s:image-signer-identity:release/dev:" + devIssuer + "#" + devSubject,
			"k8s:image-signer-key:release/dev:KEY",
			"k8s:image-signer:release/dev",
		},
	}}}
	used := &v.Images[0]
	if e := used.Evidence; e == nil || e.Stored || e.Fetched == "" || e.Age > 600 {
		t.Errorf("evidence %+v", e)
	}
	if r := used.TrustRoots; len(r) != 1 || r[0].Origin != "the file "+filepath.Join(w.dir, "root.json") || r[0].Fetched == "" || r[0].Expires+r[0].Problem != "" {
		t.Errorf("trust roots %+v", r)
	}
	used.Evidence, used.TrustRoots = nil, nil
	for i, s := range v.Images[0].Selectors {
		v.Images[0].Selectors[i] = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(s, "KEY")
	}
	if diff := cmp.Diff(want, v, cmp.AllowUnexported(verification{}, header{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVerifyExplainsEveryCandidate(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	w.sign(w.sigstore.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email("mallory@example.org")}), w.signed)
	conf := w.config("podseal.conf", policyFor("release", ""))
	v := w.verify(exitOK, "--explain", "--config", conf, w.signed.String())
	e := v.Images[0].Explanation
	if e == nil || len(e.Places) != 1 || e.Places[0].Place != w.signed.String() || len(e.Places[0].Found) != 2 || e.Places[0].Origin == "" || !strings.HasPrefix(e.Config, "sha256:") {
		t.Fatalf("explanation %+v", e)
	}
	var counted, refused []judgedCandidate
	for _, c := range e.Candidates {
		if c.Counts {
			counted = append(counted, c)
		} else {
			refused = append(refused, c)
		}
	}
	if len(counted) != 1 || len(refused) != 1 {
		t.Fatalf("candidates %+v", e.Candidates)
	}
	if s := counted[0].Signer; s.Issuer != devIssuer || s.Subject != devSubject || s.SubjectType != "email" || s.Time == "" || s.LogID == "" || s.Digest != w.signed.Digest.String() {
		t.Errorf("signer %+v", s)
	}
	if !strings.Contains(refused[0].Refusal, "mallory@example.org") || refused[0].Authority != "dev" || refused[0].Policy != "image_policy release" {
		t.Errorf("refused %+v", refused[0])
	}
	code, stdout, _ := w.run("", "verify", "--explain", "--config", conf, w.signed.String())
	for _, part := range []string{"mallory@example.org", "for whom " + devIssuer + " vouches", "k8s:image-policy:release\n", "verified\n"} {
		if code != exitOK || !strings.Contains(stdout, part) {
			t.Errorf("exit code %d, no %q in\n%s", code, part, stdout)
		}
	}
}

func TestVerifyAnUnsignedImage(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", "sigstore {\ntrust_root = \"test\"\nallowed_identities = {\n\"https://a\" = [\"b\"]\n}\n}\n"+policyFor("release", ""))
	v := w.verify(exitFailed, "--config", conf, w.unsigned.String())
	if v.Outcome != outcomeNotVerified || len(v.Images[0].Policies) != 2 || len(v.Images[0].Selectors) > 0 {
		t.Errorf("%+v", v)
	}
	for _, p := range v.Images[0].Policies {
		if p.Result != "refused" || len(p.Reasons) != 1 || !strings.Contains(p.Reasons[0], "no signature at "+w.unsigned.String()) {
			t.Errorf("%+v", p)
		}
	}
}

// Where something is away nobody can tell, and a script must not take it for a
// refusal.
func TestVerifyWhatCantBeTold(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	w.registry.Close()
	conf := w.config("podseal.conf", policyFor("release", "match {\nnamespaces = [\"pay\"]\n}"))
	if v := w.verify(exitUntold, "--config", conf, w.signed.String()); v.Outcome != outcomeUnknown || v.Images[0].Policies[0].Result != "unknown" {
		t.Errorf("%+v", v)
	}
	if v := w.verify(exitUntold, "--config", conf, "--namespace", "shop", w.signed.String()); v.Outcome != outcomeNoPolicy || len(v.Images[0].Policies) > 0 {
		t.Errorf("%+v", v)
	}
	skipping := w.config("skip.conf", fmt.Sprintf("sigstore {\ntrust_root = \"test\"\nskipped_images = [%q]\n}\n", w.signed))
	if v := w.verify(exitUntold, "--config", skipping, w.signed.String()); v.Outcome != outcomeSkipped || v.Images[0].Policies[0].Result != "skipped" {
		t.Errorf("%+v", v)
	}
}

func TestVerifyByThePoliciesThatMatch(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", policyFor("pay", "match {\nnamespaces = [\"pay\"]\n}")+policyFor("shop", "match {\nservice_accounts = [\"shop/api\"]\n}"))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"image_policy pay", "image_policy shop"}},
		{[]string{"--namespace", "pay"}, []string{"image_policy pay"}},
		{[]string{"-n", "shop", "--service-account", "api"}, []string{"image_policy shop"}},
		{[]string{"-n", "pay", "--service-account", "api"}, []string{"image_policy pay"}},
	} {
		v := w.verify(exitOK, append([]string{"--config", conf, w.signed.String()}, c.args...)...)
		var names []string
		for _, p := range v.Images[0].Policies {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("%q with %q, want %q", names, c.args, c.want)
		}
	}
}

// The file has other policies; the registries are known from the configuration.
func TestVerifyByAFileOfPolicies(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", "image_policy \"never\" {\nauthority \"nobody\" {\nstatic = \"deny\"\n}\n}\n")
	policies := w.write("policies.conf", fmt.Appendf(nil, "trust_root \"test\" {\ntrusted_root_path = %q\n}\n%s", filepath.Join(w.dir, "root.json"), policyFor("tried", "")))
	v := w.verify(exitOK, "--config", conf, "--policy-file", policies, w.signed.String())
	if len(v.Images[0].Policies) != 1 || v.Images[0].Policies[0].Name != "image_policy tried" {
		t.Errorf("%+v", v.Images[0].Policies)
	}
	broken := w.write("broken.conf", []byte("image_policy \"x\" {\n}\n"))
	if code, _, stderr := w.run("", "verify", "--config", conf, "--policy-file", broken, w.signed.String()); code != exitUntold || !strings.Contains(stderr, broken+":1:14: image_policy[x].authority: at least one is required") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// aPod is a pod with these containers as kubectl shows it; one without an image ID was
// not started.
func aPod(namespace string, containers ...[2]string) string {
	type object = map[string]any
	var specs, statuses []object
	for i, c := range containers {
		name := fmt.Sprintf("c%d", i)
		specs = append(specs, object{"name": name, "image": c[0]})
		if c[1] != "" {
			statuses = append(statuses, object{"name": name, "image": c[0], "imageID": c[1], "containerID": "containerd://" + strings.Repeat("a", 64)})
		}
	}
	text, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "api-0", "namespace": namespace},
		"spec": object{"containers": specs, "serviceAccountName": "api"}, "status": object{"containerStatuses": statuses},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestVerifyThePodOfAFile(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", policyFor("pay", "match {\nservice_accounts = [\"pay/api\"]\n}"))
	tagged := w.signed.Repository.String() + ":1"
	for _, c := range []struct {
		name string
		pod  string
		code int
		want []string
	}{
		{"all signed, one of them not started", aPod("pay", [2]string{tagged, w.signed.String()}, [2]string{w.signed.String()}), exitOK, []string{outcomeVerified, outcomeVerified}},
		{"one is not signed", aPod("pay", [2]string{tagged, w.signed.String()}, [2]string{tagged, w.unsigned.String()}), exitFailed, []string{outcomeVerified, outcomeNotVerified}},
		{"one is not started and has a tag", aPod("pay", [2]string{tagged}), exitUntold, []string{outcomeUnknown}},
		{"no policy is about it", aPod("shop", [2]string{tagged, w.signed.String()}), exitUntold, []string{outcomeNoPolicy}},
	} {
		v := w.verify(c.code, "--config", conf, "--pod", w.write("pod.json", []byte(c.pod)))
		var got []string
		for i, image := range v.Images {
			got = append(got, image.Outcome)
			if image.Container != fmt.Sprintf("c%d", i) {
				t.Errorf("%s: container %q", c.name, image.Container)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if code, _, stderr := w.run(`{"kind": "PodList"}`, "verify", "--config", conf, "--pod", "-"); code != exitUntold || !strings.Contains(stderr, `-: it is a "PodList", not a Pod`) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// A tag is an image that may be another one tomorrow.
func TestVerifyWhatIsNoImage(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf := w.config("podseal.conf", policyFor("release", ""))
	for _, c := range []struct{ image, want string }{
		{"registry.example.org/pay/api:1", "a tag can mean another image tomorrow: say which with @sha256:"},
		{"registry.example.org/pay/api", "a tag can mean another image tomorrow"},
		{"registry.example.org/pay/api@sha256:0123", "is not \"sha256:\" and 64"},
		{"sha256:" + strings.Repeat("0", 64), "an image without a repository"},
	} {
		if code, stdout, stderr := w.run("", "verify", "--config", conf, c.image); code != exitUntold || stdout != "" || !strings.Contains(strings.ReplaceAll(stderr, "\n", " "), c.want) {
			t.Errorf("%s: exit code %d, %q, %q, want %s", c.image, code, stdout, stderr, c.want)
		}
	}
}

func TestVerifyWithoutAnythingToGoBy(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	empty := w.write("empty.conf", nil)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--config", empty, w.signed.String()}, "nothing is asked of images"},
		{[]string{"--config", filepath.Join(w.dir, "gone.conf"), w.signed.String()}, "no such file"},
		{[]string{"--config", w.config("key.conf", "image_policy \"x\" {\nauthority \"k\" {\nkey_path = \"/does/not/exist\"\n}\n}\n"), w.signed.String()}, "image_policy[x].authority[k].key_path: "},
		{[]string{}, "an image or --pod FILE is needed"},
		{[]string{"a", "b"}, "takes one image, not 2"},
		{[]string{"--pod", "p", w.signed.String()}, "not both"},
		{[]string{"--pod", "p", "-n", "pay"}, "are the pod's with --pod"},
		{[]string{"--service-account", "api", w.signed.String()}, "--service-account needs --namespace"},
	} {
		code, stdout, stderr := w.run("", append([]string{"verify"}, c.args...)...)
		if code != exitUntold || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, %q, %q, want %s", c.args, code, stdout, stderr, c.want)
		}
	}
}

// Documents for the golden files.

func aVerification() *verification {
	id := "registry.example.org/payments/api@" + digest
	return &verification{header: kind("Verification"), Outcome: outcomeNotVerified, Images: []verifiedImage{
		{
			Container: "api", Image: "registry.example.org/payments/api:1.4.2", ImageID: id, Outcome: outcomeVerified,
			Policies: []judgedPolicy{{Name: "sigstore", Result: "accepted"}, {Name: "image_policy release", Result: "accepted"}},
			Selectors: []string{
				"k8s:image-policy:release", "k8s:image-signature-issuer:" + devIssuer, "k8s:image-signature-subject:" + devSubject,
				"k8s:image-signature:verified", "k8s:image-signer:release/dev",
			},
			Evidence: &usedEvidence{Fetched: "2026-11-21T12:29:59Z", Age: 1},
			TrustRoots: []usedRoot{
				{Origin: "TUF, https://tuf.example.org", Fetched: "2026-11-21T09:30:00Z", Age: 3 * 3600, Expires: "2026-11-28T12:30:00Z"},
				{Origin: "the file /etc/podseal/trusted_root.json", Fetched: "2026-11-09T12:30:00Z", Age: 12 * 24 * 3600},
			},
		},
		{
			Container: "sidecar", Image: "docker.io/library/envoy", ImageID: "docker.io/library/envoy@" + digest, Outcome: outcomeNotVerified,
			Policies: []judgedPolicy{
				{Name: "sigstore", Result: "refused", Reasons: []string{`bundle from the referrers of sha256:0123: other identity: https://accounts.example.org#mallory\x1b[31m is not allowed`}},
				{Name: "image_policy release", Result: "unknown", Reasons: []string{`registry "docker.io": unavailable: dial tcp: i/o timeout`}},
				{Name: "image_policy tried", Result: "refused", Reasons: []string{"there is no signature"}, Mode: "audit"},
				{Name: "image_policy lasting", Result: "accepted", Stale: "2026-11-21T06:00:00Z"},
			},
			Selectors:  []string{},
			Evidence:   &usedEvidence{Fetched: "2026-11-21T06:00:00Z", Age: 6.5 * 3600, Stored: true},
			TrustRoots: []usedRoot{{Origin: "the public-good root of 2025-02-19 that is built in", Fetched: "2025-02-19T00:00:00Z", Age: 640 * 24 * 3600, Problem: `"https://tuf-repo-cdn.sigstore.dev": i/o timeout`}},
		},
		{Container: "debug\x1b[31m", Image: "busybox", Outcome: outcomeNoPolicy, Policies: []judgedPolicy{}, Selectors: []string{}},
	}}
}

func anExplainedVerification() *verification {
	v := aVerification()
	v.Images = v.Images[:1]
	v.Outcome = outcomeVerified
	by := signer{Issuer: devIssuer, Subject: devSubject, SubjectType: "email", Key: "sha256:" + idOf("b"), Time: "2026-11-21T12:30:00Z", LogID: idOf("c"), Digest: digest}
	v.Images[0].Explanation = &imageExplanation{
		Config:   "sha256:" + idOf("d"),
		Problems: []string{"the index sha256:0123 lists more than one manifest that could run here"},
		Places: []askedPlace{
			{Place: v.Images[0].ImageID, Origin: "the image ID of the container's status", Found: []string{"bundle from a referrer", "simple signing from sha256-0123.sig"}},
			{Place: "mirror.example.org/payments/api@" + digest, Origin: "what the tag in the pod's spec names now", Found: []string{}, Problems: []string{`registry "mirror.example.org": denied: 401`}},
			{Place: "old.example.org/payments/api@" + digest, Found: []string{}},
		},
		Candidates: []judgedCandidate{
			{Candidate: "bundle from a referrer", Policy: "sigstore", Kind: "signature", Counts: true, Signer: &by},
			{Candidate: "simple signing from sha256-0123.sig", Policy: "image_policy release", Authority: "dev", Refusal: "not in the log: no log of the root has it\x1b]0;gotcha\a"},
			{Candidate: "envelope from sha256-0123.att", Policy: "image_policy release", Authority: "key", Kind: "attestation https://slsa.dev/provenance/v1", Counts: true,
				Signer: &signer{Key: "sha256:" + idOf("e"), Digest: digest}},
		},
	}
	return v
}
