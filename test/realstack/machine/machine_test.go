package machine_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podseal/podseal/test/realstack/machine"
)

func TestMain(m *testing.M) {
	os.Exit(machine.Main(m.Run, func(context.Context, string) ([]string, error) {
		return []string{"PREPARED=yes"}, nil
	}))
}

func TestTheMachineIsItsOwn(t *testing.T) {
	machine.Require(t)
	if os.Getenv("PREPARED") != "yes" {
		t.Error("prepare's environment did not arrive")
	}
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(cgroups)) {
		if !strings.HasSuffix(line, ":/node\n") {
			t.Errorf("cgroup %q is not the machine's own", line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) > 3 {
		t.Errorf("other processes are visible: %q, %v", processes, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:10250")
	if err != nil {
		t.Errorf("a port is taken: %v", err)
	} else {
		listener.Close()
	}
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) != 1 || interfaces[0].Flags&net.FlagUp == 0 {
		t.Errorf("network interfaces: %v, %v", interfaces, err)
	}
	if err := os.WriteFile(filepath.Join(machine.Dir(), "x"), nil, 0o600); err != nil {
		t.Error(err)
	}
	if addresses, err := net.DefaultResolver.LookupHost(t.Context(), machine.HostName); err != nil || addresses[0] != machine.Address {
		t.Errorf("the machine's own name: %q, %v", addresses, err)
	}
	for _, dir := range []string{"/var/lib/podseal-test", "/opt/podseal-test", "/etc/podseal-test", "/run/podseal-test"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile("/proc/sys/kernel/panic", []byte("77"), 0o644); err != nil {
		t.Error(err)
	}
}
