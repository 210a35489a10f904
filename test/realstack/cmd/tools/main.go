// Command tools builds the real programs of the end-to-end tests, if they are not
// in the cache yet, and prints their paths, one a line, in the order asked for.
//
//	go run ./test/realstack/cmd/tools spire-agent spire-server
//
// It also makes sure of a C compiler, which the race detector needs too.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/podseal/podseal/test/realstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := realstack.InstallCompiler(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
	names := os.Args[1:]
	paths, err := realstack.Build(ctx, os.Stderr, names...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
	for _, name := range names {
		fmt.Println(paths[name])
	}
}
