// Package image knows what the kubelet, a pod's author and a registry call an
// image, and the documents that an image consists of: manifests, indexes and
// configurations. It reads what strangers wrote and makes values of it that need
// no further check: everything is parsed strictly here or refused here. It asks
// nobody, believes nothing and has no opinion about who may run what.
package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrLimit is what a document or a name is that goes beyond one of our bounds.
var ErrLimit = errors.New("limit exceeded")

// Digest is the SHA-256 of some bytes. Digests are compared with ==. The zero
// Digest is none.
//
// Other algorithms are refused: what runs, what was signed and what was fetched
// must be the same bytes, and two digests of different algorithms can't be
// compared.
type Digest struct {
	sum [sha256.Size]byte
	set bool
}

// Of returns the digest of the bytes.
func Of(b []byte) Digest { return Digest{sum: sha256.Sum256(b), set: true} }

const digestPrefix = "sha256:"

// ParseDigest reads "sha256:" and 64 lower-case hexadecimal digits, and nothing
// else: a digest becomes a part of paths and of comparisons.
func ParseDigest(s string) (Digest, error) {
	text, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return Digest{}, fmt.Errorf("digest %q does not begin with %q", clip(s), digestPrefix)
	}
	d, ok := parseHex(text)
	if !ok {
		return Digest{}, fmt.Errorf("digest %q is not %q and 64 lower-case hexadecimal digits", clip(s), digestPrefix)
	}
	return d, nil
}

func parseHex(s string) (d Digest, ok bool) {
	if len(s) != hex.EncodedLen(len(d.sum)) {
		return Digest{}, false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, false
		}
	}
	if _, err := hex.Decode(d.sum[:], []byte(s)); err != nil {
		return Digest{}, false
	}
	d.set = true
	return d, true
}

// IsZero is whether there is no digest.
func (d Digest) IsZero() bool { return !d.set }

// Hex returns 64 lower-case hexadecimal digits, nothing for the zero Digest.
func (d Digest) Hex() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d.sum[:])
}

// Bytes returns the 32 bytes, nil for the zero Digest.
func (d Digest) Bytes() []byte {
	if d.IsZero() {
		return nil
	}
	return d.sum[:]
}

// String returns what ParseDigest reads, nothing for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + d.Hex()
}

// Compare orders digests, the zero Digest first.
func (d Digest) Compare(e Digest) int { return strings.Compare(d.String(), e.String()) }

// MarshalText writes what String returns.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDigest; nothing is not a digest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
