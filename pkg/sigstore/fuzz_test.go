package sigstore_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// judged is what every judgement is, whatever the bytes: no panic, and a refusal
// that is fit for a log.
func judged(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	r, ok := errors.AsType[*sigstore.Refusal](err)
	if !ok || r.Reason == sigstore.ReasonPanic {
		t.Fatalf("%T: %+v", err, err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return !strconv.IsPrint(r) }) || len(err.Error()) > 1<<10 {
		t.Fatalf("not fit for a log: %q", err)
	}
}

// FuzzSimpleSigning: a payload that somebody signed counts only for the digest that
// a careless reader sees in it too.
func FuzzSimpleSigning(f *testing.F) {
	key := sigstoretest.NewKey(sigstoretest.Ed25519)
	a := newKeys(f, sigstore.KeysConfig{}, key)
	good := sigstoretest.Sign(sigstoretest.Signature{Signer: key, Digest: app, Optional: map[string]any{"a": "b"}}).Content
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `"image":`, `"Image":{"docker-manifest-digest":"x"},"image":`, 1)))
	f.Add([]byte(strings.Replace(string(good), `"image":`, `"image":null,"image":`, 1)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if payload == nil {
			payload = []byte{}
		}
		made := sigstoretest.Sign(sigstoretest.Signature{Signer: key, Payload: payload})
		got, err := a.Signature(nil, item(t, made), []image.Digest{evil, app}, now)
		judged(t, err)
		if err != nil {
			return
		}
		var seen struct {
			Critical struct {
				Identity struct {
					DockerReference string `json:"docker-reference"`
				}
				Image struct {
					DockerManifestDigest string `json:"docker-manifest-digest"`
				}
			}
		}
		if err := json.Unmarshal(payload, &seen); err != nil {
			t.Fatalf("accepted is no JSON: %v", err)
		}
		if seen.Critical.Image.DockerManifestDigest != got.Digest().String() || seen.Critical.Identity.DockerReference != got.ClaimedName() {
			t.Fatalf("signed is %s %q, others read %+v", got.Digest(), got.ClaimedName(), seen)
		}
	})
}

// FuzzStatement: the same for statements.
func FuzzStatement(f *testing.F) {
	key := sigstoretest.NewKey(sigstoretest.Ed25519)
	a := newKeys(f, sigstore.KeysConfig{}, key)
	good := sigstoretest.Sign(sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle}).Parts.Payload
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), "cosign/sign", "other", 1)))
	f.Add([]byte(strings.Replace(string(good), `"subject":[`, `"subject":[null,`, 1)))
	f.Add([]byte(strings.Replace(string(good), `"subject":[`, `"subject":[{"name":"a","digest":{"sha512":"00"},"annotations":{"a":1,"b":"c"}},`, 1)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if payload == nil {
			payload = []byte{}
		}
		found := item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: key, Payload: payload, Format: evidence.Bundle}))
		signature, err := a.Signature(nil, found, []image.Digest{evil, app}, now)
		judged(t, err)
		attestation, err2 := a.Attestation(nil, found, []image.Digest{evil, app}, now)
		judged(t, err2)
		if err != nil && err2 != nil {
			return
		}
		if err == nil && err2 == nil {
			t.Fatal("it is both")
		}
		var seen struct {
			PredicateType string
			Subject       []struct{ Digest map[string]string }
		}
		if err := json.Unmarshal(payload, &seen); err != nil {
			t.Fatalf("accepted is no JSON: %v", err)
		}
		var digest image.Digest
		kind := sigstoretest.SignPredicate
		if err == nil {
			digest = signature.Digest()
		} else {
			digest, kind = attestation.Digest(), attestation.PredicateType()
		}
		if seen.PredicateType != kind || !slices.ContainsFunc(seen.Subject, func(s struct{ Digest map[string]string }) bool { return s.Digest["sha256"] == digest.Hex() }) {
			t.Fatalf("it is a %s of %s, others read %+v", kind, digest, seen)
		}
	})
}

// FuzzAnnotations: whatever is written beside a layer, a signature counts only if
// it fits.
func FuzzAnnotations(f *testing.F) {
	w := newWorld(f)
	s := w.signed()
	s.Format = evidence.SimpleSigning
	good := sigstoretest.Sign(s)
	names := []string{"dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain", "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"}
	text := func(i int) string { return good.Annotations[names[i]] }
	f.Add(text(0), text(1), text(2), text(3), text(4))
	f.Add(text(0), text(1), "", `{"SignedEntryTimestamp":"AA==","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"`+app.Hex()+`"}}`, `{"SignedRFC3161Timestamp":"MAA="}`)
	f.Add("AA==", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "", "", "")
	any := newKeyless(f, sigstore.KeylessConfig{AnyIdentity: true})
	f.Fuzz(func(t *testing.T, signature, certificate, chain, bundle, timestamp string) {
		found := item(t, good)
		found.Annotations = map[string]string{}
		for i, value := range []string{signature, certificate, chain, bundle, timestamp} {
			found.Annotations[names[i]] = value
		}
		got, err := any.Signature(w.root, found, []image.Digest{app}, now)
		judged(t, err)
		if err == nil && (got.Value() != text(0) || got.Subject() == "" || !got.IsLogged()) {
			t.Fatalf("accepted: %q", got.Value())
		}
	})
}

// FuzzBundle: whatever is in a bundle, it counts only with the signature that the
// signer made.
func FuzzBundle(f *testing.F) {
	w := newWorld(f)
	good := map[string]bool{}
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		for _, witnesses := range []witnesses{{w.Rekor1}, {w.Rekor2, w.TSA}} {
			s := w.signed()
			s.Version, s.Witnesses = version, witnesses
			made := sigstoretest.Sign(s)
			good[string(made.Parts.Signature)] = true
			f.Add(made.Content)
		}
	}
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{}]},"messageSignature":{}}`))
	any := newKeyless(f, sigstore.KeylessConfig{AnyIdentity: true})
	f.Fuzz(func(t *testing.T, content []byte) {
		found := evidence.Item{Format: evidence.Bundle, Content: content}
		got, err := any.Signature(w.root, found, []image.Digest{app}, now)
		judged(t, err)
		if err == nil && !good[decoded(t, got.Value())] {
			t.Fatalf("accepted: %q", got.Value())
		}
		_, err = any.Attestation(w.root, found, []image.Digest{app}, now)
		judged(t, err)
		judged(t, any.VerifyBlob(w.root, content, sigstore.Blob{Digest: app}, now))
	})
}

// FuzzEnvelope is for the layers of cosign's .att images.
func FuzzEnvelope(f *testing.F) {
	w := newWorld(f)
	s := w.signed()
	s.Format, s.Witnesses = evidence.Envelope, witnesses{w.Rekor1}
	good := sigstoretest.Sign(s)
	f.Add(good.Content)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":"AA=="},null]}`))
	any := newKeyless(f, sigstore.KeylessConfig{AnyIdentity: true})
	f.Fuzz(func(t *testing.T, content []byte) {
		found := item(t, good)
		found.Content = content
		got, err := any.Attestation(w.root, found, []image.Digest{app}, now)
		judged(t, err)
		if err == nil && (decoded(t, got.Value()) != string(good.Parts.Signature) || got.Digest() != app) {
			t.Fatalf("accepted: %q", got.Value())
		}
	})
}

// FuzzRoot: no trust root makes the reader panic.
func FuzzRoot(f *testing.F) {
	w := newWorld(f)
	f.Add(w.TrustedRoot())
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"hashAlgorithm":"SHA2_256"}],"timestampAuthorities":[{"certChain":{"certificates":[{}]}}]}`))
	a := newKeyless(f, sigstore.KeylessConfig{AnyIdentity: true})
	found := item(f, sigstoretest.Sign(w.signed()))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sigstore.ParseRoot(data)
		if _, ok := errors.AsType[*sigstore.Refusal](err); ok {
			t.Fatalf("%+v", err) // a panic
		}
		if err == nil {
			_, err = a.Signature(r, found, []image.Digest{app}, now)
			judged(t, err)
		}
	})
}
