// Command fuzz runs every fuzz target of podseal for a while, one after the
// other, for the Go toolchain takes one at a time.
//
//	go run ./test/fuzz 30s
package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fuzz DURATION")
		os.Exit(2)
	}
	if err := fuzz(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

var target = regexp.MustCompile(`^Fuzz\w+$`)

func fuzz(duration string) error {
	packages, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	count := 0
	for _, pkg := range strings.Fields(string(packages)) {
		names, err := exec.Command("go", "test", "-list", "^Fuzz", pkg).Output() // #nosec G204 -- our own packages
		if err != nil {
			return fmt.Errorf("%s: %w: %s", pkg, err, names)
		}
		for _, name := range strings.Fields(string(names)) {
			if !target.MatchString(name) {
				continue
			}
			count++
			fmt.Printf("== %s %s\n", pkg, name)
			// A minimisation without a bound can take a minute for each input.
			cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", duration, "-fuzzminimizetime", "10x", pkg) // #nosec G204 -- our own packages
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s %s: %w", pkg, name, err)
			}
		}
	}
	if count == 0 {
		return fmt.Errorf("there is no fuzz target")
	}
	return nil
}
