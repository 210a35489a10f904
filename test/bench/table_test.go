package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestARowHasTheMediansTheRatioAndItsSpread(t *testing.T) {
	t.Parallel()
	var r results
	for _, round := range [][2]float64{{1e6, 4e6}, {2e6, 5e6}, {3e6, 30e6}} {
		var v values
		for f := range figures {
			v.add(f, podseal, round[podseal])
			v.add(f, builtIn, round[builtIn])
		}
		r.add(500, &v)
	}
	want := []string{about[idleP50].name, "500", "2.00 ms", "5.00 ms", "0.25", "0.10 to 0.40", "0.35", "0.2"}
	if diff := cmp.Diff(want, r.row(idleP50, 500)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if row := r.row(burstRequests, 500); row[4] != "" || row[5] != "" {
		t.Errorf("numbers of requests have a ratio: %q", row)
	}
	var b bytes.Buffer
	r.print(&b)
	if lines := slices.Collect(strings.Lines(b.String())); len(lines) != 2+int(figures) {
		t.Errorf("%d lines for %d figures", len(lines), figures)
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
	k, err := startKubelet(20)
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

func TestNumbersOfPods(t *testing.T) {
	t.Parallel()
	got, err := numbers("110,250")
	if diff := cmp.Diff([]int{110, 250}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"", "many", "110,", "99", "-110"} {
		if _, err := numbers(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
