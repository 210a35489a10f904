package sigstoretest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Fault is how a registry answers in place of, or around, what it serves. The
// ready ones are below; a function of a test's own is as good.
type Fault func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc)

// On says which requests a fault is for.
type On struct {
	// Path is a part of the path; empty is every path.
	Path string
	// Method is GET or HEAD; empty is both.
	Method string
	// After is how many such requests are served well before, Times how many get the
	// fault then; 0 is all.
	After, Times int
}

type fault struct {
	on   On
	do   Fault
	seen int
}

// Break makes the registry answer these requests so. The first fault that is for a
// request answers it.
func (r *Registry) Break(on On, do Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &fault{on: on, do: do})
}

// Mend ends all faults.
func (r *Registry) Mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = nil
}

// fault is the one for a request, or nil. r.mu is held.
func (r *Registry) fault(q *http.Request) Fault {
	for _, f := range r.faults {
		if !strings.Contains(q.URL.Path, f.on.Path) || f.on.Method != "" && f.on.Method != q.Method {
			continue
		}
		f.seen++
		if n := f.seen - f.on.After; n > 0 && (f.on.Times == 0 || n <= f.on.Times) {
			return f.do
		}
	}
	return nil
}

// Delay serves after so long, unless the client or the registry has gone by then.
func (r *Registry) Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		if r.wait(q, d) {
			serve(w, q)
		}
	}
}

// Slow serves one byte of the body at a time, and waits before each: slow loris.
func (r *Registry) Slow(d time.Duration) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		answer := record(q, serve)
		copyHeader(w, answer)
		w.WriteHeader(answer.Code)
		for _, b := range answer.Body.Bytes() {
			if !r.wait(q, d) {
				return
			}
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// wait is whether the time has passed with somebody still there.
func (r *Registry) wait(q *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-q.Context().Done():
	case <-r.closing:
	}
	return false
}

// Status refuses with that status.
func Status(code int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		refuse(w, code, "UNKNOWN", http.StatusText(code))
	}
}

// RetryAfter refuses with 429 and that value of Retry-After.
func RetryAfter(value string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Retry-After", value)
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many requests")
	}
}

// Body answers with these bytes, and with the Docker-Content-Digest of what should
// be there.
func Body(mediaType string, body []byte) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		copyHeader(w, record(q, serve))
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}
}

// Header serves with a header changed; the empty value removes it.
func Header(key, value string) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		answer := record(q, serve)
		if value == "" {
			answer.Header().Del(key)
		} else {
			answer.Header().Set(key, value)
		}
		copyHeader(w, answer)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}
}

// Redirect sends the client to a URL.
func Redirect(to string) Fault {
	return func(w http.ResponseWriter, q *http.Request, _ http.HandlerFunc) {
		http.Redirect(w, q, to, http.StatusTemporaryRedirect)
	}
}

// RedirectTo sends the client to the same path at another registry.
func RedirectTo(other *Registry) Fault {
	return func(w http.ResponseWriter, q *http.Request, _ http.HandlerFunc) {
		http.Redirect(w, q, other.URL()+q.URL.RequestURI(), http.StatusTemporaryRedirect) // #nosec G710 -- it misleads clients on purpose
	}
}

// Redirects sends the client back here so many times before it is served, without
// end when n is negative.
func Redirects(n int) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		hop, _ := strconv.Atoi(q.URL.Query().Get("hop"))
		if hop == n {
			serve(w, q)
			return
		}
		http.Redirect(w, q, fmt.Sprintf("%s?hop=%d", q.URL.Path, hop+1), http.StatusTemporaryRedirect) // #nosec G710 -- it misleads clients on purpose
	}
}

// ContentLength serves with a Content-Length that is a lie.
func ContentLength(n int64) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		answer := record(q, serve)
		answer.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		hijack(w, answer, answer.Body.Bytes())
	}
}

// CloseAfter closes the connection after so many bytes of the body.
func CloseAfter(n int) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		answer := record(q, serve)
		answer.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		hijack(w, answer, answer.Body.Bytes()[:min(n, answer.Body.Len())])
	}
}

// Endless serves a body in chunks that has no end.
func Endless(mediaType string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", mediaType)
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// GzipBomb serves so many bytes, in whole MiB, that are next to nothing as they
// are sent.
func GzipBomb(mediaType string, size int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Encoding", "gzip")
		const each = 1 << 20
		member := compress(make([]byte, each)) // a stream may have many: RFC 1952, 2.2
		for sent := 0; sent < size; sent += each {
			if _, err := w.Write(member); err != nil {
				return
			}
		}
	}
}

// record is what the registry would have answered.
func record(q *http.Request, serve http.HandlerFunc) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	serve(answer, q)
	return answer
}

func copyHeader(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
}

// hijack writes an answer as it is and closes the connection.
func hijack(w http.ResponseWriter, answer *httptest.ResponseRecorder, body []byte) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // HTTP/2, which this registry does not speak
	}
	defer func() { _ = connection.Close() }()
	_, _ = fmt.Fprintf(buffer, "HTTP/1.1 %d %s\r\n", answer.Code, http.StatusText(answer.Code))
	answer.Header().Set("Connection", "close")
	_ = answer.Header().Write(buffer)
	_, _ = buffer.WriteString("\r\n")
	_, _ = buffer.Write(body)
	_ = buffer.Flush()
}
