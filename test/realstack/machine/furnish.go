package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// private are folders that a node's programs write to wherever they are told to
// keep their state: sockets and runc's records, and the kubelet's links to logs.
var private = []string{"/run", "/var/log"}

// layered are folders that a node's programs read from and, some of them without
// being asked, make folders in: there the machine writes to a layer of its own.
var layered = []string{"/etc", "/opt", "/var/lib"}

// tunables are the kernel's settings that a kubelet changes. They belong to the
// whole kernel, not to a namespace: the machine has files in their place.
var tunables = []string{
	"vm/overcommit_memory", "vm/panic_on_oom",
	"kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// furnish gives the machine its name, its network and its own copies of what its
// programs may write to. The mounts must be private and /proc mounted already.
func furnish() error {
	if err := unix.Sethostname([]byte(HostName)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	for _, dir := range private {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := layer(); err != nil {
		return err
	}
	if err := os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"+Address+" "+HostName+"\n"), 0o644); err != nil {
		return err
	}
	for _, name := range tunables {
		path := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = cover(path, string(value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// layer puts an overlay over each of the layered folders. What is written is kept
// in memory: a folder on disk may be part of an overlay itself, and then can't.
func layer() error {
	memory := filepath.Join(Dir(), "layers")
	if err := os.Mkdir(memory, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", memory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", memory, err)
	}
	for _, dir := range layered {
		own := filepath.Join(memory, strings.ReplaceAll(dir, "/", "_"))
		upper, work := filepath.Join(own, "upper"), filepath.Join(own, "work")
		if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
			return err
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
		if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("layer over %s: %w", dir, err)
		}
	}
	return nil
}

// cover puts a file with that content in the place of another.
func cover(path, content string) error {
	own := filepath.Join(Dir(), "covers", strings.ReplaceAll(path, "/", "_"))
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(own, []byte(content), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cover %s: %w", path, err)
	}
	return nil
}

// loopback is all the network there is. It has a second address, because a
// node's may not be one of 127.0.0.0/8.
func loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	second, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := second.SetInet4Addr(net.ParseIP(Address).To4()); err != nil {
		return err
	}
	return errors.Join(
		unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, up),
		unix.IoctlIfreq(socket, unix.SIOCSIFADDR, second),
	)
}
