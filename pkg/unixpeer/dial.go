package unixpeer

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection to a socket in the file system.
type Conn struct {
	*net.UnixConn
	// made is when the socket was, which whoever may write to its directory can't
	// set; zero where the file system does not say.
	made time.Time
}

// Dial connects to the socket at that path, and to no other: made must be of the
// one that was connected to. A link there is refused, because it could lead to a
// file system whose times mean nothing.
func Dial(ctx context.Context, path string) (*Conn, error) {
	file, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0) // #nosec G304 -- that is the setting
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return nil, &fs.PathError{Op: "connect", Path: path, Err: unix.ENOTSOCK}
	}
	c := &Conn{made: made(file)}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return nil, err
	}
	c.UnixConn = conn.(*net.UnixConn)
	return c, nil
}

func made(file *os.File) time.Time {
	var s unix.Statx_t
	err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &s) // #nosec G115 -- a descriptor
	if err != nil || s.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(s.Btime.Sec, int64(s.Btime.Nsec))
}
