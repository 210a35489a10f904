package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// maxMemory is the bound of the issue for hostile registries.
const maxMemory = 128 << 20

// hostile serves bodies by path, which are made when they are asked for: together
// they are more than the test should hold.
type hostile map[string]func(w http.ResponseWriter)

func (h hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer, ok := h[r.URL.Path]; ok {
		answer(w)
		return
	}
	http.NotFound(w, r)
}

func (h hostile) body(path, mediaType string, make func() []byte) {
	h[path] = func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(make())
	}
}

// add serves something by its digest and returns its descriptor.
func (h hostile) add(repo, kind, mediaType string, make func() []byte) map[string]any {
	d := descriptor(mediaType, make())
	h.body("/v2/"+repo+"/"+kind+"/"+d["digest"].(string), mediaType, make)
	return d
}

func (h hostile) blob(repo, mediaType string, length, seed int) map[string]any {
	return h.add(repo, "blobs", mediaType, func() []byte {
		return append([]byte(fmt.Sprint(seed)), make([]byte, length-len(fmt.Sprint(seed)))...)
	})
}

func (h hostile) good(repo, mediaType string) map[string]any {
	return h.add(repo, "blobs", mediaType, func() []byte { return []byte("good") })
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

const fourMiB = 4<<20 - 4096

// ADVERSARIAL.md row 17: whatever a registry, or who may push to it, puts in our
// way, it costs less than 128 MiB of memory, in all of one process.
func TestNothingCostsMuchMemory(t *testing.T) {
	t.Parallel()
	h := hostile{}
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "https://")

	app := image.Of([]byte("app"))
	tag := func(repo, suffix string) string { return "/v2/" + repo + "/manifests/sha256-" + app.Hex() + suffix }
	referrers := func(repo string) string { return "/v2/" + repo + "/referrers/" + app.String() }
	list := func(entries []map[string]any) []byte {
		return mustJSON(map[string]any{"schemaVersion": 2, "mediaType": image.OCIIndex, "manifests": entries})
	}
	bundleManifest := func(repo string) func() []byte {
		layer := h.good(repo, bundleType)
		return func() []byte { return manifestOf(app, "", layer) }
	}
	cases := map[string]func(repo string){
		"endless": func(repo string) {
			layer := h.good(repo, simpleSigningType)
			for _, path := range []string{tag(repo, ".att"), tag(repo, ""), referrers(repo)} {
				h[path] = func(w http.ResponseWriter) {
					w.Header().Set("Content-Type", image.OCIIndex)
					for err := error(nil); err == nil; {
						_, err = w.Write(make([]byte, 1<<20))
					}
				}
			}
			h.body(tag(repo, ".sig"), image.OCIManifest, func() []byte { return manifestOf(image.Digest{}, "", layer) })
		},
		"large": func(repo string) {
			layers := []map[string]any{h.good(repo, envelopeType)}
			for i := range 31 {
				layers = append(layers, h.blob(repo, envelopeType, 8<<20>>(i%8), i))
			}
			h.body(tag(repo, ".att"), image.OCIManifest, func() []byte { return manifestOf(image.Digest{}, "", layers...) })
			layers = nil
			for i := range 32 {
				layer := h.blob(repo, simpleSigningType, 64<<10, i)
				layer["annotations"] = map[string]any{"x": strings.Repeat("x", 63<<10)}
				layers = append(layers, layer)
			}
			h.body(tag(repo, ".sig"), image.OCIManifest, func() []byte { return manifestOf(image.Digest{}, "", layers...) })
			var entries []map[string]any
			pad := strings.Repeat("x", fourMiB)
			for i := range 64 {
				layer := h.blob(repo, bundleType, 8<<20>>(i%8), i)
				if i == 63 {
					layer = h.good(repo, bundleType)
				}
				if i < 16 {
					layer["annotations"] = map[string]any{"x": "PAD"}
				}
				entries = append(entries, h.add(repo, "manifests", image.OCIManifest, func() []byte {
					return []byte(strings.Replace(string(manifestOf(app, bundleType, layer)), "PAD", pad, 1))
				}))
			}
			h.body(referrers(repo), image.OCIIndex, func() []byte { return list(entries) })
		},
		"many-annotations": func(repo string) {
			var layers []map[string]any
			for i := range 1000 {
				layer := h.blob(repo, simpleSigningType, 64<<10, i)
				if i == 0 {
					layer = h.good(repo, simpleSigningType)
				}
				layer["annotations"] = map[string]any{"x": strings.Repeat("x", 3500)}
				layers = append(layers, layer)
			}
			for _, suffix := range []string{".sig", ".att"} {
				h.body(tag(repo, suffix), image.OCIManifest, func() []byte { return manifestOf(image.Digest{}, "", layers...) })
			}
		},
		"names": func(repo string) {
			entry := h.add(repo, "manifests", image.OCIManifest, bundleManifest(repo))
			names := func() []byte {
				var b strings.Builder
				b.WriteString(`{"schemaVersion":2,"x":{`)
				for i := 0; b.Len() < fourMiB; i++ {
					fmt.Fprintf(&b, `"%d":0,`, i)
				}
				b.WriteString(`"":0},"manifests":[{"digest":"` + entry["digest"].(string) + `"}]}`)
				return []byte(b.String())
			}
			h.body(referrers(repo), image.OCIIndex, names)
			h.body(tag(repo, ""), image.OCIIndex, names)
			h.body(tag(repo, ".sig"), image.OCIManifest, names)
			h.body(tag(repo, ".att"), image.OCIManifest, names)
		},
		"elements": func(repo string) {
			entry := h.add(repo, "manifests", image.OCIManifest, bundleManifest(repo))
			elements := func(what string) func() []byte {
				return func() []byte {
					return []byte(`{"schemaVersion":2,"layers":[` + strings.Repeat(what+",", fourMiB/(len(what)+1)) + `7],"manifests":[` + what + `]}`)
				}
			}
			h.body(referrers(repo), image.OCIIndex, func() []byte {
				return []byte(strings.Replace(string(elements("{}")()), `"layers"`, `"manifests"`, 1))
			})
			h.body(tag(repo, ""), image.OCIIndex, func() []byte {
				return []byte(`{"manifests":[{"digest":"` + entry["digest"].(string) + `"}` + strings.Repeat(`,{"digest":"sha256:`+strings.Repeat("a", 64)+`"}`, 40000) + `]}`)
			})
			h.body(tag(repo, ".sig"), image.OCIManifest, elements("{}"))
			h.body(tag(repo, ".att"), image.OCIManifest, elements("[[[[]]]]"))
		},
		"nesting": func(repo string) {
			deep := func() []byte {
				return []byte(`{"schemaVersion":2,"x":` + strings.Repeat(`{"a":[`, fourMiB/6))
			}
			for _, suffix := range []string{".sig", ".att", ""} {
				h.body(tag(repo, suffix), image.OCIManifest, deep)
			}
			entry := h.add(repo, "manifests", image.OCIManifest, bundleManifest(repo))
			h.body(referrers(repo), image.OCIIndex, func() []byte { return list([]map[string]any{entry}) })
		},
		"pages": func(repo string) {
			entry := h.add(repo, "manifests", image.OCIManifest, bundleManifest(repo))
			entry["artifactType"] = bundleType
			for page := range 5 {
				path := referrers(repo)
				if page > 0 {
					path = fmt.Sprintf("/v2/%s/page/%d", repo, page)
				}
				h[path] = func(w http.ResponseWriter) {
					w.Header().Set("Content-Type", image.OCIIndex)
					w.Header().Set("Link", fmt.Sprintf(`</v2/%s/page/%d>; rel="next"`, repo, page+1))
					var b strings.Builder
					for i := 0; b.Len() < fourMiB-1000; i++ {
						fmt.Fprintf(&b, `{"digest":"sha256:%062d%02d","artifactType":"application/spdx+json"},`, i, page)
					}
					body := string(list([]map[string]any{entry}))
					fmt.Fprint(w, strings.Replace(body, `"manifests":[`, `"manifests":[`+b.String(), 1))
				}
			}
		},
	}
	var refs []string
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		prepare := cases[name]
		prepare(name)
		refs = append(refs, host+"/"+name+"@"+app.String())
	}

	program := filepath.Join(t.TempDir(), "fetch")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/fetch").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg := mustJSON(registry.Config{Registries: []registry.Registry{{Host: host, CAPath: file(t, "ca.pem", certificate(server.Certificate()))}}})
	out, err := exec.Command(program, append([]string{string(cfg)}, refs...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.Contains(line, "good true") {
			t.Error(line)
		}
	}
	var peak int
	if _, err := fmt.Sscanf(lines[len(lines)-1], "VmHWM: %d kB", &peak); err != nil || peak<<10 > maxMemory {
		t.Errorf("%d KiB, %v", peak, err)
	}
}
