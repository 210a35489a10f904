package sigstore

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
)

// verified is what is known of a signature or attestation that was verified.
type verified struct {
	item    evidence.Item
	digest  image.Digest
	key     image.Digest
	issuer  string
	subject name
	claims  map[Claim]string
	value   []byte
	log     *logEntry
	times   []time.Time
	until   time.Time
}

// IsZero is whether nothing was verified.
func (v *verified) IsZero() bool { return v.digest.IsZero() }

// Item is what was judged.
func (v *verified) Item() evidence.Item { return v.item }

// Digest is the candidate that the signed bytes name.
func (v *verified) Digest() image.Digest { return v.digest }

// Key is the SHA-256 of the SubjectPublicKeyInfo of the key that signed. Signatures
// of certificates have a new one each time.
func (v *verified) Key() image.Digest { return v.key }

// Issuer is the OpenID Connect issuer that vouched for the signer, for
// certificates of the trust root's CAs; else empty.
func (v *verified) Issuer() string { return v.issuer }

// Subject is the name of the signer for certificates, else empty. Of a private PKI's
// certificate with several names it is the one that the authority allows.
func (v *verified) Subject() string { return v.subject.value }

// SubjectType is the type of that name.
func (v *verified) SubjectType() SubjectType { return v.subject.kind }

// Claims are what else the certificate says of the job that signed, for
// certificates of the trust root's CAs only. Claims without a value are not there.
func (v *verified) Claims() map[Claim]string { return maps.Clone(v.claims) }

// Value is the signature in base64.
func (v *verified) Value() string { return base64.StdEncoding.EncodeToString(v.value) }

// Time is when it was signed at the latest: the first of the times that logs and
// timestamp authorities of the trust root have signed. It is zero if none has.
func (v *verified) Time() time.Time {
	if len(v.times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(v.times, time.Time.Compare)
}

// ValidUntil is the last moment at which judging it again with the same trust root
// would accept it, as far as time decides. It is zero if time can't change it: if a log
// or a timestamp authority says when it was signed, or if nothing that it depends on
// ends. Without such a time keys, certificates and logs must be valid whenever it is
// judged. It may be accepted for longer by certificates that are not valid yet.
func (v *verified) ValidUntil() time.Time { return v.until }

// IsLogged is whether a transparency log of the trust root has it.
func (v *verified) IsLogged() bool { return v.log != nil }

// LogID is the ID of that log in hexadecimal, else empty.
func (v *verified) LogID() string {
	if v.log == nil {
		return ""
	}
	return v.log.id
}

// LogIndex is the entry's number in that log. ok is false if there is none, or
// none that the log has signed.
func (v *verified) LogIndex() (index int64, ok bool) {
	if v.log == nil {
		return 0, false
	}
	return v.log.index, v.log.indexed
}

// IntegratedTime is when the log says that it took the entry, zero if it does not:
// Rekor v2 says no time, timestamp authorities do; see Time.
func (v *verified) IntegratedTime() time.Time {
	if v.log == nil {
		return time.Time{}
	}
	return v.log.time
}

// SignedEntryTimestamp is the log's promise in base64, empty if there is none.
func (v *verified) SignedEntryTimestamp() string {
	if v.log == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(v.log.promise)
}

// slim is without what is large and what only judging needs.
func (v verified) slim() verified {
	v.item.Content, v.item.Annotations = nil, nil
	if v.log != nil {
		log := *v.log
		log.logs = nil
		v.log = &log
	}
	return v
}

// logEntry is an entry that was verified, with what of it the log has signed.
type logEntry struct {
	id      string
	index   int64
	indexed bool
	time    time.Time
	promise []byte
	// logs are all that have the signature.
	logs []*root.TransparencyLog
}

// newLogEntry notes the parts of an entry that can be believed: index and time are
// in the promise; without one the index is that of Rekor v2's proof, while a proof
// of Rekor v1 is about another index.
func newLogEntry(e *tlog.Entry, stamps []root.Timestamp) *logEntry {
	entry := &logEntry{id: hex.EncodeToString([]byte(e.LogKeyID()))}
	if len(stamps) > 0 {
		entry.time = stamps[0].Time
		entry.promise = e.TransparencyLogEntry().GetInclusionPromise().GetSignedEntryTimestamp()
	}
	if len(stamps) > 0 || e.IsRekorV2() {
		entry.index, entry.indexed = e.LogIndex(), true
	}
	return entry
}
