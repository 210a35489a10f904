// Command workload is what runs in the pods of the end-to-end test. It asks each
// Workload API socket named by its arguments for an SVID, over and over, and
// writes one JSON line for each answer:
//
//	{"asked":"2026-01-02T03:04:05.1Z","socket":"/run/spire/sockets/agent.sock","id":"spiffe://example.org/pay/api"}
//	{"asked":"2026-01-02T03:04:05.2Z","socket":"/run/spire/sockets/agent.sock","code":"PermissionDenied","reason":"..."}
//
// Without sockets it waits for its end.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

type answer struct {
	Asked  time.Time `json:"asked"`
	Socket string    `json:"socket"`
	ID     string    `json:"id,omitempty"`
	Code   string    `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

var (
	once  = flag.Bool("once", false, "end when each socket gave an SVID once")
	tries = flag.Int("tries", 0, "end when each socket gave so many answers; 0 is never")
	every = flag.Duration("every", time.Second, "the pause after an answer")
	stay  = flag.Bool("stay", false, "go on after SIGTERM")
	to    = flag.String("to", "", "a new file for the answers; default: standard output")
	// What a test finds the process by, as everybody may read a command line.
	_ = flag.String("name", "", "a name, which changes nothing")
)

func main() {
	flag.Parse()
	ctx := context.Background()
	if *stay {
		signal.Ignore(syscall.SIGTERM)
	} else {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	file := os.Stdout
	if *to != "" {
		var err error
		if file, err = os.OpenFile(*to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
			fail(err)
		}
	}
	out := &output{json: json.NewEncoder(file)}
	switch {
	case *headless:
		endMainThread(func() { askEach(ctx, flag.Args(), out) })
	case *zombie:
		if err := leaveZombie(ctx, flag.Args(), out); err != nil {
			fail(err)
		}
	default:
		askEach(ctx, flag.Args(), out)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func askEach(ctx context.Context, sockets []string, out *output) {
	var all sync.WaitGroup
	for _, socket := range sockets {
		// Another connection each time. A socket that is slow to answer holds no other up.
		all.Go(func() {
			askAll(ctx, socket, func(ctx context.Context) (*x509svid.SVID, error) {
				return workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix:"+socket))
			}, out)
		})
	}
	all.Wait()
	if len(sockets) == 0 {
		<-ctx.Done()
	}
}

type fetch func(context.Context) (*x509svid.SVID, error)

func askAll(ctx context.Context, socket string, fetch fetch, out *output) {
	for try := 1; ctx.Err() == nil; try++ {
		a := ask(ctx, socket, fetch)
		out.write(a)
		if *once && a.ID != "" || try == *tries {
			return
		}
		select {
		case <-time.After(*every):
		case <-ctx.Done():
		}
	}
}

func ask(ctx context.Context, socket string, fetch fetch) answer {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := answer{Asked: time.Now(), Socket: socket}
	svid, err := fetch(ctx)
	if err != nil {
		a.Code, a.Reason = status.Code(err).String(), err.Error()
	} else {
		a.ID = svid.ID.String()
	}
	return a
}

// output is shared by those who ask.
type output struct {
	mu   sync.Mutex
	json *json.Encoder
}

func (o *output) write(a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.json.Encode(a); err != nil {
		fail(err)
	}
}
