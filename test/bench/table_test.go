package main

import (
	"bytes"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestValuesHaveThreeSignificantDigits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unit  unit
		value float64
		want  string
	}{
		{milliseconds, 85_234, "0.0852 ms"},
		{milliseconds, 1_000_000, "1.00 ms"},
		{milliseconds, 12_345_678, "12.3 ms"},
		{milliseconds, 123_456_789, "123 ms"},
		{milliseconds, 12_345_678_900, "12346 ms"},
		{milliseconds, 12, "0.0000 ms"},
		{milliseconds, 0, "0 ms"},
		{mebibytes, 21.25 * (1 << 20), "21.2 MiB"},
		{count, 3, "3"},
		{count, 2.5, "2.5"},
	} {
		if got := test.unit.format(test.value); got != test.want {
			t.Errorf("%g: %q, want %q", test.value, got, test.want)
		}
	}
}

func TestATableIsAlignedMarkdown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	printTable(&b, [][]string{{"figure", "µs"}, {"one", "1"}, {"another one", "1234"}})
	want := strings.Join([]string{
		"| figure      |   µs |",
		"| ----------- | ---: |",
		"| one         |    1 |",
		"| another one | 1234 |",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// of is the values of one round, the same for every figure.
func of(all [sides]float64) *values {
	v := new(values)
	for f := range figures {
		for side := range sides {
			v.add(f, side, all[side])
		}
	}
	return v
}

func TestARowHasTheMediansTheRatiosAndTheirSpread(t *testing.T) {
	t.Parallel()
	var r results
	for _, round := range [][sides]float64{
		{https: 1e6, podsAPI: 1e5, builtIn: 4e6},
		{https: 2e6, podsAPI: 1e5, builtIn: 5e6},
		{https: 3e6, podsAPI: 2e5, builtIn: 30e6},
	} {
		r.add(500, of(round))
	}
	want := []string{about[idleP50].name, "500", "5.00 ms", "2.00 ms", "0.25", "0.10 to 0.40", "0.2", "0.100 ms", "0.02", ""}
	if diff := cmp.Diff(want, r.row(idleP50, 500)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []string{about[burstRequests].name, "500", "5000000", "2000000", "", "", "", "100000", "", ""}
	if diff := cmp.Diff(want, r.row(burstRequests, 500)); diff != "" {
		t.Errorf("numbers of requests have no ratio (-want +got):\n%s", diff)
	}
	want = []string{about[publishedP99].name, "500", "30.0 ms", "3.00 ms", "0.10", "", "550 ms", "0.200 ms", "0.01", "50 ms"}
	if diff := cmp.Diff(want, r.row(publishedP99, 500)); diff != "" {
		t.Errorf("tries are no pairs (-want +got):\n%s", diff)
	}
	var b bytes.Buffer
	r.print(&b)
	if lines := slices.Collect(strings.Lines(b.String())); len(lines) != 2+int(figures) {
		t.Errorf("%d lines for %d figures", len(lines), figures)
	}
}

func TestWhatWasNotMeasuredIsLeftOut(t *testing.T) {
	t.Parallel()
	var r results
	var v values
	v.add(getPodP50, podsAPI, 5e5)
	r.add(110, &v)
	want := []string{about[getPodP50].name, "110", "", "", "", "", "", "0.500 ms", "", ""}
	if diff := cmp.Diff(want, r.row(getPodP50, 110)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if row := r.row(idleP50, 110); row != nil {
		t.Errorf("a row without values: %q", row)
	}
}

func TestTheTableFitsAWideTerminal(t *testing.T) {
	t.Parallel()
	var r results
	for _, pods := range []int{110, 1000} {
		r.add(pods, of([sides]float64{https: 123_456_789, podsAPI: 123_456_789, builtIn: 1_234_567_890}))
	}
	var b bytes.Buffer
	r.print(&b)
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 160 {
			t.Fatalf("%d columns:\n%s", n, line)
		}
	}
}

func TestEveryFigureHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for f := range figures {
		if name := about[f].name; name == "" || seen[name] {
			t.Errorf("figure %d is called %q", f, name)
		} else {
			seen[name] = true
		}
	}
}

func TestThePodsAreOfAboutTenKilobytes(t *testing.T) {
	t.Parallel()
	k, err := startKubelet(20, func(path string) (net.Listener, error) { return net.Listen("unix", path) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	})
	if size := len(k.server.List()) / 20; size < 9_000 || size > 11_000 {
		t.Errorf("a pod has %d bytes", size)
	}
}

func TestBothSourcesHaveTheSamePods(t *testing.T) {
	t.Parallel()
	k, err := startKubelet(3, func(path string) (net.Listener, error) { return net.Listen("unix", path) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	})
	var listed corev1.PodList
	if err := json.Unmarshal(k.server.List(), &listed); err != nil {
		t.Fatal(err)
	}
	answer, err := k.api.ListPods(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var overPort, overAPI []string
	for _, p := range listed.Items {
		overPort = append(overPort, string(p.UID))
	}
	for _, raw := range answer.Pods {
		var p corev1.Pod
		if err := p.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		overAPI = append(overAPI, string(p.UID))
	}
	slices.Sort(overPort)
	slices.Sort(overAPI)
	if diff := cmp.Diff(overPort, overAPI); diff != "" || len(overAPI) != 3 {
		t.Errorf("(-port +Pods API):\n%s", diff)
	}
}

func TestNumbersOfPods(t *testing.T) {
	t.Parallel()
	got, err := numbers("110,250", callers)
	if diff := cmp.Diff([]int{110, 250}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"", "many", "110,", "99", "-110"} {
		if _, err := numbers(bad, callers); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestAPlotGoesFromFewPodsToMany(t *testing.T) {
	t.Parallel()
	var table options
	plot := options{plot: "x.svg"}
	for _, o := range []*options{&table, &plot} {
		if err := o.setSizes(""); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Min(table.sizes) < callers || slices.Min(plot.sizes) != 10 || slices.Max(plot.sizes) != 1000 {
		t.Errorf("sizes %v and %v", table.sizes, plot.sizes)
	}
	if err := table.setSizes("10"); err == nil {
		t.Error("a hundred callers are put into ten pods")
	}
}

func TestAContainerIsPublishedAtLeastFiftyTimes(t *testing.T) {
	t.Parallel()
	for rounds := 1; rounds < 60; rounds++ {
		o := options{rounds: rounds}
		if o.tries()*rounds < 50 || o.tries() > callers {
			t.Errorf("%d rounds of %d tries", rounds, o.tries())
		}
	}
}
