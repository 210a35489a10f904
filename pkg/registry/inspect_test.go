package registry_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func TestWhatAnInspectionFinds(t *testing.T) {
	t.Parallel()
	type found struct {
		scheme      string
		credentials registry.Credentials
		referrers   registry.Referrers
	}
	basic, token := &sigstoretest.Auth{Users: users}, &sigstoretest.Auth{Users: users, Token: true}
	for name, c := range map[string]struct {
		options sigstoretest.RegistryOptions
		secret  string
		without bool // a probe
		want    found
		kind    registry.Kind
		says    string // empty: no error
	}{
		"for everybody":         {want: found{"", registry.CredentialsNone, registry.ReferrersList}},
		"without a probe":       {without: true, want: found{}},
		"plain HTTP":            {options: sigstoretest.RegistryOptions{Plain: true}, want: found{"", registry.CredentialsNone, registry.ReferrersList}},
		"no list":               {options: sigstoretest.RegistryOptions{NoReferrers: true}, want: found{"", registry.CredentialsNone, registry.ReferrersTag}},
		"credentials for none":  {secret: password, want: found{"", registry.CredentialsNotWanted, registry.ReferrersList}},
		"a password":            {options: sigstoretest.RegistryOptions{Auth: basic}, secret: password, want: found{"basic", registry.CredentialsAccepted, registry.ReferrersList}},
		"a token":               {options: sigstoretest.RegistryOptions{Auth: token}, secret: password, want: found{"bearer", registry.CredentialsAccepted, registry.ReferrersList}},
		"a token and no list":   {options: sigstoretest.RegistryOptions{Auth: token, NoReferrers: true}, secret: password, want: found{"bearer", registry.CredentialsAccepted, registry.ReferrersTag}},
		"a token, no probe":     {options: sigstoretest.RegistryOptions{Auth: token}, secret: password, without: true, want: found{scheme: "bearer"}},
		"the wrong password":    {options: sigstoretest.RegistryOptions{Auth: basic}, secret: "wr0ng", want: found{scheme: "basic", credentials: registry.CredentialsRefused}, kind: registry.Denied, says: "accept"},
		"none for a token":      {options: sigstoretest.RegistryOptions{Auth: token}, secret: "wr0ng", want: found{scheme: "bearer", credentials: registry.CredentialsRefused}, kind: registry.Denied, says: "accept"},
		"no password":           {options: sigstoretest.RegistryOptions{Auth: basic}, want: found{scheme: "basic", credentials: registry.CredentialsNone}, kind: registry.Denied, says: "there are no credentials"},
		"a token for everybody": {options: sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Token: true, Anonymous: true}}, want: found{"bearer", registry.CredentialsNone, registry.ReferrersList}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, c.options)
			b := block(t, r)
			if c.secret != "" {
				b.Username, b.Password = user, c.secret
			}
			probe := r.Repository("pay/api")
			if c.without {
				probe = image.Repository{}
			}
			got, err := newClient(t, registry.Config{Registries: []registry.Registry{b}}).Inspect(t.Context(), r.Host(), probe)
			if c.says != "" {
				wantKind(t, err, c.kind, c.says)
			} else if err != nil {
				t.Error(err)
			}
			if have := (found{got.Scheme, got.Credentials, got.Referrers}); have != c.want {
				t.Errorf("found %+v, want %+v", have, c.want)
			}
			if !got.IsConfigured || got.Registry != r.Host() || got.URL != r.URL()+"/v2/" || got.ByProxy {
				t.Errorf("found %+v", got)
			}
			if len(got.Addresses) != 1 || got.Addresses[0] != r.Host() {
				t.Errorf("connected to %q", got.Addresses)
			}
			// A date has whole seconds.
			if got.Date.Before(got.Asked.Add(-2*time.Second)) || got.Date.After(got.Answered) || got.Answered.Before(got.Asked) {
				t.Errorf("dated %v, asked %v and answered %v", got.Date, got.Asked, got.Answered)
			}
			if c.options.Plain != (got.TLS == 0) || c.options.Plain != got.Expires.IsZero() || !c.options.Plain && (got.TLS != tls.VersionTLS13 || got.Expires.Before(time.Now())) {
				t.Errorf("TLS %x, until %v", got.TLS, got.Expires)
			}
		})
	}
}

func TestAnInspectionOfCredentialsThatAreHeldBack(t *testing.T) {
	t.Parallel()
	for _, anonymous := range []bool{false, true} {
		thief := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Anonymous: anonymous}})
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Issuer: thief}})
		b := block(t, r)
		b.Username, b.Password = user, password
		got, err := newClient(t, registry.Config{Registries: []registry.Registry{b, block(t, thief)}}).Inspect(t.Context(), r.Host(), r.Repository("pay/api"))
		if got.Credentials != registry.CredentialsHeld || anonymous != (err == nil) || anonymous != (got.Referrers == registry.ReferrersList) {
			t.Errorf("found %+v, %v", got, err)
		}
	}
}

// An inspection says as much as it found before something went wrong.
func TestAnInspectionOfWhatDoesNotWork(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	probe := r.Repository("pay/api")
	b := block(t, r)
	c := newClient(t, registry.Config{Registries: []registry.Registry{b}})

	r.Break(sigstoretest.On{}, sigstoretest.Status(502))
	got, err := c.Inspect(t.Context(), r.Host(), probe)
	wantKind(t, err, registry.Unavailable, r.Host(), "inspection", "/v2/", "502")
	if got.TLS == 0 || got.Date.IsZero() {
		t.Errorf("found %+v", got)
	}
	r.Mend()
	r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Status(500))
	got, err = c.Inspect(t.Context(), r.Host(), probe)
	wantKind(t, err, registry.Unavailable, "500")
	if got.Referrers != registry.ReferrersUntried || got.Credentials != registry.CredentialsNone {
		t.Errorf("found %+v", got)
	}
	r.Mend()
	for name, says := range map[string]string{"other.example.org": `add registry "other.example.org" {}`, "not a host": "registry"} {
		got, err = c.Inspect(t.Context(), name, image.Repository{})
		if e, ok := diagnosis.Of(err); !ok || !strings.Contains(e.Cause, says) || !strings.Contains(e.Cause, name) || got == nil || got.Registry != name {
			t.Errorf("%q: found %+v, %v", name, got, err)
		}
	}
	_, err = c.Inspect(t.Context(), r.Host(), mustRepository("other.example.org/pay"))
	wantKind(t, err, registry.Malformed, "other.example.org/pay is not a repository of "+r.Host())

	b.CAPath = file(t, "other.pem", sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}).CAPEM())
	got, err = newClient(t, registry.Config{Registries: []registry.Registry{b}}).Inspect(t.Context(), r.Host(), probe)
	wantKind(t, err, registry.Unavailable, "certificate", "ca_path")
	if got.URL != r.URL()+"/v2/" || got.TLS != 0 {
		t.Errorf("found %+v", got)
	}
	r.Close()
	_, err = c.Inspect(t.Context(), r.Host(), image.Repository{})
	wantKind(t, err, registry.Unavailable, r.Host(), "refused")
}

func TestAnInspectionThroughAMirrorAndAProxy(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true})
	b := registry.Registry{Host: "registry.example.org", Mirror: r.Host() + "/cache", Insecure: true}
	got, err := newClient(t, registry.Config{Registries: []registry.Registry{b}}).Inspect(t.Context(), "Registry.example.org:443", mustRepository("registry.example.org/pay/api"))
	if err != nil || got.URL != r.URL()+"/v2/cache/" || got.Registry != "registry.example.org" || got.Referrers != registry.ReferrersList {
		t.Errorf("found %+v, %v", got, err)
	}
	requests := r.Requests()
	if want := "/v2/cache/pay/api/referrers/" + image.Of(nil).String(); len(requests) != 2 || requests[0].Target != "/v2/" || requests[1].Target != want {
		t.Errorf("asked %+v", requests)
	}
	b = registry.Registry{Host: "registry.example.org", Insecure: true, ProxyURL: r.URL()}
	r.Break(sigstoretest.On{}, func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		q.URL.Host, q.URL.Scheme = "", ""
		serve(w, q)
	})
	got, err = newClient(t, registry.Config{Registries: []registry.Registry{b}}).Inspect(t.Context(), "registry.example.org", image.Repository{})
	if err != nil || !got.ByProxy || len(got.Addresses) != 1 || got.Addresses[0] != r.Host() {
		t.Errorf("found %+v, %v", got, err)
	}
}

func mustRepository(name string) image.Repository {
	r, err := image.ParseRepository(name)
	if err != nil {
		panic(err)
	}
	return r
}

func TestEveryKindHasARemedy(t *testing.T) {
	t.Parallel()
	remedies := map[string]registry.Kind{}
	for kind := registry.Unavailable; kind <= registry.Malformed; kind++ {
		e := &registry.Error{Repository: mustRepository("example.org/a"), What: "tag \"v1\"", Kind: kind, Err: http.ErrHandlerTimeout}
		d, ok := diagnosis.Of(e)
		if !ok || d.Reason != diagnosis.Reason(kind.String()) || d.Cause != e.Error() || d.Remedy == "" || strings.ContainsAny(d.Remedy, "\n\x1b") {
			t.Errorf("%v: %+v", kind, d)
		}
		if other, twice := remedies[d.Remedy]; twice {
			t.Errorf("%v and %v: the same remedy", kind, other)
		}
		remedies[d.Remedy] = kind
	}
	for text, want := range map[string]string{
		registry.CredentialsRefused.String(): "refused", registry.Credentials(99).String(): "credentials 99",
		registry.ReferrersTag.String(): "fallback tag", registry.Referrers(-1).String(): "referrers -1",
	} {
		if text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}
