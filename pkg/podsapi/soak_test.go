package podsapi_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// version is a pod whose labels say which it is.
func version(name string, v int64) *corev1.Pod {
	p := webPod(name)
	p.Labels["version"] = strconv.FormatInt(v, 10)
	return p
}

// Whatever the kubelet does, an answer is never older than it may be: pods
// change, with and without an event, events are lost, late and untrue, watches
// end and the kubelet restarts, while many ask.
func TestNoAnswerIsOlderThanItMayBeWhateverTheKubeletDoes(t *testing.T) {
	t.Parallel()
	const pods, callers = 40, 16
	n := newNode(t, podsapitest.Options{})
	n.cfg.TTL, n.cfg.Interval = 20*time.Millisecond, 20*time.Millisecond
	var versions [pods]atomic.Int64
	for i := range pods {
		n.AddPod(version(fmt.Sprint(i), 0))
	}
	c := n.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()

	var all sync.WaitGroup
	all.Go(func() { misbehave(ctx, t, n, &versions) })
	var answers atomic.Int64
	for i := range callers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				if checkAge(ctx, t, c, r, &versions) {
					answers.Add(1)
				}
			}
		})
	}
	all.Wait()
	if answers.Load() < 100 {
		t.Errorf("only %d answers", answers.Load())
	}
	t.Logf("%d answers, %+v", answers.Load(), n.Stats())
}

// checkAge asks for a pod as it is from now on and says whether it got one.
func checkAge(ctx context.Context, t *testing.T, c *podsapi.Client, r *rand.Rand, versions *[40]atomic.Int64) bool {
	i := r.IntN(len(versions))
	uid := kubelettest.UID(fmt.Sprint(i))
	asked := uid
	if r.IntN(20) == 0 {
		asked = ""
	}
	atLeast, now := versions[i].Load(), time.Now()
	x, err := c.Next(ctx, asked, now)
	if err != nil {
		return false // the kubelet was away
	}
	p, err := x.ByUID(uid)
	if err != nil || p == nil {
		t.Errorf("pod %v, error %v", p, err)
		return false
	}
	got, err := strconv.ParseInt(p.Labels[1].Value, 10, 64)
	if err != nil || got < atLeast || !x.Taken.After(now) {
		t.Errorf("pod %d: version %d of %v, asked for %d of %v", i, got, x.Taken, atLeast, now)
	}
	return true
}

func misbehave(ctx context.Context, t *testing.T, n *node, versions *[40]atomic.Int64) {
	r := rand.New(rand.NewPCG(7, 8))
	for ctx.Err() == nil {
		i := r.IntN(len(versions))
		v := versions[i].Load() + 1
		next := version(fmt.Sprint(i), v)
		switch r.IntN(40) {
		case 0:
			n.SetFaults(podsapitest.Faults{DropEvents: true})
		case 1:
			n.SetFaults(podsapitest.Faults{DelayEvents: 30 * time.Millisecond})
		case 2:
			n.SetFaults(podsapitest.Faults{Refuse: 3})
		case 3:
			n.SetFaults(podsapitest.Faults{})
		case 4:
			n.CloseWatches()
		case 5:
			if r.IntN(5) == 0 {
				n.Stop()
				time.Sleep(20 * time.Millisecond)
				if err := n.Resume(); err != nil {
					t.Error(err)
				}
			}
		case 6, 7, 8:
			n.Send(podsapitest.EventType(r.IntN(5)), version(fmt.Sprint(i), 0))
		case 9, 10, 11, 12, 13:
			n.AddSilently(next)
			versions[i].Store(v)
		default:
			n.AddPod(next)
			versions[i].Store(v)
		}
		time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
	}
	n.SetFaults(podsapitest.Faults{})
}
