package sigstoretest

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// The forms in which signatures are stored.

func envelopeJSON(payloadType string, payload []byte, keyID string, signatures ...[]byte) []byte {
	return must(json.Marshal(envelopeObject(payloadType, payload, keyID, signatures)))
}

func envelopeObject(payloadType string, payload []byte, keyID string, signatures [][]byte) object {
	list := make([]object, 0, len(signatures))
	for i, s := range signatures {
		o := object{"sig": encode64(s), "keyid": ""}
		if i == 0 {
			o["keyid"] = keyID
		}
		list = append(list, o)
	}
	return object{"payloadType": payloadType, "payload": encode64(payload), "signatures": list}
}

// annotations are those that cosign writes for certificate, log and timestamp.
func (p Parts) annotations() map[string]string {
	out := make(map[string]string)
	if p.Certificate != nil {
		out["dev.sigstore.cosign/certificate"] = string(certificatesPEM(p.Certificate))
		out["dev.sigstore.cosign/chain"] = string(certificatesPEM(p.Chain...))
	}
	for _, e := range p.Entries {
		if e.IntegratedTime == 0 && e.SignedEntryTimestamp == nil {
			continue // of a Rekor v2
		}
		once(out, "dev.sigstore.cosign/bundle", object{
			"SignedEntryTimestamp": e.SignedEntryTimestamp,
			"Payload": object{
				"body": e.Body, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex, "logID": hex.EncodeToString(e.LogID),
			},
		})
	}
	for _, t := range p.Timestamps {
		once(out, "dev.sigstore.cosign/rfc3161timestamp", object{"SignedRFC3161Timestamp": t})
	}
	return out
}

func once(annotations map[string]string, key string, value object) {
	if _, ok := annotations[key]; ok {
		panic("an image of cosign's has room for one " + key)
	}
	annotations[key] = string(must(json.Marshal(value)))
}

// bundle is a Sigstore bundle as protobuf-specs has it in JSON.
func (p Parts) bundle() []byte {
	material := object{}
	switch {
	case p.Certificate != nil && p.ChainInBundle:
		chain := [][]byte{p.Certificate}
		if n := len(p.Chain); n > 1 {
			chain = append(chain, p.Chain[:n-1]...)
		}
		material["x509CertificateChain"] = object{"certificates": rawCertificates(chain)}
	case p.Certificate != nil:
		material["certificate"] = object{"rawBytes": encode64(p.Certificate)}
	default:
		material["publicKey"] = object{"hint": p.Hint}
	}
	if len(p.Entries) > 0 {
		material["tlogEntries"] = objects(p.Entries, (*LogEntry).object)
	}
	if len(p.Timestamps) > 0 {
		material["timestampVerificationData"] = object{
			"rfc3161Timestamps": objects(p.Timestamps, func(t []byte) object { return object{"signedTimestamp": encode64(t)} }),
		}
	}
	out := object{"mediaType": p.MediaType, "verificationMaterial": material}
	if p.PayloadType != "" {
		out["dsseEnvelope"] = envelopeObject(p.PayloadType, p.Payload, p.KeyID, append([][]byte{p.Signature}, p.MoreSignatures...))
	} else {
		out["messageSignature"] = object{
			"messageDigest": object{"algorithm": p.MessageAlgorithm, "digest": encode64(p.MessageDigest)},
			"signature":     encode64(p.Signature),
		}
	}
	return must(json.Marshal(out))
}

func (e *LogEntry) object() object {
	out := object{
		"logIndex": strconv.FormatInt(e.LogIndex, 10), "logId": object{"keyId": encode64(e.LogID)},
		"kindVersion":       object{"kind": e.Kind, "version": e.Version},
		"integratedTime":    strconv.FormatInt(e.IntegratedTime, 10),
		"canonicalizedBody": encode64(e.Body),
	}
	if e.SignedEntryTimestamp != nil {
		out["inclusionPromise"] = object{"signedEntryTimestamp": encode64(e.SignedEntryTimestamp)}
	}
	if e.Proof != nil {
		out["inclusionProof"] = object{
			"logIndex": strconv.FormatInt(e.Proof.LogIndex, 10), "treeSize": strconv.FormatInt(e.Proof.TreeSize, 10),
			"rootHash": encode64(e.Proof.RootHash), "hashes": e.Proof.Hashes,
			"checkpoint": object{"envelope": e.Proof.Checkpoint},
		}
	}
	return out
}
