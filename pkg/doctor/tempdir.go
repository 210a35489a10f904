package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is how long a Unix socket's path may be: sun_path has 108 bytes,
// unix(7), the last of which is the terminating zero.
const maxSocketPath = 107

const emptyDir = "mount an emptyDir at /tmp of the agent's container, or set TMPDIR in its environment to a directory that it may write to and whose name is short"

// tempDir does what the plugin does at its start: the agent and it meet on a Unix
// socket in TMPDIR, the name of which a temporary file reserves.
func (x *examination) tempDir(context.Context) []Check {
	return []Check{judgeTempDir(x.TempDir, trySocket(x.TempDir))}
}

func judgeTempDir(dir string, err error) Check {
	// The name ends in a random number of 32 bits: what is too long now and then
	// is too long.
	longest := filepath.Join(dir, socketName+"4294967295")
	switch {
	case len(longest) > maxSocketPath:
		return failed(TempDir, fmt.Sprintf("TMPDIR %q is too long: the path of a socket there, such as %q, has up to %d bytes, and %d are possible", dir, longest, len(longest), maxSocketPath), emptyDir)
	case err != nil:
		return failed(TempDir, fmt.Sprintf("the agent and the plugin meet on a Unix socket in TMPDIR, and none can be made in %q: %v", dir, err), emptyDir)
	}
	return ok(TempDir, fmt.Sprintf("a Unix socket can be made in TMPDIR %q", dir))
}

// socketName is the pattern that go-plugin makes the name from.
const socketName = "plugin"

// trySocket makes a socket and removes it.
func trySocket(dir string) error {
	file, err := os.CreateTemp(dir, socketName)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		return err
	}
	listener, err := net.Listen("unix", file.Name())
	if err != nil {
		return err
	}
	return listener.Close() // removes it
}
