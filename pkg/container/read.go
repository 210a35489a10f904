package container

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// readSize is how much a read of a file asks for at first: more than a stat file
// has, and in nearly all cases a cgroup file.
const readSize = 4 << 10

// readAt reads a file of procfs whole, at most limit bytes, into buf or a larger
// one. name is relative to the directory dir.
func readAt(dir int, name string, limit int, buf []byte) ([]byte, error) {
	fd, err := openAt(dir, name, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	return readWhole(fd, name, limit, buf)
}

// readWhole reads a file of procfs, which the kernel writes anew for whoever reads
// from its beginning, whole, at most limit bytes, into buf or a larger one.
//
// It does without os.File, which takes every file for one that may have to be
// waited for: for one of procfs, where an attestation spends most of its time,
// that is five system calls more than the four that it takes.
func readWhole(fd int, name string, limit int, buf []byte) ([]byte, error) {
	buf = buf[:cap(buf)]
	if len(buf) == 0 {
		buf = make([]byte, readSize)
	}
	for n := 0; ; {
		if n == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
		got, err := uninterrupted(func() (int, error) { return syscall.Pread(fd, buf[n:], int64(n)) })
		switch n += got; {
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		case n > limit:
			return nil, fmt.Errorf("more than %d bytes", limit)
		case got == 0:
			return buf[:n], nil
		}
	}
}

// openAt opens a file relative to a directory, no symbolic link. The descriptor is
// to be closed with closeFD.
func openAt(dir int, name string, flags int) (int, error) {
	fd, err := uninterrupted(func() (int, error) { return syscall.Openat(dir, name, flags|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0) })
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// closeFD closes a descriptor that was only read from: there is nothing that its
// error could be about.
func closeFD(fd int) { _ = syscall.Close(fd) }

// atCWD is AT_FDCWD, with which a name is a path as everywhere else.
const atCWD = -100

// uninterrupted makes a system call again that a signal interrupted.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}
