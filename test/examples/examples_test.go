// Package examples parses and validates everything that examples/ has: what is
// shown there is installed as it stands, so it has to be right.
package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
)

const dir = "../../examples"

// objects are all documents of some YAML files, by their Go types.
type objects struct {
	namespaces       []*corev1.Namespace
	serviceAccounts  []*corev1.ServiceAccount
	configMaps       []*corev1.ConfigMap
	roles            []*rbacv1.ClusterRole
	bindings         []*rbacv1.ClusterRoleBinding
	daemonSets       []*appsv1.DaemonSet
	clusterSPIFFEIDs []*clusterSPIFFEID
	// namespaced and global are what they are called.
	namespaced, global []metav1.ObjectMeta
}

// decoder is what the API server decodes with when kubectl asks it to be strict: a
// field that the kind does not have is an error, and so is one given twice.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	scheme.AddKnownTypeWithName(schema.GroupVersionKind{Group: "spire.spiffe.io", Version: "v1alpha1", Kind: "ClusterSPIFFEID"}, new(clusterSPIFFEID))
	return serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
}

func (o *objects) add(t *testing.T, object runtime.Object) {
	t.Helper()
	switch x := object.(type) {
	case *corev1.Namespace:
		o.namespaces, o.global = append(o.namespaces, x), append(o.global, x.ObjectMeta)
	case *corev1.ServiceAccount:
		o.serviceAccounts, o.namespaced = append(o.serviceAccounts, x), append(o.namespaced, x.ObjectMeta)
	case *corev1.ConfigMap:
		o.configMaps, o.namespaced = append(o.configMaps, x), append(o.namespaced, x.ObjectMeta)
	case *rbacv1.ClusterRole:
		o.roles, o.global = append(o.roles, x), append(o.global, x.ObjectMeta)
	case *rbacv1.ClusterRoleBinding:
		o.bindings, o.global = append(o.bindings, x), append(o.global, x.ObjectMeta)
	case *appsv1.DaemonSet:
		o.daemonSets, o.namespaced = append(o.daemonSets, x), append(o.namespaced, x.ObjectMeta)
	case *clusterSPIFFEID:
		o.clusterSPIFFEIDs, o.global = append(o.clusterSPIFFEIDs, x), append(o.global, x.ObjectMeta)
	default:
		t.Fatalf("no test knows what to ask of a %T", object)
	}
}

var separator = regexp.MustCompile(`(?m)^---$`)

// load reads the YAML files of examples/ that are named.
func load(t *testing.T, files ...string) *objects {
	t.Helper()
	o := new(objects)
	for _, file := range files {
		for _, document := range separator.Split(read(t, dir, file), -1) {
			object, _, err := decoder(t).Decode([]byte(document), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			o.add(t, object)
		}
	}
	return o
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// one is the only one of its kind.
func one[T any](t *testing.T, all []T) T {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d of %T", len(all), *new(T))
	}
	return all[0]
}

// inOrder are the files of examples/kubernetes as they are to be applied.
var inOrder = []string{
	"kubernetes/namespace.yaml", "kubernetes/service-account.yaml", "kubernetes/rbac.yaml",
	"kubernetes/agent-configmap.yaml", "kubernetes/agent-daemonset.yaml",
}

const before133 = "kubernetes/rbac-before-1.33.yaml"

func TestEveryFileOfTheExamplesHasATestAndAnExplanation(t *testing.T) {
	t.Parallel()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tested := append([]string{"README.md", "clusterspiffeid.yaml", "entries.json", before133}, inOrder...)
	sorted := cmp.Transformer("set", func(all []string) map[string]bool {
		set := map[string]bool{}
		for _, one := range all {
			set[one] = true
		}
		return set
	})
	if diff := cmp.Diff(tested, found, sorted); diff != "" {
		t.Errorf("-tested +found:\n%s", diff)
	}
	readme := read(t, dir, "README.md")
	for _, file := range found {
		if file != "README.md" && !strings.Contains(readme, "("+file+")") {
			t.Errorf("README.md has no link to %s", file)
		}
	}
}

func TestEveryManifestIsStrictlyValid(t *testing.T) {
	t.Parallel()
	o := load(t, append([]string{"clusterspiffeid.yaml", before133}, inOrder...)...)
	namespace := one(t, o.namespaces)
	for _, object := range o.namespaced {
		if object.Name == "" || object.Namespace != namespace.Name {
			t.Errorf("%q is in %q, not in %q", object.Name, object.Namespace, namespace.Name)
		}
	}
	for _, object := range o.global {
		if object.Name == "" || object.Namespace != "" {
			t.Errorf("%q in %q", object.Name, object.Namespace)
		}
	}
	// Without it a cluster that enforces pod security lets no agent start.
	if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "privileged" {
		t.Errorf("the namespace's level of pod security is %q", level)
	}
}

func TestTheManualAppliesEveryManifestInOrder(t *testing.T) {
	t.Parallel()
	manual := read(t, "../../docs/operations.md")
	from := 0
	for _, file := range inOrder {
		at := strings.Index(manual[from:], filepath.Base(file))
		if at < 0 {
			t.Fatalf("docs/operations.md does not apply %s after those before it", file)
		}
		from += at
	}
}

// TestTheRoleGrantsOneVerbOnOneResource: what podseal does not need is what a
// stolen token must not be good for.
func TestTheRoleGrantsOneVerbOnOneResource(t *testing.T) {
	t.Parallel()
	for file, resource := range map[string]string{"kubernetes/rbac.yaml": "nodes/pods", before133: "nodes/proxy"} {
		o := load(t, file)
		role, binding := one(t, o.roles), one(t, o.bindings)
		wantRole := &rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: "spire-agent"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"get"}}},
		}
		if diff := cmp.Diff(wantRole, role); diff != "" {
			t.Errorf("%s: -want +got:\n%s", file, diff)
		}
		account := one(t, load(t, "kubernetes/service-account.yaml").serviceAccounts)
		wantBinding := &rbacv1.ClusterRoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: "spire-agent"},
			RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}},
		}
		if diff := cmp.Diff(wantBinding, binding); diff != "" {
			t.Errorf("%s: -want +got:\n%s", file, diff)
		}
	}
	if !strings.Contains(read(t, dir, before133), "WARNING") {
		t.Errorf("%s does not warn", before133)
	}
}
