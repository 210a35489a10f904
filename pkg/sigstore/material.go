package sigstore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/podseal/podseal/pkg/image"
)

// material is what verification needs of an item of any format: what was signed,
// the signature, who is said to have signed, and what logs and timestamp
// authorities say of it.
type material struct {
	// One of envelope and message is set.
	envelope  *envelope
	message   *message
	signature []byte
	// leaf is the signer's certificate, nil if it was signed with a key alone.
	leaf *x509.Certificate
	// above are the certificates between leaf and the root, as the item has them.
	above []*x509.Certificate
	// chained is whether they are in a form that only a private PKI may have.
	chained bool
	// layer is whether it is a layer of one of cosign's own images, for which a log
	// can be asked for the entry.
	layer bool
	// certified is whether the certificate stands beside a signature that a key
	// alone may have made, as in cosign's own format.
	certified  bool
	entries    []*tlog.Entry
	timestamps [][]byte
	// stamped is what timestamps may be of instead of the signature.
	stamped []byte
}

// message is a signature over bytes that are not in an envelope.
type message struct {
	artifact artifact
	// hash and digest are what a bundle says is the artifact's digest. They are not
	// believed, and must be right. In other formats they are of the hash with which
	// the signature verified.
	hash   crypto.Hash
	digest []byte
}

// artifact is what was signed, whole or only its SHA-256.
type artifact struct {
	bytes  []byte
	sha256 image.Digest
}

// sum returns the artifact's digest. Of a digest alone there is only one.
func (a artifact) sum(hash crypto.Hash) ([]byte, bool) {
	if !a.sha256.IsZero() {
		return a.sha256.Bytes(), hash == crypto.SHA256
	}
	h := hash.New()
	h.Write(a.bytes)
	return h.Sum(nil), true
}

// signed is what the signature is over.
func (m *material) signed() artifact {
	if m.envelope != nil {
		return artifact{bytes: m.envelope.signed()}
	}
	return m.message.artifact
}

// What a log and a timestamp authority have signed is read by libraries before anybody
// knows that they have signed it, and costs more than its length: a key of 64 KiB takes
// a second to verify with, and bytes that are nested 30,000 deep are copied 30,000
// times.
const (
	// maxBody bounds the body of a log entry, in bytes: a signature, its
	// certificate and digests; maxBodies those of an item together.
	maxBody, maxBodies = 32 << 10, 128 << 10
	// maxTimestamp bounds an RFC 3161 timestamp, which may have certificates in it, in
	// bytes, maxStamps those of an item together, and maxNesting the depth of each.
	maxTimestamp, maxStamps = 16 << 10, 64 << 10
	maxNesting              = 32
)

// readable are the kinds of log entries that sigstore-go reads. Others are not
// given to it: a log takes entries of a dozen kinds, with a parser for each.
var readable = map[[2]string]bool{
	{"hashedrekord", "0.0.1"}: true,
	{"dsse", "0.0.1"}:         true,
	{"intoto", "0.0.2"}:       true,
	{"hashedrekord", "0.0.2"}: true,
}

// setEntries parses log entries.
func (m *material) setEntries(entries []*protorekor.TransparencyLogEntry) error {
	if len(entries) > maxEntries {
		return refuse(ReasonLimit, "more than %d log entries", maxEntries)
	}
	bodies := 0
	for i, e := range entries {
		if bodies += len(e.GetCanonicalizedBody()); bodies > maxBodies {
			return refuse(ReasonLimit, "the bodies of its log entries are longer than %d bytes", maxBodies)
		}
		for _, other := range entries[:i] {
			// One entry must not pass for two.
			if e.GetLogIndex() == other.GetLogIndex() && bytes.Equal(e.GetLogId().GetKeyId(), other.GetLogId().GetKeyId()) {
				return refuse(ReasonMalformed, "the same log entry twice")
			}
		}
		if err := checkEntry(e); err != nil {
			return err
		}
		parsed, err := tlog.ParseTransparencyLogEntry(e)
		if err != nil {
			return refuse(ReasonLog, "the log entry: %w", err)
		}
		m.entries = append(m.entries, parsed)
	}
	return nil
}

func checkEntry(e *protorekor.TransparencyLogEntry) error {
	if len(e.GetCanonicalizedBody()) > maxBody {
		return refuse(ReasonLimit, "the body of a log entry is longer than %d bytes", maxBody)
	}
	if len(e.GetInclusionProof().GetHashes()) > 64 || len(e.GetInclusionProof().GetCheckpoint().GetEnvelope()) > maxBody {
		return refuse(ReasonLimit, "a log entry's inclusion proof is larger than that of any log")
	}
	if e.GetLogIndex() < 0 || e.GetIntegratedTime() < 0 || e.GetInclusionProof().GetLogIndex() < 0 || e.GetInclusionProof().GetTreeSize() < 0 {
		return refuse(ReasonMalformed, "a negative number in a log entry")
	}
	var body struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(e.GetCanonicalizedBody(), &body); err != nil {
		return malformed("the body of the log entry", err)
	}
	if !readable[[2]string{body.Kind, body.APIVersion}] {
		why := ""
		if body.Kind == "dsse" && body.APIVersion == "0.0.2" {
			why = ": early Rekor v2 (before 2.3) made such entries, which can't be verified any more; sign again"
		}
		return refuse(ReasonUnsupported, "a log entry of the kind %.50q, version %.50q%s", body.Kind, body.APIVersion, why)
	}
	if err := checkWork(e.GetCanonicalizedBody()); err != nil {
		return err
	}
	if body.Kind != e.GetKindVersion().GetKind() || body.APIVersion != e.GetKindVersion().GetVersion() {
		return refuse(ReasonMalformed, "the log entry is said to be of another kind than it is")
	}
	return nil
}

// checkWork refuses what makes a library verify, before anybody knows that a log has
// it: what somebody asks a log to make an entry of, with any number of signatures and
// keys; an envelope with several signatures, of which there are none here; and keys of
// a size that takes long.
func checkWork(body []byte) error {
	proposed, err := at(body, "spec", "proposedContent")
	var signatures, key jsontext.Value
	if err == nil {
		signatures, err = at(body, "spec", "content", "envelope", "signatures")
	}
	if err == nil && !absent(signatures) {
		err = array(signatures, 1, func(jsontext.Value) error { return nil })
	}
	if err == nil {
		key, err = at(body, "spec", "signature", "publicKey", "content")
	}
	switch {
	case err != nil:
		return malformed("the body of the log entry", err)
	case !absent(proposed):
		return refuse(ReasonUnsupported, "what is proposed to a log is not an entry of it")
	}
	if err := checkLoggedKey(key); err != nil {
		return refuse(ReasonLog, "the log entry: %w", err)
	}
	return nil
}

// at is what an object has under a name, and so on; nothing where there is no object,
// which its parser will say.
func at(data jsontext.Value, path ...string) (jsontext.Value, error) {
	for _, name := range path {
		if data.Kind() != '{' {
			return nil, nil
		}
		found, err := members(data, name)
		if err != nil {
			return nil, err
		}
		data = found[name]
	}
	return data, nil
}

// checkLoggedKey is checkKey for a key or certificate as a log has it. What can't be
// read is for the log entry's parser to refuse.
func checkLoggedKey(value jsontext.Value) error {
	content, err := base64Text(map[string]jsontext.Value{"key": value}, "key")
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		var key crypto.PublicKey
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		} else if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			key = k
		} else if k, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			key = k
		} else {
			continue
		}
		if err := checkKey(key); err != nil {
			return err
		}
	}
	return nil
}

// setTimestamps takes timestamps as far as they are DER, and no others: a library that
// reads more than that can be kept busy by it.
func (m *material) setTimestamps(all ...[]byte) error {
	if len(all) > maxTimestamps {
		return refuse(ReasonLimit, "more than %d timestamps", maxTimestamps)
	}
	total := 0
	for _, t := range all {
		switch total += len(t); {
		case len(t) > maxTimestamp:
			return refuse(ReasonLimit, "a timestamp is longer than %d bytes", maxTimestamp)
		case total > maxStamps:
			return refuse(ReasonLimit, "its timestamps are longer than %d bytes", maxStamps)
		}
		switch err := checkDER(t, maxNesting); {
		case errors.Is(err, errLimit):
			return refuse(ReasonLimit, "a timestamp: %w", err)
		case err == nil:
			m.timestamps = append(m.timestamps, t)
		}
	}
	return nil
}

var errDER = errors.New("it is not in DER")

// checkDER checks that some bytes are DER with no more levels than that. Lengths that
// are not given, and tags of several bytes, are in no timestamp.
func checkDER(der []byte, levels int) error {
	const constructed, longTag = 0x20, 0x1f
	if levels == 0 {
		return fmt.Errorf("%w: nested deeper than %d levels", errLimit, maxNesting)
	}
	for len(der) > 0 {
		if len(der) < 2 || der[0]&longTag == longTag {
			return errDER
		}
		tag, length, header := der[0], int(der[1]), 2
		if length >= 0x80 {
			n := length - 0x80
			if header += n; n == 0 || n > 3 || header > len(der) {
				return errDER
			}
			length = 0
			for _, b := range der[2:header] {
				length = length<<8 | int(b)
			}
		}
		if length > len(der)-header {
			return errDER
		}
		if tag&constructed != 0 {
			if err := checkDER(der[header:header+length], levels-1); err != nil {
				return err
			}
		}
		der = der[header+length:]
	}
	return nil
}

// view shows a material to sigstore-go, with the log entries that are to be looked
// at and the key that it was signed with.
type view struct {
	verify.BaseSignedEntity
	*material
	key    crypto.PublicKey
	looked []*tlog.Entry
	dsse   *bundle.Envelope
}

// view returns the material as sigstore-go sees it. key is what it was signed with.
func (m *material) view(key crypto.PublicKey) *view {
	v := &view{material: m, key: key}
	if m.envelope != nil {
		v.dsse = &bundle.Envelope{Envelope: m.envelope.raw()}
	}
	return v
}

// TlogEntries implements verify.TlogEntryProvider.
func (v *view) TlogEntries() ([]*tlog.Entry, error) { return v.looked, nil }

// Timestamps implements verify.SignedTimestampProvider.
func (v *view) Timestamps() ([][]byte, error) { return v.timestamps, nil }

// SignatureContent implements verify.SignatureProvider.
func (v *view) SignatureContent() (verify.SignatureContent, error) {
	if v.dsse != nil {
		return v.dsse, nil
	}
	return bundle.NewMessageSignature(v.message.digest, hashNames[v.message.hash], v.signature), nil
}

// hashNames are sigstore-go's names of hashes.
var hashNames = map[crypto.Hash]string{crypto.SHA256: "sha256", crypto.SHA384: "sha384", crypto.SHA512: "sha512"}

// VerificationContent implements verify.VerificationProvider.
func (v *view) VerificationContent() (verify.VerificationContent, error) { return signer{v}, nil }

// stampView is a view for timestamps that are not of the signature.
type stampView struct {
	*view
	stamped []byte
}

// SignatureContent implements verify.SignatureProvider.
func (v stampView) SignatureContent() (verify.SignatureContent, error) {
	return bundle.NewMessageSignature(nil, "", v.stamped), nil
}

// signer is who signed, for comparing with what a log says.
type signer struct{ v *view }

// CompareKey implements verify.VerificationContent: a log's entry must name the
// certificate, or the key if it was signed with a key; then a certificate for that
// key will do.
func (s signer) CompareKey(key any, _ root.TrustedMaterial) bool {
	certificate, _ := key.(*x509.Certificate)
	switch {
	case s.v.leaf != nil:
		return certificate != nil && s.v.leaf.Equal(certificate)
	case certificate != nil:
		key = certificate.PublicKey
	}
	comparable, ok := s.v.key.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && comparable.Equal(key)
}

// ValidAtTime implements verify.VerificationContent.
func (s signer) ValidAtTime(t time.Time, _ root.TrustedMaterial) bool {
	c := s.v.leaf
	return c == nil || !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// Certificate implements verify.VerificationContent.
func (s signer) Certificate() *x509.Certificate { return s.v.leaf }

// Intermediates implements verify.VerificationContent.
func (s signer) Intermediates() []*x509.Certificate { return nil }

// PublicKey implements verify.VerificationContent.
func (s signer) PublicKey() verify.PublicKeyProvider {
	if s.v.leaf != nil {
		return nil
	}
	return s
}

// Hint implements verify.PublicKeyProvider.
func (s signer) Hint() string { return "" }

// trusted is a trust root, or none, with the key that an item was signed with.
type trusted struct {
	root.TrustedMaterial
	key crypto.PublicKey
}

// PublicKeyVerifier implements root.TrustedMaterial.
func (t trusted) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	if t.key == nil {
		return nil, fmt.Errorf("it was signed with a certificate")
	}
	return newKeyVerifier(t.key)
}
