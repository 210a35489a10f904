package kubelettest

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault answers a request for /pods in place of the server, before anybody asks
// who sent it.
type Fault func(s *Server, w http.ResponseWriter, r *http.Request)

type scripted struct {
	fault Fault
	left  int // below zero: for ever
}

// Inject lets the next n requests meet the fault, after those of faults that
// were injected before; all from then on when n is below zero.
func (s *Server) Inject(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n != 0 {
		s.faults = append(s.faults, scripted{f, n})
	}
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// nextFault is called with s.mu held.
func (s *Server) nextFault() Fault {
	if len(s.faults) == 0 {
		return nil
	}
	f := s.faults[0].fault
	if s.faults[0].left > 0 {
		if s.faults[0].left--; s.faults[0].left == 0 {
			s.faults = s.faults[1:]
		}
	}
	return f
}

// Status answers with a code and a body.
func Status(code int, body string) Fault {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request) { refuse(w, code, body) }
}

// Slow waits before the headers and then answers as if nothing were.
func Slow(d time.Duration) Fault {
	return func(s *Server, w http.ResponseWriter, r *http.Request) {
		if wait(r.Context(), d) {
			_, _ = w.Write(s.List())
		}
	}
}

// Held waits until release is closed and then answers as if nothing were.
func Held(release <-chan struct{}) Fault {
	return func(s *Server, w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			_, _ = w.Write(s.List())
		case <-r.Context().Done():
		}
	}
}

// Hang never answers.
func Hang() Fault {
	return func(_ *Server, _ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // a handler that returns has answered
	}
}

// HangInBody sends the beginning of the list and then nothing.
func HangInBody() Fault {
	return func(s *Server, w http.ResponseWriter, r *http.Request) {
		list := s.List()
		_, _ = w.Write(list[:len(list)/2])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Endless sends a pod that never ends.
func Endless() Fault {
	return Stream(func(w io.Writer) error {
		_, err := io.WriteString(w, `{"kind":"PodList","items":[{"metadata":{"uid":"endless","name":"`)
		chunk := make([]byte, 64<<10)
		for i := range chunk {
			chunk[i] = 'x'
		}
		for err == nil {
			_, err = w.Write(chunk)
		}
		return err
	})
}

// Body answers 200 with that body.
func Body(body string) Fault {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	}
}

// Garbage answers 200 with something that is not JSON.
func Garbage() Fault {
	return Body("<html><body>It works!\x1b[31m</body></html>")
}

// Truncated sends the first half of the list as if it were all.
func Truncated() Fault {
	return func(s *Server, w http.ResponseWriter, _ *http.Request) {
		list := s.List()
		_, _ = w.Write(list[:len(list)/2])
	}
}

// Cut sends the first half of the list and cuts the connection.
func Cut() Fault {
	return func(s *Server, w http.ResponseWriter, _ *http.Request) {
		list := s.List()
		w.Header().Set("Content-Length", strconv.Itoa(len(list)))
		_, _ = w.Write(list[:len(list)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // what net/http offers for this
	}
}

// Drop cuts the connection without an answer.
func Drop() Fault {
	return func(*Server, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
}

// Gzip compresses the list although nobody asked for that.
func Gzip() Fault {
	return func(s *Server, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(s.List())
		_ = z.Close()
	}
}

// Redirect answers 302 to that place.
func Redirect(to string) Fault {
	return func(_ *Server, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusFound)
	}
}

// Stream answers 200 with a body that f writes, which may be longer than the
// memory. f stops when w fails.
func Stream(f func(w io.Writer) error) Fault {
	return func(_ *Server, w http.ResponseWriter, _ *http.Request) { _ = f(w) }
}
