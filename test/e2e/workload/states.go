package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
)

var (
	headless = flag.Bool("headless", false, "end the main thread first; the others ask")
	zombie   = flag.Bool("zombie", false, "ask on connections of a process that has ended and that nobody waited for")
)

func init() {
	if slices.Contains(os.Args, "-headless") {
		runtime.LockOSThread() // the main goroutine stays on the main thread
	}
}

// endMainThread runs work on other threads.
func endMainThread(work func()) {
	go func() { work(); os.Exit(0) }()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

const roleVar = "PODSEAL_WORKLOAD_ROLE"

// leaveZombie has three processes: this one never waits for its child, which
// connects to the sockets, leaves the connections to a child of its own, and ends.
// The kernel says of those connections that the one that ended is their caller.
func leaveZombie(ctx context.Context, sockets []string, out *output) error {
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	switch os.Getenv(roleVar) {
	case "":
		self.Env = append(os.Environ(), roleVar+"=connect")
		if err := self.Start(); err != nil {
			return err
		}
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		<-end
		return nil
	case "connect":
		self.Env = append(os.Environ(), roleVar+"=ask", fmt.Sprintf("%s=%d", callerVar, os.Getpid()))
		for _, socket := range sockets {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				return err
			}
			file, err := conn.(*net.UnixConn).File()
			if err != nil {
				return err
			}
			self.ExtraFiles = append(self.ExtraFiles, file)
		}
		return self.Start()
	}
	for os.Getenv(callerVar) == fmt.Sprint(os.Getppid()) {
		time.Sleep(10 * time.Millisecond)
	}
	var all sync.WaitGroup
	for i, socket := range sockets {
		all.Go(func() { askOn(ctx, os.NewFile(uintptr(3+i), socket), out) })
	}
	all.Wait()
	return nil
}

const callerVar = "PODSEAL_WORKLOAD_CALLER"

// askOn asks over and over on a connection that is there.
func askOn(ctx context.Context, connection *os.File, out *output) {
	dial := func(context.Context, string) (net.Conn, error) { return net.FileConn(connection) }
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix:"+connection.Name()), workloadapi.WithDialOptions(grpc.WithContextDialer(dial)))
	if err != nil {
		out.write(answer{Asked: time.Now(), Socket: connection.Name(), Reason: err.Error()})
		return
	}
	askAll(ctx, connection.Name(), client.FetchX509SVID, out)
}
