// Package proc starts the programs that tests and the demo stand on, and ends
// exactly those. Each program leads nothing but its own descendants: they share a
// process group with a watchdog, a shell that holds one end of a pipe. When this
// process goes, however it goes, the kernel closes the other end and the watchdog
// ends the group. So neither ^C nor a kill leaves anything behind.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Command says what to start.
type Command struct {
	Name string        // what errors call it
	Argv []string      // program and arguments
	Env  []string      // added to this process's own
	Dir  string        // working directory; default: this process's
	Log  string        // file that takes standard output and standard error, appended to
	Wait time.Duration // how long Stop lets it end by itself; default 20 s
}

// Process is a program that was started. Its methods may be called at any time
// and side by side.
type Process struct {
	command  Command
	cmd      *exec.Cmd
	watchdog *exec.Cmd
	exited   chan struct{} // closed when the program and its group are gone

	mu      sync.Mutex
	reaped  bool // the PID may be somebody else's by now
	stopped bool // somebody asked it to end
	err     error
}

// ExitError is the end, in whatever way, of a program that was to stay, with the
// last lines it wrote.
type ExitError struct {
	Name string
	Err  error // nil when it ended with status 0
	Log  string
	Tail string
}

// Error tells what ended, how, and what it last said.
func (e *ExitError) Error() string {
	how := "ended"
	if e.Err != nil {
		how = e.Err.Error()
	}
	return fmt.Sprintf("%s: %s; the end of %s:\n%s", e.Name, how, e.Log, e.Tail)
}

// Unwrap returns how it ended.
func (e *ExitError) Unwrap() error { return e.Err }

// watch is the watchdog: it outlives everything but its group's end.
const watch = `trap '' HUP INT TERM; read line; kill -TERM 0; sleep 5; kill -KILL 0`

// Start starts the program. It is stopped when ctx is done, as by Stop.
func Start(ctx context.Context, c Command) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	defer log.Close()

	watchdog := exec.Command("/bin/sh", "-c", watch)
	watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := watchdog.StdinPipe(); err != nil { // held by watchdog; only we have this end
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if err := watchdog.Start(); err != nil {
		return nil, fmt.Errorf("%s: watchdog: %w", c.Name, err)
	}

	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: watchdog.Process.Pid}
	p := &Process{command: c, cmd: cmd, watchdog: watchdog, exited: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		p.killGroup()
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	go p.reap(ctx) // ends with the program; Stop and Exited wait for it
	return p, nil
}

// reap waits for the program, then ends what it left.
func (p *Process) reap(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = p.Stop() })()
	err := p.cmd.Wait()
	p.mu.Lock()
	p.reaped, p.err = true, err
	p.mu.Unlock()
	p.killGroup()
	close(p.exited)
}

// killGroup ends the watchdog and everything in its group. The watchdog is our
// child and not waited for yet, so the group's number is nobody else's.
func (p *Process) killGroup() {
	_ = syscall.Kill(-p.watchdog.Process.Pid, syscall.SIGKILL)
	_ = p.watchdog.Wait()
}

// PID is the program's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal to the program, not to its descendants.
func (p *Process) Signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return fmt.Errorf("%s: %w", p.command.Name, os.ErrProcessDone)
	}
	return p.cmd.Process.Signal(s)
}

// Stop ends the program: SIGTERM first; what is left of it and its descendants
// after Command.Wait is killed, which is an error. Stopping what has ended is not.
func (p *Process) Stop() error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	wait := p.command.Wait
	if wait == 0 {
		wait = 20 * time.Second
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(wait):
	}
	_ = p.Signal(syscall.SIGKILL)
	<-p.exited
	return p.Explain(fmt.Errorf("still there %s after SIGTERM, killed", wait))
}

// Err is nil while the program runs and after it was stopped, else an *ExitError.
func (p *Process) Err() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil
	}
	return p.Explain(p.err)
}

// Explain adds the program's name and the last lines of its log to an error.
func (p *Process) Explain(err error) error {
	return &ExitError{Name: p.command.Name, Err: err, Log: p.command.Log, Tail: Tail(p.command.Log)}
}

// Log is everything written so far.
func (p *Process) Log() ([]byte, error) { return os.ReadFile(p.command.Log) }

// Until calls ready every 50 ms until it answers nil. It gives up when ctx is
// done, with ready's last error, and when the program ends.
func (p *Process) Until(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			if err := p.Err(); err != nil {
				return err
			}
			return p.Explain(errors.New("was stopped"))
		case <-ctx.Done():
			return p.Explain(fmt.Errorf("not ready: %w: %w", context.Cause(ctx), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Run runs a program to its end and returns its standard output. Its error holds
// what the program wrote to standard error.
func Run(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, bytes.TrimSpace(append(stderr.Bytes(), out...)))
	}
	return out, nil
}

// Tail is the end of a file, at most 25 lines and 8 KiB, for an error message.
func Tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	const most = 8 << 10
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 25 {
		lines = lines[len(lines)-25:]
	}
	var out strings.Builder
	for _, line := range lines {
		out.WriteString("    " + printable(string(line)) + "\n")
	}
	return out.String()
}

// printable escapes what could steer a terminal: a component's log repeats what
// strangers sent it.
func printable(line string) string {
	var out strings.Builder
	for _, r := range line {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			fmt.Fprintf(&out, "\\u%04x", r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}
