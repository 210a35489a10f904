package examples

import (
	"path"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/podseal/podseal/pkg/config"
)

// What docs/operations.md adds to the DaemonSet is what conf/pods-api.conf needs.
func TestTheManualMountsTheDirectoryOfThePodsAPI(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n## The kubelet's Pods API\n")
	_, text, _ := strings.Cut(section, "```yaml\n")
	text, _, ok := strings.Cut(text, "```\n")
	if !ok {
		t.Fatal("docs/operations.md has no YAML for the Pods API")
	}
	var added struct {
		VolumeMounts []corev1.VolumeMount `json:"volumeMounts"`
		Volumes      []corev1.Volume      `json:"volumes"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &added); err != nil {
		t.Fatal(err)
	}
	mount, volume := one(t, added.VolumeMounts), one(t, added.Volumes)
	if mount.Name != volume.Name || !mount.ReadOnly {
		t.Errorf("%+v of the volume %s", mount, volume.Name)
	}
	if at := volume.HostPath; at == nil || at.Path != mount.MountPath || *at.Type != corev1.HostPathDirectoryOrCreate {
		t.Errorf("%+v is mounted at %s", at, mount.MountPath)
	}
	i := installed(t)
	for _, there := range i.pod.Volumes {
		if there.Name == volume.Name {
			t.Errorf("the DaemonSet has a volume %s already", there.Name)
		}
	}

	block, err := config.Find(read(t, "../../conf/pods-api.conf"), config.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	env := i.environment()
	result := block.Parse("", func(name string) string { return env[name] })
	if len(result.Problems)+len(result.Warnings) > 0 {
		t.Fatalf("%v %v", result.Problems, result.Warnings)
	}
	if in := path.Dir(result.Config.PodsAPI.Socket); in != mount.MountPath {
		t.Errorf("the socket is in %s, which is not mounted", in)
	}
	if result.Config.Kubelet != (config.Kubelet{}) {
		t.Errorf("it needs the kubelet's port: %+v", result.Config.Kubelet)
	}
}
