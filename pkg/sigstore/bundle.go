package sigstore

import (
	"bytes"
	"crypto"
	"errors"
	"slices"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// bundleVersion is a version of the Sigstore bundle, in the order of their making.
type bundleVersion int

const (
	v01 bundleVersion = iota + 1
	v02
	v03
)

var bundleVersions = map[string]bundleVersion{
	"application/vnd.dev.sigstore.bundle+json;version=0.1": v01,
	"application/vnd.dev.sigstore.bundle+json;version=0.2": v02,
	"application/vnd.dev.sigstore.bundle+json;version=0.3": v03,
	"application/vnd.dev.sigstore.bundle.v0.3+json":        v03,
}

// maxBundleMembers bounds a bundle's members and elements: 32 log entries of 64
// hashes are some 3,000.
const maxBundleMembers = 16 << 10

// readBundle reads a Sigstore bundle.
func readBundle(content []byte) (*found, error) {
	f, err := parseBundle(content)
	if err != nil {
		return nil, err
	}
	if f.material.envelope != nil {
		return f, f.readEnvelope(f.material.envelope)
	}
	// cosign makes no such bundle for an image and accepts none: signed is a file,
	// which might be a manifest, but nobody said that it means an image.
	f.other = "it signs a file, not a statement about an image"
	return f, nil
}

// parseBundle reads a bundle whose content may be an envelope, whose payload is
// left as it is, or the signature of a file.
func parseBundle(content []byte) (*found, error) {
	if err := shape(content, maxBundleMembers); err != nil {
		return nil, malformed("the bundle", err)
	}
	b := &protobundle.Bundle{}
	// protojson refuses unknown members and those given twice.
	if err := protojson.Unmarshal(content, b); err != nil {
		return nil, malformed("the bundle", err)
	}
	version := bundleVersions[b.GetMediaType()]
	if version == 0 {
		return nil, refuse(ReasonUnsupported, "a bundle of type %.100q", b.GetMediaType())
	}
	f := &found{}
	m := &f.material
	if err := m.readSigner(b.GetVerificationMaterial(), version); err != nil {
		return nil, err
	}
	var stamps [][]byte
	for _, t := range b.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		stamps = append(stamps, t.GetSignedTimestamp())
	}
	if err := m.setTimestamps(stamps...); err != nil {
		return nil, err
	}
	if err := checkProofs(b.GetVerificationMaterial().GetTlogEntries(), version); err != nil {
		return nil, err
	}
	if err := m.setEntries(b.GetVerificationMaterial().GetTlogEntries()); err != nil {
		return nil, err
	}
	switch content := b.GetContent().(type) {
	case *protobundle.Bundle_DsseEnvelope:
		e := content.DsseEnvelope
		if len(e.GetSignatures()) != 1 {
			return nil, malformed("the envelope", errSignatures)
		}
		m.envelope = &envelope{payloadType: e.GetPayloadType(), payload: e.GetPayload(), signature: e.GetSignatures()[0].GetSig()}
		m.signature = m.envelope.signature
	case *protobundle.Bundle_MessageSignature:
		m.signature = content.MessageSignature.GetSignature()
		digest := content.MessageSignature.GetMessageDigest()
		m.message = &message{hash: hashes[digest.GetAlgorithm()], digest: digest.GetDigest()}
		if m.message.hash == 0 {
			return nil, refuse(ReasonUnsupported, "a message digest of the algorithm %s", digest.GetAlgorithm())
		}
	default:
		return nil, malformed("the bundle", errors.New("neither an envelope nor a signature"))
	}
	if len(m.signature) == 0 {
		return nil, refuse(ReasonMalformed, "there is no signature")
	}
	return f, nil
}

var hashes = map[protocommon.HashAlgorithm]crypto.Hash{
	protocommon.HashAlgorithm_SHA2_256: crypto.SHA256,
	protocommon.HashAlgorithm_SHA2_384: crypto.SHA384,
	protocommon.HashAlgorithm_SHA2_512: crypto.SHA512,
}

// readSigner reads who is said to have signed.
func (m *material) readSigner(v *protobundle.VerificationMaterial, version bundleVersion) error {
	var certificates []*protocommon.X509Certificate
	switch content := v.GetContent().(type) {
	case *protobundle.VerificationMaterial_PublicKey:
		// Its hint is a guess of which key to try, and all are tried.
		return nil
	case *protobundle.VerificationMaterial_Certificate:
		certificates = []*protocommon.X509Certificate{content.Certificate}
	case *protobundle.VerificationMaterial_X509CertificateChain:
		certificates = content.X509CertificateChain.GetCertificates()
		m.chained = version == v03
	default:
		return refuse(ReasonMalformed, "the bundle: no verification material")
	}
	if len(certificates) == 0 {
		return refuse(ReasonMalformed, "the bundle: no certificate")
	}
	var der [][]byte
	for _, c := range certificates {
		der = append(der, c.GetRawBytes())
	}
	if err := m.setCertificates(der); err != nil {
		return err
	}
	for _, c := range m.above {
		// Roots are the verifier's to have, and bundles must be without.
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			return refuse(ReasonMalformed, "the bundle: a root certificate in the chain")
		}
	}
	return nil
}

// checkProofs checks what each version demands of log entries: a promise in
// v0.1, a proof of inclusion since.
func checkProofs(entries []*protorekor.TransparencyLogEntry, version bundleVersion) error {
	has := func(e *protorekor.TransparencyLogEntry) bool { return e.GetInclusionProof() != nil }
	missing := "an inclusion proof"
	if version == v01 {
		has = func(e *protorekor.TransparencyLogEntry) bool {
			return len(e.GetInclusionPromise().GetSignedEntryTimestamp()) > 0
		}
		missing = "an inclusion promise"
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, has) {
		return refuse(ReasonLog, "no log entry has %s, which a bundle of this version must have", missing)
	}
	return nil
}
