package conformance_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

const (
	// soakTime is what is looked at, soakBegin what is before that: until whatever is
	// made once has been made.
	soakTime, soakBegin = time.Minute, 5 * time.Second
	// soakPods are on the node all the time, and in soakResidents of them there are
	// processes that soakCallers call for, each after a pause.
	soakPods, soakResidents, soakCallers = 1000, 10, 16
	soakPause                            = 50 * time.Millisecond
	// At each tick a pod comes, that of the tick before gets its container's ID,
	// one that does not call changes, and the one that came soakLife ticks ago goes.
	soakTick = 200 * time.Millisecond
	soakLife = 10
	// The Pods API goes away once each soakOutage, for soakAway, where the port is
	// there for it: in the first and in the last 10 s too.
	soakOutage, soakAway = 25 * time.Second, 4 * time.Second

	soakMemory = 64 << 20
	// soakGrowth is how much more memory the last 10 s may take than the first, in
	// the medians of 100 samples each. A collected heap breathes, gives back late what
	// it has had, and finds its size within a minute or two: this is more, and a tenth
	// of what is resident. The calls between the two are some 14,000, so that each would
	// have to leave less than 220 bytes behind.
	soakGrowth = 3 << 20
)

// A full node for a minute, with each source of pods: no call fails, every answer
// is the right pod's, and the plugin takes no more memory at the end than at the
// beginning. The figures of docs/performance.md are those that this logs.
func TestSoak(t *testing.T) {
	t.Parallel()
	soaks := []*soak{newSoak(t, "kubelet"), newSoak(t, "pods_api"), newSoak(t, "auto")}
	// One after the other they would take minutes, and as parallel tests all places
	// for such.
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), soakBegin+soakTime)
	defer cancel()
	for _, s := range soaks {
		s.began, s.cpu, s.giveUp = time.Now(), cpuOf(t, s.plugin.PID()), cancel
		for i := range soakCallers {
			all.Go(func() { s.call(ctx, t, rand.New(rand.NewPCG(uint64(i), 1))) })
		}
		all.Go(func() { s.weigh(ctx, t) })
	}
	ticks := time.NewTicker(soakTick)
	defer ticks.Stop()
	for ctx.Err() == nil {
		for _, s := range soaks {
			s.change(t)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
	for _, s := range soaks {
		s.publish(t) // or its call would wait
	}
	all.Wait()
	for _, s := range soaks {
		if s.source == "auto" {
			s.awaitAPI(t)
		}
		s.judge(t)
	}
}

// soak is a node whose pods come and go, and a plugin that is asked about them.
type soak struct {
	*bothWays
	source string
	plugin *pluginproc.Process
	giveUp func()
	began  time.Time
	cpu    time.Duration // of the plugin, when it began

	// coming are the pods whose processes call first, before they have IDs.
	coming chan *tenant

	// young are those that came and will go, the oldest first; gone have gone from
	// the rest and are there until no call is about them. away is whether the Pods API
	// is. These and came, which counts, are the test's goroutine's.
	young, gone []*tenant
	came        int
	unpublished *tenant
	away        bool
	outages     int

	// mu guards what follows, for a moment.
	mu      sync.Mutex
	tenants []*tenant // whom everybody may ask about
	took    []time.Duration
	waited  []time.Duration // of new containers, since they had their IDs
	memory  []sample
}

// tenant is a pod with a process.
type tenant struct {
	pod  kubelettest.Pod
	pid  int
	want []string
	// calls are those about it; none begins when it is not among the tenants any more.
	calls sync.WaitGroup
	// published is when the kubelet had the container's ID. soak.mu guards it.
	published time.Time
}

type sample struct {
	after    time.Duration
	resident int64
}

func newSoak(t *testing.T, source string) *soak {
	t.Helper()
	s := &soak{bothWays: newBothWays(t), source: source, coming: make(chan *tenant, soakCallers)}
	for i := range soakPods {
		name := fmt.Sprint("pod-", i)
		s.add(t, app(name))
		if i < soakResidents {
			s.tenants = append(s.tenants, &tenant{pod: app(name), pid: s.process(t, name), want: appSelectors(name)})
		}
	}
	s.plugin = s.start(t, source)
	wantSelectors(t, s.plugin, s.tenants[0].pid, s.tenants[0].want)
	if source == "auto" {
		s.awaitAPI(t)
	}
	return s
}

// awaitAPI waits until the plugin has found the Pods API, for the first time and after
// each outage.
func (s *soak) awaitAPI(t *testing.T) {
	t.Helper()
	pluginproc.Eventually(t, "the Pods API is used", func() bool {
		wantSelectors(t, s.plugin, s.tenants[0].pid, s.tenants[0].want)
		return s.lines("known from the kubelet's Pods API from now on") == s.outages+1
	})
}

// change is what happens at a tick.
func (s *soak) change(t *testing.T) {
	s.publish(t)
	s.came++
	s.come(t, fmt.Sprint("young-", s.came))
	silent := app(fmt.Sprint("pod-", soakResidents+s.came%(soakPods-soakResidents)))
	silent.Labels = map[string]string{"changed": fmt.Sprint(s.came)}
	s.update(t, silent)
	s.leave()
	if s.source == "auto" {
		s.outage(t)
	}
}

// come is a pod whose container has just started: its process calls, and the
// kubelet does not know the container yet.
func (s *soak) come(t *testing.T, name string) {
	t.Helper()
	p := &tenant{pod: app(name), want: appSelectors(name)}
	starting := app(name)
	starting.Containers[0].ID, starting.Containers[0].State = "", kubelettest.Waiting
	s.add(t, starting)
	p.pid = s.process(t, name)
	s.unpublished = p
	p.calls.Add(1)
	s.coming <- p
}

// publish has the kubelet know the container of the pod that came last.
func (s *soak) publish(t *testing.T) {
	t.Helper()
	p := s.unpublished
	if p == nil {
		return
	}
	s.unpublished = nil
	s.update(t, p.pod)
	s.young = append(s.young, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.published = time.Now()
	s.tenants = append(s.tenants, p)
}

// leave has the oldest pod go. The process of one that went before ends, and then
// the kubelet forgets it.
func (s *soak) leave() {
	if len(s.young) > soakLife {
		p := s.young[0]
		s.young = s.young[1:]
		s.gone = append(s.gone, p)
		s.mu.Lock()
		s.tenants = slices.DeleteFunc(s.tenants, func(other *tenant) bool { return other == p })
		s.mu.Unlock()
	}
	if len(s.gone) > 5 { // which is a second
		p := s.gone[0]
		s.gone = s.gone[1:]
		p.calls.Wait()
		s.End(p.pid)
		s.remove(p.pod)
	}
}

// outage has the Pods API go away and come back.
func (s *soak) outage(t *testing.T) {
	t.Helper()
	at := (time.Since(s.began) - soakBegin) % soakOutage
	switch away := at >= 0 && at < soakAway; {
	case away && !s.away:
		s.api.Stop()
		s.outages++
	case !away && s.away:
		if err := s.api.Resume(); err != nil {
			t.Fatal(err)
		}
	default:
		return
	}
	s.away = !s.away
}

// call calls for one process after the other, for those that come first.
func (s *soak) call(ctx context.Context, t *testing.T, r *rand.Rand) {
	for ctx.Err() == nil {
		select {
		case p := <-s.coming:
			s.ask(t, p)
		default:
			s.ask(t, s.anyone(r))
		}
		time.Sleep(soakPause)
	}
}

func (s *soak) anyone(r *rand.Rand) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.tenants[r.IntN(len(s.tenants))]
	p.calls.Add(1)
	return p
}

// ask makes one call and judges the answer.
func (s *soak) ask(t *testing.T, p *tenant) {
	defer p.calls.Done()
	asked := time.Now()
	got, err := s.plugin.Selectors(t.Context(), p.pid)
	answered := time.Now()
	if err != nil || !slices.Equal(got, p.want) {
		t.Errorf("%s: after %.1f s, pod %s: %v; selectors (-want +got):\n%s", s.source, asked.Sub(s.began).Seconds(), p.pod.Name, err, cmp.Diff(p.want, got))
		s.giveUp()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.published.After(asked) {
		s.waited = append(s.waited, answered.Sub(p.published))
		return
	}
	s.took = append(s.took, answered.Sub(asked))
}

// weigh takes a sample of the plugin's memory ten times a second.
func (s *soak) weigh(ctx context.Context, t *testing.T) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		memory, err := s.plugin.Memory()
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		s.memory = append(s.memory, sample{time.Since(s.began), memory.Resident})
		s.mu.Unlock()
	}
}

// judge is for the end.
func (s *soak) judge(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	cpu := (cpuOf(t, s.plugin.PID()) - s.cpu).Seconds() / time.Since(s.began).Seconds()
	var resident []int64 // of ten seconds each
	var shown []string
	for at := soakBegin; at < soakBegin+soakTime; at += 10 * time.Second {
		resident = append(resident, s.median(at, at+10*time.Second))
		shown = append(shown, mebibytes(resident[len(resident)-1]))
	}
	grown, peak := resident[len(resident)-1]-resident[0], s.plugin.PeakMemory()
	api := s.api.Stats()
	t.Logf("%s: resident MiB in each 10 s %s, at most %s; %d calls, p50 %s, p99 %s; %d new containers, from their IDs p50 %s, p99 %s; %.0f %% of a core; %d lists at the port; %d GetPod (%d refused at first), %d watches and lists",
		s.source, strings.Join(shown, " "), mebibytes(peak),
		len(s.took), milliseconds(quantile(s.took, 50)), milliseconds(quantile(s.took, 99)),
		len(s.waited), milliseconds(quantile(s.waited, 50)), milliseconds(quantile(s.waited, 99)), 100*cpu,
		s.Kubelet.Stats().Requests, api.GetPod, api.Refused, api.WatchPods)
	if peak >= soakMemory {
		t.Errorf("%s: %s MiB were resident, want less than %s", s.source, mebibytes(peak), mebibytes(soakMemory))
	}
	if grown > soakGrowth {
		t.Errorf("%s: the resident memory grew by %s MiB", s.source, mebibytes(grown))
	}
	if s.source != "auto" {
		return
	}
	if lost := s.lines("does not answer any more"); s.outages == 0 || lost != s.outages {
		t.Errorf("the Pods API was away %d times and lost %d times", s.outages, lost)
	}
}

// median is of the samples of that time. Only with mu.
func (s *soak) median(from, to time.Duration) int64 {
	var in []int64
	for _, m := range s.memory {
		if m.after >= from && m.after < to {
			in = append(in, m.resident)
		}
	}
	return quantile(in, 50)
}

// lines counts those of the log with these words.
func (s *soak) lines(words string) (n int) {
	for _, l := range s.plugin.Log() {
		if strings.Contains(l.Message, words) {
			n++
		}
	}
	return n
}

// quantile is the value that so many in a hundred don't exceed. It sorts.
func quantile[T int64 | time.Duration](of []T, percent int) T {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[(len(of)-1)*percent/100]
}
