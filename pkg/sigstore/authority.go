package sigstore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/image"
)

// Authority says whose signatures count. It does not change and may be used by
// several goroutines. It is made by [NewKeyless], [NewKeys] or [NewPKI].
type Authority struct {
	kind       kind
	identities []Identity
	anyone     bool

	requireLog bool
	ignoreSCT  bool

	keys        []authorityKey
	from, until time.Time

	roots, intermediates []*x509.Certificate

	annotations map[string]string
}

type kind int

const (
	kindKeyless kind = iota + 1
	kindKeys
	kindPKI
)

type authorityKey struct {
	key         crypto.PublicKey
	fingerprint image.Digest
}

// KeylessConfig is for signatures with certificates of a Fulcio CA of the trust
// root. The zero value accepts nobody.
type KeylessConfig struct {
	// Identities are who may sign: one of them must match. No identity is nobody.
	Identities []Identity
	// AnyIdentity accepts every signer that the trust root vouches for, which on
	// the public good instance is everybody with an e-mail address. With it there
	// are no Identities.
	AnyIdentity bool
	// IgnoreLog gives up transparency: a signature that its signer keeps secret, or
	// that was made with a stolen CA key, counts too. Log entries that are there
	// still tell the time if they can be verified; without any other time the
	// certificate must be valid now.
	IgnoreLog bool
	// IgnoreSCT gives up certificate transparency: a certificate that the CA was
	// made to issue in secret counts too.
	IgnoreSCT bool
	// Annotations must all be signed with the signature, with these values.
	Annotations map[string]string
}

// NewKeyless returns an Authority of identities.
func NewKeyless(c KeylessConfig) (*Authority, error) {
	if c.AnyIdentity && len(c.Identities) > 0 {
		return nil, errors.New("any identity, and identities")
	}
	for i, id := range c.Identities {
		if err := id.check(); err != nil {
			return nil, fmt.Errorf("identity %d: %w", i+1, err)
		}
		if id.Issuer.IsZero() {
			return nil, fmt.Errorf("identity %d: no issuer: whoever may choose the issuer may choose the subject", i+1)
		}
	}
	return &Authority{
		kind: kindKeyless, identities: cloneIdentities(c.Identities), anyone: c.AnyIdentity,
		requireLog: !c.IgnoreLog, ignoreSCT: c.IgnoreSCT, annotations: maps.Clone(c.Annotations),
	}, nil
}

// KeysConfig is for signatures with public keys.
type KeysConfig struct {
	// PEM are files, each with one or more blocks "PUBLIC KEY": ECDSA on P-256,
	// P-384 or P-521, RSA from 2048 bits on, or Ed25519. A signature with any of
	// them counts.
	PEM [][]byte
	// RequireLog demands an entry in a transparency log of the trust root.
	RequireLog bool
	// ValidFrom and ValidUntil are when the keys may have signed, both included;
	// zero is no bound. The time is what a log or a timestamp authority of the
	// trust root says or, if none does, now: so a key that was stolen later can't
	// be made to have signed before.
	ValidFrom, ValidUntil time.Time
	// Annotations must all be signed with the signature, with these values.
	Annotations map[string]string
}

// maxKeys bounds the keys of an authority: each is tried.
const maxKeys = 64

// NewKeys returns an Authority of public keys.
func NewKeys(c KeysConfig) (*Authority, error) {
	a := &Authority{kind: kindKeys, requireLog: c.RequireLog, from: c.ValidFrom, until: c.ValidUntil, annotations: maps.Clone(c.Annotations)}
	for i, text := range c.PEM {
		found, err := parseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("key file %d: %w", i+1, err)
		}
		for _, key := range found {
			f, err := fingerprint(key)
			if err != nil {
				return nil, fmt.Errorf("key file %d: %w", i+1, err)
			}
			same := func(k authorityKey) bool { return k.fingerprint == f }
			if !slices.ContainsFunc(a.keys, same) {
				a.keys = append(a.keys, authorityKey{key, f})
			}
		}
	}
	switch {
	case len(a.keys) == 0:
		return nil, errors.New("no key")
	case len(a.keys) > maxKeys:
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	case !a.from.IsZero() && !a.until.IsZero() && a.until.Before(a.from):
		return nil, errors.New("the keys' validity ends before it begins")
	}
	return a, nil
}

// PKIConfig is for signatures with certificates of a CA of one's own.
type PKIConfig struct {
	// PEM are the CA's certificates: those that are self-signed are roots, others
	// are intermediates. Without a self-signed one each is trusted as it is.
	PEM []byte
	// Identities are who may sign. Their Issuer is optional here, and is what the
	// CA wrote into Fulcio's extension; Claims of it can't be demanded.
	Identities []Identity
	// AnyIdentity accepts everybody to whom the CA gave a certificate that may sign
	// code. With it there are no Identities.
	AnyIdentity bool
	// RequireLog demands an entry in a transparency log of the trust root.
	RequireLog bool
	// Annotations must all be signed with the signature, with these values.
	Annotations map[string]string
}

// NewPKI returns an Authority of a private PKI.
func NewPKI(c PKIConfig) (*Authority, error) {
	if c.AnyIdentity && len(c.Identities) > 0 {
		return nil, errors.New("any identity, and identities")
	}
	for i, id := range c.Identities {
		if err := id.check(); err != nil {
			return nil, fmt.Errorf("identity %d: %w", i+1, err)
		}
		if len(id.Claims) > 0 {
			return nil, fmt.Errorf("identity %d: claims are believed of the trust root's CAs only", i+1)
		}
	}
	a := &Authority{kind: kindPKI, identities: cloneIdentities(c.Identities), anyone: c.AnyIdentity, requireLog: c.RequireLog, annotations: maps.Clone(c.Annotations)}
	if err := a.addCertificates(c.PEM); err != nil {
		return nil, err
	}
	return a, nil
}

// maxAuthorityCertificates bounds the certificates of a private PKI.
const maxAuthorityCertificates = 64

func (a *Authority) addCertificates(text []byte) error {
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if n > maxAuthorityCertificates {
			return fmt.Errorf("more than %d certificates", maxAuthorityCertificates)
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("a PEM block %.50q where a CERTIFICATE must be", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", n, err)
		}
		if err := checkKey(c.PublicKey); err != nil {
			return fmt.Errorf("certificate %d: %w", n, err)
		}
		if !c.IsCA || !c.BasicConstraintsValid {
			return fmt.Errorf("certificate %d is not a CA's", n)
		}
		if selfSigned(c) {
			a.roots = append(a.roots, c)
		} else {
			a.intermediates = append(a.intermediates, c)
		}
	}
	if len(a.roots) == 0 {
		a.roots, a.intermediates = a.intermediates, nil
	}
	if len(a.roots) == 0 {
		return errors.New("no PEM block CERTIFICATE")
	}
	return nil
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}

// NeedsRoot is whether the Authority judges nothing without a trust root.
func (a *Authority) NeedsRoot() bool { return a.kind == kindKeyless || a.requireLog }

// required checks the annotations that were signed.
func (a *Authority) required(signed map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(a.annotations)) {
		switch value, ok := signed[name]; {
		case !ok:
			return refuse(ReasonAnnotations, "%q is not signed", name)
		case value != a.annotations[name]:
			return refuse(ReasonAnnotations, "%q is %.100q, not %q", name, value, a.annotations[name])
		}
	}
	return nil
}
