package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// endLimit is how long the keeper may take to take everything down. Two seconds are usual.
const endLimit = 2 * time.Minute

// down ends the keeper, and with it all it keeps, and returns when nothing is left.
func down(ctx context.Context, f folder) error {
	keeper, err := f.holder()
	if err != nil {
		return err
	}
	said := "the cluster is not up"
	if keeper != 0 {
		if err := f.end(ctx, keeper); err != nil {
			return err
		}
		said = "the cluster is down; nothing of it is left but its log: " + f.log()
	}
	if err := f.hold(); err != nil { // somebody starts it just now
		return err
	}
	if err := f.tidy(os.Stdout); err != nil {
		return err
	}
	fmt.Println(said)
	return nil
}

// end asks exactly the process that holds the lock to end, and waits for it. Held
// by a descriptor, a process is not mistaken for a later one of the same number.
func (f folder) end(ctx context.Context, keeper int) error {
	fd, err := unix.PidfdOpen(keeper, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("process %d: %w", keeper, err)
	}
	defer unix.Close(fd)
	if now, err := f.holder(); err != nil || now != keeper {
		return errors.Join(fmt.Errorf("process %d has just ended", keeper), err)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return fmt.Errorf("process %d: %w", keeper, err)
	}
	for begin := time.Now(); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("process %d: %w", keeper, err)
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted; process %d goes on taking it down", keeper)
		case time.Since(begin) > endLimit:
			return fmt.Errorf("process %d is still there after %s; its log: %s", keeper, endLimit, f.log())
		}
	}
}
