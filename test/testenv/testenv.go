// Package testenv says what a test needs of the machine it runs on. A test that
// can't run is skipped with its reason on a person's machine; where CI=true it
// fails, so that nothing is left out there in silence.
package testenv

import (
	"os"
	"testing"
)

// Require stops the test unless ok. why is a sentence about what is missing.
func Require(t testing.TB, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test may not be left out here: %s", why)
	}
	t.Skip(why)
}

// RequireRoot stops the test unless it runs as root.
func RequireRoot(t testing.TB) {
	t.Helper()
	Require(t, os.Geteuid() == 0, "needs root (cgroups, namespaces or other users' processes)")
}
