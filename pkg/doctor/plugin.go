package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Plugin is how an agent's configuration starts podseal.
type Plugin struct {
	// Name is the WorkloadAttestor's.
	Name string
	// Command is plugin_cmd, empty for the attestor that is built in. Checksum is
	// plugin_checksum. Neither was judged yet.
	Command, Checksum string
}

// maxBinary is how much of the plugin's file is read.
const maxBinary = 1 << 30

func (x *examination) plugin(ctx context.Context) []Check {
	if x.Plugin == nil {
		return []Check{skipped(PluginChecksum, "plugin_cmd and plugin_checksum are in agent.conf, and only plugin_data was given")}
	}
	f := pluginFacts{Plugin: *x.Plugin}
	if f.Command != "" {
		f.path, f.sum, f.err = hashCommand(ctx, f.Command)
		f.ownSum, f.ownErr = hashFile(ctx, x.Executable)
	}
	return []Check{judgePlugin(f)}
}

// pluginFacts is what the plugin's file is.
type pluginFacts struct {
	Plugin
	// path is the file that Command means; sum its SHA-256 if err is nil.
	path string
	sum  [sha256.Size]byte
	err  error
	// ownSum is that of the program that runs now if ownErr is nil.
	ownSum [sha256.Size]byte
	ownErr error
}

func judgePlugin(f pluginFacts) Check {
	if f.Command == "" {
		return failed(PluginChecksum, fmt.Sprintf("WorkloadAttestor %q has no plugin_cmd: the agent runs its built-in attestor, not podseal", f.Name),
			"set plugin_cmd to podseal's file and plugin_checksum to its SHA-256")
	}
	var details []string
	if !strings.HasPrefix(f.Command, "/") {
		details = []string{"plugin_cmd is relative to the agent's working directory; here it was looked for from this command's own"}
	}
	if f.err != nil {
		return failed(PluginChecksum, fmt.Sprintf("plugin_cmd %q can't be read or started: %v", f.Command, f.err),
			"set plugin_cmd to podseal's file, as an absolute path that the agent may read and execute", details...)
	}
	sum := hex.EncodeToString(f.sum[:])
	line := fmt.Sprintf("plugin_checksum = %q", sum)
	// As the agent reads it: hex digits of either case, exactly 32 bytes.
	want, err := hex.DecodeString(f.Checksum)
	switch {
	case f.Checksum == "":
		return warning(PluginChecksum, fmt.Sprintf("there is no plugin_checksum: whoever can write %q becomes the attestor and decides which selectors workloads get", f.path),
			"if this file is the one that you installed, write into the agent's configuration: "+line, details...)
	case err != nil || len(want) != sha256.Size:
		return failed(PluginChecksum, fmt.Sprintf("plugin_checksum %q is not a SHA-256 in hexadecimal digits, so the agent does not start the plugin", f.Checksum),
			"if this file is the one that you installed, write into the agent's configuration: "+line, details...)
	case hex.EncodeToString(want) != sum:
		return failed(PluginChecksum, fmt.Sprintf("the SHA-256 of %q is %s, but plugin_checksum is %s, so the agent does not start the plugin", f.path, sum, f.Checksum),
			"if you replaced the file yourself, write into the agent's configuration: "+line+"; if not, somebody else did: install podseal again from its release", details...)
	case f.ownErr != nil:
		details = append(details, fmt.Sprintf("the file that runs now can't be read to compare: %v", f.ownErr))
	case f.ownSum != f.sum:
		return warning(PluginChecksum, fmt.Sprintf("the SHA-256 of %q is that of plugin_checksum, but the program that runs now is another one (%s): what it finds may differ from what the plugin finds",
			f.path, hex.EncodeToString(f.ownSum[:])), "run this command with the file that plugin_cmd names: "+f.path, details...)
	}
	return ok(PluginChecksum, fmt.Sprintf("the SHA-256 of %q is that of plugin_checksum", f.path), details...)
}

// hashCommand finds a command as the agent does and hashes its file.
func hashCommand(ctx context.Context, command string) (path string, sum [sha256.Size]byte, err error) {
	path, err = exec.LookPath(command)
	if err != nil {
		return command, sum, err
	}
	sum, err = hashFile(ctx, path)
	return path, sum, err
}

func hashFile(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	// A pipe in its place is refused and not waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return sum, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return sum, err
	} else if !info.Mode().IsRegular() {
		return sum, errors.New("it is not a file")
	}
	hash := sha256.New()
	for n := int64(0); ; {
		if err := context.Cause(ctx); err != nil {
			return sum, err
		}
		read, err := io.CopyN(hash, file, 1<<20)
		if n += read; n > maxBinary {
			return sum, errors.New("it is larger than 1 GiB")
		}
		if errors.Is(err, io.EOF) {
			return [sha256.Size]byte(hash.Sum(nil)), nil
		}
		if err != nil {
			return sum, err
		}
	}
}
