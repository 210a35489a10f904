// Command keep keeps the end-to-end test's cluster up for a person: Kubernetes on
// one node and SPIRE with podseal installed from examples/, with two workloads, of
// which one gets its SVID and one is refused.
//
//	keep up                         make e2e-up: start it in the background, wait for it
//	keep shell [PROGRAM [ARG...]]   make e2e-shell: run a program, by default a shell, inside
//	keep down                       make e2e-down: end it
//
// There are three processes of this program. `keep up` starts the keeper in a
// session of its own, shows its log and ends. The keeper is outside of the machine
// (package machine), holds the lock by which it is found, and listens for kubectl.
// Inside the machine this program is what the test binary is for a test: it starts
// the stack. All that is for a person is in one folder of the user's cache folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/podseal/podseal/test/realstack/machine"
)

// verbStay is the keeper's, and that of its process inside the machine.
const verbStay = "stay"

func main() {
	state := flag.String("state", "", "the `folder` of what is kept; default: podseal/e2e in the user's cache folder")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: keep [-state FOLDER] up | shell [PROGRAM [ARG...]] | down")
		flag.PrintDefaults()
	}
	flag.Parse()
	os.Exit(report(run(*state, flag.Args())))
}

// exitError is the end of a command with a status of its own and nothing more to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func report(err error) int {
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "e2e:", err)
	if errors.Is(err, errInterrupted) {
		return 130
	}
	return 1
}

func run(state string, args []string) error {
	if len(args) == 0 || (args[0] != "shell" && len(args) > 1) {
		flag.Usage()
		return exitError(2)
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root, for a machine of its own (namespaces and cgroups)")
	}
	f, err := openFolder(state)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch args[0] {
	case "up":
		return up(ctx, stop, f)
	case "down":
		return down(ctx, f)
	case "shell":
		stop() // what runs there decides what ^C means
		return shell(f, args[1:])
	case verbStay:
		stop() // machine.Main listens
		if code := machine.Main(inside, keeper{f}.prepare); code != 0 {
			return exitError(code)
		}
		return nil
	}
	flag.Usage()
	return exitError(2)
}
