// Command run runs `go test` with its arguments, and tells at the end which tests
// were left out and why, which go test alone does not: a check that did not run
// must not look like one that passed.
//
//	go run ./test/run -race ./...
//
// With -live before all others it shows what goes on meanwhile, for tests that
// take minutes: each test as it ends, and what is written outside of tests.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	args := os.Args[1:]
	live := len(args) > 0 && args[0] == "-live"
	if live {
		args = args[1:]
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) // #nosec G204 -- the developer's own arguments
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
	s := summary{live: live, output: map[string]*strings.Builder{}}
	read := s.read(out)
	err = cmd.Wait()
	s.print(os.Stdout)
	if err != nil || read != nil || s.failed > 0 {
		fmt.Fprintln(os.Stderr, "run: go test:", err, read)
		os.Exit(1)
	}
}

// event is a line of go test -json, see go doc test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type summary struct {
	live                    bool
	output                  map[string]*strings.Builder // of tests and packages that have not ended
	skips                   []string
	passed, failed, skipped int
}

func (s *summary) read(r io.Reader) error {
	for d := json.NewDecoder(r); ; {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		s.event(e)
	}
}

func (s *summary) event(e event) {
	if e.Action == "build-output" {
		fmt.Print(e.Output)
		return
	}
	key := e.Package + " " + e.Test
	if s.output[key] == nil {
		s.output[key] = new(strings.Builder)
	}
	switch e.Action {
	case "output":
		if s.live && e.Test == "" {
			fmt.Print(e.Output)
			return
		}
		s.output[key].WriteString(e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	said := s.output[key].String()
	delete(s.output, key)
	if e.Test == "" {
		s.endOfPackage(e, said)
		return
	}
	if s.live {
		fmt.Printf("%-4s  %-60s %6.1f s\n", e.Action, e.Test, e.Elapsed)
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Print(said)
	case "skip":
		s.skipped++
		s.skips = append(s.skips, e.Package+" "+e.Test+"\n"+said)
	}
}

func (s *summary) endOfPackage(e event, said string) {
	switch e.Action {
	case "fail":
		fmt.Print(said)
	case "pass":
		if s.live {
			return // go has said so
		}
		fmt.Printf("ok    %-60s %6.1f s\n", e.Package, e.Elapsed)
	}
}

func (s *summary) print(w io.Writer) {
	for _, skip := range s.skips {
		fmt.Fprintf(w, "LEFT OUT: %s", skip)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}
