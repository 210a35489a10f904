package sigstoretest

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// object has its keys sorted when it is marshalled, which with the values that
// are here is what RFC 8785 asks for.
type object map[string]any

// body is the entry's body in the form that the log hashes.
func (e Entry) body() []byte {
	if e.Body != nil {
		return e.Body
	}
	named := e.Digest
	if named == nil {
		named = digest(cmp.Or(e.Hash, crypto.SHA256), e.Message)
	}
	var spec object
	switch e.Kind + " " + e.Version {
	case "hashedrekord 0.0.1":
		spec = object{
			"data":      object{"hash": object{"algorithm": rekorHash(e.Hash), "value": hex.EncodeToString(named)}},
			"signature": object{"content": encode64(e.Signature), "publicKey": object{"content": encode64(e.verifierPEM())}},
		}
	case "dsse 0.0.1":
		spec = object{
			"envelopeHash": sha256Object(e.envelope()),
			"payloadHash":  sha256Object(e.Payload),
			"signatures":   []object{{"signature": encode64(e.Signature), "verifier": encode64(e.verifierPEM())}},
		}
	case "intoto 0.0.2":
		spec = object{"content": object{
			"envelope": object{
				"payloadType": e.PayloadType,
				"signatures":  []object{{"publicKey": encode64(e.verifierPEM()), "sig": encode64([]byte(encode64(e.Signature)))}},
			},
			"hash":        sha256Object(e.envelope()),
			"payloadHash": sha256Object(e.Payload),
		}}
	case "hashedrekord 0.0.2":
		spec = object{"hashedRekordV002": object{
			"data":      object{"algorithm": hashName(e.Hash), "digest": encode64(named)},
			"signature": e.signature2(),
		}}
	case "dsse 0.0.2":
		sum := sha256.Sum256(e.Payload)
		spec = object{"dsseV002": object{
			"payloadHash": object{"algorithm": hashName(crypto.SHA256), "digest": encode64(sum[:])},
			"signatures":  []object{e.signature2()},
		}}
	default:
		panic(fmt.Sprintf("no entries of kind %q %q", e.Kind, e.Version))
	}
	return must(json.Marshal(object{"apiVersion": e.Version, "kind": e.Kind, "spec": spec}))
}

// signature2 is Rekor v2's Signature.
func (e Entry) signature2() object {
	verifier := object{"keyDetails": keyDetails(e.Public, e.Hash)}
	if e.Certificate != nil {
		verifier["x509Certificate"] = object{"rawBytes": encode64(e.Certificate)}
	} else {
		verifier["publicKey"] = object{"rawBytes": encode64(spki(e.Public))}
	}
	return object{"content": encode64(e.Signature), "verifier": verifier}
}

// verifierPEM is how Rekor v1 names the signer.
func (e Entry) verifierPEM() []byte {
	if e.Certificate != nil {
		return certificatesPEM(e.Certificate)
	}
	return publicPEM(e.Public)
}

// envelope is the DSSE envelope as JSON, as Rekor v1 hashes it and .att layers
// hold it.
func (e Entry) envelope() []byte {
	return envelopeJSON(e.PayloadType, e.Payload, "", e.Signature)
}

func sha256Object(b []byte) object {
	sum := sha256.Sum256(b)
	return object{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}
}

// rekorHash is how Rekor v1 names a hash.
func rekorHash(h crypto.Hash) string {
	switch h {
	case crypto.SHA384:
		return "sha384"
	case crypto.SHA512:
		return "sha512"
	}
	return "sha256"
}
