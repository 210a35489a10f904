package kubelet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

func quietDecoder() kubelet.Decoder {
	return kubelet.NewDecoder(slog.New(slog.DiscardHandler))
}

func decode(body string) (*pod.Index, error) {
	return quietDecoder().Decode(strings.NewReader(body), time.Time{})
}

// onePod decodes a list with that pod in it.
func onePod(t *testing.T, description string) (*pod.Index, []*pod.Pod) {
	t.Helper()
	x, err := decode(`{"items":[` + description + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	return x, slices.Collect(x.All())
}

func TestTheEnvelope(t *testing.T) {
	t.Parallel()
	const (
		parse  = "unable to parse kubelet response: "
		object = "invalid kubelet response: expected an object"
		items  = "invalid kubelet response: expected an items array"
		limit  = "invalid kubelet response: limit exceeded: "
		good   = `{"metadata":{"uid":"u1"}}`
	)
	for _, c := range []struct {
		name, body string
		pods       int
		err        string // prefix
	}{
		{"as a kubelet writes it", `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[` + good + "]}\n", 1, ""},
		{"items first", `{"items":[` + good + `],"kind":"PodList"}`, 1, ""},
		{"white space everywhere", " \r\n\t{ \"items\" : [ " + good + " , {\"metadata\" : {\"uid\":\"u2\"}} ] , \"x\" : [ 1 , true ] } \n ", 2, ""},
		{"an escaped name", `{"it\u0065ms":[` + good + `]}`, 1, ""},
		{"unknown members", `{"a":1,"b":"]}","c":{"items":[` + good + `]},"items":[],"d":null}`, 0, ""},
		{"no pods", `{"items":[]}`, 0, ""},
		{"null", `{"items":null}`, 0, ""},

		{"no items", `{"kind":"PodList"}`, 0, items},
		{"an empty object", `{}`, 0, items},
		{"another case", `{"Items":[]}`, 0, items},
		{"items a string", `{"items":"x"}`, 0, items},
		{"items an object", `{"items":{}}`, 0, items},
		{"items a number", `{"items":5}`, 0, items},
		{"items true", `{"items":true}`, 0, items},
		{"a list", `[]`, 0, object},
		{"a string", `"items"`, 0, object},
		{"a number", `12`, 0, object},
		{"null alone", " null\n", 0, object},

		{"nothing", "", 0, parse},
		{"only white space", " \n", 0, parse},
		{"HTML", "<html>", 0, parse},
		{"binary", "\x00\x01\x02", 0, parse},
		{"a byte order mark", "\ufeff{\"items\":[]}", 0, parse},
		{"twice", `{"items":[],"items":[` + good + `]}`, 0, parse},
		{"twice, escaped", `{"items":[],"\u0069tems":null}`, 0, parse},
		{"more behind it", `{"items":[]} x`, 0, parse},
		{"two documents", `{"items":[]}{"items":[]}`, 0, parse},
		{"a comma too much", `{"items":[` + good + `,]}`, 0, parse},
		{"a comma too much in the object", `{"items":[],}`, 0, parse},
		{"a comma missing", `{"items":[` + good + good + `]}`, 0, parse},
		{"a colon missing", `{"items" []}`, 0, parse},
		{"a bad name", `{"\x":1,"items":[]}`, 0, parse},
		{"a name without quotes", `{items:[]}`, 0, parse},
		{"a wrong bracket", `{"items":[` + good + `}}`, 0, parse},
		{"a bad literal", `{"items":nul}`, 0, parse},
		{"a bad member", `{"a":{]},"items":[]}`, 0, parse},
		{"a value missing", `{"a":,"items":[]}`, 0, parse},
		{"an unfinished number", `{"items":[]`, 0, parse},
		{"an unfinished literal", `{"items":nu`, 0, parse},
		{"an unfinished string", `{"items":[{"metadata":{"uid":"u1`, 0, parse},
		{"a backslash at the end", `{"items":[{"metadata":{"uid":"u1\`, 0, parse},
		{"a document in a string", `"{\"items\":[]}`, 0, parse},

		{"a long member", `{"a":"` + strings.Repeat("x", kubelet.MaxMember) + `","items":[]}`, 0, limit},
		{"a long name", `{"` + strings.Repeat("x", 5<<10) + `":1,"items":[]}`, 0, limit},
		{"too many pods", `{"items":[{}` + strings.Repeat(",{}", kubelet.MaxPods) + `]}`, 0, limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for how, r := range map[string]io.Reader{
				"at once":      strings.NewReader(c.body),
				"byte by byte": iotest.OneByteReader(strings.NewReader(c.body)),
				"with EOF":     iotest.DataErrReader(strings.NewReader(c.body)),
			} {
				x, err := quietDecoder().Decode(r, time.Time{})
				switch {
				case c.err == "" && err != nil:
					t.Errorf("%s: %v", how, err)
				case c.err == "" && x.Len() != c.pods:
					t.Errorf("%s: %d pods, want %d", how, x.Len(), c.pods)
				case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)):
					t.Errorf("%s: error %q, want %q...", how, err, c.err)
				case c.err != "":
					if _, ok := errors.AsType[*kubelet.ResponseError](err); !ok {
						t.Errorf("%s: error is %T", how, err)
					}
					if errors.Is(err, kubelet.ErrLimit) != (c.err == limit) {
						t.Errorf("%s: is %q an ErrLimit?", how, err)
					}
				}
			}
		})
	}
}

func TestAPrefixOfAnAnswerIsAnErrorAndSaysWhere(t *testing.T) {
	t.Parallel()
	body := strings.TrimSpace(string(listing(t, 1)()))
	for n := 0; n < len(body); n += 3 {
		if _, err := decode(body[:n]); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("unable to parse kubelet response: it breaks off after %d bytes", n)) {
			t.Fatalf("%d bytes of %d: %v", n, len(body), err)
		}
	}
}

func TestAPodsRecord(t *testing.T) {
	t.Parallel()
	_, pods := onePod(t, `{
		"metadata": {"uid": "u1", "name": "web", "namespace": "shop", "generation": 3,
			"labels": {"b": "2", "a": "1", "": "\n"},
			"ownerReferences": [{"kind": "ReplicaSet", "name": "web\n1", "uid": "o2", "controller": true}, {"kind": "Job", "name": "x", "uid": "o1"}]},
		"spec": {"nodeName": "n1", "serviceAccountName": "web",
			"containers": [{"name": "one", "image": "reg/one"}, {"name": "unstarted", "image": "reg/unstarted"}, {"name": "two", "image": "reg/two"}],
			"initContainers": [{"name": "init", "image": "reg/init"}, {"name": "side", "image": "reg/side", "restartPolicy": "Always"}, {"name": "side2", "image": "reg/side2", "restartPolicy": "Always"}],
			"ephemeralContainers": [{"name": "debug", "image": "reg/debug"}]},
		"status": {"phase": "Running",
			"containerStatuses": [
				{"name": "two", "image": "two", "imageID": "reg/two@sha256:2", "containerID": "containerd://c2", "state": {"running": {}}, "lastState": {"terminated": {"containerID": "containerd://c1"}}},
				{"name": "one", "image": "one", "imageID": "", "containerID": "docker-without-scheme", "state": {"terminated": {"exitCode": 0}}},
				{"name": "ghost", "image": "ghost", "containerID": "cri-o://g", "lastState": {}}],
			"initContainerStatuses": [{"name": "side", "containerID": "containerd://s", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}, {"name": "init", "containerID": "containerd://i", "state": {"terminated": {}}}],
			"ephemeralContainerStatuses": [{"name": "debug", "containerID": "containerd://d", "state": {"waiting": null, "terminated": null}}]}
	}`)
	want := []*pod.Pod{{
		UID: "u1", Name: "web", Namespace: "shop", NodeName: "n1", ServiceAccount: "web",
		Labels: []pod.Label{{Key: "", Value: "\n"}, {Key: "a", Value: "1"}, {Key: "b", Value: "2"}},
		Owners: []pod.Owner{{Kind: "ReplicaSet", Name: "web\n1", UID: "o2"}, {Kind: "Job", Name: "x", UID: "o1"}},
		Containers: []pod.Container{
			{Name: "two", Type: pod.Regular, SpecImage: "reg/two", HasStatus: true, ID: "c2", Runtime: "containerd", LastID: "c1", Image: "two", ImageID: "reg/two@sha256:2", Running: true},
			{Name: "one", Type: pod.Regular, SpecImage: "reg/one", HasStatus: true, Image: "one", Terminated: true},
			{Name: "ghost", Type: pod.Regular, HasStatus: true, ID: "g", Runtime: "cri-o", Image: "ghost"},
			{Name: "unstarted", Type: pod.Regular, SpecImage: "reg/unstarted"},
			{Name: "side", Type: pod.Sidecar, SpecImage: "reg/side", HasStatus: true, ID: "s", Runtime: "containerd", Running: true},
			{Name: "init", Type: pod.Init, SpecImage: "reg/init", HasStatus: true, ID: "i", Runtime: "containerd", Terminated: true},
			{Name: "side2", Type: pod.Sidecar, SpecImage: "reg/side2"},
			{Name: "debug", Type: pod.Ephemeral, SpecImage: "reg/debug", HasStatus: true, ID: "d", Runtime: "containerd"},
		},
	}}
	if diff := cmp.Diff(want, pods, cmpopts.IgnoreUnexported(pod.Pod{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPhases(t *testing.T) {
	t.Parallel()
	for phase, terminal := range map[string]bool{"Pending": false, "Running": false, "Unknown": false, "": false, "Succeeded": true, "Failed": true, "failed": false} {
		_, pods := onePod(t, fmt.Sprintf(`{"metadata":{"uid":"u"},"status":{"phase":%q}}`, phase))
		if len(pods) != 1 || pods[0].Terminal != terminal {
			t.Errorf("phase %q: %+v", phase, pods)
		}
	}
}

// A pod that can't be decoded is a fault under its own UID, and its neighbours
// are as good as ever.
func TestABadPodCostsOnlyItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		description string
		uid         string // under which it is a fault; empty: under none
		limit       bool
	}{
		"wrong type in the status":  {`{"metadata":{"uid":"bad"},"status":{"containerStatuses":{}}}`, "bad", false},
		"wrong type of a label":     {`{"metadata":{"uid":"bad","labels":{"a":1}}}`, "bad", false},
		"labels a list":             {`{"metadata":{"uid":"bad","labels":[]}}`, "bad", false},
		"a name twice":              {`{"metadata":{"uid":"bad"},"spec":{"nodeName":"a","nodeName":"b"}}`, "bad", false},
		"a label twice":             {`{"metadata":{"uid":"bad","labels":{"a":"1","\u0061":"2"}}}`, "bad", false},
		"metadata twice":            {`{"metadata":{"uid":"bad"},"metadata":{"uid":"good"}}`, "bad", false},
		"a name twice, not read":    {`{"metadata":{"uid":"bad"},"spec":{"volumes":[{"a":1,"a":2}]}}`, "bad", false},
		"UTF-8 that is none":        {"{\"metadata\":{\"uid\":\"bad\",\"name\":\"\xff\"}}", "bad", false},
		"a control character":       {"{\"metadata\":{\"uid\":\"bad\",\"name\":\"\x01\"}}", "bad", false},
		"brackets that don't match": {`{"metadata":{"uid":"bad"},"spec":[}]`, "bad", false},
		"half a surrogate":          {`{"metadata":{"uid":"bad","name":"\ud800"}}`, "bad", false},
		"an ID of two containers":   {`{"metadata":{"uid":"bad"},"status":{"containerStatuses":[{"name":"a","containerID":"c://1"}],"ephemeralContainerStatuses":[{"name":"b","containerID":"d://1"}]}}`, "bad", false},
		"uid a number":              {`{"metadata":{"uid":5}}`, "", false},
		"metadata a list":           {`{"metadata":["uid","bad"]}`, "", false},
		"a UID elsewhere":           {`{"spec":{"metadata":{"uid":"good"}},"uid":"good","metadata":{"labels":{"uid":"good"},"x":{"uid":"good"},"name":5}}`, "", false},
		"a number for a pod":        {`5`, "", false},
		"null for a pod":            {`null`, "", false},
		"a list for a pod":          {`[{"metadata":{"uid":"good"}}]`, "", false},
		"a string for a pod":        {`"good"`, "", false},
		"a UID of any length":       {`{"metadata":{"uid":"` + strings.Repeat("u", 1000) + `","name":1}}`, "", false},

		"3 MiB":            {`{"metadata":{"uid":"bad","annotations":{"a":"` + strings.Repeat("x", 3<<20) + `"}}}`, "bad", true},
		"one byte over":    {padded(`{"metadata":{"uid":"bad"}}`, kubelet.MaxPod+1), "bad", true},
		"10 MB of quotes":  {`{"metadata":{"uid":"bad","annotations":{"a":"` + strings.Repeat(`\"}]`, 5<<19) + `"}}}`, "bad", true},
		"3 MiB before uid": {`{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 3<<20) + `"},"uid":"bad"}}`, "", true},
		"deep":             {`{"metadata":{"uid":"bad"},"x":` + strings.Repeat("[", kubelet.MaxDepth) + strings.Repeat("]", kubelet.MaxDepth) + `}`, "bad", true},
		"very deep":        {`{"metadata":{"uid":"bad"},"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, "bad", true},
		"many labels":      {`{"metadata":{"uid":"bad","labels":{` + numbered(`"%d":""`, kubelet.MaxList+1) + `}}}`, "bad", true},
		"many statuses":    {`{"metadata":{"uid":"bad"},"status":{"containerStatuses":[` + numbered(`{"restartCount":%d}`, kubelet.MaxList+1) + `]}}`, "bad", true},
		"long labels":      {`{"metadata":{"uid":"bad","labels":{"a":"` + strings.Repeat("x", kubelet.MaxRecord) + `"}}}`, "bad", true},
		"long owners":      {`{"metadata":{"uid":"bad","ownerReferences":[{"name":"` + strings.Repeat("x", kubelet.MaxRecord) + `"}]}}`, "bad", true},
		"long images":      {`{"metadata":{"uid":"bad"},"status":{"containerStatuses":[{"imageID":"` + strings.Repeat("x", kubelet.MaxRecord) + `"}]}}`, "bad", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, err := decode(`{"items":[{"metadata":{"uid":"good","name":"before"}},` + c.description + `,{"metadata":{"uid":"good2","name":"after"}}]}`)
			if err != nil {
				t.Fatal(err)
			}
			for uid, name := range map[string]string{"good": "before", "good2": "after"} {
				if p, err := x.ByUID(uid); err != nil || p == nil || p.Name != name {
					t.Errorf("ByUID(%q) = %+v, %v", uid, p, err)
				}
			}
			fault := x.Unattributed()
			if c.uid != "" {
				if fault != nil {
					t.Errorf("unattributed: %v", fault)
				}
				_, fault = x.ByUID(c.uid)
			}
			if !errors.Is(fault, pod.ErrUndecodable) || errors.Is(fault, kubelet.ErrLimit) != c.limit {
				t.Errorf("fault %v, want one (limit: %t)", fault, c.limit)
			}
			if fault != nil && (len(fault.Error()) > 1000 || strings.ContainsFunc(fault.Error(), func(r rune) bool { return r < ' ' })) {
				t.Errorf("a fault's text must be short and printable: %q", fault)
			}
		})
	}
}

// padded is description with white space up to a length.
func padded(description string, length int) string {
	return description[:len(description)-1] + strings.Repeat(" ", length-len(description)) + "}"
}

func numbered(format string, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, ",")
}

func TestTheLongestPodThatIsRead(t *testing.T) {
	t.Parallel()
	for name, description := range map[string]string{
		"bytes":    padded(`{"metadata":{"uid":"u"}}`, kubelet.MaxPod),
		"depth":    `{"metadata":{"uid":"u"},"x":` + strings.Repeat("[", kubelet.MaxDepth-1) + strings.Repeat("]", kubelet.MaxDepth-1) + `}`,
		"elements": `{"metadata":{"uid":"u"},"spec":{"containers":[` + numbered(`{"n":%d}`, 1000) + `]}}`,
		"labels":   `{"metadata":{"uid":"u","labels":{` + numbered(`"%d":""`, kubelet.MaxList) + `}}}`,
	} {
		if x, pods := onePod(t, description); len(pods) != 1 || pods[0].UID != "u" {
			_, err := x.ByUID("u")
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPodsWithoutAUIDAreSkippedWithAWarningOnce(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	d := kubelet.NewDecoder(l.logger)
	body := `{"items":[{},{"metadata":null},{"metadata":{"uid":""}},{"metadata":{"uid":null}},{"metadata":{"uid":"u"}}]}`
	for range 3 {
		x, err := d.Decode(strings.NewReader(body), time.Time{})
		if err != nil || x.Len() != 1 || x.Unattributed() != nil {
			t.Fatalf("%v, %v, %v", x.Len(), x.Unattributed(), err)
		}
	}
	if w := l.warnings(""); len(w) != 1 || !strings.Contains(w[0], "count=4") {
		t.Errorf("warnings: %q", w)
	}
}

func TestAUIDThatIsListedTwiceBelongsToNobody(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"two pods":     `{"metadata":{"uid":"u","name":"a"}},{"metadata":{"uid":"u","name":"b"}}`,
		"the same pod": `{"metadata":{"uid":"u"}},{"metadata":{"uid":"u"}}`,
		"a bad one":    `{"metadata":{"uid":"u"}},{"metadata":{"uid":"u","name":5}}`,
	} {
		x, _ := onePod(t, list)
		if p, err := x.ByUID("u"); p != nil || !errors.Is(err, pod.ErrUndecodable) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

func TestUnchangedPodsKeepTheirRecords(t *testing.T) {
	t.Parallel()
	s, err := kubelettest.Start(kubelettest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := s.SetPods(webPods(10)...); err != nil {
		t.Fatal(err)
	}
	d := quietDecoder()
	read := func() *pod.Index {
		x, err := d.Decode(bytes.NewReader(s.List()), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := read()
	changed := webPod("web-3")
	changed.Labels["version"] = "2" // of the same length
	if err := s.UpdatePod(changed); err != nil {
		t.Fatal(err)
	}
	s.RemovePod(kubelettest.UID("web-5"))
	// A failed answer forgets nothing.
	if _, err := d.Decode(strings.NewReader(`{"items":[`), time.Time{}); err == nil {
		t.Error("half an answer is no error")
	}
	second := read()
	for p := range second.All() {
		before, _ := first.ByUID(p.UID)
		if same := p == before; same != (p.Name != "web-3") {
			t.Errorf("%s: the same record: %t", p.Name, same)
		}
	}
	if p, _ := second.ByUID(kubelettest.UID("web-3")); p == nil || p.Labels[1].Value != "2" {
		t.Errorf("the changed pod is %+v", p)
	}
	if p, err := second.ByUID(kubelettest.UID("web-5")); p != nil || err != nil {
		t.Errorf("the removed pod is %+v, %v", p, err)
	}
	if d.Known() != 9 {
		t.Errorf("%d pods are remembered, want 9", d.Known())
	}
}

func TestTheBufferIsKeptOnlyWhileItIsSmall(t *testing.T) {
	t.Parallel()
	d := quietDecoder()
	read := func(size int) {
		if _, err := d.Decode(strings.NewReader(`{"items":[`+padded(`{"metadata":{"uid":"u"}}`, size)+`]}`), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	read(1000)
	small := d.Spare()
	read(1_000_000)
	if small == 0 || d.Spare() != 0 {
		t.Errorf("kept %d bytes after a small answer and %d after a large one", small, d.Spare())
	}
}
