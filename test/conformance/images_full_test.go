package conformance_test

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// fullCacheEnv is the number of images, for a figure with as many as are kept by
// default: 2048. To sign them takes a minute with the race detector.
const fullCacheEnv = "PODSEAL_FULL_CACHE"

func fullCache(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(fullCacheEnv), "256"))
	if err != nil {
		t.Fatalf("%s: %v", fullCacheEnv, err)
	}
	return n
}

// maxImageMemory is what a verdict, its evidence and all that looking at the image has
// made may be of the resident memory, on an average: twice what it is.
const maxImageMemory = 100 << 10

// Verdicts on as many images as are kept, each signed by a certificate of its
// own, and their evidence in memory. They are of many registries, because one is asked
// for no more than some images a second; and they are asked for by their pods, which
// needs no processes.
func TestTheMemoryOfAFullCache(t *testing.T) {
	t.Parallel()
	const perPod, callers = 8, 32
	pods := fullCache(t) / perPod
	registries := max(1, pods/4)
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	var all []*sigstoretest.Registry
	var blocks strings.Builder
	for range registries {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true})
		all = append(all, r)
		fmt.Fprintf(&blocks, "registry %q {\ninsecure = true\n}\n", r.Host())
	}
	plugin := configured(t, node.Settings(), s.settings(policyOf("one", "even", "")+policyOf("two", "odd", "")+blocks.String()+fmt.Sprintf("cache {\nmax_entries = %d\n}\n", pods*perPod)))
	began := time.Now()
	var work sync.WaitGroup
	made := make([]kubelettest.Pod, pods)
	for half := range 2 {
		work.Go(func() {
			for i := half; i < pods; i += 2 {
				made[i] = app(fmt.Sprint("pod-", i))
				made[i].Namespace, made[i].Containers = []string{"even", "odd"}[i%2], nil
				for j := range perPod {
					name := fmt.Sprint("image-", i, "-", j)
					r := all[(i*perPod+j)%registries]
					pushed := r.PushImage("shop/"+name, sigstoretest.Image{Content: name})
					dev := s.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("dev@example.org")})
					r.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
						Signer: dev, Digest: pushed.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{s.Rekor1},
					}))
					c := of(name, pushed).Containers[0]
					c.Name = fmt.Sprint("c", j)
					made[i].Containers = append(made[i].Containers, c)
				}
			}
		})
	}
	work.Wait()
	for _, p := range made {
		join(t, node, p)
	}
	t.Logf("%d images were signed in %v", pods*perPod, time.Since(began).Round(time.Millisecond))

	began = time.Now()
	next := make(chan kubelettest.Pod)
	for range callers {
		work.Go(func() {
			for p := range next {
				reference := refer(t, object("pods", "core", p.Namespace, p.Name, ""))
				pluginproc.Eventually(t, "the pod is verified", func() bool {
					got, err := attestReference(t.Context(), plugin, reference)
					return err == nil && strings.HasPrefix(strings.Join(imageValues(got), " "), "pod-image-policy:")
				})
			}
		})
	}
	for _, p := range made {
		next <- p
	}
	close(next)
	work.Wait()
	took := time.Since(began)
	time.Sleep(3 * time.Second) // until what that has left for later is done, as garbage is
	memory, err := plugin.Memory()
	if err != nil {
		t.Fatal(err)
	}
	requests := 0
	for _, r := range all {
		requests += len(r.Requests())
	}
	t.Logf("%d images verified in %v with %d requests; %.1f MiB resident, %.1f at most", pods*perPod, took.Round(time.Millisecond), requests,
		float64(memory.Resident)/(1<<20), float64(memory.Peak)/(1<<20))
	if most := int64(maxIdleMemory + pods*perPod*maxImageMemory); memory.Peak > most {
		t.Errorf("%d MiB were resident, more than %d", memory.Peak>>20, most>>20)
	}
	// What is in the cache is answered without a look at any registry.
	for _, r := range all {
		r.Close()
	}
	for _, p := range made {
		got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", p.Namespace, p.Name, "")))
		if err != nil || len(imageValues(got)) != 1 {
			t.Fatalf("pod %s: %q, %v", p.Name, got, err)
		}
	}
}
