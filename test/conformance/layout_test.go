package conformance_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// Every layout of kubelets and runtimes, seen by an agent outside.
func TestLayoutsOfCgroups(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	if err := node.Kubelet.AddPod(app("app").Build()); err != nil {
		t.Fatal(err)
	}
	uid, id := kubelettest.UID("app"), kubelettest.ID("app")
	escaped := strings.ReplaceAll(uid, "-", "_")
	for name, path := range map[string]string{
		"cgroupfs, burstable":             "/kubepods/burstable/pod" + uid + "/" + id,
		"cgroupfs, best effort":           "/kubepods/besteffort/pod" + uid + "/" + id,
		"cgroupfs, guaranteed":            "/kubepods/pod" + uid + "/" + id,
		"cgroupfs, CRI-O":                 "/kubepods/burstable/pod" + uid + "/crio-" + id,
		"systemd, containerd":             "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escaped + ".slice/cri-containerd-" + id + ".scope",
		"systemd, guaranteed, Docker":     "/kubepods.slice/kubepods-pod" + escaped + ".slice/docker-" + id + ".scope",
		"systemd, CRI-O":                  "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escaped + ".slice/crio-" + id + ".scope",
		"systemd, CRI-O with a child":     "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escaped + ".slice/crio-" + id + ".scope/container",
		"another pod below the container": "/kubepods/burstable/pod" + uid + "/" + id + "/kubepods/pod" + kubelettest.UID("other") + "/" + kubelettest.ID("other"),
	} {
		t.Run(name, func(t *testing.T) { wantSelectors(t, plugin, node.Process(path), appSelectors("app")) })
	}
}

// An agent in a pod needs no cgroup_root, on a node that is a container too.
func TestAnAgentInAPodOfTheNode(t *testing.T) {
	t.Parallel()
	for driver, layout := range map[string]struct {
		own, sibling, other string // cgroups of containers: the agent's, of its pod, of another
	}{
		"kind, cgroupfs": {
			own:     "/kubelet/kubepods/burstable/podAGENT/" + kubelettest.ID("agent"),
			sibling: "/kubelet/kubepods/burstable/podAGENT/" + kubelettest.ID("sibling"),
			other:   "/kubelet/kubepods/besteffort/podAPP/" + kubelettest.ID("app"),
		},
		"kind, systemd": {
			own:     "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podAGENT.slice/cri-containerd-" + kubelettest.ID("agent") + ".scope",
			sibling: "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podAGENT.slice/cri-containerd-" + kubelettest.ID("sibling") + ".scope",
			other:   "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podAPP.slice/cri-containerd-" + kubelettest.ID("app") + ".scope",
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, settings{"cgroup_root": nil})
			path := func(layout string) string {
				for name, uid := range map[string]string{"AGENT": kubelettest.UID("agent"), "APP": kubelettest.UID("app")} {
					if strings.Contains(driver, "systemd") {
						uid = strings.ReplaceAll(uid, "-", "_")
					}
					layout = strings.ReplaceAll(layout, name, uid)
				}
				return layout
			}
			agent := app("agent")
			sibling := app("sibling").Containers[0]
			sibling.Name = "sibling"
			agent.Containers = append(agent.Containers, sibling)
			for _, p := range []kubelettest.Pod{agent, app("app")} {
				if err := node.Kubelet.AddPod(p.Build()); err != nil {
					t.Fatal(err)
				}
			}
			node.Move(path(layout.own), plugin.PID())
			wantSelectors(t, plugin, node.Process(path(layout.other)), appSelectors("app"))
			wantSelectors(t, plugin, node.Process(path(layout.own)), nil)
			wantSelectors(t, plugin, node.Process("/system.slice/x.service"), nil)
			got, err := plugin.Selectors(t.Context(), node.Process(path(layout.sibling)))
			if err != nil || !contains(got, "container-name:sibling", "pod-uid:"+agent.UID) {
				t.Errorf("a container beside the agent's: %q, %v", got, err)
			}
		})
	}
}

// Some kubelets with CRI-O make no pod cgroups: the container is sought in every
// pod, and only there.
func TestWhereTheCgroupDoesNotNameThePod(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"cgroup_root": nil})
	node.Move("/crio-"+kubelettest.ID("agent")+".scope", plugin.PID())
	if err := node.Kubelet.AddPod(app("app").Build()); err != nil {
		t.Fatal(err)
	}
	pid := node.Process("/crio-" + kubelettest.ID("app") + ".scope")
	wantSelectors(t, plugin, pid, appSelectors("app"))

	stranger := node.Process("/crio-" + kubelettest.ID("stranger") + ".scope")
	wantFailure(t, plugin, stranger, codes.DeadlineExceeded, "no selectors found after max poll attempts", "is in no listed pod")

	thief := app("thief")
	thief.Containers[0].ID = kubelettest.ID("app")
	if err := node.Kubelet.AddPod(thief.Build()); err != nil {
		t.Fatal(err)
	}
	pluginproc.Eventually(t, "the stored answer is too old", func() bool {
		_, err := plugin.Selectors(t.Context(), pid)
		return err != nil
	})
	wantFailure(t, plugin, pid, codes.Internal, "two pods found with same container Id", thief.UID, kubelettest.UID("app"))
}

func TestVerboseLogsShowEveryLineOfACgroupFile(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"verbose_container_locator_logs": true})
	wantSelectors(t, plugin, node.Pod(app("app")), appSelectors("app"))
	line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Message == "cgroup line" && l.Text("pod_uid") != "" })
	if line.Level != "debug" || line.Text("container_id") != kubelettest.ID("app") {
		t.Errorf("the line is %+v", line)
	}
}
