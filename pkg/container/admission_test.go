package container_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

func refOf(t *testing.T, uid string) container.Ref {
	t.Helper()
	ref, err := container.Resolve(v2("/kubepods/pod"+uid+"/"+idB), v2(onHost), "", "", "")
	if err != nil || ref.IsZero() {
		t.Fatalf("no ref of %q: %v", uid, err)
	}
	return ref
}

func TestAPodWithTenThousandCallersCostsItsNeighboursNothing(t *testing.T) {
	t.Parallel()
	var a container.Admission
	greedy, neighbour := refOf(t, "greedy"), refOf(t, "neighbour")
	var leaves []func()
	for i := range 10_000 {
		leave, err := a.Enter(greedy)
		switch {
		case i < container.MaxCallsPerPod && err != nil:
			t.Fatalf("call %d of the pod: %v", i, err)
		case i >= container.MaxCallsPerPod && !errors.Is(err, container.ErrTooManyCalls):
			t.Fatalf("call %d of the pod: %v, want ErrTooManyCalls", i, err)
		case err == nil:
			leaves = append(leaves, leave)
		}
	}
	leave, err := a.Enter(neighbour)
	if err != nil {
		t.Fatalf("the neighbour is refused: %v", err)
	}
	leave()
	leave() // a second time counts nothing
	for _, leave := range leaves {
		leave()
	}
	if leave, err := a.Enter(greedy); err != nil {
		t.Errorf("after its calls ended the pod is refused: %v", err)
	} else {
		leave()
	}
}

func TestTheNodeHasABoundToo(t *testing.T) {
	t.Parallel()
	var a container.Admission
	for i := range container.MaxCalls {
		if _, err := a.Enter(refOf(t, fmt.Sprint("pod", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Enter(refOf(t, "one-more")); !errors.Is(err, container.ErrTooManyCalls) {
		t.Errorf("error = %v, want ErrTooManyCalls", err)
	}
}

func TestAdmissionIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var a container.Admission
	refs := []container.Ref{refOf(t, "a"), refOf(t, "b"), refOf(t, "c")}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			if leave, err := a.Enter(refs[i%len(refs)]); err == nil {
				leave()
			}
		})
	}
	wg.Wait()
	for range container.MaxCallsPerPod {
		if _, err := a.Enter(refs[0]); err != nil {
			t.Fatalf("a call is still counted: %v", err)
		}
	}
}
