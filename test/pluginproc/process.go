package pluginproc

import (
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/podseal/podseal/test/pluginproc/host"
)

// Options say how the agent starts the plugin. The zero value is the usual way.
type Options struct {
	// Checksum is the plugin_checksum; that of the binary when nil.
	Checksum []byte
	// Env are variables of the agent's environment, which the plugin inherits,
	// in place of the test's of the same name.
	Env []string
	// PrivateMounts gives the plugin a mount namespace of its own, for Cover.
	PrivateMounts bool
	// PrivatePIDs starts the plugin in a PID namespace of its own, but with this
	// one's /proc: what it sees there are other processes' IDs.
	PrivatePIDs bool
	// PrivateNetwork starts the plugin in a network namespace of its own, where
	// nothing is up: sockets in the file system are all that it reaches.
	PrivateNetwork bool
}

// Process is a running plugin.
type Process struct {
	*host.Plugin // nil when Launch failed

	t   testing.TB
	log *collector
}

// Start starts the plugin until the test ends.
func Start(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Launch(t, o)
	if err != nil {
		t.Fatalf("%v\nlog of the plugin:\n%s", err, p.log.raw())
	}
	return p
}

// Launch is Start for a plugin that may refuse to start. The Process is then
// good for its log only.
func Launch(t testing.TB, o Options) (*Process, error) {
	t.Helper()
	p := &Process{t: t, log: new(collector)}
	path := Binary(t)
	checksum := o.Checksum
	if checksum == nil {
		checksum = sum(t, path)
	}
	attributes := new(syscall.SysProcAttr)
	if o.PrivateMounts {
		attributes.Unshareflags = syscall.CLONE_NEWNS
	}
	if o.PrivateNetwork {
		attributes.Unshareflags |= syscall.CLONE_NEWNET
	}
	if o.PrivatePIDs {
		attributes.Cloneflags = syscall.CLONE_NEWPID
	}
	var err error
	p.Plugin, err = host.Start(t.Context(), host.Options{
		Path:        path,
		Checksum:    checksum,
		Env:         environment(o.Env),
		SysProcAttr: attributes,
		Log:         &p.log.lines,
		Stderr:      &p.log.stderr,
	})
	if err != nil {
		return p, err
	}
	t.Cleanup(p.Stop)
	return p, nil
}

func sum(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// environment is the test's, without what would say something about a node,
// and with the given variables.
func environment(with []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MY_NODE_NAME=") || strings.HasPrefix(v, "MY_POD_UID=") || strings.HasPrefix(v, roleEnv+"=")
	})
	return append(env, with...)
}

// PeakMemory is the most resident memory that the plugin had so far, in bytes.
func (p *Process) PeakMemory() int64 {
	p.t.Helper()
	memory, err := p.Memory()
	if err != nil {
		p.t.Fatal(err)
	}
	return memory.Peak
}

// Stop unloads the plugin as the agent does. It may be called again.
func (p *Process) Stop() {
	if err := p.Plugin.Stop(); err != nil {
		p.t.Error(err)
	}
}
