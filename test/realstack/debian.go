package realstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Install makes sure that a program is there: where it is not, it installs the
// Debian packages that have it, which takes root. It tells progress what it does.
func Install(ctx context.Context, progress io.Writer, program string, packages ...string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%s is needed and not installed: as root, apt-get install %v (or what your system calls them)", program, packages)
	}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		fmt.Fprintf(progress, "installing %s: apt-get %v\n", program, args)
		apt := exec.CommandContext(ctx, "apt-get", args...) // #nosec G204 -- constants of this repository
		apt.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := apt.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	if _, err := exec.LookPath(program); err != nil {
		return errors.Join(fmt.Errorf("the packages %v have no %s", packages, program), err)
	}
	return nil
}

// InstallCompiler makes sure that there is a C compiler: for the race detector,
// and for SPIRE's server, which keeps its data in SQLite.
func InstallCompiler(ctx context.Context, progress io.Writer) error {
	if hasCompiler(ctx) {
		return nil
	}
	return Install(ctx, progress, "gcc", "gcc", "libc6-dev")
}
