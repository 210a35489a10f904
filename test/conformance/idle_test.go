package conformance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/test/pluginproc"
)

// Without callers a plugin that asks at the port makes no request and is woken by no
// timer, and one that watches the Pods API takes note of what changes and asks
// nothing. What they take is logged.
func TestWithoutCallersNothingIsAsked(t *testing.T) {
	t.Parallel()
	const pods, idle, pause = 1000, 15 * time.Second, 100 * time.Millisecond
	plugins := map[string]*pluginproc.Process{}
	nodes := map[string]*bothWays{}
	for _, source := range []string{"kubelet", "pods_api"} {
		n := newBothWays(t)
		for i := range pods {
			n.add(t, app(fmt.Sprint("app-", i)))
		}
		nodes[source], plugins[source] = n, n.start(t, source)
		wantSelectors(t, plugins[source], n.process(t, "app-0"), appSelectors("app-0"))
	}
	time.Sleep(3 * time.Second) // until what the call has left for later is done, as garbage is

	cpu, woken, began := map[string]time.Duration{}, map[string]int{}, time.Now()
	for source, plugin := range plugins {
		cpu[source], woken[source] = cpuOf(t, plugin.PID()), wakeUps(t, plugin.PID())
	}
	listed, asked := nodes["kubelet"].Kubelet.Stats().Requests, nodes["pods_api"].api.Stats()
	changes, seen := 0, woken["kubelet"]
	stillSince, still := began, time.Duration(0)
	for ; time.Since(began) < idle; time.Sleep(time.Until(began.Add(time.Duration(changes) * pause))) {
		changes++
		changed := app(fmt.Sprint("app-", changes%pods))
		changed.Labels = map[string]string{"changed": fmt.Sprint(changes)}
		for _, n := range nodes {
			n.update(t, changed)
		}
		if now := wakeUps(t, plugins["kubelet"].PID()); now != seen {
			seen, stillSince = now, time.Now()
		}
		still = max(still, time.Since(stillSince))
	}
	took := time.Since(began).Seconds()
	for source, plugin := range plugins {
		cpu[source], woken[source] = cpuOf(t, plugin.PID())-cpu[source], wakeUps(t, plugin.PID())-woken[source]
		t.Logf("%s: with %.1f changes a second %.3f %% of a core, %.1f times a second woken up",
			source, float64(changes)/took, 100*cpu[source].Seconds()/took, float64(woken[source])/took)
	}
	if now := nodes["kubelet"].Kubelet.Stats().Requests; now != listed {
		t.Errorf("%d requests without a caller", now-listed)
	}
	if now := nodes["pods_api"].api.Stats(); now != asked || now.Watching != 1 {
		t.Errorf("without a caller: %+v, then %+v", asked, now)
	}
	t.Logf("kubelet: not woken up for %.1f s in a row", still.Seconds())
	if still < 5*time.Second {
		t.Error("something wakes it up again and again")
	}
}

// wakeUps counts how often the threads of a process have waited for something so
// far, see proc_pid_status(5).
func wakeUps(t *testing.T, pid int) (n int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		switches, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n += switches
	}
	return n
}
