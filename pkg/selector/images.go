package selector

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/sigstore"
)

// Trust is what the evidence of a workload's images came to: the only thing that
// image-trust selectors are made of. The zero Trust has none.
type Trust struct {
	// Accepted are the policies and blocks that hold for the container's image.
	Accepted []Accepted
	// OlderSkipped is whether the image is on the skip list of the older block,
	// which says of such an image what it says of one that it verified.
	OlderSkipped bool
	// Pod are the names of the policies that hold for every image of the pod.
	Pod []string
}

// Dialect says which names the selectors of a policy have.
type Dialect int

// The dialects.
const (
	ImagePolicy   Dialect = iota // image_policy: every selector has the policy's name
	Sigstore                     // the sigstore block: the built-in attestor's names
	OlderSigstore                // experimental.sigstore: those of before
)

// Accepted is a policy or block that holds, and whose signatures made it so.
type Accepted struct {
	Dialect Dialect
	// Policy is the name of an image_policy.
	Policy string
	// ContainerID is for OlderSigstore, whose selectors carry it.
	ContainerID string
	// Signers are the authorities that accept the image for its signatures. There
	// are none where another answer was configured.
	Signers []Signer
	// Attested is whether there is an attestation that a block accepts.
	Attested bool
}

// Signer is an authority and the signatures that it accepts, at least one.
type Signer struct {
	// Authority is its name, empty for that of a block.
	Authority  string
	Signatures []*sigstore.Signature
}

// ErrLimit is what more selectors, or a longer one, than the bounds allow is.
var ErrLimit = errors.New("limit exceeded")

// The bounds of image-trust selectors.
const (
	maxImageValues = 512
	maxImageValue  = 2 << 10
)

// Images returns the selectors of image trust. More than 512 of them, or one of
// more than 2 KiB, are an ErrLimit that names the signature that was one too many:
// an entry must not match or miss by what was cut off.
func Images(t Trust) ([]string, error) {
	w := &imageValues{seen: map[string]bool{}}
	for _, a := range t.Accepted {
		w.accepted(a)
	}
	if t.OlderSkipped {
		w.add("sigstore-validation", "passed")
	}
	for _, name := range t.Pod {
		w.add("pod-image-policy", name)
	}
	if w.err != nil {
		return nil, w.err
	}
	return slices.Sorted(maps.Keys(w.seen)), nil
}

// With returns values and more, sorted and without duplicates. Neither is changed.
func With(values, more []string) []string {
	if len(more) == 0 {
		return values
	}
	return sorted(slices.Concat(values, more))
}

// Check returns why a signature can't be rendered: what it says of its signer has
// control characters or is not UTF-8, is too long, or could be taken for another
// signer's.
func Check(s *sigstore.Signature) error {
	w := &imageValues{seen: map[string]bool{}}
	w.signature(s)
	return w.err
}

// imageValues collects values until there is an error.
type imageValues struct {
	seen map[string]bool
	err  error
	// of is the signature that the values are of, nil where they are of none.
	of *sigstore.Signature
}

func (w *imageValues) accepted(a Accepted) {
	if a.Dialect == ImagePolicy {
		w.add("image-policy", a.Policy)
	}
	for _, signer := range a.Signers {
		for _, s := range signer.Signatures {
			w.of = s
			switch a.Dialect {
			case ImagePolicy:
				w.signer(a.Policy+"/"+signer.Authority, s)
			case Sigstore:
				w.add("image-signature", "verified")
				w.signature(s)
			case OlderSigstore:
				w.add("sigstore-validation", "passed")
				w.older(a.ContainerID, s)
			}
			w.of = nil
		}
	}
	if a.Attested && a.Dialect == Sigstore {
		w.add("image-attestations", "verified")
	}
}

// signer is for a signature that a policy's authority accepts.
func (w *imageValues) signer(by string, s *sigstore.Signature) {
	w.add("image-signer", by)
	if s.Subject() != "" {
		w.add("image-signer-identity", by+":"+w.identity(s))
	}
	if key := s.Key(); !key.IsZero() {
		w.add("image-signer-key", by+":"+key.String())
	}
	for _, c := range claims(s) {
		w.add("image-signer-claim", by+":"+c.name+"="+c.value)
	}
}

// signature is for a signature that the sigstore block accepts.
func (w *imageValues) signature(s *sigstore.Signature) {
	if s.Subject() != "" {
		w.add("image-signature-identity", w.identity(s))
	}
	for _, v := range []struct{ kind, value string }{
		{"image-signature-subject", s.Subject()},
		{"image-signature-issuer", s.Issuer()},
		{"image-signature-value", s.Value()},
		{"image-signature-log-id", s.LogID()},
		{"image-signature-log-index", logIndex(s)},
		{"image-signature-integrated-time", integratedTime(s)},
		{"image-signature-signed-entry-timestamp", s.SignedEntryTimestamp()},
	} {
		if v.value != "" {
			w.add(v.kind, v.value)
		}
	}
	for _, c := range claims(s) {
		w.add("image-signature-"+c.name, c.value)
	}
}

// older is for a signature that the older block accepts.
func (w *imageValues) older(containerID string, s *sigstore.Signature) {
	for _, v := range []struct{ kind, value string }{
		{"image-signature-content", s.Value()},
		{"image-signature-subject", s.Subject()},
		{"image-signature-logid", s.LogID()},
		{"image-signature-integrated-time", integratedTime(s)},
	} {
		if v.value != "" {
			w.add(containerID+":"+v.kind, v.value)
		}
	}
}

// identity joins issuer and subject, so that they can't come from two signatures.
// An issuer with a "#" would make it ambiguous, and no issuer has one: RFC 8414
// allows no fragment.
func (w *imageValues) identity(s *sigstore.Signature) string {
	if strings.Contains(s.Issuer(), "#") {
		w.fail(errors.New("its issuer has a \"#\", which ends an issuer in a selector"))
	}
	return s.Issuer() + "#" + s.Subject()
}

func (w *imageValues) add(kind, value string) {
	v := kind + ":" + value
	switch {
	case w.err != nil || w.seen[v]:
	case len(v) > maxImageValue:
		w.fail(fmt.Errorf("%w: its selector %s would have more than %d bytes", ErrLimit, kind, maxImageValue))
	case printable.Line(v, 0) != v:
		w.fail(fmt.Errorf("its selector %s would have characters that don't show, or none of UTF-8", kind))
	case len(w.seen) == maxImageValues:
		w.fail(fmt.Errorf("%w: it would make more than %d selectors of image trust", ErrLimit, maxImageValues))
	default:
		w.seen[v] = true
	}
}

// fail keeps the first error, with the signature that it is about.
func (w *imageValues) fail(err error) {
	if w.of != nil {
		item := w.of.Item()
		err = fmt.Errorf("the signature %v from %q: %w", item.Blob, item.Source, err)
	}
	w.err = cmp.Or(w.err, err)
}

// claim is what a certificate says of the job that signed.
type claim struct{ name, value string }

func claims(s *sigstore.Signature) []claim {
	var all []claim
	values := s.Claims()
	for _, name := range sigstore.Claims() {
		if value := values[name]; value != "" {
			all = append(all, claim{string(name), value})
		}
	}
	return all
}

func logIndex(s *sigstore.Signature) string {
	if index, ok := s.LogIndex(); ok {
		return strconv.FormatInt(index, 10)
	}
	return ""
}

func integratedTime(s *sigstore.Signature) string {
	if at := s.IntegratedTime(); !at.IsZero() {
		return strconv.FormatInt(at.Unix(), 10)
	}
	return ""
}
