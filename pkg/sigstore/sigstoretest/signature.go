package sigstoretest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
)

// Signature says what is signed, by whom, when, and in which form. Signer and
// Digest are enough; what has no witness is in no log and has no timestamp.
type Signature struct {
	Signer *Signer
	// Digest is the image's.
	Digest image.Digest
	// Format is cosign's simple signing by default. A Bundle is of Version "0.3" by
	// default, "0.1" or "0.2"; its content is a statement in an envelope, or with
	// Message a signature of the payload itself.
	Format  evidence.Format
	Version string
	Message bool
	// Time is when it is signed; package variable Time by default. Certified is when
	// the certificate is issued, by default the same.
	Time, Certified time.Time
	// Witnesses are the logs that record it and the authorities that stamp it.
	Witnesses []Witness

	// Reference and Optional are the name of the image and the annotations in a
	// simple signing payload.
	Reference string
	Optional  map[string]any
	// PredicateType, by default cosign's for signatures in a bundle and SLSA's for
	// provenance in an envelope, and Predicate, in JSON, are the statement's. Subject,
	// in JSON, is in place of the list with the one Digest.
	PredicateType, Predicate, Subject string
	// Payload is in place of all that, and PayloadType of in-toto's.
	Payload     []byte
	PayloadType string

	// Hash is the one that is signed. The default is what cosign does: SHA-256 for
	// simple signing and envelopes, else the one that goes with the key. Ed25519
	// signs the message itself, and with SHA-512 it is Ed25519ph.
	Hash crypto.Hash

	// Entry changes what each log is told, and Token what each authority stamps: they
	// put their names to it as they do to anything.
	Entry func(*Entry)
	Token func(*Token)
	// Break changes what was made. Nothing is signed anew.
	Break func(*Parts)
}

// SignPredicate is the predicate type that makes a bundle a signature of an image.
const SignPredicate = "https://sigstore.dev/cosign/sign/v1"

// ProvenancePredicate is the predicate type of an envelope that names no other.
const ProvenancePredicate = "https://slsa.dev/provenance/v1"

// Witness is a *Log or a *TSA.
type Witness interface{ witness(*signing) }

// Parts are what a signature consists of, before they are put into their form.
type Parts struct {
	// Payload is what was signed: as it is, or in an envelope with PayloadType.
	Payload     []byte
	PayloadType string
	Signature   []byte
	// MoreSignatures are further ones in the envelope. KeyID is the first one's.
	MoreSignatures [][]byte
	KeyID          string
	// MessageDigest, and its Algorithm in the words of protobuf-specs, are what a
	// bundle says about the message.
	MessageDigest    []byte
	MessageAlgorithm string
	// Certificate is the signer's in DER and Chain what is above it. In a bundle there
	// is a chain, without its root, up to version 0.2, or with ChainInBundle.
	Certificate   []byte
	Chain         [][]byte
	ChainInBundle bool
	// Hint stands in a bundle in place of a certificate.
	Hint string
	// Entries and Timestamps are the witnesses' answers. Cosign's formats have room
	// for one of each, and none for an entry of a Rekor v2, which is left out. An entry
	// that is taken from another signature is that one's too: change a copy.
	Entries    []*LogEntry
	Timestamps [][]byte
	// MediaType is the bundle's.
	MediaType string
}

// Artefact is a signature in its form. It is plain data, for a test to change.
type Artefact struct {
	Format evidence.Format
	// MediaType is that of the layer, Annotations are the layer's.
	MediaType   string
	Content     []byte
	Annotations map[string]string
	// Parts are those that it was made of, for use in another one.
	Parts Parts

	predicateType string
}

// Item is the artefact as it would be found for an image.
func (a *Artefact) Item(at image.Ref) evidence.Item {
	return evidence.Item{
		Format: a.Format, Source: "sigstoretest", At: at, Blob: image.Of(a.Content),
		Content: a.Content, Annotations: a.Annotations,
	}
}

// signing is a signature while it is made.
type signing struct {
	Signature
	parts   Parts
	message []byte // what is signed: the payload or the envelope's PAE
}

// Sign makes a signature.
func Sign(s Signature) *Artefact {
	s.Format = cmp.Or(s.Format, evidence.SimpleSigning)
	s.Version = cmp.Or(s.Version, "0.3")
	if s.Time.IsZero() {
		s.Time = Time
	}
	if s.Certified.IsZero() {
		s.Certified = s.Time
	}
	s.Hash = s.hash()
	g := &signing{Signature: s}
	g.signPayload()
	g.addSigner()
	for _, w := range s.Witnesses {
		w.witness(g)
	}
	if s.Break != nil {
		s.Break(&g.parts)
	}
	return g.render()
}

func (s Signature) hash() crypto.Hash {
	usual := hashFor(s.Signer.Public())
	if _, ok := s.Signer.Public().(*ecdsa.PublicKey); ok && s.Format != evidence.Bundle {
		usual = crypto.SHA256
	}
	return cmp.Or(s.Hash, usual)
}

func (s Signature) enveloped() bool {
	return s.Format == evidence.Envelope || s.Format == evidence.Bundle && !s.Message
}

func (g *signing) signPayload() {
	p := &g.parts
	p.Payload = g.payload()
	g.message = p.Payload
	if g.enveloped() {
		p.PayloadType = cmp.Or(g.PayloadType, "application/vnd.in-toto+json")
		g.message = preAuthenticationEncoding(p.PayloadType, p.Payload)
	}
	hash := cmp.Or(g.Hash, crypto.SHA256)
	p.MessageDigest, p.MessageAlgorithm = digest(hash, p.Payload), hashName(hash)
	p.Signature = sign(g.Signer.key(), g.message, g.Hash)
}

func (g *signing) addSigner() {
	p := &g.parts
	p.MediaType = "application/vnd.dev.sigstore.bundle.v" + g.Version + "+json"
	if g.Version != "0.3" {
		p.MediaType = "application/vnd.dev.sigstore.bundle+json;version=" + g.Version
	}
	if g.Signer.ca == nil {
		p.Hint = encode64(keyID(g.Signer.Public()))
		return
	}
	p.Certificate = g.Signer.Certificate(g.Certified)
	p.Chain = g.Signer.ca.Chain()
	p.ChainInBundle = g.Version != "0.3"
}

// entry is what a log of that version is told of the signature.
func (g *signing) entry(version int) Entry {
	e := Entry{
		Kind: "hashedrekord", Version: "0.0.2", Time: g.Time,
		Message: g.message, Hash: g.Hash, Payload: g.parts.Payload, PayloadType: g.parts.PayloadType,
		Signature: g.parts.Signature, Certificate: g.parts.Certificate, Public: g.Signer.Public(),
	}
	if version == 1 {
		e.Version = "0.0.1"
		if g.enveloped() {
			e.Kind = "dsse"
		}
	}
	return e
}

func (g *signing) render() *Artefact {
	a := &Artefact{Format: g.Format, Parts: g.parts}
	switch g.Format {
	case evidence.SimpleSigning:
		a.MediaType, a.Content = "application/vnd.dev.cosign.simplesigning.v1+json", g.parts.Payload
		a.Annotations = g.parts.annotations()
		a.Annotations["dev.cosignproject.cosign/signature"] = encode64(g.parts.Signature)
	case evidence.Envelope:
		a.MediaType, a.predicateType = "application/vnd.dsse.envelope.v1+json", g.predicateType()
		a.Content = envelopeJSON(g.parts.PayloadType, g.parts.Payload, g.parts.KeyID, slices.Concat([][]byte{g.parts.Signature}, g.parts.MoreSignatures)...)
		a.Annotations = g.parts.annotations()
		a.Annotations["dev.cosignproject.cosign/signature"] = ""
		a.Annotations["predicateType"] = a.predicateType
	case evidence.Bundle:
		a.MediaType, a.Content = g.parts.MediaType, g.parts.bundle()
		if !g.Message {
			a.predicateType = g.predicateType()
		}
	default:
		panic(fmt.Sprintf("no format %q", g.Format))
	}
	return a
}

func (s Signature) predicateType() string {
	if s.Format == evidence.Bundle {
		return cmp.Or(s.PredicateType, SignPredicate)
	}
	return cmp.Or(s.PredicateType, ProvenancePredicate)
}

// payload is what is signed.
func (s Signature) payload() []byte {
	switch {
	case s.Payload != nil:
		return s.Payload
	case s.enveloped():
		return s.statement()
	}
	return must(json.Marshal(object{
		"critical": object{
			"identity": object{"docker-reference": cmp.Or(s.Reference, "registry.example.org/app")},
			"image":    object{"docker-manifest-digest": s.Digest.String()},
			"type":     "cosign container image signature",
		},
		"optional": s.Optional, // null where there is nothing, as cosign has it
	}))
}

func (s Signature) statement() []byte {
	kind := "https://in-toto.io/Statement/v1"
	if s.Format == evidence.Envelope {
		kind = "https://in-toto.io/Statement/v0.1"
	}
	subject := json.RawMessage(s.Subject)
	if s.Subject == "" {
		subject = must(json.Marshal([]object{{"digest": object{"sha256": s.Digest.Hex()}}}))
	}
	return must(json.Marshal(object{
		"_type": kind, "subject": subject,
		"predicateType": s.predicateType(), "predicate": json.RawMessage(cmp.Or(s.Predicate, "{}")),
	}))
}

// preAuthenticationEncoding is DSSE's PAE.
func preAuthenticationEncoding(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}
