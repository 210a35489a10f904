// Package sigstore judges signatures and attestations: (a trust root, an authority,
// bytes that somebody put into a registry, the digests of the content that runs, a
// time) -> a verified signature or attestation, or why not. It has no network, no
// files and no clock.
//
// What it believes of an item is what verified bytes say, and nothing else: not
// where the item was found, not what its manifest or annotations call it, not the
// unsigned parts of a log entry. The cryptography is sigstore-go's; what that
// leaves to its caller is done here: the binding of the signed bytes to a digest,
// identities, validity windows of keys and logs, times in the future, and bounds.
//
// A [Signature] and an [Attestation] that are not zero can be made only here.
package sigstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
)

// Bounds of what is looked at. Whoever may push to a repository chooses the sizes;
// what goes beyond is refused for [ReasonLimit].
const (
	maxContent      = 8 << 20  // of an item, in bytes
	maxPayload      = 64 << 10 // of a simple signing payload and of cosign's statement of a signature
	maxEntries      = 32       // log entries of an item
	maxTimestamps   = 32       // RFC 3161 timestamps of an item
	maxCertificates = 8        // certificates of an item, the signer's included
	maxSubjects     = 1024     // subjects of a statement
	maxDigests      = 32       // digests of one subject
	maxText         = 2 << 10  // an identity, a claim, a predicate type, in bytes
)

// maxClockSkew is how far a verified time may lie in the future: this node's clock
// may be slow, but a signature of tomorrow is a log's or an authority's lie.
const maxClockSkew = 5 * time.Minute

// Signature is a signature of an image that an authority's rules hold for.
// The zero value is none.
type Signature struct {
	verified
	claimedName string
}

// ClaimedName is what the signer calls the image: critical.identity.docker-reference
// of a simple signing payload, empty in the other formats. It is the signer's claim
// and no fact: a signature says which content was signed, not where it is found.
func (s *Signature) ClaimedName() string { return s.claimedName }

// Slim is the signature without Content and Annotations of its Item, for keeping.
func (s *Signature) Slim() *Signature {
	return &Signature{verified: s.slim(), claimedName: s.claimedName}
}

// Attestation is a signed statement about an image that an authority's rules hold
// for. The zero value is none.
type Attestation struct {
	verified
	predicateType string
	predicate     []byte
}

// PredicateType is the type of the predicate, from the signed statement.
func (a *Attestation) PredicateType() string { return a.predicateType }

// Predicate is the predicate as it was signed: a JSON value, or nothing where the
// statement has none. It must not be changed.
func (a *Attestation) Predicate() []byte { return a.predicate }

// Slim is the attestation without its Predicate, and without Content and Annotations
// of its Item, for keeping.
func (a *Attestation) Slim() *Attestation {
	return &Attestation{verified: a.slim(), predicateType: a.predicateType}
}

// Signature judges an item as a signature of one of the candidates: the digests
// of the content that runs. now is for what must not lie in the future and, where
// the item has no verified time, for what must be valid.
//
// root may be nil for an authority that does not need one; see [Authority.NeedsRoot].
//
// The error is a *[Refusal], with [ErrNotSignature] in it if the item is something
// else and an *[UnloggedError] if all that is missing is what a log has, or
// [ErrNoRoot].
func (a *Authority) Signature(root *Root, item evidence.Item, candidates []image.Digest, now time.Time) (*Signature, error) {
	return guarded(func() (*Signature, error) {
		found, err := read(item)
		if err != nil {
			return nil, err
		}
		digest, name, signed, err := found.signature(candidates)
		if err != nil {
			return nil, err
		}
		v, err := a.accept(root, found, signed, now)
		if err != nil {
			return nil, err
		}
		v.digest, v.item = digest, item
		return &Signature{verified: *v, claimedName: name}, nil
	})
}

// Attestation judges an item as an attestation about one of the candidates, like
// Signature. The error has [ErrNotAttestation] in it if the item is a signature.
func (a *Authority) Attestation(root *Root, item evidence.Item, candidates []image.Digest, now time.Time) (*Attestation, error) {
	return guarded(func() (*Attestation, error) {
		found, err := read(item)
		if err != nil {
			return nil, err
		}
		s := found.statement
		if s == nil || s.isSignature() {
			return nil, refuse(ReasonKind, "%w: %s", ErrNotAttestation, found.what())
		}
		digest, signed, err := s.names(candidates)
		if err != nil {
			return nil, err
		}
		v, err := a.accept(root, found, signed, now)
		if err != nil {
			return nil, err
		}
		v.digest, v.item = digest, item
		return &Attestation{verified: *v, predicateType: s.predicateType, predicate: s.predicate}, nil
	})
}

// accept judges what was found, and the annotations that were signed with it.
func (a *Authority) accept(root *Root, found *found, signed map[string]string, now time.Time) (*verified, error) {
	v, err := a.judge(root, &found.material, now)
	if err != nil && !errors.Is(err, ErrNoLogEntry) {
		return nil, err
	}
	if err := a.required(signed); err != nil {
		return nil, err
	}
	return v, err
}

// guarded turns a panic into a refusal: the parsers below read strangers' bytes,
// and one bad signature of one image must cost nothing but itself.
func guarded[T any](judge func() (*T, error)) (result *T, err error) {
	err = guard.Do(func() (err error) {
		result, err = judge()
		return err
	})
	if p, ok := errors.AsType[*guard.PanicError](err); ok {
		return nil, &Refusal{Reason: ReasonPanic, Err: fmt.Errorf("it can't be judged: %w", p)}
	}
	return result, err
}
