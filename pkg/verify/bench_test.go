package verify_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// benchRegistryEnv makes the test binary the registry of the benchmarks: in a process
// of its own, so that CPU time is the verifier's alone.
const benchRegistryEnv = "PODSEAL_BENCH_REGISTRY"

func TestMain(m *testing.M) {
	if os.Getenv(benchRegistryEnv) != "" {
		serveBenchRegistry()
		return
	}
	os.Exit(m.Run())
}

// benchCase is an image and who must have signed it.
type benchCase struct {
	Name string
	// Ref is the image, Tag what the pod's spec says, Config what the runtime would
	// say that runs.
	Ref, Tag, Config string
	// Keyless is who must have signed: a workflow, or the key.
	Keyless bool
	// Block judges by a block as SPIRE's, which looks for attestations too.
	Block bool
	// Unsigned is not to be accepted.
	Unsigned bool
}

// benchShelf is what the registry's process tells.
type benchShelf struct {
	Host          string
	CA, Root, Key []byte
	Cases         []benchCase
}

const benchWorkflow = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1"

// slow is how long the registry takes for an answer when round trips are counted.
const slow = 100 * time.Millisecond

// The lines that the registry's process reads. It answers each with how often the
// registry was asked since the last.
const (
	lineCount = "count"
	lineSlow  = "slow" // from now on
	lineQuick = "quick"
)

// serveBenchRegistry fills a registry, says what is in it and does as it is told.
func serveBenchRegistry() {
	w := sigstoretest.New()
	r := sigstoretest.NewRegistry(benchTB{}, sigstoretest.RegistryOptions{})
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	shelf := benchShelf{Host: r.Host(), CA: r.CAPEM(), Root: w.TrustedRoot(), Key: key.PublicPEM()}
	for _, form := range []struct {
		name   string
		format evidence.Format
		place  sigstoretest.Place
		seen   []sigstoretest.Witness
	}{
		{".sig", evidence.SimpleSigning, sigstoretest.SigTag, []sigstoretest.Witness{w.Rekor1}},
		{".sig and .att, sigstore block", evidence.SimpleSigning, sigstoretest.SigTag, []sigstoretest.Witness{w.Rekor1}},
		{"bundle by the referrers API", evidence.Bundle, sigstoretest.Referrers, []sigstoretest.Witness{w.Rekor2, w.TSA}},
		{"bundle by the fallback tag", evidence.Bundle, sigstoretest.FallbackTag, []sigstoretest.Witness{w.Rekor2, w.TSA}},
		{"nothing", "", 0, nil},
	} {
		for _, keyless := range []bool{true, false} {
			c := benchCase{Keyless: keyless, Block: form.name == ".sig and .att, sigstore block", Unsigned: form.format == ""}
			signer, by, seen := key, "key", []sigstoretest.Witness(nil)
			if keyless {
				signer, by, seen = w.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1")), "keyless", form.seen
			}
			if !keyless && (c.Block || c.Unsigned) {
				continue // a block has no keys
			}
			for _, kind := range []string{"manifest", "index"} {
				c.Name = fmt.Sprintf("%s/%s/%s", form.name, by, kind)
				path := fmt.Sprintf("bench/%d", len(shelf.Cases))
				pushed := r.PushImage(path, sigstoretest.Image{Content: path, Tag: "1"})
				c.Config = pushed.Config.String()
				if kind == "index" {
					other := r.PushImage(path, sigstoretest.Image{Content: path, Platform: image.Platform{OS: "linux", Architecture: "s390x"}})
					pushed = r.PushIndex(path, sigstoretest.Index{Tag: "1", Children: []sigstoretest.Child{{Pushed: pushed}, {Pushed: other}}})
				}
				c.Ref, c.Tag = pushed.Ref.String(), pushed.Ref.Repository.String()+":1"
				if !c.Unsigned {
					s := sigstoretest.Signature{Signer: signer, Digest: pushed.Ref.Digest, Format: form.format, Witnesses: seen}
					r.Attach(pushed.Ref, form.place, sigstoretest.Sign(s))
					if c.Block {
						s.Format = evidence.Envelope
						r.Attach(pushed.Ref, sigstoretest.AttTag, sigstoretest.Sign(s))
					}
				}
				shelf.Cases = append(shelf.Cases, c)
			}
		}
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(shelf); err != nil {
		panic(err)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case lineSlow:
			r.Break(sigstoretest.On{}, func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
				time.Sleep(slow)
				serve(w, q)
			})
		case lineQuick:
			r.Mend()
		}
		n := len(r.Requests())
		r.Forget()
		if err := out.Encode(n); err != nil {
			panic(err)
		}
	}
}

// benchTB is for a registry in a process without a test.
type benchTB struct{}

func (benchTB) Helper()                   {}
func (benchTB) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (benchTB) Cleanup(func())            {}

// benchRegistry is that process.
type benchRegistry struct {
	benchShelf
	ca  string // a file
	in  io.Writer
	out *json.Decoder
}

func startBenchRegistry(b *testing.B) *benchRegistry {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "/proc/self/exe")
	cmd.Env, cmd.Stderr = append(os.Environ(), benchRegistryEnv+"=1"), os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	})
	r := &benchRegistry{in: in, out: json.NewDecoder(out)}
	if err := r.out.Decode(&r.benchShelf); err != nil {
		b.Fatal(err)
	}
	r.ca = filepath.Join(b.TempDir(), "ca.pem")
	// A file that was written just now is read again for each request.
	before := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(r.ca, r.CA, 0o600), os.Chtimes(r.ca, before, before)); err != nil {
		b.Fatal(err)
	}
	return r
}

// requests is how often it was asked since it was told something the last time.
func (r *benchRegistry) requests(b *testing.B) int { return r.tell(b, lineCount) }

func (r *benchRegistry) tell(b *testing.B, line string) (n int) {
	b.Helper()
	_, err := io.WriteString(r.in, line+"\n")
	if err := errors.Join(err, r.out.Decode(&n)); err != nil {
		b.Fatal(err)
	}
	return n
}

// config is what the case is judged by.
func (r *benchRegistry) config(b *testing.B, c benchCase) verify.Config {
	b.Helper()
	w := &world{root: root(b, r.Root)}
	a := authority(b)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{r.Key}}))
	if c.Keyless {
		a = keyless(b, sigstoretest.GitHubIssuer, benchWorkflow)
	}
	cfg := w.requires(b, a)
	if c.Block {
		cfg = verify.Config{Budget: cfg.Budget, Platform: cfg.Platform, Block: &verify.Block{Judge: verify.Judge{Authority: a, Root: fixed{w.root}}}}
	}
	return cfg
}

// BenchmarkContainer verifies the image of a container of which nothing is known yet,
// over connections that are there: what the registry is asked,
// how often one question waits for the answer to another (round trips), and the CPU
// time of this process. The kubelet reports the image ID and the pod's
// spec has a tag, or as the last part of the name says.
func BenchmarkContainer(b *testing.B) {
	r := startBenchRegistry(b)
	for i, c := range r.Cases {
		r.bench(b, c.Name, c, verify.RecordStatuses{}, c.Tag)
		if i < 2 { // the rest would say the same
			config, err := image.ParseDigest(c.Config)
			if err != nil {
				b.Fatal(err)
			}
			r.bench(b, c.Name+"/pinned in the spec", c, verify.RecordStatuses{}, c.Ref)
			r.bench(b, c.Name+"/cri_socket", c, saying{verify.Runs{Source: verify.FromCRI, ComparesLayers: true, SpecImage: c.Tag, ImageID: c.Ref, Config: config, Pulled: []string{c.Ref}}}, c.Tag)
		}
	}
}

func (r *benchRegistry) bench(b *testing.B, name string, c benchCase, statuses verify.Statuses, spec string) {
	// A namespace may ask a registry 100 times at once and 25 times a second after that.
	const perClient = 5
	p := &pod.Pod{UID: "u", Namespace: "shop", Name: "web-0", ServiceAccount: "web", Containers: []pod.Container{{
		Name: "c", Type: pod.Regular, SpecImage: spec, HasStatus: true, ID: "id", Running: true, Image: c.Tag, ImageID: c.Ref,
	}}}
	b.Run(name, func(b *testing.B) {
		cfg := r.config(b, c)
		var client *registry.Client
		once := func() {
			v := verifier(b, cfg, client, statuses)
			if _, err := v.Container(b.Context(), p, &p.Containers[0]); (err != nil) != c.Unsigned {
				b.Fatal(err)
			}
		}
		renew := func() {
			if client != nil {
				client.Close()
			}
			var err error
			if client, err = registry.New(registry.Config{Registries: []registry.Registry{{Host: r.Host, CAPath: r.ca}}}, slog.New(slog.DiscardHandler)); err != nil {
				b.Fatal(err)
			}
			for range 2 { // makes the connections
				once()
			}
			r.requests(b)
		}
		var used time.Duration
		asked, n := 0, 0
		b.ReportAllocs()
		for b.Loop() {
			if n%perClient == 0 {
				b.StopTimer()
				asked += r.requests(b)
				renew()
				b.StartTimer()
			}
			before := cpu(b)
			once()
			used += cpu(b) - before
			n++
		}
		asked += r.requests(b)

		renew()
		r.tell(b, lineSlow)
		began := time.Now()
		once()
		b.ReportMetric(math.Round(float64(time.Since(began))/float64(slow)), "roundtrips/op")
		r.tell(b, lineQuick)
		client.Close()
		b.ReportMetric(float64(asked)/float64(n), "requests/op")
		b.ReportMetric(float64(used.Microseconds())/1e3/float64(n), "cpu-ms/op")
	})
}

// cpu is the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
