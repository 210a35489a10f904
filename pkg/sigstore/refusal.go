package sigstore

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/printable"
)

// The errors that callers tell apart.
var (
	// ErrNotSignature is what an item is that is no signature of an image, an
	// attestation for example.
	ErrNotSignature = errors.New("it is no signature of an image")
	// ErrNotAttestation is what an item is that is no attestation.
	ErrNotAttestation = errors.New("it is no attestation")
	// ErrNoRoot says that an authority that needs a trust root got none. It is not
	// the item's fault.
	ErrNoRoot = errors.New("there is no trust root")
	// ErrNoLogEntry is what every [UnloggedError] is.
	ErrNoLogEntry = errors.New("it has no log entry")
)

// UnloggedError is within the [Refusal] of a layer of one of cosign's own images that
// lacks the entry of a transparency log and for which everything else holds that can be
// judged without: what it is and what it signs, the signature, the signer, annotations
// and timestamps. A log that has the entry can be asked for it, and nobody else's
// signature makes anybody ask.
type UnloggedError struct {
	// Key is the public key that it was signed with. It is nil if it was signed with the
	// certificate that the item has.
	Key crypto.PublicKey
}

// Error says what is missing.
func (*UnloggedError) Error() string { return ErrNoLogEntry.Error() }

// Unwrap returns [ErrNoLogEntry].
func (*UnloggedError) Unwrap() error { return ErrNoLogEntry }

// Reason is why an item does not count, in a word or two for people.
type Reason string

// The reasons.
const (
	// ReasonMalformed: the bytes are not what they should be.
	ReasonMalformed Reason = "malformed"
	// ReasonLimit: a bound was hit.
	ReasonLimit Reason = "limit exceeded"
	// ReasonUnsupported: well-formed, and of a kind that is not judged here.
	ReasonUnsupported Reason = "unsupported"
	// ReasonKind: an attestation where a signature was asked for or the other way
	// round.
	ReasonKind Reason = "other kind"
	// ReasonSigner: signed with a key where the authority wants a certificate, or
	// the other way round, or with a key that is too weak.
	ReasonSigner Reason = "other signer"
	// ReasonSignature: the signature does not fit the bytes and the key.
	ReasonSignature Reason = "bad signature"
	// ReasonContent: the signed bytes name none of the candidates.
	ReasonContent Reason = "other content"
	// ReasonLog: no log of the root has this signature, or what is said to be in
	// the log is something else.
	ReasonLog Reason = "not in the log"
	// ReasonTime: no time that can be believed, or one at which something was not
	// valid.
	ReasonTime Reason = "time"
	// ReasonCertificate: the certificate does not chain to a CA that is trusted, at
	// the time of the signature.
	ReasonCertificate Reason = "certificate not trusted"
	// ReasonSCT: no certificate transparency log of the root has the certificate.
	ReasonSCT Reason = "no certificate transparency"
	// ReasonIdentity: a signer who is not allowed.
	ReasonIdentity Reason = "other identity"
	// ReasonAnnotations: the signed bytes have not the annotations that they must.
	ReasonAnnotations Reason = "annotations"
	// ReasonPanic: judging it went wrong in a way that must not happen.
	ReasonPanic Reason = "internal error"
)

// Refusal is why an item does not count for an authority.
type Refusal struct {
	Reason Reason
	// Err says more.
	Err error
}

// maxRefusal bounds a Refusal's text, in bytes: libraries quote what they read.
const maxRefusal = 1 << 10

// Error is one printable line.
func (r *Refusal) Error() string {
	return printable.Line(string(r.Reason)+": "+r.Err.Error(), maxRefusal)
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// malformed is for what parsers say: a bound is a reason of its own.
func malformed(what string, err error) *Refusal {
	reason := ReasonMalformed
	if errors.Is(err, errLimit) {
		reason = ReasonLimit
	}
	return refuse(reason, "%s: %w", what, err)
}
