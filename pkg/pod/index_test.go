package pod_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

func index(pods ...*pod.Pod) *pod.Builder {
	b := pod.NewBuilder(time.Now(), len(pods))
	for _, p := range pods {
		b.Add(p)
	}
	return b
}

func TestAPodIsFoundByItsUID(t *testing.T) {
	t.Parallel()
	p := &pod.Pod{UID: "u", Namespace: "n", Name: "p"}
	x := index(p).Index()
	if got, err := x.ByUID("u"); got != p || err != nil {
		t.Errorf("ByUID = %v, %v", got, err)
	}
	if got, err := x.ByUID("v"); got != nil || err != nil {
		t.Errorf("ByUID of an unknown pod = %v, %v, want nothing", got, err)
	}
	if x.Len() != 1 || x.AnyFault() != nil || x.Unattributed() != nil {
		t.Errorf("an index of one good pod has length %d, fault %v", x.Len(), x.AnyFault())
	}
}

// Whoever gets a record with another pod's UID into the list must not choose
// that pod's selectors, whichever comes first.
func TestAUIDThatIsListedTwiceIsNobodys(t *testing.T) {
	t.Parallel()
	b := index(&pod.Pod{UID: "u", Name: "victim"}, &pod.Pod{UID: "u", Name: "forged"}, &pod.Pod{UID: "u", Name: "third"}, &pod.Pod{UID: "v"})
	x := b.Index()
	if p, err := x.ByUID("u"); p != nil || !errors.Is(err, pod.ErrUndecodable) {
		t.Errorf("ByUID = %v, %v, want ErrUndecodable", p, err)
	}
	if p, err := x.ByUID("v"); p == nil || err != nil {
		t.Errorf("the neighbour = %v, %v, want it found", p, err)
	}
}

func TestAFaultConcernsItsPodAlone(t *testing.T) {
	t.Parallel()
	b := index(&pod.Pod{UID: "good"})
	b.Fault("bad", errors.New("too long"))
	b.Fault("bad", errors.New("a second reason"))
	b.Add(&pod.Pod{UID: "bad"})
	x := b.Index()
	if p, err := x.ByUID("bad"); p != nil || !errors.Is(err, pod.ErrUndecodable) || err.Error() != `unable to decode pod info from kubelet response: pod UID "bad": too long` {
		t.Errorf("ByUID = %v, %v", p, err)
	}
	if p, err := x.ByUID("good"); p == nil || err != nil {
		t.Errorf("the neighbour = %v, %v", p, err)
	}
	if x.Unattributed() != nil || x.AnyFault() == nil {
		t.Errorf("Unattributed = %v, AnyFault = %v", x.Unattributed(), x.AnyFault())
	}
	b = index()
	b.Fault("", errors.New("garbage"))
	if x := b.Index(); !errors.Is(x.Unattributed(), pod.ErrUndecodable) || !errors.Is(x.AnyFault(), pod.ErrUndecodable) {
		t.Errorf("Unattributed = %v, AnyFault = %v", x.Unattributed(), x.AnyFault())
	}
}

func TestFaultsAreSorted(t *testing.T) {
	t.Parallel()
	b := index(&pod.Pod{UID: "good"}, &pod.Pod{UID: "twice"}, &pod.Pod{UID: "twice"})
	b.Fault("b", errors.New("too long"))
	b.Fault("", errors.New("garbage"))
	b.Fault("a", errors.New("too deep"))
	x := b.Index()
	var got []string
	for uid, err := range x.Faults() {
		if !errors.Is(err, pod.ErrUndecodable) {
			t.Errorf("fault of %q = %v, want ErrUndecodable", uid, err)
		}
		got = append(got, uid)
	}
	if !slices.Equal(got, []string{"", "a", "b", "twice"}) {
		t.Errorf("faults = %q", got)
	}
	for range x.Faults() {
		break
	}
	for uid := range x.Faults() {
		if uid == "a" {
			break
		}
	}
}

func TestTheStateOfAContainer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		c     pod.Container
		want  pod.State
		ended bool
	}{
		{"only in the spec", pod.Container{}, pod.NotReported, false},
		{"to be started", pod.Container{HasStatus: true}, pod.Waiting, false},
		{"made but not started", pod.Container{HasStatus: true, ID: "1"}, pod.Waiting, false},
		{"running", pod.Container{HasStatus: true, ID: "1", Running: true}, pod.Running, false},
		{"running again", pod.Container{HasStatus: true, ID: "2", LastID: "1", Running: true}, pod.Running, false},
		{"ended", pod.Container{HasStatus: true, ID: "1", Terminated: true}, pod.Terminated, true},
		{"never started", pod.Container{HasStatus: true, Terminated: true}, pod.Terminated, true},
		{"crash loop", pod.Container{HasStatus: true, ID: "1", LastID: "1"}, pod.Waiting, true},
		{"made again but not started", pod.Container{HasStatus: true, ID: "2", LastID: "1"}, pod.Waiting, false},
	} {
		if got, ended := test.c.State(), test.c.Ended(); got != test.want || ended != test.ended {
			t.Errorf("%s: %s, ended %t, want %s, %t", test.name, got, ended, test.want, test.ended)
		}
	}
}

func TestOfTwoPodsOfOneNameTheLivingWins(t *testing.T) {
	t.Parallel()
	old := &pod.Pod{UID: "z", Namespace: "n", Name: "p", Terminal: true}
	living := &pod.Pod{UID: "a", Namespace: "n", Name: "p"}
	if got := index(old, living).Index().ByName("n", "p"); got != living {
		t.Errorf("ByName = %v", got)
	}
	if got := index(living, old).Index().ByName("n", "p"); got != living {
		t.Errorf("ByName = %v", got)
	}
	if got := index(living).Index().ByName("m", "p"); got != nil {
		t.Errorf("ByName in another namespace = %v", got)
	}
}

func TestContainersAreFoundByTheirCurrentRun(t *testing.T) {
	t.Parallel()
	p := &pod.Pod{UID: "u", Containers: []pod.Container{{Name: "waiting"}, {Name: "app", ID: "2", LastID: "1"}}}
	q := &pod.Pod{UID: "t", Containers: []pod.Container{{Name: "app", ID: "2"}}}
	x := index(p, q, &pod.Pod{UID: "s"}).Index()
	if got := x.ByContainerID("2"); !slices.Equal(got, []*pod.Pod{q, p}) {
		t.Errorf("ByContainerID = %v, want both, sorted", got)
	}
	if got := x.ByContainerID("1"); len(got) != 0 {
		t.Errorf("ByContainerID of an ended run = %v", got)
	}
	if got := x.ByContainerID(""); len(got) != 0 {
		t.Errorf("ByContainerID of nothing = %v", got)
	}
	if c, ok := p.ContainerByLastID("1"); !ok || c.Name != "app" {
		t.Errorf("ContainerByLastID = %v, %v", c, ok)
	}
	if _, ok := p.ContainerByLastID(""); ok {
		t.Error("ContainerByLastID of nothing found something")
	}
}

func TestAllIsSorted(t *testing.T) {
	t.Parallel()
	x := index(&pod.Pod{UID: "3", Namespace: "b"}, &pod.Pod{UID: "2", Namespace: "a", Name: "y"}, &pod.Pod{UID: "1", Namespace: "a", Name: "x"}, &pod.Pod{UID: "0", Namespace: "a", Name: "y"}).Index()
	var got string
	for p := range x.All() {
		got += p.UID
	}
	if got != "1023" {
		t.Errorf("order = %s, want 1023", got)
	}
}

func TestMemoRendersOnce(t *testing.T) {
	t.Parallel()
	p := &pod.Pod{}
	calls := 0
	render := func(*pod.Pod) any { calls++; return calls }
	if a, b := p.Memo(render), p.Memo(render); a != 1 || b != 1 {
		t.Errorf("Memo = %v, %v, want one value", a, b)
	}
}
