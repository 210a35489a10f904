package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/podseal/podseal/pkg/image"
)

// Sizes of RSA keys, in bits. More than the most takes time to verify that is
// better spent.
const (
	minRSA = 2048
	maxRSA = 8192
)

// checkKey refuses keys that are too weak, too large, or of another kind.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("an ECDSA key on the curve %s", k.Params().Name)
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("an RSA key of %d bits: it must have %d to %d", n, minRSA, maxRSA)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of the type %T", key)
}

// fingerprint is the SHA-256 of a key's SubjectPublicKeyInfo, which is the same
// wherever and in whatever form the key is written.
func fingerprint(key crypto.PublicKey) (image.Digest, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return image.Digest{}, err
	}
	return image.Of(der), nil
}

// parseKeys reads the PEM blocks "PUBLIC KEY" of a file.
func parseKeys(text []byte) (found []crypto.PublicKey, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		var key crypto.PublicKey
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		default:
			err = fmt.Errorf("a PEM block %.50q where a PUBLIC KEY must be", block.Type)
		}
		if err == nil {
			err = checkKey(key)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", len(found)+1, err)
		}
		found = append(found, key)
	}
	if len(found) == 0 {
		return nil, errors.New("no PEM block PUBLIC KEY")
	}
	return found, nil
}

// errSignature is a signature that does not fit.
var errSignature = errors.New("the signature does not fit")

// verifySignature says with which hash the signature of what was signed verifies.
//
// ECDSA keys on P-384 and P-521 sign SHA-384 and SHA-512 in Sigstore's bundles and
// SHA-256 with older clients and in cosign's own format; both are safe, and there
// is no third. Ed25519 signs the bytes or, where only a digest can be logged,
// their SHA-512 (Ed25519ph), which are different signatures and can't be mistaken
// for each other.
func verifySignature(key crypto.PublicKey, m *material) (crypto.Hash, error) {
	what := m.signed()
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		for _, hash := range ecdsaHashes(k.Curve) {
			if digest, ok := what.sum(hash); ok && ecdsa.VerifyASN1(k, digest, m.signature) {
				return hash, nil
			}
		}
	case *rsa.PublicKey:
		digest, _ := what.sum(crypto.SHA256)
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, m.signature) == nil {
			return crypto.SHA256, nil
		}
	case ed25519.PublicKey:
		if !what.sha256.IsZero() {
			return 0, errors.New("an Ed25519 signature can be verified with the artifact only, not with its SHA-256")
		}
		if ed25519.Verify(k, what.bytes, m.signature) {
			return crypto.SHA512, nil
		}
		digest, _ := what.sum(crypto.SHA512)
		if m.message != nil && ed25519.VerifyWithOptions(k, digest, m.signature, &ed25519.Options{Hash: crypto.SHA512}) == nil {
			return crypto.SHA512, nil
		}
	}
	return 0, errSignature
}

func ecdsaHashes(curve elliptic.Curve) []crypto.Hash {
	switch curve {
	case elliptic.P384():
		return []crypto.Hash{crypto.SHA384, crypto.SHA256}
	case elliptic.P521():
		return []crypto.Hash{crypto.SHA512, crypto.SHA256}
	}
	return []crypto.Hash{crypto.SHA256}
}

// newKeyVerifier is a key in the form that sigstore-go asks for. Its window is
// checked here and not there.
func newKeyVerifier(key crypto.PublicKey) (root.TimeConstrainedVerifier, error) {
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return root.NewExpiringKey(v, time.Time{}, time.Time{}), nil
}
