package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// signing is a Sigstore and a registry with the files that a plugin needs for them.
type signing struct {
	*sigstoretest.Sigstore
	registry *sigstoretest.Registry
	dev      *sigstoretest.Signer
	dir      string
	// host is how the plugin calls the registry, block what else is in its block.
	host, block string
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	s := &signing{Sigstore: sigstoretest.New(), registry: sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}), dir: t.TempDir()}
	s.host = s.registry.Host()
	s.dev = s.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("dev@example.org")})
	for name, content := range map[string][]byte{"registry.pem": s.registry.CAPEM(), "root.json": s.TrustedRoot()} {
		if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// push pushes an image, signed by signer if there is one.
func (s *signing) push(name string, signer *sigstoretest.Signer) sigstoretest.Pushed {
	pushed := s.registry.PushImage("shop/"+name, sigstoretest.Image{Content: name, Tag: "1"})
	if signer != nil {
		s.registry.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
			Signer: signer, Digest: pushed.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{s.Rekor1},
		}))
	}
	return pushed
}

// settings is how the registry is reached and whom to trust, with more behind it.
func (s *signing) settings(more string) string {
	return fmt.Sprintf(`
		trust_root "own" {
			trusted_root_path = "%[1]s/root.json"
		}
		registry "%[2]s" {
			ca_path = "%[1]s/registry.pem"
			%[3]s
		}
		%[4]s`, s.dir, s.host, s.block, more)
}

const releasePolicy = `
	image_policy "release" {
		match {
			namespaces = ["shop"]
		}
		authority "dev" {
			issuer     = "https://accounts.example.org"
			subject    = "dev@example.org"
			trust_root = "own"
		}
	}`

// of is app(name) with that image.
func of(name string, image sigstoretest.Pushed) kubelettest.Pod {
	p := app(name)
	p.Containers[0].Image, p.Containers[0].ImageID = image.Ref.Repository.String()+":1", image.Ref.String()
	return p
}

// configured starts a plugin with these settings and what is beside them.
func configured(t *testing.T, with settings, text string) *pluginproc.Process {
	t.Helper()
	plugin := pluginproc.Start(t, pluginproc.Options{})
	if err := plugin.Configure(t.Context(), with.HCL()+text); err != nil {
		t.Fatalf("Configure: %v\n%s", err, text)
	}
	return plugin
}

// imageValues are the selectors of image trust without those of keys, which keyless
// signers have a new one of each time.
func imageValues(values []string) []string {
	var out []string
	for _, v := range values {
		if kind, _, _ := strings.Cut(v, ":"); (strings.HasPrefix(v, "image-") || strings.HasPrefix(v, "pod-image-policy")) && kind != "image-signer-key" {
			out = append(out, v)
		}
	}
	return out
}

func TestAnImagePolicyHoldsForTheSignedImageAlone(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy))
	warning := plugin.WaitFor(t, func(l pluginproc.Line) bool { return strings.Contains(l.Message, "image_status_source") })
	if warning.Level != "warn" {
		t.Errorf("the weakening is logged as %+v", warning)
	}

	got, err := plugin.Selectors(t.Context(), node.Pod(of("signed", s.push("signed", s.dev))))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"image-policy:release", "image-signer-identity:release/dev:https://accounts.example.org#dev@example.org", "image-signer:release/dev"}
	if diff := cmp.Diff(want, imageValues(got)); diff != "" {
		t.Errorf("of the signed image (-want +got):\n%s", diff)
	}
	if !contains(got, "ns:shop") || !contains(got, "container-name:main") || !slices.IsSorted(got) {
		t.Errorf("got %q", got)
	}

	mallory := s.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("mallory@example.org")})
	copied := s.push("copied", nil)
	s.registry.Attach(copied.Ref, sigstoretest.SigTag, sigstoretest.Sign(sigstoretest.Signature{Signer: s.dev, Digest: s.push("other", nil).Ref.Digest, Witnesses: []sigstoretest.Witness{s.Rekor1}}))
	for name, test := range map[string]struct {
		image  sigstoretest.Pushed
		reason string
	}{
		"unsigned": {s.push("unsigned", nil), "there is no signature at "},
		"mallory":  {s.push("mallory", mallory), "other identity"},
		"copied":   {copied, "other content"},
	} {
		p := of(name, test.image)
		wantFailure(t, plugin, node.Pod(p), codes.PermissionDenied, `image policy "release" does not hold for image "`+p.Containers[0].Image+`"`, test.reason)
		line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Message == "attestation failed" && l.Text("pod_uid") == p.UID })
		if line.Text("image_policy") != "release" || line.Text("image") != p.Containers[0].Image || line.Text("step") != "images" || !strings.Contains(line.Text("reason"), test.reason) {
			t.Errorf("%s: the line of the log is %+v", name, line)
		}
	}
	// No policy is for other namespaces, and no registry is asked for them.
	s.registry.Forget()
	elsewhere := of("elsewhere", s.push("elsewhere", nil))
	elsewhere.Namespace = "web"
	if got, err := plugin.Selectors(t.Context(), node.Pod(elsewhere)); err != nil || len(imageValues(got)) > 0 || len(s.registry.Requests()) > 0 {
		t.Errorf("in another namespace: %q, %v, %d requests", got, err, len(s.registry.Requests()))
	}
}

func TestARegistryThatIsAwayIsUnavailableAndThenIsNot(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy))
	pid := node.Pod(of("signed", s.push("signed", s.dev)))
	s.registry.Break(sigstoretest.On{}, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) { w.WriteHeader(http.StatusBadGateway) })
	wantFailure(t, plugin, pid, codes.Unavailable, `image policy "release" does not hold`, "502")
	s.registry.Mend()
	pluginproc.Eventually(t, "the registry is asked again", func() bool {
		got, err := plugin.Selectors(t.Context(), pid)
		return err == nil && contains(got, "image-policy:release")
	})
}

// disable_container_selectors takes away what the container is called, not what is
// known of its image; and it is no way around a policy.
func TestWithoutContainerSelectorsThePolicyStays(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings().With(settings{"disable_container_selectors": true}), s.settings(releasePolicy))
	p := of("signed", s.push("signed", s.dev))
	got, err := plugin.Selectors(t.Context(), node.Pod(p))
	if err != nil || !contains(got, "image-policy:release") || slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, "container-") }) {
		t.Errorf("got %q, %v", got, err)
	}
	stranger := node.Process(pluginproc.ContainerPath(p.UID, kubelettest.ID("stranger")))
	wantFailure(t, plugin, stranger, codes.DeadlineExceeded, "no selectors found after max poll attempts")
}

// The block of the built-in attestor, with its selectors and its answer.
func TestTheSigstoreBlock(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	skipped := s.push("skipped", nil)
	block := fmt.Sprintf(`sigstore {
		trust_root         = "own"
		allowed_identities = {
			"https://accounts.example.org" = ["dev@example.org"]
		}
		skipped_images = ["%s"]
	}`, skipped.Ref)
	plugin := configured(t, node.Settings(), s.settings(block))
	signed := s.push("signed", s.dev)
	got, err := plugin.Selectors(t.Context(), node.Pod(of("signed", signed)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"image-signature:verified", "image-signature-subject:dev@example.org", "image-signature-issuer:https://accounts.example.org",
		"image-signature-identity:https://accounts.example.org#dev@example.org", fmt.Sprintf("image-signature-integrated-time:%d", sigstoretest.Time.Unix())} {
		if !contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	unsigned := s.push("unsigned", nil)
	wantFailure(t, plugin, node.Pod(of("unsigned", unsigned)), codes.Internal, "error verifying sigstore image signature for imageID "+unsigned.Ref.String()+": ", "there is no signature at ")
	got, err = plugin.Selectors(t.Context(), node.Pod(of("skipped", skipped)))
	if err != nil || len(imageValues(got)) > 0 || !contains(got, "container-name:main") {
		t.Errorf("of a skipped image: %q, %v", got, err)
	}
}

// A broker that refers to a pod gets it only if the policy holds for all its images.
func TestABrokersPodMustSatisfyThePolicyAsAWhole(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy))
	signed, unsigned := s.push("signed", s.dev), s.push("unsigned", nil)
	good := of("good", signed)
	bad := of("bad", signed)
	bad.Containers = append(bad.Containers, kubelettest.Container{Name: "side", ID: kubelettest.ID("side"), Kind: kubelettest.Sidecar, Image: unsigned.Ref.Repository.String() + ":1", ImageID: unsigned.Ref.String()})
	decoy := of("decoy", signed)
	decoy.Containers = append(decoy.Containers, kubelettest.Container{Name: "decoy", Image: signed.Ref.Repository.String() + ":1"})
	for _, p := range []kubelettest.Pod{good, bad, decoy} {
		if err := node.Kubelet.AddPod(p.Build()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "good", "")))
	if diff := cmp.Diff([]string{"pod-image-policy:release"}, imageValues(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, reason := range map[string]string{"bad": `of container "side"`, "decoy": `"decoy" was not started`} {
		got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", name, "")))
		if len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
		wantStatus(t, err, codes.PermissionDenied, `image policy "release" does not hold`, reason)
	}
}

// ADVERSARIAL.md 37: what was written to pods/status at the API server is in the list
// of the kubelet's port, and counts for nothing where the Pods API is believed.
func TestAForgedStatusIsNotBelieved(t *testing.T) {
	t.Parallel()
	n := newBothWays(t)
	s := newSigning(t)
	signed, unsigned := s.push("signed", s.dev), s.push("unsigned", nil)
	// Through the port, where the forgery can't be told from the truth.
	believing := configured(t, n.Settings().With(settings{"pod_source": "kubelet"}), s.settings(releasePolicy))
	careful := configured(t, n.Settings().With(settings{"pod_source": "auto", "image_status_source": "pods_api", "pods_api_socket": n.socket}), s.settings(releasePolicy))

	p := of("victim", unsigned)
	n.api.AddPod(p.Build())
	p.Containers[0].ImageID = signed.Ref.String()
	if err := n.Kubelet.AddPod(p.Build()); err != nil {
		t.Fatal(err)
	}
	pid := n.process(t, "victim")
	if got, err := believing.Selectors(t.Context(), pid); err != nil || !contains(got, "image-policy:release") {
		t.Errorf("the test forges nothing: %q, %v", got, err)
	}
	for range 3 { // pods are known from the port at first, and from the Pods API then
		wantFailure(t, careful, pid, codes.PermissionDenied, `image policy "release" does not hold`, unsigned.Ref.String(), "there is no signature at ")
	}
}

// What the plugin does about an image can be looked at.
func TestAttestExplainsWhatWasFoundOutAboutTheImage(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	config := filepath.Join(t.TempDir(), "podseal.conf")
	if err := os.WriteFile(config, []byte(node.Settings().HCL()+s.settings(releasePolicy)), 0o600); err != nil {
		t.Fatal(err)
	}
	signed, unsigned := s.push("signed", s.dev), s.push("unsigned", nil)
	for _, test := range []struct {
		name    string
		image   sigstoretest.Pushed
		outcome string
		texts   []string
	}{
		{"signed", signed, "verified", []string{"image_policy release", "accepted", "counts as signature: signed by dev@example.org", "k8s:image-policy:release", "as the pod's record says; nothing is against it of image_policy release"}},
		{"unsigned", unsigned, "not_verified", []string{"image_policy release", "refused", "there is no signature at " + unsigned.Ref.String()}},
	} {
		pid := fmt.Sprint(node.Pod(of(test.name, test.image)))
		text, _ := exec.CommandContext(t.Context(), pluginproc.Binary(t), "attest", "--pid", pid, "--explain", "--config", config).Output() // its exit code is not the point
		plain := strings.Join(strings.Fields(string(text)), " ")
		for _, want := range test.texts {
			if !strings.Contains(plain, want) {
				t.Errorf("%s: %q is missing in\n%s", test.name, want, text)
			}
		}
		document, _ := exec.CommandContext(t.Context(), pluginproc.Binary(t), "attest", "--pid", pid, "--explain", "-o", "json", "--config", config).Output()
		var answer struct {
			Explanation struct {
				Images []struct {
					Outcome string
					ImageID string `json:"image_id"`
				}
			}
		}
		if err := json.Unmarshal(document, &answer); err != nil {
			t.Fatal(err)
		}
		if images := answer.Explanation.Images; len(images) != 1 || images[0].Outcome != test.outcome || images[0].ImageID != test.image.Ref.String() {
			t.Errorf("%s: %s", test.name, document)
		}
	}
}
