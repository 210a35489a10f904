package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func port(s *kubelettest.Server) string { return strconv.Itoa(s.Port()) }

// A pod that is too much, or nonsense, fails alone.
func TestPodsThatCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"poll_retry_interval": "1s"})
	good := map[string]int{}
	for i := range 20 {
		name := fmt.Sprint("good-", i)
		good[name] = node.Pod(app(name))
	}
	in := func(member, value string) func(string) string {
		return func(pod string) string { return strings.Replace(pod, member, member+value, 1) }
	}
	const annotations = `"annotations":{`
	pids := map[string]int{}
	items := ""
	for _, bad := range []struct {
		why   string
		spoil func(pod string) string
	}{
		{"its description is longer than 2 MiB", in(annotations, `"x":"`+strings.Repeat("x", 10<<20)+`",`)},
		{"longer than 256 KiB", in(`"metadata":{`, `"labels":{"x":"`+strings.Repeat("x", 300<<10)+`"},`)},
		{"nests deeper than", in(annotations, `"x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+",")},
		{"expected an object", in(`"metadata":{`, `"labels":7,`)},
		{"duplicate", in(`"metadata":{`, `"namespace":"kube-system",`)},
		{"invalid UTF-8", in(`"metadata":{`, "\"labels\":{\"x\":\"\xff\"},")},
	} {
		p := app("bad, " + bad.why)
		items += bad.spoil(marshal(t, p.Build())) + ","
		pids[bad.why] = node.Process(pluginproc.ContainerPath(p.UID, p.Containers[0].ID))
	}
	list := string(node.Kubelet.List())
	node.Kubelet.Inject(-1, kubelettest.Body(strings.Replace(list, `"items":[`, `"items":[`+items, 1)))

	within(t, 30*time.Second, func(context.Context) {
		for why, pid := range pids {
			wantFailure(t, plugin, pid, codes.Unavailable, "unable to decode pod info from kubelet response: pod UID ", why)
		}
		for name, pid := range good {
			wantSelectors(t, plugin, pid, appSelectors(name))
		}
	})
	wantPeak(t, plugin)
}

func marshal(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// many is the answer of a kubelet with n pods like the one whose description is
// given, each with a UID and names of its own, after those that it has.
func many(node *pluginproc.Node, n int, description string) kubelettest.Fault {
	list := strings.TrimSuffix(string(node.Kubelet.List()), "]}\n")
	// Bytes go to the connection as they are; strings in pieces of 2 KiB.
	var pieces [][]byte
	for piece := range strings.SplitSeq(description, "NUMBER") {
		pieces = append(pieces, []byte(piece))
	}
	return kubelettest.Stream(func(w io.Writer) error {
		_, err := io.WriteString(w, list)
		for i := range n {
			number := fmt.Appendf(nil, "%08d", i)
			for j, piece := range pieces {
				before := number
				if j == 0 {
					before = []byte(",")
				}
				if _, err := w.Write(before); err != nil {
					return err
				}
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
		}
		if err == nil {
			_, err = io.WriteString(w, "]}\n")
		}
		return err
	})
}

// numbered is app("app-NUMBER") with IDs that have the number too.
func numbered() kubelettest.Pod {
	p := app("app-NUMBER")
	p.UID = "00000000-0000-4000-8000-0000NUMBER"
	p.Containers[0].ID = "NUMBER" + kubelettest.ID("numbered")[8:]
	return p
}

// theNumbered is a process in the i-th of the pods.
func theNumbered(node *pluginproc.Node, i int) int {
	p, number := numbered(), fmt.Sprintf("%08d", i)
	return node.Process(pluginproc.ContainerPath(strings.ReplaceAll(p.UID, "NUMBER", number), strings.ReplaceAll(p.Containers[0].ID, "NUMBER", number)))
}

func TestNodesWithALot(t *testing.T) {
	t.Parallel()
	oneMegabyteOfLabels := map[string]string{}
	someLabels := map[string]string{}
	for i := range 1400 {
		oneMegabyteOfLabels[fmt.Sprint("label-", i)] = strings.Repeat("v", 1000)
		if i < 200 {
			someLabels[fmt.Sprint("label-", i)] = strings.Repeat("v", 1000)
		}
	}
	for _, test := range []struct {
		name   string
		pods   int
		change func(p *corev1.Pod)
		want   string // the failure of each of them, empty for none
	}{
		{"110 pods with 1.4 MB of annotations each", 110, func(p *corev1.Pod) { p.Annotations["large"] = strings.Repeat("x", 1_400_000) }, ""},
		{"110 pods with 1.4 MB of labels each", 110, func(p *corev1.Pod) { p.Labels = oneMegabyteOfLabels }, "unable to decode pod info from kubelet response"},
		{"110 pods with as many labels as are kept", 110, func(p *corev1.Pod) { p.Labels = someLabels }, ""},
		{"5,000 pods", 5000, func(*corev1.Pod) {}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// Encryption is not what this is about, and slow under the race detector.
			node := pluginproc.NewNode(t, kubelettest.Options{Plain: true})
			plugin := pluginproc.Start(t, pluginproc.Options{})
			plugin.MustConfigure(t, node.Settings().With(settings{
				"kubelet_secure_port": nil, "kubelet_read_only_port": node.Kubelet.Port(), "poll_retry_interval": "1s"}))
			neighbour := node.Pod(app("neighbour"))
			built := numbered().Build()
			test.change(built)
			node.Kubelet.Inject(-1, many(node, test.pods, marshal(t, built)))
			pids := map[int]int{0: 0, test.pods / 2: 0, test.pods - 1: 0}
			for i := range pids {
				pids[i] = theNumbered(node, i)
			}
			within(t, time.Minute, func(ctx context.Context) {
				for range 2 {
					wantSelectors(t, plugin, neighbour, appSelectors("neighbour"))
					for i, pid := range pids {
						got, err := plugin.Selectors(ctx, pid)
						switch {
						case test.want != "":
							wantStatus(t, err, codes.Unavailable, test.want)
						case err != nil || !contains(got, fmt.Sprintf("pod-name:app-%08d", i)):
							t.Errorf("pod %d: %d selectors, %v", i, len(got), err)
						}
					}
				}
			})
			wantPeak(t, plugin)
		})
	}
}
