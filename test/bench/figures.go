package main

import "slices"

// figure is something that is measured of the sides in each round.
type figure int

// The figures, in the order of the table.
const (
	idleP50 figure = iota
	idleP99
	idleCPU
	idleRequests
	idleKubeletCPU
	idleEmptyP50
	getPodP50
	idleFloorP50
	listP50
	listCPU
	listKubeletCPU
	publishedP50
	publishedP99
	loadP50
	loadCPU
	loadRequests
	emptyP50
	emptyCPU
	loadOverEmptyP50
	loadOverEmptyCPU
	burstWall
	burstCPU
	burstRequests
	startToAnswer
	memoryBefore
	memoryAfter
	memoryPeak
	figures
)

// anyPods is for a goal that holds for every number of pods.
const anyPods = 0

// about is what the table says of a figure.
var about = [figures]struct {
	name string
	unit unit
	// tries, where it is not 0, is the percentile of all that was measured in all
	// rounds together that is the figure.
	tries float64
	// budget and apiBudget are what podseal has to keep, by number of pods, with
	// the kubelet's port and with the Pods API. A bare number is a ratio.
	budget, apiBudget map[int]string
}{
	idleP50:        {name: "idle node, an attestation, p50", unit: milliseconds, budget: map[int]string{110: "0.25", 500: "0.2"}},
	idleP99:        {name: "idle node, an attestation, p99", unit: milliseconds},
	idleCPU:        {name: "idle node, an attestation, CPU", unit: milliseconds},
	idleRequests:   {name: "idle node, kubelet requests for one", unit: count},
	idleKubeletCPU: {name: "idle node, CPU of the stand-in for one", unit: milliseconds},
	idleEmptyP50:   {name: "idle node, an empty call, p50", unit: milliseconds},
	getPodP50:      {name: "GetPod by a bare client, p50", unit: milliseconds},
	idleFloorP50:   {name: "the empty call and that GetPod, p50", unit: milliseconds, apiBudget: map[int]string{anyPods: "2 ms"}},
	listP50:        {name: "ListPods by a bare client, p50", unit: milliseconds},
	listCPU:        {name: "ListPods by a bare client, CPU", unit: milliseconds},
	listKubeletCPU: {name: "ListPods, CPU of the stand-in", unit: milliseconds},
	publishedP50:   {name: "ID published until answered, p50", unit: milliseconds, tries: 50},
	publishedP99: {name: "ID published until answered, p99", unit: milliseconds, tries: 99,
		budget: map[int]string{anyPods: "550 ms"}, apiBudget: map[int]string{anyPods: "50 ms"}},
	loadP50:      {name: "back to back, an attestation, p50", unit: milliseconds},
	loadCPU:      {name: "back to back, an attestation, CPU", unit: milliseconds},
	loadRequests: {name: "back to back, kubelet requests for 2,000", unit: count},
	emptyP50:     {name: "empty call, p50", unit: milliseconds},
	emptyCPU:     {name: "empty call, CPU", unit: milliseconds},
	loadOverEmptyP50: {name: "back to back, over its own empty call, p50", unit: times,
		budget: map[int]string{anyPods: "1.25 x"}, apiBudget: map[int]string{anyPods: "1.25 x"}},
	loadOverEmptyCPU: {name: "back to back, over its own empty call, CPU", unit: times,
		budget: map[int]string{anyPods: "1.25 x"}, apiBudget: map[int]string{anyPods: "1.25 x"}},
	burstWall:     {name: "100 at once, until all have it", unit: milliseconds, budget: map[int]string{anyPods: "0.4"}, apiBudget: map[int]string{anyPods: "0.4"}},
	burstCPU:      {name: "100 at once, CPU", unit: milliseconds, budget: map[int]string{anyPods: "0.4"}, apiBudget: map[int]string{anyPods: "0.4"}},
	burstRequests: {name: "100 at once, kubelet requests", unit: count},
	startToAnswer: {name: "from the start to the first answer", unit: milliseconds, budget: map[int]string{anyPods: "0.5"}, apiBudget: map[int]string{anyPods: "0.5"}},
	memoryBefore:  {name: "resident memory, nothing attested yet", unit: mebibytes},
	memoryAfter:   {name: "resident memory after load", unit: mebibytes, budget: map[int]string{500: "0.12"}, apiBudget: map[int]string{500: "0.12"}},
	memoryPeak:    {name: "peak of resident memory", unit: mebibytes},
}

// values are those of one round, in nanoseconds, bytes or pieces. Where a figure
// was measured several times in the round its value is their median, unless tries
// says otherwise. A side that has none was not measured.
type values [figures][sides][]float64

func (v *values) add(f figure, side int, value float64) { v[f][side] = append(v[f][side], value) }

// results are the values of all rounds.
type results struct {
	sizes []int // numbers of pods, in the order in which they were measured
	// of has for each number of pods and each figure the values of all sides, of
	// one round after another.
	of map[int]*values
}

func (r *results) add(pods int, round *values) {
	if r.of == nil {
		r.of = make(map[int]*values)
	}
	if r.of[pods] == nil {
		r.sizes = append(r.sizes, pods)
		r.of[pods] = new(values)
	}
	for f := range figures {
		for side := range sides {
			switch all := round[f][side]; {
			case len(all) == 0:
			case about[f].tries > 0:
				r.of[pods][f][side] = slices.Concat(r.of[pods][f][side], all)
			default:
				r.of[pods].add(f, side, median(all))
			}
		}
	}
}

// value is a side's figure over all rounds; false where it was not measured.
func (r *results) value(f figure, pods, side int) (float64, bool) {
	all := r.of[pods][f][side]
	switch {
	case len(all) == 0:
		return 0, false
	case about[f].tries > 0:
		return percentile(all, about[f].tries), true
	}
	return median(all), true
}
