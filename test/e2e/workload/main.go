// Command workload is what runs in the pods of the end-to-end test. It asks each
// Workload API socket named by its arguments for an SVID, over and over, and
// writes one JSON line for each answer:
//
//	{"socket":"/sockets/podseal/agent.sock","id":"spiffe://example.org/pay/api"}
//	{"socket":"/sockets/podseal/agent.sock","code":"PermissionDenied","reason":"..."}
//
// Without arguments it ends at once.
package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

type answer struct {
	Socket string `json:"socket"`
	ID     string `json:"id,omitempty"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := json.NewEncoder(os.Stdout)
	for sockets := os.Args[1:]; len(sockets) > 0 && ctx.Err() == nil; {
		for _, socket := range sockets {
			if err := out.Encode(ask(ctx, socket)); err != nil {
				os.Exit(1)
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func ask(ctx context.Context, socket string) answer {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	svid, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix:"+socket))
	if err != nil {
		return answer{Socket: socket, Code: status.Code(err).String(), Reason: err.Error()}
	}
	return answer{Socket: socket, ID: svid.ID.String()}
}
