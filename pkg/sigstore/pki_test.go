package sigstore_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func allowDev() []sigstore.Identity {
	return []sigstore.Identity{{Subject: sigstore.Exact("dev@example.org")}}
}

// Row 40: any CA can write that a build ran in some repository.
func TestAPrivateCertificateWithFulciosExtensions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Bundle} {
		got, err := w.sign(t, newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: []sigstore.Identity{{Subject: releaseIdentity().Subject}}}),
			sigstoretest.Signature{Signer: ca.Signer(release()), Digest: app, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		if got.Issuer() != "" || len(got.Claims()) > 0 {
			t.Errorf("%s: believed is %q, %v", format, got.Issuer(), got.Claims())
		}
	}
	// And it is nobody to the trust root.
	s := w.signed()
	s.Signer = ca.Signer(release())
	_, err := w.sign(t, keyless(t, releaseIdentity()), s)
	refused(t, err, sigstore.ReasonCertificate)
}

func TestCertificatesOfAPrivatePKI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca, other := sigstoretest.NewCA(sigstoretest.CAOptions{}), sigstoretest.NewCA(sigstoretest.CAOptions{})
	deep := sigstoretest.NewCA(sigstoretest.CAOptions{Intermediates: 3})
	expiring := sigstoretest.NewCA(sigstoretest.CAOptions{
		Intermediate: sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(time.Hour)},
	})
	direct := sigstoretest.NewCA(sigstoretest.CAOptions{Intermediates: -1})
	leaf := func(change func(*sigstoretest.Identity)) *sigstoretest.Signer {
		id := dev()
		change(&id)
		return ca.Signer(id)
	}
	for name, c := range map[string]struct {
		signer *sigstoretest.Signer
		ca     []byte
		allow  []sigstore.Identity
		change func(*sigstoretest.Signature)
		want   sigstore.Reason
	}{
		"root and intermediate are known":     {signer: ca.Signer(dev()), ca: ca.ChainPEM()},
		"the root is known":                   {signer: ca.Signer(dev()), ca: ca.RootPEM()},
		"the intermediate alone is known":     {signer: ca.Signer(dev()), ca: certificatePEM(ca.Chain()[0])},
		"three intermediates":                 {signer: deep.Signer(dev()), ca: deep.RootPEM()},
		"no intermediate":                     {signer: direct.Signer(dev()), ca: direct.RootPEM()},
		"the item has none of what is needed": {signer: ca.Signer(dev()), ca: ca.RootPEM(), change: func(s *sigstoretest.Signature) { s.Break = func(p *sigstoretest.Parts) { p.Chain = nil } }, want: sigstore.ReasonCertificate},
		"another CA":                          {signer: other.Signer(dev()), ca: ca.ChainPEM(), want: sigstore.ReasonCertificate},
		"another CA, whose root is with it": {signer: other.Signer(dev()), ca: ca.ChainPEM(), change: func(s *sigstoretest.Signature) {
			s.Break = func(p *sigstoretest.Parts) { p.Chain = other.Chain() }
		}, want: sigstore.ReasonCertificate},
		"nobody who is allowed": {signer: leaf(func(id *sigstoretest.Identity) { id.Subject = sigstoretest.Email("evil@example.org") }), ca: ca.ChainPEM(), want: sigstore.ReasonIdentity},
		"no name":               {signer: leaf(func(id *sigstoretest.Identity) { id.Subject = sigstoretest.SAN{} }), ca: ca.ChainPEM(), want: sigstore.ReasonIdentity},
		"one of several names": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Subject, id.More = sigstoretest.DNS("ci.example.org"), []sigstoretest.SAN{id.Subject}
		}), ca: ca.ChainPEM()},
		"the issuer that must be": {signer: ca.Signer(dev()), ca: ca.ChainPEM(), allow: []sigstore.Identity{{Issuer: sigstore.Exact("https://accounts.example.org"), Subject: sigstore.Exact("dev@example.org")}}},
		"another issuer":          {signer: ca.Signer(dev()), ca: ca.ChainPEM(), allow: []sigstore.Identity{{Issuer: sigstore.Exact("https://evil.example.org"), Subject: sigstore.Exact("dev@example.org")}}, want: sigstore.ReasonIdentity},
		"two issuers":             {signer: leaf(func(id *sigstoretest.Identity) { id.IssuerV1 = "https://evil.example.org" }), ca: ca.ChainPEM(), want: sigstore.ReasonMalformed},
		"a certificate for servers": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
		}), ca: ca.ChainPEM(), want: sigstore.ReasonCertificate},
		"a CA's certificate": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }
		}), ca: ca.ChainPEM(), want: sigstore.ReasonCertificate},
		"expired": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Valid = sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(time.Hour)}
		}), ca: ca.ChainPEM(), want: sigstore.ReasonCertificate},
		"expired since a log saw it": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Valid = sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(time.Hour)}
		}), ca: ca.ChainPEM(), change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.Rekor1} }},
		"expired before an authority saw it": {signer: leaf(func(id *sigstoretest.Identity) {
			id.Valid = sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(-time.Hour)}
		}), ca: ca.ChainPEM(), change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.TSA} }, want: sigstore.ReasonCertificate},
		"an intermediate that has expired": {signer: expiring.Signer(dev()), ca: expiring.ChainPEM(), want: sigstore.ReasonCertificate},
		"no signature": {signer: ca.Signer(dev()), ca: ca.ChainPEM(), change: func(s *sigstoretest.Signature) {
			s.Break = func(p *sigstoretest.Parts) { p.Signature = []byte("x") }
		}, want: sigstore.ReasonSignature},
	} {
		for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Bundle} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				t.Parallel()
				allow := c.allow
				if allow == nil {
					allow = allowDev()
				}
				s := sigstoretest.Signature{Signer: c.signer, Digest: app, Format: format, Version: "0.2"}
				if c.change != nil {
					c.change(&s)
				}
				_, err := w.sign(t, newPKI(t, sigstore.PKIConfig{PEM: c.ca, Identities: allow}), s)
				if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		}
	}
}

// A bundle of v0.3 has a chain only where the CA is not the trust root's.
func TestAChainInANewBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	chain := func(p *sigstoretest.Parts) { p.ChainInBundle = true }
	s := sigstoretest.Signature{Signer: ca.Signer(dev()), Digest: app, Format: evidence.Bundle, Break: chain}
	if _, err := w.sign(t, newPKI(t, sigstore.PKIConfig{PEM: ca.RootPEM(), Identities: allowDev()}), s); err != nil {
		t.Error(err)
	}
	s = w.signed()
	s.Break = chain
	_, err := w.sign(t, keyless(t, releaseIdentity()), s)
	refused(t, err, sigstore.ReasonMalformed)
}

func TestALogThatIsRequiredOfAPrivatePKI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	a := newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev(), RequireLog: true})
	s := sigstoretest.Signature{Signer: ca.Signer(dev()), Digest: app, Format: evidence.Bundle}
	_, err := w.sign(t, a, s)
	refused(t, err, sigstore.ReasonLog)
	s.Witnesses = witnesses{w.Rekor1}
	if _, err := w.sign(t, a, s); err != nil {
		t.Error(err)
	}
}

func TestAnybodyOfAPrivatePKI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	a := newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), AnyIdentity: true})
	for want, name := range map[string]sigstoretest.SAN{"a@example.org": sigstoretest.Email("a@example.org"), "": {}} {
		id := dev()
		id.Subject = name
		got, err := w.sign(t, a, sigstoretest.Signature{Signer: ca.Signer(id), Digest: app, Format: evidence.Bundle})
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject() != want {
			t.Errorf("signed by %q", got.Subject())
		}
	}
	// Present and empty is nobody.
	_, err := w.sign(t, newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM()}), sigstoretest.Signature{Signer: ca.Signer(dev()), Digest: app, Format: evidence.Bundle})
	refused(t, err, sigstore.ReasonIdentity)
}
