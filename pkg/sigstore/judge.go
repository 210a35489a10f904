package sigstore

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// judge verifies a material: the signature, that the signer is one of the
// authority's, and what logs and timestamp authorities say of it. What was signed is
// the caller's to look at. Who signed comes before what the item has thirty of:
// anybody can get genuine log entries and timestamps for a certificate of his own.
//
// With an error that is [ErrNoLogEntry] there is something verified nevertheless: all
// but the log.
//
// A material is used once: for names that x509 does not know a part of the
// certificate is changed.
func (a *Authority) judge(r *Root, m *material, now time.Time) (*verified, error) {
	if r == nil && a.NeedsRoot() {
		return nil, ErrNoRoot
	}
	key, hash, err := a.verify(m)
	if err != nil {
		return nil, err
	}
	if err := m.settle(hash); err != nil {
		return nil, err
	}
	trust := trusted{TrustedMaterial: &root.BaseTrustedMaterial{}}
	if r != nil {
		trust.TrustedMaterial = r.trusted
	}
	if m.leaf == nil {
		trust.key = key
	}
	v := &verified{value: m.signature}
	if v.key, err = fingerprint(key); err != nil {
		return nil, malformed("the key", err)
	}
	if err := a.checkSigner(m, trust, v); err != nil {
		return nil, err
	}
	seen := m.view(key)
	var unlogged error // what it lacks, if that is nothing but an entry
	v.log, v.times, err = a.logged(seen, trust)
	switch {
	case errors.Is(err, ErrNoLogEntry):
		unlogged = err
	case err != nil:
		return nil, err
	}
	stamps, err := timestamped(seen, trust)
	if err != nil && unlogged == nil && len(v.times) == 0 && a.kind == kindKeyless && a.requireLog {
		return nil, refuse(ReasonTime, "no log or timestamp authority of the trust root says when it was signed: %w", err)
	}
	v.times = append(v.times, stamps...)
	if unlogged != nil && len(v.times) == 0 {
		return v, unlogged // when it was signed is for the entry to say
	}
	if err := checkTimes(v, now); err != nil {
		return nil, err
	}
	if err := a.checkValidity(m, trust, v, now); err != nil {
		return nil, err
	}
	return v, unlogged
}

// verify finds the key with which the material is signed, and that the signature
// fits.
func (a *Authority) verify(m *material) (crypto.PublicKey, crypto.Hash, error) {
	if a.kind == kindKeys {
		return a.verifyWithKeys(m)
	}
	switch {
	case m.leaf == nil:
		return nil, 0, refuse(ReasonSigner, "it was signed with a key, not with a certificate")
	case m.chained && a.kind == kindKeyless:
		return nil, 0, refuse(ReasonMalformed, "a bundle of this version must not have a chain of certificates")
	}
	certificates := []*x509.Certificate{m.leaf}
	if a.kind == kindPKI { // elsewhere the others are not used
		certificates = append(certificates, m.above...)
	}
	for _, c := range certificates {
		if err := checkKey(c.PublicKey); err != nil {
			return nil, 0, refuse(ReasonSigner, "it has a certificate of %w", err)
		}
	}
	hash, err := verifySignature(m.leaf.PublicKey, m)
	if err != nil {
		return nil, 0, refuse(ReasonSignature, "%w", err)
	}
	return m.leaf.PublicKey, hash, nil
}

func (a *Authority) verifyWithKeys(m *material) (crypto.PublicKey, crypto.Hash, error) {
	if m.leaf != nil && !m.certified {
		return nil, 0, refuse(ReasonSigner, "it was signed with a certificate, not with a key")
	}
	for _, k := range a.keys {
		hash, err := verifySignature(k.key, m)
		if errors.Is(err, errSignature) {
			continue
		}
		if err != nil {
			return nil, 0, refuse(ReasonSignature, "%w", err)
		}
		if m.leaf != nil {
			// A certificate of the key beside it says nothing more than the key, and
			// one of another key is somebody's mistake at best.
			if f, err := fingerprint(m.leaf.PublicKey); err != nil || f != k.fingerprint {
				return nil, 0, refuse(ReasonSigner, "it has a certificate of another key than it was signed with")
			}
			m.leaf = nil
		}
		return k.key, hash, nil
	}
	return nil, 0, refuse(ReasonSignature, "%w any of the authority's keys (%d)", errSignature, len(a.keys))
}

// settle compares what the item says of the artifact's digest with the artifact.
// hash is the one that the signature verified with.
func (m *material) settle(hash crypto.Hash) error {
	if m.message == nil {
		return nil
	}
	if m.message.hash == 0 {
		m.message.hash = hash
		m.message.digest, _ = m.message.artifact.sum(hash)
		return nil
	}
	digest, ok := m.message.artifact.sum(m.message.hash)
	if !ok {
		return refuse(ReasonContent, "it has a digest of another kind than was asked for")
	}
	if !bytes.Equal(digest, m.message.digest) {
		return refuse(ReasonContent, "the message digest is not that of what was signed")
	}
	return nil
}

// logged verifies the log entries, one by one, so that each is known to be good.
// The times are those that logs have signed.
//
// Entries of logs that the root does not know say nothing. One of a known log that
// does not verify is a lie, and the end of it where a log is needed; elsewhere it
// is as if there were none.
func (a *Authority) logged(seen *view, trust trusted) (first *logEntry, times []time.Time, err error) {
	logs := trust.RekorLogs()
	var known []*root.TransparencyLog
	strangers := 0
	for _, e := range seen.entries {
		log := logs[hex.EncodeToString([]byte(e.LogKeyID()))]
		if log == nil {
			strangers++
			continue
		}
		stamps, err := seen.verifyEntry(e, trust)
		if err != nil {
			if !a.requireLog {
				return nil, nil, nil
			}
			return nil, nil, refuse(ReasonLog, "its entry in the log %.200q: %w", log.BaseURL, err)
		}
		if first == nil || len(stamps) > 0 && first.time.IsZero() {
			first = newLogEntry(e, stamps)
		}
		known = append(known, log)
		for _, s := range stamps {
			times = append(times, s.Time)
		}
	}
	if first != nil {
		first.logs = known
	}
	switch {
	case first != nil || !a.requireLog:
		return first, times, nil
	case strangers > 0:
		return nil, nil, refuse(ReasonLog, "none of its log entries (%d) is of a log that the trust root knows", strangers)
	}
	return nil, nil, &Refusal{Reason: ReasonLog, Err: seen.unlogged()}
}

// unlogged is what a material without a log entry is refused for.
func (v *view) unlogged() error {
	switch {
	case !v.layer:
		return errors.New("it has no log entry")
	case v.leaf != nil:
		return &UnloggedError{}
	}
	return &UnloggedError{Key: v.key}
}

// verifyEntry verifies one log entry and returns the time that the log has signed,
// if it has.
func (v *view) verifyEntry(e *tlog.Entry, trust trusted) ([]root.Timestamp, error) {
	v.looked = []*tlog.Entry{e}
	stamps, err := verify.VerifyTlogEntry(v, trust, 1, true)
	if err != nil {
		if e.HasInclusionPromise() { // of which nothing is in the error
			err = cmp.Or(tlog.VerifySET(e, trust.RekorLogs()), err)
		}
		return nil, err
	}
	// sigstore-go compares what Rekor v2 has logged by making the entry anew, but
	// not if the checkpoint is one of Rekor v1: then any entry would do.
	if e.IsRekorV2() && (!bytes.Equal(e.Signature(), v.signature) || !signer{v}.CompareKey(e.PublicKey(), trust)) {
		return nil, errors.New("it is of another signature or signer")
	}
	return stamps, nil
}

// timestamped verifies RFC 3161 timestamps. The error says why there is none that
// verifies; it matters only if a time is needed.
func timestamped(seen *view, trust trusted) (times []time.Time, err error) {
	if len(seen.timestamps) == 0 {
		return nil, errors.New("there is no timestamp")
	}
	entities := []verify.SignedEntity{seen}
	if seen.stamped != nil {
		entities = append(entities, stampView{view: seen, stamped: seen.stamped})
	}
	var why error
	for _, e := range entities {
		stamps, problems, err := verify.VerifySignedTimestamp(e, trust)
		why = errors.Join(append(problems, why, err)...)
		for _, s := range stamps {
			times = append(times, s.Time)
		}
	}
	if len(times) > 0 {
		return times, nil
	}
	return nil, why
}

// checkSigner checks that the signer is one of the authority's, at whatever time.
func (a *Authority) checkSigner(m *material, trust trusted, v *verified) error {
	switch a.kind {
	case kindKeys:
		return nil
	case kindKeyless:
		return a.checkKeyless(m.leaf, trust, v)
	}
	return a.checkPKI(m.leaf, v)
}

func (a *Authority) checkKeyless(leaf *x509.Certificate, trust trusted, v *verified) error {
	facts, err := factsOf(leaf)
	if err != nil {
		return malformed("the certificate", err)
	}
	if isCA(leaf) || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return refuse(ReasonCertificate, "it is not for signing code")
	}
	// x509 does not know other names; factsOf does, and so the extension is handled.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions, cryptoutils.SANOID.Equal)
	chains, err := verify.VerifyLeafCertificate(leaf.NotBefore, leaf, trust)
	if err != nil {
		return refuse(ReasonCertificate, "it was not issued by a CA of the trust root: %w", err)
	}
	if !a.ignoreSCT {
		if err := verify.VerifySignedCertificateTimestamp(chains, 1, trust); err != nil {
			return refuse(ReasonSCT, "%w", err)
		}
	}
	if !a.allow(facts) {
		return refuse(ReasonIdentity, "signed by %s %q, vouched for by %q", facts.subject.kind, facts.subject.value, facts.issuer)
	}
	v.issuer, v.subject, v.claims = facts.issuer, facts.subject, facts.claims
	return nil
}

// checkPKI checks what a certificate says of its owner. What a private PKI writes
// into Fulcio's extensions is believed for nothing but the authority's own
// condition: any CA can write there that a build ran in some repository.
func (a *Authority) checkPKI(leaf *x509.Certificate, v *verified) error {
	if isCA(leaf) {
		return refuse(ReasonCertificate, "it is a CA's")
	}
	names, err := namesOf(leaf)
	if err != nil {
		return malformed("the certificate", err)
	}
	issuer, err := issuerOf(leaf)
	if err != nil {
		return malformed("the certificate", err)
	}
	for _, n := range names {
		if a.allow(&signerFacts{issuer: issuer, subject: n}) {
			v.subject = n
			return nil
		}
	}
	if a.anyone {
		return nil
	}
	return refuse(ReasonIdentity, "none of the certificate's names (%d) is allowed%s", len(names), list(names))
}

func list(names []name) (text string) {
	for i, n := range names {
		text += []string{": ", ", "}[min(i, 1)] + string(n.kind) + " " + n.value
	}
	return text
}
