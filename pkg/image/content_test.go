package image_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/image"
)

func configOf(diffIDs ...string) string {
	quoted := make([]string, len(diffIDs))
	for i, hex := range diffIDs {
		quoted[i] = `"sha256:` + hex + `"`
	}
	return `{"architecture":"arm","os":"linux","config":{"Env":["A=b"],"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":[` + strings.Join(quoted, ",") + `]}}`
}

func parseConfig(t *testing.T, body string) *image.Config {
	t.Helper()
	c, err := image.ParseConfig([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parseManifest(t *testing.T, body string) *image.Manifest {
	t.Helper()
	m, err := image.ParseManifest([]byte(body), "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	body := configOf(hexA, hexB)
	want := &image.Config{
		Digest:   image.Of([]byte(body)),
		Platform: image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
		DiffIDs:  []image.Digest{digestOf(t, hexA), digestOf(t, hexB)},
	}
	if diff := cmp.Diff(want, parseConfig(t, body), cmpopts.EquateComparable(image.Digest{})); diff != "" {
		t.Error(diff)
	}
	for name, body := range map[string]string{
		"another kind of file system": strings.Replace(body, `"layers"`, `"squashfs"`, 1),
		"no kind":                     strings.Replace(body, `"type":"layers",`, "", 1),
		"a malformed digest":          strings.Replace(body, hexB, "../../x", 1),
		"a digest that is null":       strings.Replace(body, `"sha256:`+hexB+`"`, "null", 1),
		"rootfs twice":                strings.Replace(body, `"rootfs"`, `"rootfs":{},"rootfs"`, 1),
		"Rootfs":                      strings.Replace(body, `"rootfs"`, `"Rootfs":{},"rootfs"`, 1),
		"Diff_IDs":                    strings.Replace(body, `"diff_ids"`, `"Diff_IDs":[],"diff_ids"`, 1),
		"an array":                    "[]",
		"nothing":                     "",
		"two":                         body + body,
		"layers beyond the bound":     configOf(strings.Split(strings.Repeat(hexA+" ", image.MaxLayers+1), " ")[:image.MaxLayers+1]...),
	} {
		if c, err := image.ParseConfig([]byte(body)); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// ADVERSARIAL.md row 23: the configuration that everybody has, or one that says
// nothing of the layers, must not make one image stand for another.
func TestAConfigurationIdentifiesOnlyTheContentThatItLists(t *testing.T) {
	t.Parallel()
	manifest := func(configType, config string, layers int) *image.Manifest {
		return parseManifest(t, `{"schemaVersion":2,"mediaType":"`+image.OCIManifest+`","config":`+
			descriptor(configType, image.Of([]byte(config)).Hex(), "")+`,"layers":[`+
			strings.TrimSuffix(strings.Repeat(descriptor(layerType, hexC, "")+",", layers), ",")+`]}`)
	}
	good := configOf(hexA, hexB)
	for name, c := range map[string]struct {
		config   string
		manifest *image.Manifest
		want     string
	}{
		"the image's":          {good, manifest(image.OCIConfig, good, 2), ""},
		"the image's, Docker":  {good, manifest(image.DockerConfig, good, 2), ""},
		"another image's":      {good, manifest(image.OCIConfig, configOf(hexA), 2), "and not " + image.Of([]byte(good)).String()},
		"empty":                {"{}", manifest(image.OCIConfig, "{}", 0), "empty configuration"},
		"empty, with a layer":  {"{}", manifest(image.OCIConfig, "{}", 1), "empty configuration"},
		"no layers":            {configOf(), manifest(image.OCIConfig, configOf(), 0), "lists no layers"},
		"no layers but one":    {configOf(), manifest(image.OCIConfig, configOf(), 1), "lists no layers"},
		"one layer too few":    {good, manifest(image.OCIConfig, good, 1), "lists 2 layers and the manifest 1"},
		"one layer too many":   {good, manifest(image.OCIConfig, good, 3), "lists 2 layers and the manifest 3"},
		"an artifact's":        {good, manifest("application/vnd.oci.empty.v1+json", good, 2), "not that of an image"},
		"none, it is an index": {good, parseManifest(t, indexManifest()), "has no configuration"},
	} {
		err := parseConfig(t, c.config).Identifies(c.manifest)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func entry(hex, platform string) string {
	os, rest, _ := strings.Cut(platform, "/")
	architecture, variant, _ := strings.Cut(rest, "/")
	if platform == "" {
		return descriptor(image.OCIManifest, hex, "")
	}
	return descriptor(image.OCIManifest, hex, fmt.Sprintf(`,"platform":{"os":%q,"architecture":%q,"variant":%q}`, os, architecture, variant))
}

var (
	amd64 = image.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = image.Platform{OS: "linux", Architecture: "arm64"}
)

// ADVERSARIAL.md row 23: an index stands for a manifest only if that is the one that
// could run.
func TestWhatOfAnIndexCouldRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		node    image.Platform
		entries []string
		want    []string
	}{
		"the only one":                    {amd64, []string{entry(hexA, "linux/amd64")}, []string{hexA}},
		"one of two platforms":            {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/arm64")}, []string{hexA}},
		"beside what is no program":       {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "unknown/unknown")}, []string{hexA}},
		"amd64 is amd64/v1":               {amd64, []string{entry(hexA, "linux/amd64/v1")}, []string{hexA}},
		"arm64 is arm64/v8":               {arm64, []string{entry(hexA, "linux/arm64/v8"), entry(hexB, "linux/amd64")}, []string{hexA}},
		"aarch64 is arm64":                {arm64, []string{entry(hexA, "linux/aarch64")}, []string{hexA}},
		"beside another system":           {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "windows/amd64")}, []string{hexA}},
		"no platform at all":              {amd64, []string{entry(hexA, "")}, []string{hexA}},
		"not listed":                      {amd64, []string{entry(hexB, "linux/amd64")}, []string{hexB}},
		"nothing listed":                  {amd64, nil, []string{}},
		"listed for another platform":     {amd64, []string{entry(hexA, "linux/arm64"), entry(hexB, "linux/amd64")}, []string{hexB}},
		"only for another platform":       {amd64, []string{entry(hexA, "windows/amd64")}, []string{}},
		"listed as no program":            {amd64, []string{entry(hexA, "unknown/unknown")}, []string{}},
		"two for the platform":            {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/amd64")}, []string{hexA, hexB}},
		"two by alias":                    {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "Linux/X86_64")}, []string{hexA, hexB}},
		"twice itself":                    {amd64, []string{entry(hexA, "linux/amd64"), entry(hexA, "linux/amd64/v1")}, []string{hexA}},
		"for better processors":           {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/amd64/v3")}, []string{hexA, hexB}},
		"386 runs on amd64":               {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/386")}, []string{hexA, hexB}},
		"i386 does too":                   {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/i386")}, []string{hexA, hexB}},
		"arm runs on arm64":               {arm64, []string{entry(hexA, "linux/arm64"), entry(hexB, "linux/arm/v7")}, []string{hexA, hexB}},
		"arm of any variant does":         {arm64, []string{entry(hexA, "linux/arm64"), entry(hexB, "linux/arm/v5")}, []string{hexA, hexB}},
		"armhf does":                      {arm64, []string{entry(hexA, "linux/arm64"), entry(hexB, "linux/armhf")}, []string{hexA, hexB}},
		"without a platform it may":       {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "")}, []string{hexA, hexB}},
		"without an architecture it may":  {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "linux/")}, []string{hexA, hexB}},
		"without a system it may":         {amd64, []string{entry(hexA, "linux/amd64"), entry(hexB, "/amd64")}, []string{hexA, hexB}},
		"amd64 does not run on arm64":     {arm64, []string{entry(hexA, "linux/arm64"), entry(hexB, "linux/amd64"), entry(hexC, "linux/386")}, []string{hexA}},
		"something else of that platform": {amd64, []string{entry(hexA, "linux/amd64"), strings.Replace(entry(hexB, "linux/amd64"), image.OCIManifest, "x/y", 1)}, []string{hexA, hexB}},
	} {
		got, err := parseManifest(t, indexManifest(c.entries...)).Runnable(c.node, nil)
		if diff := cmp.Diff(digestsOf(t, c.want...), got, equalDigests); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

var equalDigests = cmp.Comparer(func(a, b image.Digest) bool { return a == b })

func digestsOf(t *testing.T, hex ...string) (digests []image.Digest) {
	for _, h := range hex {
		digests = append(digests, digestOf(t, h))
	}
	return digests
}

// ADVERSARIAL.md row 23: indexes in indexes, which could hide an entry.
func TestNestedIndexes(t *testing.T) {
	t.Parallel()
	d := digestOf(t, hexD)
	toInner := func(platform string) string {
		return strings.Replace(entry(hexD, platform), image.OCIManifest, image.OCIIndex, 1)
	}
	inner := func(entries ...string) map[image.Digest]*image.Manifest {
		return map[image.Digest]*image.Manifest{d: parseManifest(t, indexManifest(entries...))}
	}
	for name, c := range map[string]struct {
		entries []string
		nested  map[image.Digest]*image.Manifest
		want    []string
		wantErr string
	}{
		"one in the inner":              {[]string{toInner("")}, inner(entry(hexA, "linux/amd64")), []string{hexA}, ""},
		"one outside":                   {[]string{entry(hexA, "linux/amd64"), toInner("")}, inner(entry(hexB, "linux/arm64")), []string{hexA}, ""},
		"one outside, one in the inner": {[]string{entry(hexA, "linux/amd64"), toInner("")}, inner(entry(hexB, "linux/amd64")), []string{hexA, hexB}, ""},
		"one hidden under a platform":   {[]string{entry(hexA, "linux/amd64"), toInner("windows/amd64")}, inner(entry(hexB, "linux/amd64")), []string{hexA, hexB}, ""},
		"not known":                     {[]string{entry(hexA, "linux/amd64"), toInner("")}, nil, nil, "not known"},
		"a manifest in its place":       {[]string{toInner("")}, map[image.Digest]*image.Manifest{d: parseManifest(t, imageManifest(""))}, nil, "not known"},
		"three levels":                  {[]string{entry(hexA, "linux/amd64"), toInner("")}, inner(toInner("")), nil, "index that lists an index"},
	} {
		index := parseManifest(t, indexManifest(c.entries...))
		got, err := index.Runnable(amd64, c.nested)
		if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", name, err, c.wantErr)
		}
		if diff := cmp.Diff(digestsOf(t, c.want...), got, equalDigests); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if nested, err := index.Nested(); err != nil || len(nested) != 1 || nested[0] != d {
			t.Errorf("%s: nested are %v, %v", name, nested, err)
		}
	}

	var many []string
	for i := range 9 {
		many = append(many, strings.Replace(entry(strings.Repeat(fmt.Sprint(i), 64), ""), image.OCIManifest, image.DockerIndex, 1))
	}
	index := parseManifest(t, indexManifest(many...))
	if _, err := index.Nested(); !errors.Is(err, image.ErrLimit) {
		t.Errorf("nine indexes: %v", err)
	}
	if _, err := index.Runnable(amd64, nil); !errors.Is(err, image.ErrLimit) {
		t.Errorf("nine indexes: %v", err)
	}
}

func TestTheNodesPlatformIsOneOfOurs(t *testing.T) {
	t.Parallel()
	if p := image.NodePlatform(); p.OS != "linux" || p != amd64 && p != arm64 {
		t.Errorf("the node is %v", p)
	}
	if got := (image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}).String(); got != "linux/arm/v7" {
		t.Error(got)
	}
}
