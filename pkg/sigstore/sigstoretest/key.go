package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// Algorithm is a kind of key.
type Algorithm int

// The kinds of keys that sign images. RSA keys take their time to make: 4096 bits
// a second or more.
const (
	ECDSAP256 Algorithm = iota
	ECDSAP384
	ECDSAP521
	RSA2048
	RSA3072
	RSA4096
	Ed25519
)

func newKey(a Algorithm) crypto.Signer {
	switch a {
	case ECDSAP256:
		return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case ECDSAP384:
		return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case ECDSAP521:
		return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case RSA2048:
		return must(rsa.GenerateKey(rand.Reader, 2048))
	case RSA3072:
		return must(rsa.GenerateKey(rand.Reader, 3072))
	case RSA4096:
		return must(rsa.GenerateKey(rand.Reader, 4096))
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	default:
		panic(fmt.Sprintf("no algorithm %d", a))
	}
}

// hashFor is the hash that goes with a key unless somebody chooses another one;
// none for Ed25519.
func hashFor(public crypto.PublicKey) crypto.Hash {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	case ed25519.PublicKey:
		return 0
	}
	return crypto.SHA256
}

// sign signs a message. Ed25519 signs the message itself when the hash is 0 and
// its SHA-512 (Ed25519ph) when it is that one. RSA is PKCS #1 v1.5.
func sign(key crypto.Signer, message []byte, hash crypto.Hash) []byte {
	if _, ok := key.(ed25519.PrivateKey); ok && hash != 0 {
		return must(key.Sign(rand.Reader, digest(crypto.SHA512, message), &ed25519.Options{Hash: crypto.SHA512}))
	}
	return must(key.Sign(rand.Reader, digest(hash, message), hash))
}

// digest hashes a message. Nothing is hashed with hash 0.
func digest(hash crypto.Hash, message []byte) []byte {
	if hash == 0 {
		return message
	}
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// keyDetails is how protobuf-specs names a key's kind. The hash is that of the
// signature, which tells Ed25519 from Ed25519ph.
func keyDetails(public crypto.PublicKey, hash crypto.Hash) string {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return "PKIX_ECDSA_P384_SHA_384"
		case elliptic.P521():
			return "PKIX_ECDSA_P521_SHA_512"
		}
		return "PKIX_ECDSA_P256_SHA_256"
	case *rsa.PublicKey:
		return fmt.Sprintf("PKIX_RSA_PKCS1V15_%d_SHA256", k.N.BitLen())
	case ed25519.PublicKey:
		if hash != 0 {
			return "PKIX_ED25519_PH"
		}
		return "PKIX_ED25519"
	}
	panic(fmt.Sprintf("no details of a %T", public))
}

// hashName is how protobuf-specs names a hash.
func hashName(h crypto.Hash) string {
	switch h {
	case crypto.SHA384:
		return "SHA2_384"
	case crypto.SHA512:
		return "SHA2_512"
	}
	return "SHA2_256"
}

// spki is the key's SubjectPublicKeyInfo.
func spki(public crypto.PublicKey) []byte { return must(x509.MarshalPKIXPublicKey(public)) }

// keyID is the SHA-256 of the key's SubjectPublicKeyInfo: the name of a
// certificate transparency log, and of a Rekor v1.
func keyID(public crypto.PublicKey) []byte {
	sum := sha256.Sum256(spki(public))
	return sum[:]
}

func publicPEM(public crypto.PublicKey) []byte { return encodePEM("PUBLIC KEY", spki(public)) }

func certificatesPEM(certificates ...[]byte) []byte {
	return encodePEM("CERTIFICATE", certificates...)
}

func encodePEM(kind string, blocks ...[]byte) []byte {
	var out []byte
	for _, b := range blocks {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
	}
	return out
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// must is for what fails only when this package, or a test's request to it, is
// wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
