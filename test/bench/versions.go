package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// describe says what is compared, and on what: the versions are those that the
// two binaries were stamped with.
func describe(all [sides]side) (string, error) {
	ours, err := buildinfo.ReadFile(all[https].path)
	if err != nil {
		return "", fmt.Errorf("%w (make build)", err)
	}
	theirs, err := buildinfo.ReadFile(all[builtIn].path)
	if err != nil {
		return "", err
	}
	spire := "unknown version"
	for _, module := range theirs.Deps {
		if module.Path == "github.com/spiffe/spire" {
			spire = module.Version
		}
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", err
	}
	return fmt.Sprintf("podseal %s (%s) against the attestor `k8s` of SPIRE %s (%s), on Linux %s, %s, %d CPUs.",
		cmp.Or(ours.Main.Version, "(unknown version)"), ours.GoVersion, spire, theirs.GoVersion,
		unix.ByteSliceToString(kernel.Release[:]), runtime.GOARCH, runtime.NumCPU()), nil
}
