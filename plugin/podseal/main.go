// Command podseal is a SPIRE Agent plugin of type WorkloadAttestor for
// Kubernetes, and the command line that shows operators what it sees. SPIRE Agent
// starts it without arguments and with its handshake in the environment.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/podseal/podseal/pkg/cli"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/plugin"
)

func main() {
	if plugin.Started() && len(os.Args) == 1 {
		plugin.Serve() // does not return; standard output belongs to the handshake
	}
	os.Exit(commandLine())
}

func commandLine() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends what is waited for, a second one the process.
	context.AfterFunc(ctx, stop)
	executable, err := os.Executable()
	if err != nil {
		executable = "/proc/self/exe"
	}
	return cli.Main(ctx, cli.Env{
		Args:       os.Args[1:],
		Stdin:      os.Stdin,
		Stdout:     terminal.New(os.Stdout, os.Getenv),
		Stderr:     terminal.New(os.Stderr, os.Getenv),
		Getenv:     os.Getenv,
		Proc:       "/proc",
		Executable: executable,
	})
}
