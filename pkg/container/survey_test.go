package container_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
)

func survey(t *testing.T, ctx context.Context, l *container.Locator) (map[int32]container.Located, error) {
	t.Helper()
	found := map[int32]container.Located{}
	for p, err := range l.Processes(ctx) {
		if err != nil {
			return found, err
		}
		if _, twice := found[p.PID]; twice {
			t.Errorf("process %d was found twice", p.PID)
		}
		found[p.PID] = p
	}
	return found, nil
}

func TestASurveyFindsEveryLivingProcess(t *testing.T) {
	t.Parallel()
	proc := containertest.NewProc(t)
	forged := "/user.slice/user@1000.service/kubepods/pod" + uidU + "/" + idB
	proc.Start(42, inPod)
	proc.Start(43, forged)
	proc.Start(44, "/kubepods/pod"+uidU+"/crio-conmon-"+idB+".scope")
	proc.Start(45, inPod)
	proc.Write(45, "stat", containertest.Stat("Z", 7))
	proc.Start(46, inPod)
	proc.Remove(46, "stat")
	proc.Start(47, inPod)
	proc.Remove(47, "cgroup")
	if err := os.WriteFile(proc.Dir+"/uptime", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := survey(t, t.Context(), proc.Locator())
	if err != nil {
		t.Fatal(err)
	}
	var pids []int32
	for pid := range got {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	want := []int32{1, 42, 43, 44, int32(os.Getpid())}
	slices.Sort(want)
	if diff := cmp.Diff(want, pids); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if p := got[42]; p.Ref.ContainerID() != idB || p.Err != nil || len(p.Lines) != 1 || p.Lines[0].KubeletRoot != "/kubepods" || p.Ignored() != nil {
		t.Errorf("the process in a pod is %+v", p)
	}
	if p := got[43]; !p.Ref.IsZero() || p.Err != nil || !slices.Equal(p.Ignored(), []string{forged}) {
		t.Errorf("the process in a forged place is %+v", p)
	}
	if p := got[44]; !p.Ref.IsZero() || !errors.Is(p.Err, container.ErrNoContainer) || p.Ignored() != nil {
		t.Errorf("the runtime's helper is %+v", p)
	}
}

func TestASurveyEnds(t *testing.T) {
	t.Parallel()
	proc := containertest.NewProc(t)
	l := proc.Locator()

	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("^C")
	cancel(left)
	if got, err := survey(t, ctx, l); !errors.Is(err, left) || len(got) != 0 {
		t.Errorf("after ^C: %v, %v", got, err)
	}
	for range l.Processes(t.Context()) {
		break // the rest is not asked for
	}
	if n, err := l.CountProcesses(t.Context(), 2); n != 2 || err != nil {
		t.Errorf("two processes within a bound of two: %d, %v", n, err)
	}
	if n, err := l.CountProcesses(t.Context(), 1); n != 1 || err == nil {
		t.Errorf("two processes over a bound of one: %d, %v", n, err)
	}
	proc.Write(os.Getpid(), "cgroup", "")
	if got, err := survey(t, t.Context(), l); !errors.Is(err, container.ErrMalformed) || len(got) != 0 {
		t.Errorf("without the agent's own cgroups: %v, %v", got, err)
	}
}
