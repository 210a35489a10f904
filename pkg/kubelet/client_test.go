package kubelet_test

import (
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

func TestPodsOverHTTPSWithAToken(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	if err := n.SetPods(webPods(20)...); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	x, err := n.client(t).Next(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Len() != 20 || x.Taken.Before(before) || x.Taken.After(time.Now()) {
		t.Errorf("%d pods taken at %v", x.Len(), x.Taken)
	}
	p, err := x.ByUID(kubelettest.UID("web-7"))
	if err != nil || p == nil || p.Name != "web-7" {
		t.Errorf("ByUID = %v, %v", p, err)
	}
}
