package sigstore_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func pattern(t testing.TB, expr string) sigstore.Pattern {
	t.Helper()
	p, err := sigstore.Regexp(expr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Row 8: a pattern matches all of a name or nothing of it.
func TestPatternsAreAnchored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr, text string
		want       bool
	}{
		{`https://github\.com/org/.+`, "https://github.com/org/app", true},
		{`https://github\.com/org/.+`, "https://evil.example/https://github.com/org/app", false},
		{`https://github\.com/org/.+`, "https://githubXcom/org/app", false},
		{`https://github\.com/org/app`, "https://github.com/org/app-evil", false},
		{`https://github\.com/org/app`, "https://github.com/org/app\n", false},
		{`(?m)^https://github\.com/org/app$`, "https://github.com/org/app\nhttps://evil.example", false},
		{`https://github\.com/org/.+`, "https://github.com/org/app\nevil", false},
		{`https://github\.com/org/.+`, "https://gіthub.com/org/app", false}, // a Cyrillic letter
		{`a|b`, "ab", false},
		{`a|b`, "b", true},
		{`dev@example\.org`, "dev@example.org", true},
	} {
		if got := pattern(t, c.expr).Match(c.text); got != c.want {
			t.Errorf("%q matches %q: %t", c.expr, c.text, got)
		}
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"", "(", `a)|(b`, `\`, "[z-a]", `\Qa`, strings.Repeat("a", 5<<10)} {
		if p, err := sigstore.Regexp(expr); err == nil {
			t.Errorf("%.20q is the pattern %.50s", expr, p)
		}
	}
	if sigstore.Exact("").Match("") || (sigstore.Pattern{}).Match("") || sigstore.Exact(".*").Match("x") {
		t.Error("nothing matches something")
	}
}

func TestPatternsThatSayNothing(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]bool{
		".*": true, ".+": true, "(.*)": true, "(?s).*": true, "[^!]*|.*": true, ".{3,}": true, `[\x00-\x{10FFFF}]+`: true,
		"https://.*": false, ".*@example\\.org": false, "a": false,
	} {
		if got := pattern(t, expr).MatchesAnything(); got != want {
			t.Errorf("%q matches anything: %t", expr, got)
		}
	}
	if sigstore.Exact(".*").MatchesAnything() {
		t.Error("a string is no pattern")
	}
}

// Row 6 and the invariant that zero is strict: what an operator left out allows
// nobody.
func TestAuthoritiesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	good := releaseIdentity()
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	leaf := ca.Signer(dev())
	for name, make := range map[string]func() (*sigstore.Authority, error){
		"no issuer": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Subject: good.Subject}}})
		},
		"no subject": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: good.Issuer}}})
		},
		"an unknown type of subject": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: good.Issuer, Subject: good.Subject, SubjectType: "url"}}})
		},
		"an unknown claim": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: good.Issuer, Subject: good.Subject, Claims: map[sigstore.Claim]string{"repository": "x"}}}})
		},
		"a claim without a value": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: good.Issuer, Subject: good.Subject, Claims: map[sigstore.Claim]string{sigstore.SourceRef: ""}}}})
		},
		"any identity and one": func() (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true, Identities: []sigstore.Identity{good}})
		},
		"no key":        func() (*sigstore.Authority, error) { return sigstore.NewKeys(sigstore.KeysConfig{}) },
		"an empty file": func() (*sigstore.Authority, error) { return sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{nil}}) },
		"a certificate for a key": func() (*sigstore.Authority, error) {
			return sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{ca.RootPEM()}})
		},
		"a key for a certificate": func() (*sigstore.Authority, error) {
			return sigstore.NewPKI(sigstore.PKIConfig{PEM: leaf.PublicPEM(), AnyIdentity: true})
		},
		"no certificate": func() (*sigstore.Authority, error) { return sigstore.NewPKI(sigstore.PKIConfig{AnyIdentity: true}) },
		"a leaf for a CA": func() (*sigstore.Authority, error) {
			return sigstore.NewPKI(sigstore.PKIConfig{PEM: certificatePEM(leaf.Certificate(sigstoretest.Time)), AnyIdentity: true})
		},
		"claims of a private PKI": func() (*sigstore.Authority, error) {
			return sigstore.NewPKI(sigstore.PKIConfig{PEM: ca.RootPEM(), Identities: []sigstore.Identity{{Subject: good.Subject, Claims: map[sigstore.Claim]string{sigstore.SourceRef: "x"}}}})
		},
		"a validity that ends before it begins": func() (*sigstore.Authority, error) {
			return sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{leaf.PublicPEM()}, ValidFrom: now, ValidUntil: sigstoretest.Time})
		},
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNobodyIsAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]sigstore.KeylessConfig{"no identities": {}, "an empty list": {Identities: []sigstore.Identity{}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.sign(t, newKeyless(t, c), w.signed())
			refused(t, err, sigstore.ReasonIdentity)
		})
	}
	if _, err := w.sign(t, newKeyless(t, sigstore.KeylessConfig{AnyIdentity: true}), w.signed()); err != nil {
		t.Errorf("any identity: %v", err)
	}
}

// Row 9: each type of name, and whom a string or a pattern means.
func TestWhoIsMeant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const issuer = "https://accounts.example.org"
	allow := func(subject sigstore.Pattern, kind sigstore.SubjectType) sigstore.Identity {
		return sigstore.Identity{Issuer: sigstore.Exact(issuer), Subject: subject, SubjectType: kind}
	}
	for name, c := range map[string]struct {
		id     sigstoretest.SAN
		allow  sigstore.Identity
		want   sigstore.Reason
		signer string
		kind   sigstore.SubjectType
	}{
		"an e-mail address":           {sigstoretest.Email("dev@example.org"), allow(sigstore.Exact("dev@example.org"), ""), "", "dev@example.org", sigstore.Email},
		"an e-mail address as such":   {sigstoretest.Email("dev@example.org"), allow(sigstore.Exact("dev@example.org"), sigstore.Email), "", "dev@example.org", sigstore.Email},
		"a SPIFFE ID":                 {sigstoretest.URI("spiffe://example.org/ci"), allow(sigstore.Exact("spiffe://example.org/ci"), ""), "", "spiffe://example.org/ci", sigstore.URI},
		"a URI with an at sign":       {sigstoretest.URI("https://github.com/o/r@v1"), allow(pattern(t, ".*@v1"), sigstore.URI), "", "https://github.com/o/r@v1", sigstore.URI},
		"a scheme in capitals":        {sigstoretest.URI("HTTPS://example.org"), allow(sigstore.Exact("https://example.org"), ""), sigstore.ReasonIdentity, "", ""},
		"a user's name":               {sigstoretest.Username("dev!example.org"), allow(sigstore.Exact("dev!example.org"), ""), "", "dev!example.org", sigstore.OtherName},
		"a user's name as an address": {sigstoretest.Username("dev@example.org"), allow(sigstore.Exact("dev@example.org"), ""), sigstore.ReasonMalformed, "", ""},
		"an address as a user's name": {sigstoretest.Email("dev!example.org"), allow(sigstore.Exact("dev!example.org"), ""), sigstore.ReasonMalformed, "", ""},
		"an address as a URI":         {sigstoretest.Email("https://example.org/@"), allow(sigstore.Exact("https://example.org/@"), ""), sigstore.ReasonMalformed, "", ""},
		"another type":                {sigstoretest.Email("dev@example.org"), allow(sigstore.Exact("dev@example.org"), sigstore.URI), sigstore.ReasonIdentity, "", ""},
		"another address":             {sigstoretest.Email("dev@example.org"), allow(sigstore.Exact("Dev@example.org"), ""), sigstore.ReasonIdentity, "", ""},
		"a pattern as a string":       {sigstoretest.Email("dev@example.org"), allow(sigstore.Exact(".*"), ""), sigstore.ReasonIdentity, "", ""},
		"a host's name":               {sigstoretest.DNS("example.org"), allow(sigstore.Exact("example.org"), ""), "", "example.org", sigstore.DNS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.signed()
			s.Signer = w.Keyless(sigstoretest.Identity{Subject: c.id, Issuer: issuer})
			got, err := w.sign(t, keyless(t, c.allow), s)
			if c.want != "" {
				refused(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Subject() != c.signer || got.SubjectType() != c.kind || got.Issuer() != issuer {
				t.Errorf("signed by %s %q, %q", got.SubjectType(), got.Subject(), got.Issuer())
			}
		})
	}
}

// One of several identities is enough, but all of that one: the subject of one and
// the issuer of another is nobody (row 39 for conditions).
func TestSeveralIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []sigstore.Identity{
		{Issuer: sigstore.Exact("https://one.example.org"), Subject: sigstore.Exact("a@example.org")},
		{Issuer: sigstore.Exact("https://two.example.org"), Subject: sigstore.Exact("b@example.org")},
	}
	for issuer, subjects := range map[string]map[string]sigstore.Reason{
		"https://one.example.org": {"a@example.org": "", "b@example.org": sigstore.ReasonIdentity},
		"https://two.example.org": {"b@example.org": "", "a@example.org": sigstore.ReasonIdentity},
	} {
		for subject, want := range subjects {
			s := w.signed()
			s.Signer = w.Keyless(sigstoretest.Identity{Subject: sigstoretest.Email(subject), Issuer: issuer})
			if _, err := w.sign(t, keyless(t, ids...), s); reasonOf(err) != want || (err != nil) != (want != "") {
				t.Errorf("%s of %s: %v", subject, issuer, err)
			}
		}
	}
}

func TestClaimsAsConditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		claims map[sigstore.Claim]string
		want   sigstore.Reason
	}{
		"both hold": {map[sigstore.Claim]string{sigstore.SourceRepository: "https://github.com/org/app", sigstore.RunnerEnvironment: "github-hosted"}, ""},
		"one does":  {map[sigstore.Claim]string{sigstore.SourceRepository: "https://github.com/org/app", sigstore.RunnerEnvironment: "self-hosted"}, sigstore.ReasonIdentity},
		"a prefix":  {map[sigstore.Claim]string{sigstore.SourceRepository: "https://github.com/org"}, sigstore.ReasonIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := releaseIdentity()
			id.Claims = c.claims
			_, err := w.sign(t, keyless(t, id), w.signed())
			if c.want != "" {
				refused(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Rows 30 and 43: text that a selector, a log line or a registration entry must
// not have in it is not for image trust, whoever signed it.
func TestTextThatDoesNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	any := newKeyless(t, sigstore.KeylessConfig{AnyIdentity: true})
	const issuer = "https://accounts.example.org"
	for name, id := range map[string]sigstoretest.Identity{
		"a subject with a line break":   {Subject: sigstoretest.Email("a@b\nk8s:ns:kube-system"), Issuer: issuer},
		"a subject with an escape":      {Subject: sigstoretest.Username("dev\x1b[31m"), Issuer: issuer},
		"a subject that is no text":     {Subject: sigstoretest.Email("a@\xff\xfe"), Issuer: issuer},
		"a subject written backwards":   {Subject: sigstoretest.Username("dev\u202egro.elpmaxe"), Issuer: issuer},
		"a subject with a NUL":          {Subject: sigstoretest.Email("dev@example.org\x00.evil.example"), Issuer: issuer},
		"an empty subject":              {Subject: sigstoretest.Username(""), Issuer: issuer},
		"a subject of 64 KiB":           {Subject: sigstoretest.Email(strings.Repeat("a", 30<<10) + "@example.org"), Issuer: issuer},
		"an issuer with a line break":   {Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer + "\nx"},
		"an issuer with a NUL":          {Subject: sigstoretest.Email("dev@example.org"), IssuerV1: issuer + "\x00", IssuerV2: sigstoretest.Omit},
		"an issuer that is no text":     {Subject: sigstoretest.Email("dev@example.org"), IssuerV1: issuer + "\xff", IssuerV2: sigstoretest.Omit},
		"a claim with a line break":     {Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer, Claims: map[sigstoretest.Claim]string{sigstoretest.SourceRepositoryURI: "x\ny"}},
		"a claim that is no text":       {Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer, Claims: map[sigstoretest.Claim]string{sigstoretest.SourceRepositoryURI: "x\xff"}},
		"a claim with a joining letter": {Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer, Claims: map[sigstoretest.Claim]string{sigstoretest.SourceRepositoryURI: "x\u200dy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.signed()
			s.Signer = w.Keyless(id)
			_, err := w.sign(t, any, s)
			if want := reasonOf(err); want != sigstore.ReasonMalformed && want != sigstore.ReasonLimit {
				t.Errorf("%v", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b\x00\u202e") {
				t.Errorf("the error has it: %q", err)
			}
		})
	}
}

// A predicate's type is in selectors and in logs as well.
func TestAPredicateTypeThatDoesNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range []string{"x\ny", "", strings.Repeat("x", 3<<10)} {
		s := w.signed()
		s.PredicateType = kind
		s.Payload = []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":` + quote(kind) + `,"subject":[{"digest":{"sha256":"` + app.Hex() + `"}}]}`)
		_, err := w.attest(t, keyless(t, releaseIdentity()), s)
		if r := reasonOf(err); r != sigstore.ReasonMalformed && r != sigstore.ReasonLimit {
			t.Errorf("%.10q: %v", kind, err)
		}
	}
}

func TestAnnotationsThatMustBeSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := map[string]string{"env": "prod", "team": "pay"}
	for name, c := range map[string]struct {
		signed map[string]any
		want   sigstore.Reason
	}{
		"all":          {map[string]any{"env": "prod", "team": "pay", "more": 1}, ""},
		"one missing":  {map[string]any{"env": "prod"}, sigstore.ReasonAnnotations},
		"one other":    {map[string]any{"env": "prod", "team": "web"}, sigstore.ReasonAnnotations},
		"one a number": {map[string]any{"env": "prod", "team": 7}, sigstore.ReasonAnnotations},
		"none":         {nil, sigstore.ReasonAnnotations},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newKeyless(t, sigstore.KeylessConfig{Identities: []sigstore.Identity{releaseIdentity()}, Annotations: want})
			simple := w.signed()
			simple.Format, simple.Witnesses, simple.Optional = evidence.SimpleSigning, witnesses{w.Rekor1}, c.signed
			bundle := w.signed()
			bundle.Subject = `[{"digest":{"sha256":"` + evil.Hex() + `"},"annotations":{"env":"prod","team":"pay"}},` +
				`{"digest":{"sha256":"` + app.Hex() + `"},"annotations":` + quote(c.signed) + `}]`
			for _, s := range []sigstoretest.Signature{simple, bundle} {
				_, err := w.sign(t, a, s)
				if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
					t.Errorf("%s: %v, want %q", s.Format, err, c.want)
				}
			}
		})
	}
}

func TestClaimsAreSorted(t *testing.T) {
	t.Parallel()
	want := []sigstore.Claim{"build-signer", "build-trigger", "runner-environment", "source-digest", "source-ref", "source-repository"}
	if d := cmp.Diff(want, sigstore.Claims()); d != "" {
		t.Error(d)
	}
}
