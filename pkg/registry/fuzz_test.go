package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"`,
		`Basic realm="x", Bearer realm="y" , service=z`, `Negotiate, Basic realm="a\"b"`, `Bearer`, `Bearer realm`, `Bearer realm="`, `,,, Bearer a=b, a=c`,
		"NTLM YWJj, Basic realm=x", "\x00", strings.Repeat("Basic,", 100),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found := registry.ParseChallenges([]string{s, s})
		if len(found) > 16 {
			t.Errorf("%d challenges", len(found))
		}
		for _, c := range found {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) || strings.ContainsAny(c.Scheme, " \t,=\"\r\n") || len(c.Parameters) > 16 {
				t.Errorf("%q is %+v", s, c)
			}
		}
	})
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{
		`</v2/a/referrers/b?n=1>; rel="next"`, `<a>; rel=prev, <b>; rel="x next"`, `<a>; title="x, <y>; rel=next"; rel=last`, `<a`, `a; rel=next`, `<a>;rel="\"", <b>;REL=Next`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if next, ok := registry.NextLink([]string{s}); ok && (!strings.Contains(s, "<"+next+">") || !strings.Contains(strings.ToLower(s), "next")) {
			t.Errorf("%q leads to %q", s, next)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{`{"token":"a","expires_in":300}`, `{"access_token":"a"}`, `{"token":"a","expires_in":-1e99}`, `{"token":"\n"}`, `{"token":"","access_token":7}`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, life, err := registry.ParseToken(body)
		if err == nil && (value == "" || strings.ContainsAny(value, " \r\n\x00") || life < time.Minute || life > time.Hour) {
			t.Errorf("%q for %v", value, life)
		}
	})
}

func FuzzParseDockerConfig(f *testing.F) {
	for _, s := range []string{
		`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"example.org:5000/x":{"username":"a","password":"b"}},"credHelpers":{"a":"b"}}`,
		`{"auths":{"":{"auth":"YTpi"},"http://":{"auth":"YTpi"},"a/../b":{"auth":"YTpi"}}}`, `{"auths":null}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := registry.ParseDockerConfig(content)
		if err != nil {
			return
		}
		for _, host := range []string{"", "evil.example.org", "example.org.evil", "/", "example.org@evil"} {
			if u, _ := d.Of(host, "x"); u != "" && !strings.Contains(string(content), host) && host != "" {
				t.Errorf("%q got credentials", host)
			}
		}
	})
}

func FuzzParseListing(f *testing.F) {
	for _, s := range []string{
		`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"},{},null,{"digest":"sha256:../../x"}]}`,
		`{"manifests":null}`, `{"manifests":[{"digest":"a","digest":"b"}],"manifests":[[[[]]]]}`, `{"manifests":[`, `[]`, "{\"manifests\":[{\"\xff\":1}]}",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, most uint8) {
		candidates, _, _, _ := registry.ParseListing(body, int(most))
		if len(candidates) > int(most) {
			t.Errorf("%d of at most %d", len(candidates), most)
		}
		for _, c := range candidates {
			if _, err := image.ParseDigest(c); err != nil || !strings.Contains(string(body), c[:8]) && !strings.Contains(string(body), `\`) {
				t.Errorf("%q: %v", c, err)
			}
		}
	})
}
