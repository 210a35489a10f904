package doctor_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// nobodyInPod is for a stand-in that is this process.
func nobodyInPod(int32) (bool, error) { return false, nil }

// podsAPI is the node's Pods API with the same pods.
func (n *node) podsAPI(t *testing.T, source doctor.Source, inPod podsapi.InPod) *podsapitest.Server {
	t.Helper()
	socket := filepath.Join(shortDir(t), "pods-api.sock")
	server, err := podsapitest.Start(podsapitest.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetPods(webPod("web"), webPod("api"))
	n.usePodsAPI(t, source, socket, inPod)
	return server
}

func (n *node) usePodsAPI(t *testing.T, source doctor.Source, socket string, inPod podsapi.InPod) {
	t.Helper()
	client, err := podsapi.New(podsapi.Config{Socket: socket, PeerUID: uint32(os.Getuid()), TTL: time.Millisecond, Interval: time.Millisecond},
		podsapi.NewLimiter(), inPod, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	n.options.Settings.PodSource, n.options.PodsAPI = source, client
}

var portChecks = []string{
	doctor.KubeletFiles, doctor.KubeletName, doctor.KubeletConnection, doctor.KubeletCertificate, doctor.KubeletServerName,
	doctor.KubeletAuthentication, doctor.KubeletPermission, doctor.KubeletLeastPrivilege,
}

func TestThePodsAPIAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.podsAPI(t, doctor.FromPodsAPI, nobodyInPod)
	all := n.run(t)
	all.check(t, want{doctor.PodSource, doctor.OK, []string{fmt.Sprintf("process %d, ", os.Getpid()), "gave 2 pods at", "pods-api.sock", "(pods_api_socket)"}, nil})
	for _, name := range portChecks {
		all.check(t, want{name, doctor.Skipped, []string{`pod_source is "pods_api"`}, nil})
	}
	all.check(t, want{doctor.KubeletPods, doctor.OK, []string{"2 pods with 2 running containers"}, nil})
	all.check(t, want{doctor.KubeletRoot, doctor.OK, []string{"the kubelet's root is /kubepods.slice"}, nil})
	all.check(t, want{doctor.Containers, doctor.OK, []string{"every one of 2 running containers"}, nil})
	if bad := slices.Concat(all.with(doctor.Failed), all.with(doctor.Warning)); len(bad) > 0 {
		t.Errorf("not ok: %v", bad)
	}
	if stats := n.Stats(); stats.Requests+stats.Other != 0 {
		t.Errorf("the kubelet's port was asked: %+v", stats)
	}
}

func TestAPodsAPIThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, n *node)
		// cause and remedy are said of the Pods API alone; with auto there is a
		// port to fall back to.
		cause, remedy string
		auto          doctor.Status
	}{
		"no socket": {change: func(t *testing.T, n *node) {
			n.usePodsAPI(t, n.options.Settings.PodSource, filepath.Join(shortDir(t), "pods-api.sock"), nobodyInPod)
		}, cause: "there is no socket", remedy: "mount the socket's directory", auto: doctor.OK},
		"nobody listens": {change: func(t *testing.T, n *node) { n.podsAPI(t, n.options.Settings.PodSource, nobodyInPod).Stop() },
			cause: "nothing listens", remedy: "feature gate PodsAPI", auto: doctor.OK},
		"a kubelet that starts": {change: func(t *testing.T, n *node) {
			n.podsAPI(t, n.options.Settings.PodSource, nobodyInPod).SetFaults(podsapitest.Faults{Starting: true})
		}, cause: "still starting", remedy: "wait", auto: doctor.OK},
		// That is somebody who wants to decide about selectors.
		"somebody in a pod": {change: func(t *testing.T, n *node) {
			n.podsAPI(t, n.options.Settings.PodSource, func(int32) (bool, error) { return true, nil })
		}, cause: "is not taken for the kubelet", remedy: "look which process that is", auto: doctor.Warning},
		"nobody knows who": {change: func(t *testing.T, n *node) {
			n.podsAPI(t, n.options.Settings.PodSource, func(int32) (bool, error) { return false, errors.New("it has ended") })
		}, cause: "it has ended", remedy: "look which process that is", auto: doctor.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			n.options.Settings.PodSource = doctor.FromPodsAPI
			c.change(t, n)
			all := n.run(t)
			all.check(t, want{doctor.PodSource, doctor.Failed, []string{c.cause}, []string{c.remedy}})
			for _, skipped := range []string{doctor.KubeletPods, doctor.Containers} {
				all.check(t, want{skipped, doctor.Skipped, nil, nil})
			}
			if failed := all.with(doctor.Failed); len(failed) != 1 {
				t.Errorf("failed: %v", failed)
			}

			n = newNode(t, kubelettest.Options{})
			n.options.Settings.PodSource = doctor.Auto
			c.change(t, n)
			all = n.run(t)
			w := want{doctor.PodSource, c.auto, []string{`pod_source is "auto"`, "from the kubelet's port", c.cause}, nil}
			if c.auto == doctor.OK {
				w.finding = append(w.finding, "to use it: ", c.remedy)
			} else {
				w.remedy = []string{c.remedy}
			}
			all.check(t, w)
			all.check(t, want{doctor.KubeletPermission, doctor.OK, nil, nil})
			all.check(t, want{doctor.Containers, doctor.OK, []string{"every one of 2 running containers"}, nil})
			if failed := all.with(doctor.Failed); len(failed) != 0 {
				t.Errorf("failed: %v", failed)
			}
		})
	}
}

func TestThePortIsTheFallback(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.podsAPI(t, doctor.Auto, nobodyInPod).AddPod(webPod("lonely")) // which the port does not list
	all := n.run(t)
	all.check(t, want{doctor.PodSource, doctor.OK, []string{"gave 3 pods", `pod_source is "auto"`, "the kubelet's port is what is used when it does not answer"}, nil})
	for _, name := range portChecks {
		all.check(t, want{name, doctor.OK, nil, nil})
	}
	all.check(t, want{doctor.KubeletPods, doctor.OK, []string{"3 pods with 3 running containers"}, nil})
	all.check(t, want{doctor.Containers, doctor.Warning, []string{"2 of 3 running containers"}, []string{"gVisor"}})
}

// While the Pods API answers nobody goes without an identity because of the port.
func TestAFallbackThatWouldFailIsAWarning(t *testing.T) {
	t.Parallel()
	const said = "when the Pods API does not answer: "
	for name, c := range map[string]struct {
		change func(t *testing.T, n *node)
		want   want
	}{
		"nobody there": {change: func(_ *testing.T, n *node) { n.Stop() },
			want: want{doctor.KubeletConnection, doctor.Warning, []string{said, "nothing listens"}, []string{"start the kubelet"}}},
		"no permission": {change: func(_ *testing.T, n *node) { n.SetPermission(kubelettest.ServiceAccount, kubelettest.Nothing) },
			want: want{doctor.KubeletPermission, doctor.Warning, []string{said, "does not let him list its pods"}, []string{"nodes/pods"}}},
		"not a kubelet": {change: func(_ *testing.T, n *node) { n.Inject(-1, kubelettest.Garbage()) },
			want: want{doctor.KubeletPermission, doctor.Warning, []string{said, "gives no list of pods"}, []string{"kubelet_secure_port"}}},
		// With this the plugin is not even configured.
		"no token file": {change: func(t *testing.T, n *node) { must(t, os.Remove(n.files.Token)) },
			want: want{doctor.KubeletFiles, doctor.Failed, []string{"unable to load token"}, []string{"automountServiceAccountToken"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			n.podsAPI(t, doctor.Auto, nobodyInPod)
			c.change(t, n)
			all := n.run(t)
			all.check(t, c.want)
			all.check(t, want{doctor.KubeletPods, doctor.OK, []string{"2 pods"}, nil})
			all.check(t, want{doctor.Containers, doctor.OK, nil, nil})
			if bad := slices.Concat(all.with(doctor.Failed), all.with(doctor.Warning)); !slices.Equal(bad, []string{c.want.name}) {
				t.Errorf("not ok: %v", bad)
			}
		})
	}
}

func TestAPodSourceThatCantBeLookedAt(t *testing.T) {
	t.Parallel()
	for source, pods := range map[doctor.Source]doctor.Status{doctor.FromPodsAPI: doctor.Skipped, doctor.Auto: doctor.OK} {
		n := newNode(t, kubelettest.Options{})
		n.options.Settings.PodSource, n.options.LocatorErr = source, errors.New("boom")
		all := n.run(t)
		all.check(t, want{doctor.PodSource, doctor.Skipped, []string{"because host-pid failed"}, nil})
		all.check(t, want{doctor.KubeletPods, pods, nil, nil})

		n = newNode(t, kubelettest.Options{})
		n.options.Settings.PodSource, n.options.PodsAPIErr = source, errors.New("the socket's path must be absolute")
		all = n.run(t)
		all.check(t, want{doctor.PodSource, doctor.Failed, []string{"the socket's path must be absolute"}, []string{"setting"}})
		all.check(t, want{doctor.KubeletPods, pods, nil, nil})
	}
	n := newNode(t, kubelettest.Options{})
	n.options.Settings.PodSource = doctor.FromPodsAPI
	n.options.Settings.Problems = []doctor.Notice{{Message: "wrong"}}
	n.run(t).check(t, want{doctor.PodSource, doctor.Skipped, []string{"because configuration failed"}, nil})
}
