package examples

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/config"
)

// agentConf is what the agent reads of its configuration besides podseal's block.
type agentConf struct {
	Agent struct {
		DataDir         string `hcl:"data_dir"`
		SocketPath      string `hcl:"socket_path"`
		TrustBundlePath string `hcl:"trust_bundle_path"`
	} `hcl:"agent"`
	HealthChecks struct {
		Enabled bool   `hcl:"listener_enabled"`
		Address string `hcl:"bind_address"`
		Port    string `hcl:"bind_port"`
	} `hcl:"health_checks"`
}

// install is the DaemonSet with the configuration that it mounts.
type install struct {
	daemonSet *appsv1.DaemonSet
	pod       corev1.PodSpec
	container corev1.Container
	text      string
	agent     agentConf
	block     *config.Block
}

func installed(t *testing.T) install {
	t.Helper()
	o := load(t, inOrder...)
	i := install{daemonSet: one(t, o.daemonSets), text: one(t, o.configMaps).Data["agent.conf"]}
	i.pod = i.daemonSet.Spec.Template.Spec
	i.container = one(t, i.pod.Containers)
	if err := hcl.Decode(&i.agent, i.text); err != nil {
		t.Fatal(err)
	}
	var err error
	if i.block, err = config.Find(i.text, config.FindOptions{}); err != nil {
		t.Fatal(err)
	}
	return i
}

// environment are the container's variables, each with the field that it is from.
func (i install) environment() map[string]string {
	env := map[string]string{}
	for _, v := range i.container.Env {
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			env[v.Name] = v.ValueFrom.FieldRef.FieldPath
		}
	}
	return env
}

// mounted finds what is at a path of the container: the volume, and the path in it.
func (i install) mounted(t *testing.T, file string) (mount corev1.VolumeMount, volume corev1.Volume, rest string) {
	t.Helper()
	for _, m := range i.container.VolumeMounts {
		if (file == m.MountPath || strings.HasPrefix(file, m.MountPath+"/")) && len(m.MountPath) > len(mount.MountPath) {
			mount = m
		}
	}
	n := slices.IndexFunc(i.pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if n < 0 {
		t.Fatalf("nothing is mounted at %s", file)
	}
	return mount, i.pod.Volumes[n], strings.TrimPrefix(strings.TrimPrefix(file, mount.MountPath), "/")
}

func TestTheConfigMapIsTheConfigurationForTokens(t *testing.T) {
	t.Parallel()
	i := installed(t)
	if want := read(t, "../../conf/token.conf"); i.text != want {
		t.Error("examples/kubernetes/agent-configmap.yaml and conf/token.conf differ")
	}
	if _, _, data := i.mounted(t, i.container.Args[1]); i.container.Args[0] != "-config" || data != "agent.conf" {
		t.Errorf("the agent starts with %q", i.container.Args)
	}
}

func TestPodsealTakesTheConfigurationWithoutAWarning(t *testing.T) {
	t.Parallel()
	i := installed(t)
	env := i.environment()
	result := i.block.Parse("", func(name string) string { return env[name] })
	if len(result.Problems)+len(result.Warnings)+len(i.block.Warnings) > 0 {
		t.Fatalf("%v %v %v", result.Problems, result.Warnings, i.block.Warnings)
	}
	c := result.Config
	if c.Kubelet.NodeName != "spec.nodeName" || c.OwnPodUID != "metadata.uid" {
		t.Errorf("the variables are the pod's %q and %q", c.Kubelet.NodeName, c.OwnPodUID)
	}
	// What the service account's own volume has at this place, by the name of its files.
	if own := i.pod.AutomountServiceAccountToken; own == nil || !*own {
		t.Error("the pod has no token for the kubelet")
	}
	for _, file := range []string{c.Kubelet.TokenPath, c.Kubelet.CAPath} {
		if in, name := path.Split(file); in != "/var/run/secrets/kubernetes.io/serviceaccount/" || name != "token" && name != "ca.crt" {
			t.Errorf("%s is not in the pod", file)
		}
	}
}

func TestEveryPathOfTheConfigurationIsInThePod(t *testing.T) {
	t.Parallel()
	i := installed(t)

	mount, volume, file := i.mounted(t, i.block.Cmd.Text)
	if volume.Image == nil || file != "podseal" || !mount.ReadOnly {
		t.Fatalf("plugin_cmd: %s of the volume %s", file, volume.Name)
	}
	if !strings.HasPrefix(volume.Image.Reference, "ghcr.io/podseal/podseal:") || strings.HasSuffix(volume.Image.Reference, ":latest") {
		t.Errorf("the image %s", volume.Image.Reference)
	}
	mount, volume, file = i.mounted(t, i.agent.Agent.SocketPath)
	if volume.HostPath == nil || volume.HostPath.Path != mount.MountPath || *volume.HostPath.Type != corev1.HostPathDirectoryOrCreate ||
		file != "agent.sock" || mount.ReadOnly {
		t.Errorf("socket_path: %s of the volume %s", file, volume.Name)
	}
	mount, volume, _ = i.mounted(t, i.agent.Agent.DataDir)
	if volume.EmptyDir == nil || mount.ReadOnly {
		t.Errorf("data_dir: the volume %s", volume.Name)
	}
	mount, volume, _ = i.mounted(t, "/tmp")
	if volume.EmptyDir == nil || volume.EmptyDir.Medium != corev1.StorageMediumMemory || mount.ReadOnly {
		t.Errorf("/tmp: the volume %s", volume.Name)
	}
	// The SPIRE server makes this ConfigMap; it is the only thing that is not in the examples.
	_, volume, file = i.mounted(t, i.agent.Agent.TrustBundlePath)
	if volume.ConfigMap == nil || volume.ConfigMap.Name != "spire-bundle" || file != "bundle.crt" {
		t.Errorf("trust_bundle_path: %s of the volume %s", file, volume.Name)
	}
	// The default of the agent's plugin k8s_psat.
	_, volume, file = i.mounted(t, "/var/run/secrets/tokens/spire-agent")
	if volume.Projected == nil {
		t.Fatalf("no token for k8s_psat in the volume %s", volume.Name)
	}
	if token := one(t, volume.Projected.Sources).ServiceAccountToken; token.Path != file || token.Audience != "spire-server" {
		t.Errorf("the token for k8s_psat: %+v", token)
	}
}

func TestTheDaemonSetRefersToWhatIsThere(t *testing.T) {
	t.Parallel()
	i := installed(t)
	o := load(t, inOrder...)
	if name := one(t, o.serviceAccounts).Name; i.pod.ServiceAccountName != name {
		t.Errorf("the service account %q, not %q", i.pod.ServiceAccountName, name)
	}
	for _, v := range i.pod.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name != one(t, o.configMaps).Name && v.ConfigMap.Name != "spire-bundle" {
			t.Errorf("the ConfigMap %q", v.ConfigMap.Name)
		}
		if !slices.ContainsFunc(i.container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name }) {
			t.Errorf("the volume %q is not mounted", v.Name)
		}
	}
	for key, value := range i.daemonSet.Spec.Selector.MatchLabels {
		if i.daemonSet.Spec.Template.Labels[key] != value {
			t.Errorf("the pods are not %s=%s", key, value)
		}
	}
}

func TestTheAgentHasNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	i := installed(t)
	if !i.pod.HostPID || !i.pod.HostNetwork || i.pod.HostIPC || i.pod.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
		t.Error("hostPID and hostNetwork with the cluster's resolver, and nothing else of the node")
	}
	s := i.container.SecurityContext
	if s.Privileged != nil || len(s.Capabilities.Add) > 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("capabilities: %+v", s)
	}
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Errorf("%+v", s)
	}
	if p := i.pod.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("seccomp: %+v", p)
	}
	writable := map[string]bool{"sockets": true, "data": true, "tmp": true}
	for _, m := range i.container.VolumeMounts {
		if m.ReadOnly == writable[m.Name] {
			t.Errorf("%s is mounted with readOnly: %v", m.Name, m.ReadOnly)
		}
	}
	for _, v := range i.pod.Volumes {
		if v.HostPath != nil && v.Name != "sockets" {
			t.Errorf("%s shows the agent %s of the node", v.Name, v.HostPath.Path)
		}
	}
}

func TestTheProbesAskWhereTheAgentListens(t *testing.T) {
	t.Parallel()
	i := installed(t)
	health := i.agent.HealthChecks
	if !health.Enabled || health.Address != "127.0.0.1" {
		t.Errorf("%+v", health)
	}
	for at, probe := range map[string]*corev1.Probe{"/live": i.container.LivenessProbe, "/ready": i.container.ReadinessProbe} {
		if get := probe.HTTPGet; get.Path != at || get.Host != health.Address || get.Port.String() != health.Port {
			t.Errorf("%s: %+v", at, get)
		}
	}
}
