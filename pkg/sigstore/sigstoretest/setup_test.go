package sigstoretest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strconv"
	"testing"
	"time"

	cosign "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// The image that is signed.
var app = image.Of([]byte("app"))

type witnesses = []sigstoretest.Witness

// verifier is sigstore-go's own, with what it is to ask for.
type verifier struct {
	root sigstoretest.Root
	key  *sigstoretest.Signer // for signatures without a certificate
	// prehashed is that an Ed25519 key is for Ed25519ph.
	prehashed bool
	options   []verify.VerifierOption
}

// verify is whether sigstore-go accepts an artefact as signed, of the image that
// it is said to be of.
func (v verifier) verify(t *testing.T, a *sigstoretest.Artefact, subject image.Digest) error {
	t.Helper()
	trusted, err := root.NewTrustedRootFromJSON(v.root.JSON())
	if err != nil {
		return err
	}
	material := root.TrustedMaterialCollection{trusted}
	if v.key != nil {
		material = append(material, root.NewTrustedPublicKeyMaterial(v.publicKey))
	}
	judge, err := verify.NewVerifier(material, v.options...)
	if err != nil {
		t.Fatal(err)
	}
	text := a.Content
	artifact := verify.WithArtifactDigest("sha256", subject.Bytes())
	if a.Parts.PayloadType == "" {
		artifact = verify.WithArtifact(bytes.NewReader(a.Parts.Payload))
	}
	if a.Format != evidence.Bundle {
		text = asBundle(t, a, v.key)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return err
	}
	_, err = judge.Verify(&b, verify.NewPolicy(artifact, verify.WithoutIdentitiesUnsafe()))
	return err
}

func (v verifier) publicKey(hint string) (root.TimeConstrainedVerifier, error) {
	if hint == "" {
		return nil, errors.New("no hint")
	}
	var opts []signature.LoadOption
	if v.prehashed {
		opts = append(opts, options.WithED25519ph())
	}
	key, err := signature.LoadDefaultVerifier(v.key.Public(), opts...)
	if err != nil {
		return nil, err
	}
	return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
}

// asBundle makes a bundle of what cosign puts into a layer.
func asBundle(t *testing.T, a *sigstoretest.Artefact, key *sigstoretest.Signer) []byte {
	t.Helper()
	type object = map[string]any
	material := object{"publicKey": object{"hint": "the key"}}
	if text, ok := a.Annotations["dev.sigstore.cosign/certificate"]; ok {
		block, _ := pem.Decode([]byte(text))
		material = object{"x509CertificateChain": object{"certificates": []object{{"rawBytes": block.Bytes}}}}
	} else if key == nil {
		t.Fatal("neither a certificate nor a key")
	}
	kind := "hashedrekord"
	out := object{"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1", "verificationMaterial": material}
	if a.Format == evidence.Envelope {
		kind = "dsse"
		out["dsseEnvelope"] = json.RawMessage(a.Content)
	} else {
		digest := image.Of(a.Content)
		out["messageSignature"] = object{
			"messageDigest": object{"algorithm": "SHA2_256", "digest": digest.Bytes()},
			"signature":     a.Annotations["dev.cosignproject.cosign/signature"],
		}
	}
	if text, ok := a.Annotations["dev.sigstore.cosign/bundle"]; ok {
		var entry cosign.RekorBundle
		decode(t, text, &entry)
		id, err := hex.DecodeString(entry.Payload.LogID)
		if err != nil {
			t.Fatal(err)
		}
		material["tlogEntries"] = []object{{
			"logIndex": strconv.FormatInt(entry.Payload.LogIndex, 10), "logId": object{"keyId": id},
			"kindVersion":       object{"kind": kind, "version": "0.0.1"},
			"integratedTime":    strconv.FormatInt(entry.Payload.IntegratedTime, 10),
			"inclusionPromise":  object{"signedEntryTimestamp": entry.SignedEntryTimestamp},
			"canonicalizedBody": entry.Payload.Body,
		}}
	}
	if text, ok := a.Annotations["dev.sigstore.cosign/rfc3161timestamp"]; ok {
		var stamp cosign.RFC3161Timestamp
		decode(t, text, &stamp)
		material["timestampVerificationData"] = object{"rfc3161Timestamps": []object{{"signedTimestamp": stamp.SignedRFC3161Timestamp}}}
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
