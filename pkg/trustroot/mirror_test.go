package trustroot_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// overHTTP opens a source that asks a real server.
func overHTTP(t *testing.T, handler http.Handler, initial []byte) *trustroot.Source {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s, err := trustroot.New(trustroot.Config{Name: "test", TUF: &trustroot.TUF{
		Mirror: server.URL + "/", RootPath: write(t, filepath.Join(t.TempDir(), "root.json"), initial),
	}}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestAMirrorOverHTTP(t *testing.T) {
	t.Parallel()
	good := someRoot()
	r := trustroottest.New(good)
	s := overHTTP(t, r, r.RootJSON(1))
	settle(t, s)
	wantNoProblem(t, wantRoot(t, s, good))
}

// Proxies of the environment may be anybody's: the agent's are not podseal's.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	s, err := trustroot.New(trustroot.Config{TUF: &trustroot.TUF{
		Mirror: "http://tuf.invalid", RootPath: write(t, filepath.Join(t.TempDir(), "root.json"), trustroottest.New(someRoot()).RootJSON(1)),
	}}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		if _, status := s.Current(); status.Err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if asked.Load() != 0 {
		t.Error("the proxy was asked")
	}
}

func TestARedirectToAnotherHostIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := trustroottest.New(someRoot())
	var asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		r.ServeHTTP(w, req)
	}))
	t.Cleanup(other.Close)
	s := overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, other.URL+req.URL.Path, http.StatusFound)
	}), r.RootJSON(1))
	wantFailure(t, s, trustroot.Unavailable)
	if asked.Load() != 0 {
		t.Error("the other host was asked")
	}
}

func TestARedirectOnTheSameHostIsFollowed(t *testing.T) {
	t.Parallel()
	good := someRoot()
	r := trustroottest.New(good)
	s := overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path, moved := strings.CutPrefix(req.URL.Path, "/moved")
		if !moved {
			http.Redirect(w, req, "/moved"+req.URL.Path, http.StatusFound)
			return
		}
		req.URL.Path = path
		r.ServeHTTP(w, req)
	}), r.RootJSON(1))
	settle(t, s)
	wantRoot(t, s, good)
}

func TestAnAnswerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	r := trustroottest.New(someRoot())
	s := overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}), r.RootJSON(1))
	wantFailure(t, s, trustroot.Limit)
}

// wantFailure waits for the first attempt of a source that has no root.
func wantFailure(t *testing.T, s *trustroot.Source, want trustroot.Kind) {
	t.Helper()
	for {
		if _, status := s.Current(); status.Err != nil {
			wantKind(t, wantRoot(t, s, nil), want)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A mirror can make a file last, but not for ever.
func TestAMirrorThatSendsAByteNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		s := open(t, ofRepository(t, r), roundTrip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(drip{req.Context(), time.Second}), Request: req}, nil
		}))
		time.Sleep(trustroot.FileTimeout - time.Second)
		wantNoProblem(t, wantRoot(t, s, nil))
		time.Sleep(2 * time.Second)
		wantKind(t, wantRoot(t, s, nil), trustroot.Unavailable)
	})
}

// The versions of the root never end, and each takes its time.
func TestRootsWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		for range 10 {
			r.Rotate(func() {})
		}
		slow := roundTrip(func(req *http.Request) (*http.Response, error) {
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(trustroot.FileTimeout - time.Second):
				return through{r}.RoundTrip(req)
			}
		})
		s := open(t, ofRepository(t, r), slow)
		time.Sleep(trustroot.RefreshTimeout + time.Second)
		wantKind(t, wantRoot(t, s, nil), trustroot.Unavailable)
	})
}

func TestMoreRootsThanAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		for range 257 {
			r.Rotate(func() {})
		}
		s := open(t, ofRepository(t, r), through{r})
		time.Sleep(time.Second)
		wantKind(t, wantRoot(t, s, nil), trustroot.Limit)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// drip is a body of one space per pause.
type drip struct {
	ctx   context.Context
	pause time.Duration
}

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(d.pause):
		p[0] = ' '
		return 1, nil
	}
}

func TestMirrorsThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://tuf.example.org":        "https://tuf.example.org",
		"https://tuf.example.org/a/b//":  "https://tuf.example.org/a/b",
		"http://tuf.tuf-system.svc:8080": "http://tuf.tuf-system.svc:8080",
		"":                               "",
		"tuf.example.org":                "",
		"//tuf.example.org":              "",
		"file:///etc":                    "",
		"https:tuf":                      "",
		"https:///x":                     "",
		"https://u:secret@h":             "",
		"https://h?q":                    "",
		"https://h?":                     "",
		"https://h#f":                    "",
		"https://h\n/x":                  "",
		"https://u:secret@%zz":           "",
	} {
		got, err := trustroot.ParseMirror(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
