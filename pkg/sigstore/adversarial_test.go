package sigstore_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Row 9: a name in a form that x509 passes over, and with it the constraints that a
// CA put on what its subordinate may certify.
func TestANameThatGetsPastNameConstraints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	team := sigstoretest.NewCA(sigstoretest.CAOptions{Template: func(depth int, c *x509.Certificate) {
		if depth == 1 {
			c.PermittedDNSDomainsCritical, c.PermittedEmailAddresses = true, []string{"team.example.org"}
		}
	}})
	// constructed says of the name that it is made of others, which none of its type
	// is.
	constructed := func(c *x509.Certificate) {
		for i, e := range c.ExtraExtensions {
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
				value := bytes.Clone(e.Value)
				value[2] |= 0x20
				c.ExtraExtensions[i].Value = value
			}
		}
	}
	for name, c := range map[string]struct {
		subject string
		change  func(*x509.Certificate)
		want    sigstore.Reason
	}{
		"its own":                        {"dev@team.example.org", nil, ""},
		"another team's":                 {"release@example.org", nil, sigstore.ReasonCertificate},
		"another team's, as if in parts": {"release@example.org", constructed, sigstore.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newPKI(t, sigstore.PKIConfig{PEM: team.RootPEM(), Identities: []sigstore.Identity{{Subject: sigstore.Exact(c.subject)}}})
			id := sigstoretest.Identity{Subject: sigstoretest.Email(c.subject), Template: c.change}
			_, err := w.sign(t, a, sigstoretest.Signature{Signer: team.Signer(id), Digest: app, Format: evidence.SimpleSigning})
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Row 14: a log that is in use no more does not count where nobody says when it was
// signed, either: who got hold of its old key could have made the entry today.
func TestALogThatIsInUseNoMoreWithoutATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ca := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewCA(sigstoretest.CAOptions{})
	for who, c := range map[string]struct {
		signer    *sigstoretest.Signer
		authority *sigstore.Authority
	}{
		"a key":         {key, newKeys(t, sigstore.KeysConfig{RequireLog: true}, key)},
		"a private PKI": {ca.Signer(dev()), newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev(), RequireLog: true})},
	} {
		made := item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: c.signer, Digest: app, Format: evidence.Bundle, Witnesses: witnesses{w.Rekor2}}))
		for when, p := range map[string]struct {
			valid sigstoretest.Period
			want  sigstore.Reason
		}{
			"in use":         {sigstoretest.Always, ""},
			"until just now": {sigstoretest.Period{Start: sigstoretest.Always.Start, End: now}, ""},
			"no more":        {sigstoretest.Period{Start: sigstoretest.Always.Start, End: now.Add(-time.Second)}, sigstore.ReasonTime},
			"not yet":        {sigstoretest.Period{Start: now.Add(time.Second)}, sigstore.ReasonTime},
		} {
			trusted := w.Root()
			for i := range trusted.Logs {
				trusted.Logs[i].Valid = p.valid
			}
			_, err := c.authority.Signature(parseRoot(t, trusted), made, []image.Digest{app}, now)
			if reasonOf(err) != p.want || (err != nil) != (p.want != "") {
				t.Errorf("%s, %s: %v, want %q", who, when, err, p.want)
			}
		}
	}
}
