package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	t.Parallel()
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for _, test := range []struct {
		values  []float64
		p, want float64
	}{
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
		{[]float64{7}, 50, 7},
		{[]float64{7}, 99, 7},
		{[]float64{9, 1}, 50, 1},
		{[]float64{9, 1}, 99, 9},
		{[]float64{3, 1, 2}, 50, 2},
	} {
		if got := percentile(test.values, test.p); got != test.want {
			t.Errorf("p%g of %d values: %g, want %g", test.p, len(test.values), got, test.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the values were put into another order")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{5}, 5},
		{[]float64{9, 1, 4}, 4},
		{[]float64{1, 9, 4, 6}, 5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v: %g, want %g", test.values, got, test.want)
		}
	}
}

// A round in which everything takes ten times as long has the same ratio.
func TestRatiosAreThoseOfEachRound(t *testing.T) {
	t.Parallel()
	got := ratios([]float64{2, 30, 4}, []float64{10, 100, 10})
	want := ratio{median: 0.3, min: 0.2, max: 0.4}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAValueOfARoundIsTheMedianOfItsMeasurements(t *testing.T) {
	t.Parallel()
	var r results
	for round := range 2 {
		var v values
		for f := range figures {
			for side := range sides {
				for _, took := range []float64{10, 500, 30} {
					v.add(f, side, took+float64(round))
				}
			}
		}
		r.add(110, &v)
	}
	if diff := cmp.Diff([]float64{30, 31}, r.of[110][startToAnswer][podsAPI]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{110}, r.sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

// The 99th percentile of ten values would be their greatest, in every round.
func TestTriesOfAllRoundsCountTogether(t *testing.T) {
	t.Parallel()
	var r results
	for round := range 5 {
		var v values
		for try := range 10 {
			v.add(publishedP99, https, float64(10*round+try+1))
		}
		r.add(110, &v)
	}
	if n := len(r.of[110][publishedP99][https]); n != 50 {
		t.Errorf("%d tries are known of 50", n)
	}
	if got, ok := r.value(publishedP99, 110, https); got != 50 || !ok {
		t.Errorf("p99 is %g, %v", got, ok)
	}
	if got, ok := r.value(publishedP99, 110, builtIn); got != 0 || ok {
		t.Errorf("what was not measured is %g, %v", got, ok)
	}
}
