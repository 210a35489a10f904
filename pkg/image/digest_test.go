package image_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hexC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	hexD = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
)

func digestOf(t testing.TB, hex string) image.Digest {
	t.Helper()
	d, err := image.ParseDigest("sha256:" + hex)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADigestIsWhatItsTextSays(t *testing.T) {
	t.Parallel()
	const ofAbc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	d, err := image.ParseDigest(ofAbc)
	if err != nil {
		t.Fatal(err)
	}
	if d != image.Of([]byte("abc")) || d.String() != ofAbc || "sha256:"+d.Hex() != ofAbc || len(d.Bytes()) != 32 || d.IsZero() {
		t.Errorf("got %v (%x)", d, d.Bytes())
	}
	if zero := digestOf(t, strings.Repeat("0", 64)); zero.IsZero() || zero == (image.Digest{}) {
		t.Error("a digest of zeros is no digest")
	}
	if z := (image.Digest{}); !z.IsZero() || z.String() != "" || z.Hex() != "" || z.Bytes() != nil {
		t.Errorf("the zero digest is %q, %q, %x", z.String(), z.Hex(), z.Bytes())
	}
}

// ADVERSARIAL.md row 20: a digest becomes a part of a path, and of a comparison
// that decides.
func TestMalformedDigestsAreRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"nothing":                 "",
		"no algorithm":            hexA,
		"a path":                  "sha256:../../x",
		"a path of the length":    "sha256:../../" + hexA[6:],
		"too short":               "sha256:" + hexA[1:],
		"too long":                "sha256:" + hexA + "a",
		"no digits":               "sha256:",
		"upper case":              "sha256:" + strings.ToUpper(hexA),
		"one in upper case":       "sha256:" + hexA[1:] + "A",
		"upper case algorithm":    "SHA256:" + hexA,
		"SHA-1":                   "sha1:" + hexA[:40],
		"SHA-512":                 "sha512:" + hexA + hexA,
		"another, of that length": "sha1:" + hexA,
		"a space before":          " sha256:" + hexA,
		"a newline after":         "sha256:" + hexA + "\n",
		"a NUL":                   "sha256:" + hexA[1:] + "\x00",
		"digits that look alike":  "sha256:" + hexA[:61] + "а", // CYRILLIC, two bytes
		"two":                     "sha256:sha256:" + hexA,
		"with a tag's separator":  "sha256-" + hexA,
		"a name":                  "app@sha256:" + hexA,
		"base64":                  "sha256:" + strings.Repeat("Zg==", 16),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := image.ParseDigest(s)
			if err == nil || !d.IsZero() {
				t.Errorf("%q is %v, %v", s, d, err)
			}
		})
	}
}
