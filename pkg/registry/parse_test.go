package registry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/registry"
)

func TestChallenges(t *testing.T) {
	t.Parallel()
	type parameters = map[string]string
	for header, want := range map[string][]registry.Challenge{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`: {{"bearer", parameters{"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}}},
		`bearer Realm = "a" , SERVICE=b`:                                           {{"bearer", parameters{"realm": "a", "service": "b"}}},
		`Basic realm="x", Bearer realm="y",service=z`:                              {{"basic", parameters{"realm": "x"}}, {"bearer", parameters{"realm": "y", "service": "z"}}},
		`Negotiate, Basic`: {{"negotiate", parameters{}}, {"basic", parameters{}}},
		`Bearer realm="a\"b, Basic realm=\\c",service=d`: {{"bearer", parameters{"realm": `a"b, Basic realm=\c`, "service": "d"}}},
		`Bearer realm="first",realm="second"`:            {{"bearer", parameters{"realm": "first"}}},
		`Bearer realm="never closed`:                     {{"bearer", parameters{}}},
		`  , ,Bearer realm=a`:                            {{"bearer", parameters{"realm": "a"}}},
		``:                                               nil,
		`"quoted"`:                                       nil,
		`Bearer realm="https://a/?x=<>{}[]",service="; "`: {{"bearer", parameters{"realm": "https://a/?x=<>{}[]", "service": "; "}}},
	} {
		if diff := cmp.Diff(want, registry.ParseChallenges([]string{header})); diff != "" {
			t.Errorf("%s:\n%s", header, diff)
		}
	}
	if n := len(registry.ParseChallenges([]string{strings.Repeat("Basic,", 1000), "Bearer"})); n != 16 {
		t.Errorf("%d challenges", n)
	}
}

func TestNextLinks(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		`</v2/a/referrers/b?last=c>; rel="next"`:  "/v2/a/referrers/b?last=c",
		`<a>; rel=next`:                           "a",
		`<a>; rel="prev", <b>; rel="next"`:        "b",
		`<a,b>; rel="last next"`:                  "a,b",
		`<a>; title="x, <y>; rel=next"; rel=last`: "none",
		`<a>; REL=Next`:                           "a",
		`<a>; rel="nextish"`:                      "none",
		`<a`:                                      "none",
		`a; rel=next`:                             "none",
		``:                                        "none",
		`<>; rel="next"`:                          "",
		`<a>; title="\"; rel=next"; x, <b>; rel=next`: "b",
	} {
		if got, ok := registry.NextLink([]string{header}); ok == (want == "none") || ok && got != want {
			t.Errorf("%s leads to %q, %v", header, got, ok)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Sat, 21 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sat, 21 Nov 2026 11:00:00 GMT": 0,
		"": -1, "-1": -1, "1.5": -1, "soon": -1, "99999999999999999999": -1,
	} {
		got, ok := registry.RetryAfter(s, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %v, %v", s, got, ok)
		}
	}
}

func TestHowLongTokensAreGood(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Duration{
		`{"token":"a"}`:                          time.Minute,
		`{"token":"a","expires_in":300}`:         5 * time.Minute,
		`{"token":"a","expires_in":1}`:           time.Minute,
		`{"token":"a","expires_in":-5}`:          time.Minute,
		`{"access_token":"a","expires_in":1e99}`: time.Hour,
	} {
		if value, life, err := registry.ParseToken([]byte(body)); err != nil || value != "a" || life != want {
			t.Errorf("%s: %q, %v, %v", body, value, life, err)
		}
	}
}

// Which candidates are looked at first, and that 100,000 entries are no reason to
// read none.
func TestTheOrderOfCandidates(t *testing.T) {
	t.Parallel()
	digest := func(i int) string { return fmt.Sprintf("sha256:%064d", i) }
	entry := func(i int, artifactType string) string {
		return fmt.Sprintf(`{"mediaType":"x","digest":%q,"artifactType":%q,"size":1}`, digest(i), artifactType)
	}
	entries := []string{entry(1, "application/spdx+json"), entry(2, ""), entry(3, bundleType), entry(4, "application/vnd.oci.image.config.v1+json"), entry(3, ""),
		entry(5, "application/vnd.dev.sigstore.bundle+json;version=0.1"), entry(6, "application/vnd.oci.empty.v1+json")}
	list := func(entries []string) []byte { return []byte(`{"manifests":[` + strings.Join(entries, ",") + `]}`) }
	got, dropped, unfit, err := registry.ParseListing(list(entries), 5)
	if diff := cmp.Diff([]string{digest(3), digest(5), digest(2), digest(4), digest(6)}, got); diff != "" || dropped != 1 || unfit != 0 || err != nil {
		t.Errorf("%d, %d, %v\n%s", dropped, unfit, err, diff)
	}
	for i := range 100000 {
		entries = append(entries, entry(100+i, "application/spdx+json"))
	}
	entries = append(entries, entry(7, bundleType))
	got, _, _, err = registry.ParseListing(list(entries), 64)
	if err != nil || len(got) != 64 || got[2] != digest(7) {
		t.Errorf("%v, %v", got, err)
	}
}
