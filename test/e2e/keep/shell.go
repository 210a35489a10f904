package main

import (
	"cmp"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/podseal/podseal/test/realstack/machine"
)

// shell runs a program inside the machine, in its folder; by default the user's shell.
func shell(f folder, argv []string) error {
	keeper, err := f.holder()
	if err != nil {
		return err
	}
	var r *record
	if keeper != 0 {
		if r, err = f.running(keeper); err != nil {
			return err
		}
	}
	if r == nil {
		return errors.New("the cluster is not up: make e2e-up")
	}
	if len(argv) == 0 {
		argv = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
	}
	// ^C is for what runs there.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	path := strings.Join(append(r.Path[:len(r.Path):len(r.Path)], os.Getenv("PATH")), ":")
	if err := os.Setenv("PATH", path); err != nil { // where exec looks, too
		return err
	}
	runtime.LockOSThread() // until the end
	if err := machine.Enter(r.Inside, r.Machine); err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...) // #nosec G204 -- the person's own command
	cmd.Dir = r.Machine
	cmd.Env = append(os.Environ(), r.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exitError(exit.ExitCode()) // it has said why
	}
	return err
}
