package kubelet

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// access keeps what requests are made with: the contents of the files, and the
// transport that was made from them.
type access struct {
	cfg Config
	log *slog.Logger
	// fixed replaces the transport in tests.
	fixed http.RoundTripper

	// loading is held while files are read, so that of two readers the later
	// one's contents stay. Only who loads takes it.
	loading sync.Mutex

	// mu guards the fields below for some assignments.
	mu sync.Mutex
	// current is replaced, never edited.
	current *credentials
	// read is when current was read from the files.
	read time.Time
	// problem is why the files could not be read the last time, nil if they
	// could.
	problem error
	// warned is the last problem that was logged since there was none.
	warned string
	// refused is whether the kubelet has answered 401 since the files were read.
	refused bool
	// closed is whether connections are no longer kept.
	closed bool
}

// credentials is one version of the files, ready for use.
type credentials struct {
	files     files
	transport http.RoundTripper
}

func newAccess(cfg Config, log *slog.Logger, fixed http.RoundTripper) *access {
	return &access{cfg: cfg, log: log, fixed: fixed}
}

// forRequest returns what to make a request with. The files are read again when
// it is time; when they can't be, the last good contents serve and the problem
// is returned beside them, in case the request fails too.
func (a *access) forRequest() (*credentials, error) {
	a.mu.Lock()
	due := a.refused || a.problem != nil || time.Since(a.read) >= a.cfg.ReloadInterval
	a.mu.Unlock()
	if due {
		a.reload()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current, a.problem
}

// load reads the files and installs their contents, keeping the transport when
// nothing but the token changed.
func (a *access) load() error {
	a.loading.Lock()
	defer a.loading.Unlock()

	a.mu.Lock()
	old := a.current
	a.mu.Unlock()

	fresh, err := a.make(old)

	a.mu.Lock()
	a.problem = err
	if err == nil {
		a.current, a.read, a.refused, a.warned = fresh, time.Now(), false, ""
	}
	a.mu.Unlock()

	if err == nil && old != nil && old.transport != fresh.transport {
		closeIdle(old.transport)
	}
	return err
}

// reload is load where nobody waits for its error: that is logged, once for
// each that is new, and kept as the problem.
func (a *access) reload() {
	err := a.load()
	if err == nil {
		return
	}
	a.mu.Lock()
	known := a.warned == err.Error()
	a.warned = err.Error()
	a.mu.Unlock()
	if !known {
		a.log.Warn("a file can't be read again, its last good content stays in use", "error", err)
	}
}

func (a *access) make(old *credentials) (*credentials, error) {
	f, err := readFiles(a.cfg)
	if err != nil {
		return nil, err
	}
	if a.fixed != nil {
		return &credentials{f, a.fixed}, nil
	}
	if old != nil && old.files.sameTransport(f) {
		return &credentials{f, old.transport}, nil
	}
	transport, err := newTransport(a.cfg, f)
	if err != nil {
		return nil, err
	}
	return &credentials{f, transport}, nil
}

// refuse takes note of a 401: the files are read again at once, and before the
// next request. It returns what they hold now.
func (a *access) refuse() (*credentials, error) {
	a.reload()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = true
	return a.current, a.problem
}

// done is called after each request with what it was made with.
func (a *access) done(used *credentials) {
	a.mu.Lock()
	drop := a.closed || used.transport != a.current.transport
	a.mu.Unlock()
	if drop {
		closeIdle(used.transport)
	}
}

func (a *access) close() {
	a.mu.Lock()
	a.closed = true
	current := a.current
	a.mu.Unlock()
	closeIdle(current.transport)
}

func closeIdle(t http.RoundTripper) {
	if t, ok := t.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
