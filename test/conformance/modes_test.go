package conformance_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// wantWithheld attests the process, which must get its selectors without those of the
// policy.
func wantWithheld(t *testing.T, plugin *pluginproc.Process, pid int, policy string, others ...string) {
	t.Helper()
	got, err := plugin.Selectors(t.Context(), pid)
	if err != nil || !contains(got, append(others, "container-name:main")...) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, v := range got {
		if strings.HasPrefix(v, "image-policy:"+policy) || strings.HasPrefix(v, "image-signer") && strings.Contains(v, ":"+policy+"/") {
			t.Errorf("%q is among the selectors", v)
		}
	}
}

// What follows from a policy that does not hold is what its mode says: of two policies
// for one image each costs its own selectors, and the log says so.
func TestModesOfPolicies(t *testing.T) {
	t.Parallel()
	for mode, words := range map[string]string{
		"withhold": "image policies don't hold: their selectors are withheld",
		"audit":    `image policies don't hold, and nothing follows but that their selectors are missing (mode = "audit")`,
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			s := newSigning(t)
			tried := strings.Replace(policyOf("tried", "shop", fmt.Sprintf("mode = %q", mode)), "dev@", "release@", 1)
			plugin := configured(t, node.Settings(), s.settings(policyOf("firm", "shop", "")+tried))
			bySelf := node.Pod(of("by-dev", s.push("by-dev", s.dev)))
			wantWithheld(t, plugin, bySelf, "tried", "ns:shop", "image-policy:firm")
			uid := kubelettest.UID("by-dev")
			line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Message == words && l.Text("pod_uid") == uid })
			if line.Level != "warn" || line.Text("image_policy") != "tried" || !strings.Contains(line.Text("reason"), "other identity") {
				t.Errorf("the line of the log is %+v", line)
			}
			// The firm one fails it all, with the other one's selectors.
			release := s.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("release@example.org")})
			wantFailure(t, plugin, node.Pod(of("by-release", s.push("by-release", release))), codes.PermissionDenied, `image policy "firm" does not hold`)
			// Where it holds its selectors are there in every mode.
			both := s.push("both", s.dev)
			s.registry.Attach(both.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: release, Digest: both.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{s.Rekor1}}))
			got, err := plugin.Selectors(t.Context(), node.Pod(of("both", both)))
			if err != nil || !contains(got, "image-policy:firm", "image-policy:tried") {
				t.Errorf("got %q, %v", got, err)
			}
			// And for the pod as a whole.
			for name, want := range map[string][]string{"by-dev": {"pod-image-policy:firm"}, "both": {"pod-image-policy:firm", "pod-image-policy:tried"}} {
				got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", name, "")))
				if err != nil || strings.Join(imageValues(got), " ") != strings.Join(want, " ") {
					t.Errorf("pod %s: %q, %v", name, got, err)
				}
			}
			_, err = attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "by-release", "")))
			wantStatus(t, err, codes.PermissionDenied, `image policy "firm" does not hold`)
		})
	}
}

// on_unavailable = "withhold" costs the selectors of a policy while its registry is
// away, and nothing else; what is there and not signed is refused as ever. It is for
// what does not answer alone: a bound that is hit is no absence (ADVERSARIAL.md, row 38).
func TestWithholdWhileARegistryIsAway(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	w := s.through(t)
	plugin := configured(t, node.Settings(), s.settings(policyOf("release", "shop", `on_unavailable = "withhold"`)+hasty))
	mallory := s.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("mallory@example.org")})
	flooded := s.push("flooded", nil)
	for range 33 { // limits.max_signatures is 32
		s.registry.Attach(flooded.Ref, sigstoretest.SigTag, sigstoretest.Sign(sigstoretest.Signature{Signer: mallory, Digest: flooded.Ref.Digest, Witnesses: []sigstoretest.Witness{s.Rekor1}}))
	}
	tooMany := node.Pod(s.pod("shop", "flooded", flooded))
	wantFailure(t, plugin, tooMany, codes.ResourceExhausted, `image policy "release" does not hold`, "32")
	unsigned := node.Pod(s.pod("shop", "unsigned", s.push("unsigned", nil)))
	wantFailure(t, plugin, unsigned, codes.PermissionDenied, `image policy "release" does not hold`)
	w.Cut()
	signed := node.Pod(s.pod("shop", "signed", s.push("signed", s.dev)))
	wantWithheld(t, plugin, signed, "release", "ns:shop")
	line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return strings.Contains(l.Message, "their selectors are withheld") })
	if line.Level != "warn" || line.Text("image_policy") != "release" || !strings.Contains(line.Text("reason"), "connection refused") {
		t.Errorf("the line of the log is %+v", line)
	}
	got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "signed", "")))
	if err != nil || !contains(got, "pod-name:signed") || len(imageValues(got)) > 0 {
		t.Errorf("the pod as a whole: %q, %v", got, err)
	}
	w.Mend()
	eventuallyVerified(t, plugin, signed, "release")
}

// ADVERSARIAL.md, row 38: who may push takes the signature away and puts so many others
// in its place that a bound is hit. That is no outage, and what was kept from before is
// not believed for it.
func TestAFloodOfSignaturesIsNoOutage(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	image := k.push("app", nil)
	path := image.Ref.Repository.Path()
	own := k.registry.Attach(image.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: k.dev, Digest: image.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{k.Rekor1}}))
	pid := k.Node.Pod(k.pod("shop", "app", image))
	plugin := pluginproc.Start(t, pluginproc.Options{})
	configure := func(user string) {
		t.Helper()
		if err := plugin.Configure(t.Context(), k.settings(user, `on_unavailable = "stale"`)); err != nil {
			t.Fatal(err)
		}
	}
	configure("user")
	wantVerified(t, plugin, pid, "release")

	mallory := k.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("mallory@example.org")})
	for range 33 { // limits.max_signatures is 32
		k.registry.Attach(image.Ref, sigstoretest.SigTag, sigstoretest.Sign(sigstoretest.Signature{Signer: mallory, Digest: image.Ref.Digest, Witnesses: []sigstoretest.Witness{k.Rekor1}}))
	}
	k.registry.Delete(path, own[0].String())
	configure("another") // who asks anew
	wantFailure(t, plugin, pid, codes.ResourceExhausted, `image policy "release" does not hold`, "32")
	// While the registry is away the same evidence is what the operator has asked for.
	k.wire.Cut()
	configure("a third")
	wantVerified(t, plugin, pid, "release")
}

// ADVERSARIAL.md, row 38: who chooses the image chooses a registry that does not answer.
// It has no block, so its silence is no reason to withhold or to believe anything old.
func TestARegistryWithoutABlockThatTimesOutIsRefused(t *testing.T) {
	t.Parallel()
	for _, choice := range []string{"withhold", "stale"} {
		t.Run(choice, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			s := newSigning(t)
			plugin := pluginproc.Start(t, pluginproc.Options{PrivateMounts: true})
			// Of its names nothing is heard: public addresses are out of a test's reach.
			silence, asked := silentNames(t)
			plugin.Cover(t, "/etc/resolv.conf", "nameserver "+silence+"\noptions timeout:1 attempts:1\n")
			if err := plugin.Configure(t.Context(), node.Settings().HCL()+s.settings("registries = \"any\"\n"+policyOf("release", "shop", fmt.Sprintf("on_unavailable = %q", choice))+hasty)); err != nil {
				t.Fatal(err)
			}
			wantVerified(t, plugin, node.Pod(of("signed", s.push("signed", s.dev))), "release")
			p := app("theirs")
			p.Containers[0].Image = "registry.attacker.example/shop/app:1"
			p.Containers[0].ImageID = "registry.attacker.example/shop/app@sha256:" + kubelettest.ID("theirs")
			pid := node.Pod(p)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					wantFailure(t, plugin, pid, codes.Unavailable, `image policy "release" does not hold`, "registry.attacker.example")
				})
			}
			all.Wait()
			if asked.Load() == 0 {
				t.Error("nobody asked for its address")
			}
		})
	}
}

// silentNames is the address of a name server that answers nothing, and how often it
// was asked. There may be others on this machine.
func silentNames(t *testing.T) (address string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	for last := 1; last < 255; last++ {
		address = fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, 1+os.Getpid()/250%250, last)
		c, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			buffer := make([]byte, 1<<10)
			for {
				if _, _, err := c.ReadFrom(buffer); err != nil {
					return
				}
				asked.Add(1)
			}
		}()
		return address, asked
	}
	t.Fatal("there is no address for a name server")
	return "", nil
}
