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

func descriptor(mediaType, hex, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":7%s}`, mediaType, hex, more)
}

const layerType = "application/vnd.oci.image.layer.v1.tar+gzip"

func imageManifest(members string) string {
	return `{"schemaVersion":2,"mediaType":"` + image.OCIManifest + `","config":` + descriptor(image.OCIConfig, hexA, "") +
		`,"layers":[` + descriptor(layerType, hexB, "") + `]` + members + `}`
}

func indexManifest(entries ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + image.OCIIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`
}

func TestManifests(t *testing.T) {
	t.Parallel()
	digests := cmpopts.EquateComparable(image.Digest{})
	a, b := digestOf(t, hexA), digestOf(t, hexB)

	got, err := image.ParseManifest([]byte(imageManifest(`,"artifactType":"x/y","subject":`+descriptor(image.OCIManifest, hexB, "")+
		`,"annotations":{"k":"v"},"unknown":[{"a":null}],"manifests":null`)), image.OCIManifest)
	want := &image.Manifest{
		MediaType:    image.OCIManifest,
		ArtifactType: "x/y",
		Config:       image.Descriptor{MediaType: image.OCIConfig, Digest: a, Size: 7},
		Layers:       []image.Descriptor{{MediaType: layerType, Digest: b, Size: 7}},
		Subject:      image.Descriptor{MediaType: image.OCIManifest, Digest: b, Size: 7},
	}
	if diff := cmp.Diff(want, got, digests); err != nil || diff != "" || got.IsIndex() {
		t.Errorf("%v\n%s", err, diff)
	}

	got, err = image.ParseManifest([]byte(indexManifest(
		descriptor(image.OCIManifest, hexA, `,"platform":{"os":"linux","architecture":"ARM64","variant":"v8","os.features":["x"]},"annotations":{"k":"v","K":"w"}`),
		descriptor(image.OCIManifest, hexB, `,"artifactType":"x/y","data":"","urls":[]`))), "")
	want = &image.Manifest{
		MediaType: image.OCIIndex,
		Manifests: []image.Descriptor{
			{MediaType: image.OCIManifest, Digest: a, Size: 7, Platform: &image.Platform{OS: "linux", Architecture: "arm64"}, Annotations: map[string]string{"k": "v", "K": "w"}},
			{MediaType: image.OCIManifest, Digest: b, Size: 7, ArtifactType: "x/y"},
		},
	}
	if diff := cmp.Diff(want, got, digests); err != nil || diff != "" || !got.IsIndex() {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestWhereNothingInTheBodySaysWhatItIsTheRegistryMay(t *testing.T) {
	t.Parallel()
	plain := strings.Replace(imageManifest(""), `"mediaType":"`+image.OCIManifest+`",`, "", 1)
	if m, err := image.ParseManifest([]byte(plain), image.OCIManifest); err != nil || m.MediaType != image.OCIManifest {
		t.Errorf("%v, %v", m, err)
	}
	for _, mediaType := range []string{"", image.OCIIndex, image.DockerManifest, image.DockerIndex, "application/json"} {
		if m, err := image.ParseManifest([]byte(plain), mediaType); err == nil {
			t.Errorf("as %q it is %+v", mediaType, m)
		}
	}
}

// ADVERSARIAL.md row 21: a document that two readers read differently.
func TestManifestsThatAreTwoThingsAreNeither(t *testing.T) {
	t.Parallel()
	one := descriptor(image.OCIManifest, hexC, "")
	image1, index1 := imageManifest(""), indexManifest(one)
	with := func(doc, members string) string { return strings.TrimSuffix(doc, "}") + "," + members + "}" }
	for name, c := range map[string]struct{ body, mediaType string }{
		"manifests and layers":                      {with(image1, `"manifests":[`+one+`]`), ""},
		"an empty list of manifests and layers":     {with(image1, `"manifests":[]`), ""},
		"an index with layers":                      {with(index1, `"layers":[]`), ""},
		"an index with a configuration":             {with(index1, `"config":`+one), ""},
		"an image that is called an index":          {image1, image.OCIIndex},
		"an index that is called an image":          {index1, image.OCIManifest},
		"of Docker and said to be OCI's":            {strings.Replace(image1, image.OCIManifest, image.DockerManifest, 1), image.OCIManifest},
		"another type inside":                       {strings.Replace(image1, image.OCIManifest, "text/html", 1), ""},
		"another type outside":                      {image1, "application/json"},
		"with layers of version one":                {with(image1, `"fsLayers":[]`), ""},
		"the artifact manifest that was given up":   {with(image1, `"blobs":[]`), ""},
		"version one":                               {strings.Replace(image1, `"schemaVersion":2`, `"schemaVersion":1`, 1), ""},
		"no version":                                {strings.Replace(image1, `"schemaVersion":2,`, "", 1), ""},
		"layers twice":                              {with(image1, `"layers":[]`), ""},
		"layers twice, one escaped":                 {with(image1, `"l\u0061yers":[]`), ""},
		"Layers":                                    {with(image1, `"Layers":[]`), ""},
		"LAYERS first":                              {`{"LAYERS":[],` + image1[1:], ""},
		"layerſ, which folds to layers":             {with(image1, `"layerſ":[]`), ""},
		"Manifests in an image":                     {with(image1, `"Manifests":[]`), ""},
		"MediaType":                                 {with(image1, `"MediaType":"`+image.OCIIndex+`"`), ""},
		"Digest in a descriptor":                    {strings.Replace(image1, `"digest"`, `"Digest":"sha256:`+hexD+`","digest"`, 1), ""},
		"digest twice in a descriptor":              {strings.Replace(image1, `"digest"`, `"digest":"sha256:`+hexD+`","digest"`, 1), ""},
		"an annotation twice":                       {strings.Replace(image1, `"size":7`, `"size":7,"annotations":{"a":"1","a":"2"}`, 1), ""},
		"OS in a platform":                          {indexManifest(descriptor(image.OCIManifest, hexA, `,"platform":{"os":"linux","OS":"windows"}`)), ""},
		"no layers":                                 {strings.Replace(image1, `"layers"`, `"other"`, 1), ""},
		"no configuration":                          {strings.Replace(image1, `"config"`, `"other"`, 1), ""},
		"layers null":                               {`{"schemaVersion":2,"mediaType":"` + image.OCIManifest + `","config":` + one + `,"layers":null}`, ""},
		"something after it":                        {image1 + "{}", ""},
		"a bracket after it":                        {image1 + "]", ""},
		"text after it":                             {image1 + "x", ""},
		"cut off":                                   {image1[:len(image1)-1], ""},
		"invalid UTF-8":                             {with(image1, "\"x\":\"\xff\""), ""},
		"an array":                                  {"[]", ""},
		"null":                                      {"null", ""},
		"nothing":                                   {"", ""},
		"a layer that is null":                      {`{"schemaVersion":2,"mediaType":"` + image.OCIManifest + `","config":` + one + `,"layers":[null]}`, ""},
		"a malformed digest (row 20)":               {strings.Replace(image1, hexB, "../../x", 1), ""},
		"a digest in upper case (row 20)":           {strings.Replace(image1, hexB, strings.ToUpper(hexB), 1), ""},
		"SHA-512 (row 20)":                          {strings.Replace(image1, "sha256:"+hexB, "sha512:"+hexB+hexB, 1), ""},
		"a digest that is no string":                {strings.Replace(image1, `"sha256:`+hexB+`"`, "7", 1), ""},
		"a descriptor without a digest":             {strings.Replace(image1, `"digest":"sha256:`+hexB+`",`, "", 1), ""},
		"a descriptor without a type":               {strings.Replace(image1, `"mediaType":"`+layerType+`",`, "", 1), ""},
		"a descriptor without a size":               {strings.Replace(image1, `,"size":7`, "", 1), ""},
		"a negative size":                           {strings.Replace(image1, `"size":7`, `"size":-7`, 1), ""},
		"a size with a fraction":                    {strings.Replace(image1, `"size":7`, `"size":7.5`, 1), ""},
		"a size with an exponent":                   {strings.Replace(image1, `"size":7`, `"size":7e3`, 1), ""},
		"a size beyond all numbers":                 {strings.Replace(image1, `"size":7`, `"size":99999999999999999999`, 1), ""},
		"a size in a string":                        {strings.Replace(image1, `"size":7`, `"size":"7"`, 1), ""},
		"annotations that are numbers":              {strings.Replace(image1, `"size":7`, `"size":7,"annotations":{"a":1}`, 1), ""},
		"manifests that are an object":              {`{"schemaVersion":2,"mediaType":"` + image.OCIIndex + `","manifests":{}}`, ""},
		"an index of Docker's without its own type": {strings.Replace(index1, `"mediaType":"`+image.OCIIndex+`",`, "", 1), image.DockerIndex},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := image.ParseManifest([]byte(c.body), c.mediaType); err == nil {
				t.Errorf("%s is %+v", c.body, m)
			}
		})
	}
}

// ADVERSARIAL.md row 17: within 4 MiB there is room for half a million of
// something.
func TestManifestsBeyondABound(t *testing.T) {
	t.Parallel()
	many := func(n int, what string) string { return strings.TrimSuffix(strings.Repeat(what+",", n), ",") }
	layer, entry := descriptor(layerType, hexB, ""), descriptor(image.OCIManifest, hexB, "")
	pairs := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `%q:"",`, fmt.Sprint(i))
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	layers := func(n int) string {
		return strings.Replace(imageManifest(""), "["+layer+"]", "["+many(n, layer)+"]", 1)
	}
	annotated := func(n int) string {
		return strings.Replace(imageManifest(""), `"size":7`, `"size":7,"annotations":{`+pairs(n)+`}`, 1)
	}
	nested := func(n int) string {
		return imageManifest(`,"x":` + strings.Repeat("[", n) + strings.Repeat("]", n))
	}
	for name, c := range map[string]struct{ within, beyond string }{
		"entries":     {indexManifest(many(image.MaxIndexEntries, entry)), indexManifest(many(image.MaxIndexEntries+1, entry))},
		"layers":      {layers(image.MaxLayers), layers(image.MaxLayers + 1)},
		"annotations": {annotated(256), annotated(257)},
		"names":       {imageManifest(`,"x":{` + pairs(30000) + `}`), imageManifest(`,"x":{` + pairs(500000) + `}`)},
		"nesting":     {nested(31), nested(32)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := image.ParseManifest([]byte(c.within), ""); err != nil {
				t.Errorf("within: %v", err)
			}
			if _, err := image.ParseManifest([]byte(c.beyond), ""); !errors.Is(err, image.ErrLimit) {
				t.Errorf("beyond: %v", err)
			}
		})
	}
	// What is in strings is no structure.
	if _, err := image.ParseManifest([]byte(imageManifest(`,"x":"`+strings.Repeat(`,\"[{`, 100000)+`"`)), ""); err != nil {
		t.Error(err)
	}
}
