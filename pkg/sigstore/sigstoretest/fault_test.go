package sigstoretest_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Each fault does what it says, seen with a client that defends itself against
// nothing.
func TestARegistryMisbehaves(t *testing.T) {
	t.Parallel()
	other := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	for name, test := range map[string]struct {
		fault func(*sigstoretest.Registry) sigstoretest.Fault
		// what becomes of the request
		status int
		body   string // part of it
		length int    // of the body, if it is of interest
		err    error
		failed bool // to be sent or read at all
		header string
		value  string
	}{
		"status":              {fault: just(sigstoretest.Status(503)), status: 503, body: "Service Unavailable"},
		"too many requests":   {fault: just(sigstoretest.RetryAfter("7")), status: 429, header: "Retry-After", value: "7"},
		"another body":        {fault: just(sigstoretest.Body("application/x", []byte("evil"))), status: 200, body: "evil", header: "Content-Type", value: "application/x"},
		"another digest":      {fault: just(sigstoretest.Header("Docker-Content-Digest", "sha256:00")), status: 200, body: "schemaVersion", header: "Docker-Content-Digest", value: "sha256:00"},
		"no digest":           {fault: just(sigstoretest.Header("Docker-Content-Digest", "")), status: 200, body: "schemaVersion", header: "Docker-Content-Digest"},
		"a redirect":          {fault: just(sigstoretest.RedirectTo(other)), status: 404, body: "MANIFEST_UNKNOWN"},
		"five redirects":      {fault: just(sigstoretest.Redirects(5)), status: 200, body: "schemaVersion"},
		"redirects for ever":  {fault: just(sigstoretest.Redirects(-1)), failed: true},
		"a length too great":  {fault: just(sigstoretest.ContentLength(1 << 40)), status: 200, err: io.ErrUnexpectedEOF},
		"a length too small":  {fault: just(sigstoretest.ContentLength(10)), status: 200, length: 10},
		"the connection ends": {fault: just(sigstoretest.CloseAfter(20)), status: 200, err: io.ErrUnexpectedEOF, length: 20},
		"a delay":             {fault: func(r *sigstoretest.Registry) sigstoretest.Fault { return r.Delay(time.Millisecond) }, status: 200, body: "schemaVersion"},
		"a slow body":         {fault: func(r *sigstoretest.Registry) sigstoretest.Fault { return r.Slow(time.Microsecond) }, status: 200, body: "schemaVersion"},
		"an endless body":     {fault: just(sigstoretest.Endless("application/x")), status: 200, length: 10 << 20},
		"a bomb":              {fault: just(sigstoretest.GzipBomb("application/x", 10<<20)), status: 200, length: 10 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
			r.PushImage("app", sigstoretest.Image{Tag: "v1"})
			client := r.Client()
			client.Transport.(*http.Transport).TLSClientConfig.RootCAs.AppendCertsFromPEM(other.CAPEM())
			r.Break(sigstoretest.On{Path: "/manifests/"}, test.fault(r))
			response, err := do(t, client, http.MethodGet, r.URL()+"/v2/app/manifests/v1", http.Header{"Accept": {"*/*"}})
			if test.failed {
				if err == nil {
					t.Errorf("status %d", response.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(io.LimitReader(response.Body, 10<<20))
			if !errors.Is(err, test.err) {
				t.Errorf("read: %v, want %v", err, test.err)
			}
			if response.StatusCode != test.status || !strings.Contains(string(body), test.body) || test.length != 0 && len(body) != test.length {
				t.Errorf("status %d with %d bytes: %.200s", response.StatusCode, len(body), body)
			}
			if test.header != "" && response.Header.Get(test.header) != test.value {
				t.Errorf("%s: %q", test.header, response.Header.Get(test.header))
			}
		})
	}
}

func just(f sigstoretest.Fault) func(*sigstoretest.Registry) sigstoretest.Fault {
	return func(*sigstoretest.Registry) sigstoretest.Fault { return f }
}

// A bomb is small while it travels.
func TestABombIsSmall(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	sigstoretest.GzipBomb("application/x", 20<<20)(w, nil, nil)
	sent := w.Body.Len()
	reader, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, reader) // #nosec G110 -- it is known how much it is
	if err != nil || n != 20<<20 || sent > 100<<10 {
		t.Errorf("%d bytes from %d: %v", n, sent, err)
	}
}

// Row 19: a registry that answers two requests for the same thing differently.
func TestTheSecondAnswerDiffers(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	r.PushImage("app", sigstoretest.Image{Tag: "v1"})
	r.Break(sigstoretest.On{Path: "/manifests/v1", Method: http.MethodGet, After: 1, Times: 1}, sigstoretest.Body("application/x", []byte("evil")))
	var got []string
	for range 3 {
		_, body := get(t, r, "/v2/app/manifests/v1")
		got = append(got, strconv.FormatBool(string(body) == "evil"))
	}
	if strings.Join(got, " ") != "false true false" {
		t.Errorf("evil: %v", got)
	}
	r.Break(sigstoretest.On{}, sigstoretest.Status(500))
	r.Mend()
	if response, _ := get(t, r, "/v2/app/manifests/v1"); response.StatusCode != http.StatusOK {
		t.Errorf("status %d when it is mended", response.StatusCode)
	}
}
