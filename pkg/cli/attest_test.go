package cli

import (
	"errors"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/pod"
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
