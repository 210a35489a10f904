package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/terminal"
)

var update = flag.Bool("update", false, "write the golden files and manual pages anew")

// golden compares with a file of testdata, or of the directory given.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); go test ./pkg/cli -update writes it anew:\n%s", path, diff)
	}
}

var (
	digest = "sha256:" + strings.Repeat("0123456789abcdef", 4)
	idOf   = func(c string) string { return strings.Repeat(c, 64) }
	taken  = time.Date(2026, 11, 21, 12, 30, 0, 0, time.UTC)
)

func anAttestation() *attestation {
	return &attestation{
		header: kind("Attestation"), PID: 4242, Outcome: outcomeAttested,
		Pod:       &podName{"payments", "api-6c9f", "7d1f6f0e-3f2a-4b5c-8d6e-9f0a1b2c3d4e"},
		Container: &containerName{"api", "regular", idOf("a")},
		Selectors: []string{
			"k8s:container-image-digest:" + digest, "k8s:container-image:registry.example.org/payments/api:1.4.2", "k8s:container-name:api",
			"k8s:ns:payments", "k8s:pod-label:app:api", "k8s:pod-name:api-6c9f", "k8s:pod-owner:Job:\x1b[31mnightly\nk8s:ns:kube-system", "k8s:sa:api",
		},
	}
}

func explained() *attestation {
	a := anAttestation()
	entry, err := newEntry("k8s", &pod.Pod{Namespace: "payments", Name: "api-6c9f", ServiceAccount: "api", Labels: []pod.Label{{Key: "app", Value: "api"}}},
		entryOptions{trustDomain: "example.org"})
	if err != nil {
		panic(err)
	}
	path := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7d1f6f0e_3f2a_4b5c_8d6e_9f0a1b2c3d4e.slice/cri-containerd-" + idOf("a") + ".scope"
	a.Explanation = &explanation{
		Configuration: "/run/spire/config/agent.conf", Plugin: "k8s",
		Source: explainedSource{Name: config.KubeletPort, Address: "node-1:10250",
			NotPodsAPI: "there is no socket \"/var/lib/kubelet/pods-api/pods-api.sock\" (pods_api_socket)"},
		Steps: []explainedStep{
			{Name: "process", Took: 0.000_131, Found: "state S, started 2026-11-21T12:29:12Z"},
			{Name: "container", Took: 0.000_092, Found: "pod UID " + a.Pod.UID + ", container " + a.Container.ID, Read: []string{"/proc/4242/stat", "/proc/4242/cgroup", "/proc/self/cgroup"}},
			{Name: "admission", Took: 0.000_001, Found: "calls of this pod and in all are within their bounds"},
			{Name: "pod", Took: 0.512_3, Found: "pod payments/api-6c9f, regular container api"},
			{Name: "check", Took: 0.000_070, Found: "still the same process in the same cgroups"},
			{Name: "selectors", Took: 0.000_012, Found: "8 selectors"},
		},
		Cgroups: []cgroupLine{{Hierarchy: "v2", Path: path, AgentPath: "/system.slice/spire-agent.service", Meaning: "container", Why: "a container of a pod", PodUID: a.Pod.UID, ContainerID: a.Container.ID}},
		Attempts: []podAttempt{
			{Took: 0.008_1, Pods: 31, Age: 0.009, Missing: `pod "payments/api-6c9f" is listed but not its container ` + a.Container.ID},
			{Took: 0.504, Pods: 31, Age: 0.004},
		},
		Entry: entry,
	}
	return a
}

func refusedExplained() *attestation {
	a := explained()
	a.Outcome, a.Selectors, a.Pod, a.Container = outcomeFailed, []string{}, nil, nil
	a.Error = &failure{"container \"debugger\" of pod \"payments/api-6c9f\": ephemeral containers (kubectl debug) are not attested: set ephemeral_containers = true to allow it", "Set ephemeral_containers = true if everybody who may add ephemeral containers to a pod may have the pod's identity."}
	a.Explanation.Steps = append(a.Explanation.Steps[:3], explainedStep{Name: "pod", Took: 0.008_3, Found: "it ends here, see the error", Ended: true})
	a.Explanation.Attempts = a.Explanation.Attempts[:1]
	a.Explanation.Attempts[0].Missing = a.Error.Cause
	a.Explanation.Entry = nil
	return a
}

func explainedByThePodsAPI() *attestation {
	a := explained()
	a.Explanation.Source = explainedSource{Name: config.FromPodsAPI, Address: "/var/lib/kubelet/pods-api/pods-api.sock"}
	a.Explanation.Attempts = []podAttempt{
		{Took: 0.000_9, Pods: 1, Age: 0.000_9, Missing: a.Explanation.Attempts[0].Missing},
		{Took: 0.042, Pods: 1, Age: 0.000_8},
	}
	return a
}

func aContainerList() *containerList {
	first := listedContainer{Namespace: "payments", Pod: "api-6c9f", PodUID: "7d1f6f0e-3f2a-4b5c-8d6e-9f0a1b2c3d4e", Container: "api", Type: "regular", State: "running",
		ContainerID: idOf("a"), Image: "registry.example.org/payments/api:1.4.2", ImageID: "registry.example.org/payments/api@" + digest, Selectors: anAttestation().Selectors}
	debugger := first
	debugger.Container, debugger.Type, debugger.ContainerID, debugger.Image, debugger.ImageID = "debugger", "ephemeral", idOf("b"), "busybox", "docker.io/library/busybox@"+digest
	debugger.Selectors, debugger.NoSelectors = []string{}, refusedExplained().Error
	waiting := listedContainer{Namespace: "web", Pod: "frontend-0", PodUID: "0f9e8d7c-6b5a-4f3e-2d1c-0b9a8f7e6d5c", Container: "nginx", Type: "regular", State: "waiting",
		Image: "nginx\x1b]0;gotcha\a", Selectors: []string{}, NoSelectors: &failure{Cause: `container "nginx" of pod "web/frontend-0": the container has not started yet`}}
	return &containerList{header: kind("ContainerList"), Taken: taken, Containers: []listedContainer{first, debugger, waiting},
		Unreadable: []unreadablePod{{"deadbeef-0000-4000-8000-000000000000", "unable to decode pod info from kubelet response: limit exceeded: it is larger than 2 MiB"}}}
}

func aValidation() *validation {
	return &validation{header: kind("Validation"), File: "agent.conf", Plugin: "k8s",
		Problems: []finding{{File: "agent.conf", Line: 12, Column: 7, Key: "kubelet_secure_prot", Message: "kubelet_secure_prot: unknown: did you mean kubelet_secure_port?", BuiltInIgnores: true}},
		Warnings: []finding{{File: "agent.conf", Line: 14, Column: 7, Key: "skip_kubelet_verification", Message: "skip_kubelet_verification: the kubelet's certificate is not verified: whoever answers in its place decides which selectors workloads get"}}}
}

func aDiagnosis() *checkup {
	d := &checkup{header: kind("Diagnosis"), Checks: []doctor.Check{}}
	for _, c := range []doctor.Check{
		{Name: doctor.PodSource, Status: doctor.OK, Finding: "pods are known from the kubelet's Pods API: process 812, root's and in no pod, gave 31 pods at \"/var/lib/kubelet/pods-api/pods-api.sock\" (pods_api_socket)", Details: []string{"answered in: 2.1ms"}},
		{Name: doctor.HostPID, Status: doctor.OK, Finding: "the processes of the node can be seen: process 2 is the kernel's own: this is the machine's PID namespace", Details: []string{"process 1 is in cgroup \"/init.scope\""}},
		{Name: doctor.KubeletPermission, Status: doctor.Failed, Finding: "the kubelet forbids system:serviceaccount:spire:spire-agent to list its pods", Remedy: "grant the verb `get` on the resource `nodes/pods` (Kubernetes 1.33 and later; `nodes/proxy` before) with a ClusterRole and a ClusterRoleBinding", Details: []string{"the kubelet's answer: 403 Forbidden (user=system:serviceaccount:spire:spire-agent, verb=get, resource=nodes, subresource(s)=[pods proxy])"}},
		{Name: doctor.KubeletLeastPrivilege, Status: doctor.Skipped, Finding: "not looked at, because kubelet-permission failed"},
		{Name: doctor.TrustRoots, Status: doctor.Warning, Finding: "the public-good trust root: the public-good root of 2025-02-19 that is built in, made 640d ago: it lacks the keys and logs that came later, and \"https://tuf-repo-cdn.sigstore.dev\": \"2.root.json\": dial tcp: i/o timeout",
			Remedy:  "see that this node reaches the mirror, or give the trusted_root.json itself with trusted_root_path; a trust root that was good before stays in use",
			Details: []string{"trust_root[airgap]: the file /etc/podseal/trusted_root.json, written 12d ago"}},
		{Name: doctor.Registries, Status: doctor.OK, Finding: "registry[registry.example.org]: https://registry.example.org/v2/ at 192.0.2.7:443 speaks TLS 1.3 with a certificate that expires in 61d, wants authentication (bearer); credentials for registry.example.org/payments/api: accepted; it lists what refers to an image"},
		{Name: doctor.PluginChecksum, Status: doctor.Warning, Finding: "there is no plugin_checksum: whoever can write \"/opt/podseal/podseal\" becomes the attestor", Remedy: "write into the agent's configuration: plugin_checksum = \"" + idOf("0") + "\""},
	} {
		d.add(c)
	}
	return d
}

// documents are all that commands write, for people and for programs.
var documents = []struct {
	name     string
	document any
	write    func(out *terminal.Output) error
}{
	{"attest", anAttestation(), anAttestation().write},
	{"attest-explain", explained(), explained().write},
	{"attest-explain-pods-api", explainedByThePodsAPI(), explainedByThePodsAPI().write},
	{"attest-explain-refused", refusedExplained(), refusedExplained().write},
	{"list", aContainerList(), func(out *terminal.Output) error { return aContainerList().write(out, false) }},
	{"list-selectors", aContainerList(), func(out *terminal.Output) error { return aContainerList().write(out, true) }},
	{"watch", aContainerList().changes(nil), func(out *terminal.Output) error { return writeEvents(out, aContainerList().changes(nil), false) }},
	{"validate", aValidation(), func(out *terminal.Output) error { return aValidation().write(out) }},
	{"verify", aVerification(), aVerification().write},
	{"verify-explain", anExplainedVerification(), anExplainedVerification().write},
	{"doctor", aDiagnosis(), func(out *terminal.Output) error { return aDiagnosis().write(out, false) }},
	{"doctor-verbose", aDiagnosis(), func(out *terminal.Output) error { return aDiagnosis().write(out, true) }},
	{"version", aVersion(), func(out *terminal.Output) error { return aVersion().write(out) }},
}

func aVersion() versionDocument {
	return versionDocument{header: kind("Version"), Version: "v0.3.0", Revision: "0123456789abcdef0123456789abcdef01234567", Go: "go1.26.8", Platform: "linux/amd64"}
}

func TestOutputForPeople(t *testing.T) {
	t.Parallel()
	for _, d := range documents {
		for name, out := range map[string]terminal.Output{"narrow": {Width: 60}, "wide": {Width: 160}, "colour": {Width: 100, Color: true}, "pipe": {}} {
			t.Run(d.name+" "+name, func(t *testing.T) {
				t.Parallel()
				var b bytes.Buffer
				out.W = &b
				if err := d.write(&out); err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("testdata", d.name+"."+name+".golden"), b.Bytes())
				if strings.ContainsAny(strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "").Replace(b.String()), "\x1b\a") {
					t.Error("what a stranger wrote reaches the terminal as it is")
				}
			})
		}
	}
}

func TestOutputForPrograms(t *testing.T) {
	t.Parallel()
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := writeJSON(&b, d.document); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", d.name+".json.golden"), b.Bytes())
			if strings.Contains(b.String(), ": null") {
				t.Error("a list or an object is null")
			}
		})
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{0: "0 µs", 0.000_001_4: "1 µs", 0.000_999: "999 µs", 0.001_25: "1.2 ms", 0.012_9: "12 ms", 0.999: "999 ms", 1.26: "1.3 s", 59.9: "59.9 s", 61: "1m1s", 47 * 3600: "47h0m0s", 288 * 3600: "12 days"} {
		if got := duration(seconds); got != want {
			t.Errorf("duration(%s) = %q, want %q", strconv.FormatFloat(seconds, 'g', -1, 64), got, want)
		}
	}
}
