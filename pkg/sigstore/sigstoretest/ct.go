package sigstoretest

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"time"
)

// CTLog is a certificate transparency log, of which only the promise to include a
// certificate is of interest.
type CTLog struct {
	// URL and Valid are what a trusted root says of it.
	URL   string
	Valid Period

	key crypto.Signer
}

// NewCTLog makes a certificate transparency log.
func NewCTLog() *CTLog {
	return &CTLog{URL: "https://ct.example.org", Valid: Always, key: newKey(ECDSAP256)}
}

// sct is a signed certificate timestamp in its serialised form: RFC 6962, 3.2 and
// 3.3, for a precertificate.
func (l *CTLog) sct(tbs []byte, issuer *x509.Certificate, at time.Time) []byte {
	millis := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())) // #nosec G115 -- no time before 1970
	issuerKey := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)

	signed := append([]byte{0, 0}, millis...) // v1, certificate_timestamp
	signed = append(signed, 0, 1)             // precert_entry
	signed = append(signed, issuerKey[:]...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs))) // #nosec G115 -- its three lowest bytes
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0) // no extensions

	out := append([]byte{0}, keyID(l.key.Public())...)
	out = append(out, millis...)
	out = append(out, 0, 0, 4, 3) // no extensions; SHA-256, ECDSA
	return append(out, withLength(sign(l.key, signed, crypto.SHA256))...)
}

// sctExtension is the list of timestamps as an extension: RFC 6962, 3.3.
func sctExtension(scts [][]byte) pkix.Extension {
	var list []byte
	for _, s := range scts {
		list = append(list, withLength(s)...)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: must(asn1.Marshal(withLength(list)))}
}

// withLength is TLS's opaque<0..2^16-1>.
func withLength(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) // #nosec G115 -- a test's own few hundred bytes
}
