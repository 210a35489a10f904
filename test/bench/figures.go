package main

// figure is something that is measured of both sides in each round.
type figure int

// The figures, in the order of the table.
const (
	idleP50 figure = iota
	idleP99
	idleRequests
	loadP50
	loadCPU
	loadRequests
	emptyP50
	emptyCPU
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
	// target is the ratio, by number of pods, that podseal has to keep, and budget
	// the one that it is to get to.
	target, budget map[int]string
}{
	idleP50:       {"idle node, an attestation, p50", milliseconds, map[int]string{anyPods: "0.35"}, map[int]string{110: "0.25", 500: "0.2"}},
	idleP99:       {"idle node, an attestation, p99", milliseconds, nil, nil},
	idleRequests:  {"idle node, kubelet requests for one", count, nil, nil},
	loadP50:       {"back to back, an attestation, p50", milliseconds, nil, map[int]string{anyPods: "1.25 empty calls"}},
	loadCPU:       {"back to back, an attestation, CPU", milliseconds, nil, map[int]string{anyPods: "1.25 empty calls"}},
	loadRequests:  {"back to back, kubelet requests for 2,000", count, nil, nil},
	emptyP50:      {"empty call, p50", milliseconds, nil, nil},
	emptyCPU:      {"empty call, CPU", milliseconds, nil, nil},
	burstWall:     {"100 at once after a start, until all have it", milliseconds, nil, map[int]string{anyPods: "0.4"}},
	burstCPU:      {"100 at once after a start, CPU", milliseconds, nil, map[int]string{anyPods: "0.4"}},
	burstRequests: {"100 at once after a start, kubelet requests", count, nil, nil},
	startToAnswer: {"from the start to the first answer", milliseconds, nil, map[int]string{anyPods: "0.5"}},
	memoryBefore:  {"resident memory, nothing attested yet", mebibytes, nil, nil},
	memoryAfter:   {"resident memory after load", mebibytes, map[int]string{500: "0.2"}, map[int]string{500: "0.12"}},
	memoryPeak:    {"peak of resident memory", mebibytes, nil, nil},
}

// values are those of one round, in nanoseconds, bytes or pieces. Where a figure
// was measured several times in the round its value is their median.
type values [figures][2][]float64

func (v *values) add(f figure, side int, value float64) { v[f][side] = append(v[f][side], value) }

// results are the values of all rounds.
type results struct {
	sizes []int // numbers of pods, in the order in which they were measured
	// of has for each number of pods and each figure the values of both sides, of
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
		for side := range 2 {
			r.of[pods].add(f, side, median(round[f][side]))
		}
	}
}
