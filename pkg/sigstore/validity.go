package sigstore

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// checkTimes checks what sigstore-go does not: a time must not lie in the future,
// and each log that vouches for the signature must have been in use then, or without
// any time be in use now.
func checkTimes(v *verified, now time.Time) error {
	times := v.times
	if len(times) == 0 {
		times = []time.Time{now}
	}
	for _, t := range times {
		if t.After(now.Add(maxClockSkew)) {
			return refuse(ReasonTime, "it was signed in the future, at %s", t.UTC().Format(time.RFC3339))
		}
		if v.log == nil {
			continue
		}
		for _, log := range v.log.logs {
			if t.Before(log.ValidityPeriodStart) || !log.ValidityPeriodEnd.IsZero() && t.After(log.ValidityPeriodEnd) {
				return refuse(ReasonTime, "the trust root knows the log %.200q, but not at %s", log.BaseURL, t.UTC().Format(time.RFC3339))
			}
			if len(v.times) == 0 {
				v.until = first(v.until, log.ValidityPeriodEnd)
			}
		}
	}
	return nil
}

// checkValidity checks that key or certificate was valid at every verified time or,
// without any, is now.
func (a *Authority) checkValidity(m *material, trust trusted, v *verified, now time.Time) error {
	if len(v.times) == 0 {
		until, err := a.validAt(m, trust, v, now)
		v.until = first(v.until, until)
		return err
	}
	for _, t := range v.times {
		if _, err := a.validAt(m, trust, v, t); err != nil {
			return err
		}
	}
	return nil
}

// validAt checks that key or certificate is valid at a time, and says until when it is
// from then on; zero is for ever.
func (a *Authority) validAt(m *material, trust trusted, v *verified, t time.Time) (until time.Time, err error) {
	switch a.kind {
	case kindKeys:
		if t.Before(a.from) || !a.until.IsZero() && t.After(a.until) {
			return time.Time{}, refuse(ReasonTime, "the key was not valid %s", v.at(t))
		}
		return a.until, nil
	case kindKeyless:
		if until, err = issued(m.leaf, trust, t); err != nil {
			return time.Time{}, refuse(ReasonCertificate, "it does not chain to a CA of the trust root %s: %w", v.at(t), err)
		}
		return until, nil
	}
	chains, err := a.chains(m, t)
	if err != nil {
		return time.Time{}, refuse(ReasonCertificate, "it does not chain to the authority's CA %s: %w", v.at(t), err)
	}
	return endOf(chains), nil
}

// issued checks that a certificate is a trust root's CA's at a time, and says until
// when it is.
func issued(leaf *x509.Certificate, trust trusted, t time.Time) (until time.Time, err error) {
	known := false
	for _, ca := range trust.FulcioCertificateAuthorities() {
		chains, err := ca.Verify(leaf, t)
		if err != nil {
			continue
		}
		known = true
		end := endOf(chains)
		if f, ok := ca.(*root.FulcioCertificateAuthority); ok {
			end = first(end, f.ValidityPeriodEnd)
		}
		until = last(until, end)
	}
	if !known {
		return time.Time{}, errors.New("leaf certificate verification failed")
	}
	return until, nil
}

// chains verifies a private PKI's certificate and all above it at a time.
func (a *Authority) chains(m *material, t time.Time) ([][]*x509.Certificate, error) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range a.roots {
		roots.AddCert(c)
	}
	for _, c := range slices.Concat(a.intermediates, m.above) {
		intermediates.AddCert(c)
	}
	return m.leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
}

// endOf is when the last of some chains that are valid ends: with the first of its
// certificates.
func endOf(chains [][]*x509.Certificate) (until time.Time) {
	for _, chain := range chains {
		var end time.Time
		for _, c := range chain {
			end = first(end, c.NotAfter)
		}
		until = last(until, end)
	}
	return until
}

// first is the earlier of two ends, of which zero is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// last is the later of two times.
func last(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// at says for people when something was judged.
func (v *verified) at(t time.Time) string {
	text := "at " + t.UTC().Format(time.RFC3339)
	if len(v.times) == 0 {
		text += " (now, for no log or timestamp authority of the trust root says when it was signed)"
	}
	return text
}
