package podsapi_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
)

var samePod = cmp.Options{cmpopts.IgnoreUnexported(pod.Pod{}), cmpopts.EquateEmpty()}

// Which source an operator selects must not change a selector.
func TestAPodIsTheSameAsFromTheKubeletsList(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	var pods []*corev1.Pod
	for n := range 400 {
		pods = append(pods, randomPod(r, n))
	}
	pods = append(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "nothing-else"}})

	s, err := kubelettest.Start(kubelettest.Options{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetPods(pods...); err != nil {
		t.Fatal(err)
	}
	client, err := kubelet.New(kubelet.Config{Port: s.Port(), Interval: time.Second}, kubelet.NewGate(), newLogs(t).logger)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	index, err := client.Next(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		want, err := index.ByUID(string(p.UID))
		if err != nil {
			t.Fatal(err)
		}
		got, err := podsapi.DecodePod(marshal(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, samePod); diff != "" {
			t.Fatalf("(-kubelet's list +Pods API)\n%s", diff)
		}
	}
}

func randomPod(r *rand.Rand, n int) *corev1.Pod {
	p := kubelettest.Pod{
		Namespace: word(r), Name: word(r), UID: fmt.Sprintf("uid-%d", n), ServiceAccount: word(r), NodeName: word(r),
		Phase: []corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}[r.IntN(5)],
	}
	for range r.IntN(4) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[word(r)] = word(r)
		p.Owners = append(p.Owners, metav1.OwnerReference{APIVersion: "v1", Kind: word(r), Name: word(r), UID: "o", Controller: new(true)})
	}
	for i := range r.IntN(8) {
		p.Containers = append(p.Containers, kubelettest.Container{
			Name: fmt.Sprint(word(r), i), Kind: kubelettest.Kind(r.IntN(4)), ID: kubelettest.ID(fmt.Sprint(n, i)),
			LastID: []string{"", kubelettest.ID(fmt.Sprint("last", i))}[r.IntN(2)],
			Image:  word(r), StatusImage: word(r), ImageID: word(r), State: kubelettest.State(r.IntN(4)),
		})
	}
	built := p.Build()
	for range r.IntN(4) {
		volume := corev1.Volume{Name: word(r)}
		if r.IntN(2) == 0 {
			volume.Image = &corev1.ImageVolumeSource{Reference: word(r)}
		}
		built.Spec.Volumes = append(built.Spec.Volumes, volume)
	}
	if r.IntN(8) == 0 {
		built.Spec = corev1.PodSpec{}
	}
	if r.IntN(8) == 0 {
		built.Status = corev1.PodStatus{}
	}
	for _, s := range [][]corev1.ContainerStatus{built.Status.ContainerStatuses, built.Status.InitContainerStatuses, built.Status.EphemeralContainerStatuses} {
		r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	return built
}

// word is a string such as people and their enemies write.
func word(r *rand.Rand) string {
	return []string{"", "web", "a-b.c_d/e:1", "\"quoted\" \\", "line\nbreak", "\x1b[31mred", "日本語", "\u2028", "containerd://x", "$(id)`id`", "\x00"}[r.IntN(11)]
}

func marshal(t testing.TB, p *corev1.Pod) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// str and msg append fields by hand.
func str(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func msg(n protowire.Number, fields ...[]byte) []byte {
	var all []byte
	for _, f := range fields {
		all = append(all, f...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), all)
}

func TestWhatProtobufLeavesToTheReaderIsReadAsKubernetesReadsIt(t *testing.T) {
	t.Parallel()
	meta := func(fields ...[]byte) []byte { return msg(1, fields...) }
	uid := str(nil, 5, "u")
	unknown := append(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 7),
		protowire.AppendFixed64(protowire.AppendTag(nil, 998, protowire.Fixed64Type), 7)...)
	group := protowire.AppendTag(append(protowire.AppendTag(nil, 777, protowire.StartGroupType), unknown...), 777, protowire.EndGroupType)
	tests := []struct {
		name string
		raw  []byte
		want *pod.Pod
	}{
		{"a scalar given twice is the last", meta(str(uid, 1, "a"), str(nil, 1, "b")), &pod.Pod{UID: "u", Name: "b"}},
		{"a scalar given again as empty is empty", meta(uid, str(nil, 1, "a"), str(nil, 1, "")), &pod.Pod{UID: "u"}},
		{"a message given twice is merged", append(meta(uid, str(nil, 1, "a")), meta(str(nil, 3, "ns"))...), &pod.Pod{UID: "u", Name: "a", Namespace: "ns"}},
		{"unknown fields are skipped", append(meta(uid, unknown, group), unknown...), &pod.Pod{UID: "u"}},
		{"a label given twice is the last", meta(uid, msg(11, str(nil, 1, "k"), str(nil, 2, "1")), msg(11, str(nil, 1, "k"), str(nil, 2, "2"))),
			&pod.Pod{UID: "u", Labels: []pod.Label{{Key: "k", Value: "2"}}}},
		{"a label without a key or value has empty ones", meta(uid, msg(11), msg(11, str(nil, 1, "k"))),
			&pod.Pod{UID: "u", Labels: []pod.Label{{}, {Key: "k"}}}},
		{"a state given twice is merged", append(meta(uid), msg(3, msg(8, str(nil, 1, "c"), msg(2, msg(2)), msg(2, msg(3)), str(nil, 8, "x://1")))...),
			&pod.Pod{UID: "u", Containers: []pod.Container{{Name: "c", Type: pod.Regular, HasStatus: true, ID: "1", Runtime: "x", Running: true, Terminated: true}}}},
		{"a volume given in parts is one", append(meta(uid), msg(2, msg(1, msg(2, msg(30, str(nil, 1, "a"))), msg(2, msg(30, str(nil, 2, "Always")), msg(2))), msg(1, msg(2, msg(1))), msg(1, msg(2, msg(30))))...),
			&pod.Pod{UID: "u", ImageVolumes: []string{"a", ""}}},
		{"the last run's ID is the last state's", append(meta(uid), msg(3, msg(8, str(nil, 1, "c"), msg(3, msg(3, str(nil, 7, "x://2")))))...),
			&pod.Pod{UID: "u", Containers: []pod.Container{{Name: "c", Type: pod.Regular, HasStatus: true, LastID: "2"}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := podsapi.DecodePod(test.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, samePod); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			checkAgainstKubernetes(t, test.raw)
		})
	}
}

// checkAgainstKubernetes: what Kubernetes' own code makes of the bytes, written
// again as it would, is the same pod.
func checkAgainstKubernetes(t *testing.T, raw []byte) {
	t.Helper()
	var p corev1.Pod
	if p.Unmarshal(raw) != nil {
		return // it minds something that is not read here
	}
	got, err := podsapi.DecodePod(raw)
	want, wantErr := podsapi.DecodePod(marshal(t, &p))
	if wantErr == nil && err == nil {
		if diff := cmp.Diff(want, got, samePod); diff != "" {
			t.Fatalf("(-Kubernetes +got)\n%s", diff)
		}
	}
	if err == nil && wantErr != nil {
		t.Fatalf("it is read, but not when Kubernetes writes it: %v", wantErr)
	}
}

func TestADescriptionThatIsNotOneOfAPodIsRefused(t *testing.T) {
	t.Parallel()
	uid := str(nil, 5, "u")
	var many [][]byte
	for range podsapi.MaxList + 1 {
		many = append(many, msg(8))
	}
	tests := []struct {
		name  string
		raw   []byte
		uid   string
		limit bool
	}{
		{"nothing", nil, "", false},
		{"without a UID", msg(1, str(nil, 1, "n")), "", false},
		{"broken off", msg(1, uid, str(nil, 1, "name"))[:8], "", false},
		{"broken off behind the metadata", append(msg(1, uid), 0x12, 0x7F), "u", false},
		{"invalid UTF-8", msg(1, uid, str(nil, 1, "\xff")), "u", false},
		{"invalid UTF-8 in the UID", msg(1, str(nil, 5, "\xff")), "", false},
		{"a string that is a number", msg(1, uid, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)), "u", false},
		{"a message that is a number", append(msg(1, uid), protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7)...), "u", false},
		{"a state that is a number", append(msg(1, uid), msg(3, msg(8, msg(2, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7))))...), "u", false},
		{"a field with the number 0", append(msg(1, uid), 0x02, 0x00), "u", false},
		{"two containers with one ID", append(msg(1, uid), msg(3, msg(8, str(nil, 8, "c://x")), msg(13, str(nil, 8, "c://x")))...), "u", false},
		{"too many containers", append(msg(1, uid), msg(3, many...)...), "u", true},
		{"too long", append(msg(1, uid), msg(99, make([]byte, podsapi.MaxPod))...), "u", true},
		{"too much to keep", msg(1, uid, str(nil, 1, strings.Repeat("x", 300<<10))), "u", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := podsapi.DecodePod(test.raw)
			if err == nil || p != nil {
				t.Fatalf("pod %v, error %v", p, err)
			}
			if errors.Is(err, podsapi.ErrLimit) != test.limit {
				t.Errorf("error %v; is it a limit? %t", err, test.limit)
			}
			if uid := podsapi.FindUID(test.raw); uid != test.uid {
				t.Errorf("its fault is that of %q, want %q", uid, test.uid)
			}
		})
	}
}

// FuzzDecodePod: nothing panics, what is refused is fit for a log, and what is
// read is what Kubernetes' own code reads.
func FuzzDecodePod(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 8 {
		f.Add(marshal(f, randomPod(r, n)))
	}
	f.Add(append(msg(1, str(nil, 5, "u"), msg(11, str(nil, 1, "k"))), msg(3, msg(8, msg(2, msg(2)), str(nil, 8, "x://1")))...))
	f.Add(append(msg(1, str(nil, 5, "u")), 0x0B, 0x0C))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := podsapi.DecodePod(raw)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7F }) || len(err.Error()) > 400 {
				t.Fatalf("not fit for a log: %q", err)
			}
		} else if podsapi.FindUID(raw) != p.UID && len(p.UID) <= 512 && podsapi.FindUID(raw) == "" {
			t.Fatalf("the UID %q is not found", p.UID)
		}
		checkAgainstKubernetes(t, raw)
	})
}
