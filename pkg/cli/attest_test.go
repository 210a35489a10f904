package cli

import (
	"errors"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/verify"
)

// What is said while a process is looked for is true of each source: the port
// lists all pods and is asked a number of times, the Pods API is asked for one pod
// and tells of each of its changes.
func TestWhatIsSaidOfALook(t *testing.T) {
	t.Parallel()
	index := func(uids ...string) *pod.Index {
		b := pod.NewBuilder(time.Now(), len(uids))
		for _, uid := range uids {
			b.Add(&pod.Pod{UID: uid})
		}
		return b.Index()
	}
	for _, c := range []struct {
		source config.PodSource
		uid    string
		index  *pod.Index
		err    error
		want   string
	}{
		{config.KubeletPort, "u", index("u", "v"), nil, "look 2 of 3: the kubelet lists 2 pods, the container is not among them yet"},
		{config.KubeletPort, "u", nil, errors.New("boom"), "look 2 of 3: boom"},
		{config.FromPodsAPI, "u", index(), nil, "look 2: the kubelet does not know the pod yet"},
		{config.FromPodsAPI, "u", index("u"), nil, "look 2: the kubelet knows the pod, but not the container yet"},
		{config.FromPodsAPI, "", index("u", "v"), nil, "look 2: the kubelet lists 2 pods, the container is not among them yet"},
		{config.FromPodsAPI, "u", nil, errors.New("boom"), "look 2: boom"},
	} {
		r := &reported{looks: 2, attempts: 3}
		if got := r.look(c.source) + ": " + seen(c.source, c.uid, c.index, c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// A policy that withholds its selectors, or is tried, does not hold, and that is not
// hidden by the attestation's going well.
func TestWhatIsSaidOfPoliciesThatFailNobody(t *testing.T) {
	t.Parallel()
	verdict := func(name string) verify.Verdict { return verify.Verdict{Dialect: verify.DialectPolicy, Policy: name} }
	stale := verdict("c")
	stale.Stale = time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)
	failure := verify.Failure{Dialect: verify.DialectPolicy, Policy: "b", Mode: policy.Withhold}
	for want, r := range map[string]*verify.Result{
		"no image policy applies":                                 {NoPolicy: true},
		"nothing is against it of image_policy a":                 {Verdicts: []verify.Verdict{verdict("a")}},
		"selectors are missing of image_policy b (mode withhold)": {Verdicts: []verify.Verdict{verdict("b")}, Withheld: []verify.Failure{failure}},
		"nothing is against it of image_policy a, image_policy c (by evidence of 2026-11-21T06:00:00Z); selectors are missing of image_policy b (mode withhold)": {
			Verdicts: []verify.Verdict{verdict("a"), verdict("b"), stale}, Withheld: []verify.Failure{failure}},
	} {
		if got := imagesFound(&attest.Report{Images: r}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
