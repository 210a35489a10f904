package container_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

// FuzzResolve: whatever the file says there is no panic, an answer has both
// parts in the form that they have, and nothing that a user could have made
// gives one.
func FuzzResolve(f *testing.F) {
	f.Add(v2("/kubepods/burstable/pod"+uidU+"/"+idB), v2(onHost))
	f.Add(v2("/../../pod"+uidU+"/"+idB), v2("/"))
	f.Add(v2("/../crio-"+idB+".scope/container"), v2("/"))
	f.Add(v2("/kubepods.slice/kubepods-pod"+escU+".slice/docker-"+idB+".scope/init.scope"), v2(inPodSD))
	f.Add(v2("/system.slice/containerd.service/kubepods-besteffort-pod"+escU+".slice:cri-containerd:"+idB), v2(inPodFS))
	f.Add(hierarchies("cpu,cpuacct", "/kubepods/pod"+uidU+"/"+idB, "", "/"), hierarchies("cpu,cpuacct", onHost, "", "/"))
	f.Add(v2("/kubepods/pod"+uidU+"/"+idB+" (deleted)"), v2(onHost))
	f.Fuzz(func(t *testing.T, process, agent string) {
		ref, err := container.Resolve(process, agent, "", "", "")
		switch {
		case err != nil && !ref.IsZero():
			t.Errorf("an error with an answer: %v, %v", ref, err)
		case err != nil, ref.IsZero():
			return
		}
		if len(ref.ContainerID()) != 64 || strings.Trim(ref.ContainerID(), "0123456789abcdef") != "" {
			t.Errorf("container ID %q is not 64 hexadecimal digits", ref.ContainerID())
		}
		if !strings.Contains(process, ref.ContainerID()) {
			t.Errorf("container ID %q is not in the file", ref.ContainerID())
		}
		// What a user makes in a subtree that he was given, below any name that
		// the agent does not share, is never a pod.
		if strings.Count(process, "\n") != 1 || !strings.HasPrefix(process, "0::/") || strings.HasPrefix(process, "0::/..") {
			return
		}
		delegated := v2("/user.slice/user-1000.slice/user@1000.service" + strings.TrimSuffix(strings.TrimPrefix(process, "0::"), "\n"))
		if forged, err := container.Resolve(delegated, v2(onHost), "", "", ""); err == nil && !forged.IsZero() {
			t.Errorf("a delegated subtree became %v: %q", forged, delegated)
		}
	})
}

// FuzzParseStat: a process chooses its name, and whatever it is the fields behind
// it are read as what they are.
func FuzzParseStat(f *testing.F) {
	for _, name := range []string{"sh", "evil) Z 1 (", "a\nb", "(((", ")))", ""} {
		f.Add(name, "garbage "+name)
	}
	f.Fuzz(func(t *testing.T, name, garbage string) {
		state, start, err := container.ParseStat("42 (" + name + ") S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 100 0\n")
		if state != "S" || start != 4711 || err != nil {
			t.Errorf("name %q: state %q, start %d, %v", name, state, start, err)
		}
		_, _, _ = container.ParseStat(garbage)
	})
}
