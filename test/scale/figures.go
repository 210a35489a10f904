package main

import "time"

// figure is something that was measured. Without a command that gives it nobody
// measured it: what the tables would say from it alone is then left out, and
// where the simulation needs it to go on its value is a guess, which
// assumptions names.
type figure struct {
	value   float64
	command string
}

func (f figure) measured() bool { return f.command != "" }

// ms is a figure in milliseconds as a time.
func (f figure) ms() time.Duration { return time.Duration(f.value * float64(time.Millisecond)) }

const bench = "`make bench`"

// figures are those of a node with 110 pods of 10 KB, as docs/performance.md has
// them. This file is the only one to change when they were measured anew;
// `go generate ./test/scale` then writes the tables again.
type figures struct {
	// call and empty are the CPU time of an attestation that is answered from
	// what is there, and of one of a process in no pod, in ms.
	call, empty figure
	// fetch is the time from the start of a request for what is known of the
	// pods until it can be used, in ms: of a list over HTTPS, or of GetPod.
	fetch figure
	// first is the same of the first list after a start, with the connection and
	// every pod to be decoded, in ms.
	first figure
	// listTook is the time for all pods where fetch is about one, in ms.
	listTook figure
	// fetchCPU is the CPU time of the attestor for a fetch, and listCPU for a
	// list of all pods where fetch is about one, in ms.
	fetchCPU, listCPU figure
	// kubeletCPU and kubeletListCPU are the same of the kubelet.
	kubeletCPU, kubeletListCPU figure
	// bytes is what a fetch transfers, and listBytes a list of all pods where
	// fetch is about one.
	bytes, listBytes figure
	// memory and peak are what is resident because of the attestor, after load
	// and at most, in MiB.
	memory, peak figure
}

var builtInFigures = figures{
	call:  figure{1.52, bench + ": back to back, an attestation, CPU"},
	empty: figure{0.611, bench + ": empty call, CPU"},
	fetch: figure{37.1 - 1.27, bench + ": an attestation on an idle node less one back to back, p50"},
	first: figure{148, bench + ": from the start to the first answer"},
	bytes: figure{110 * 10593, bench + ": its last lines"},
	// The process that only links the attestor is the agent's, not its.
	memory: figure{121 - 39, bench + ": after load, less before anything was attested"},
	peak:   figure{140 - 39, bench + ": peak, less before anything was attested"},
	// To be measured: fetchCPU (an attestation on an idle node, CPU: not a row of
	// `make bench` yet), kubeletCPU (a real kubelet's, for a list of 110 pods).
}

var httpsFigures = figures{
	call:   figure{0.698, bench + ": back to back, an attestation, CPU"},
	empty:  figure{0.448, bench + ": empty call, CPU"},
	fetch:  figure{12.3 - 0.721, bench + ": an attestation on an idle node less one back to back, p50"},
	first:  figure{52.1, bench + ": from the start to the first answer"},
	bytes:  figure{110 * 10593, bench + ": its last lines"},
	memory: figure{22.3, bench + ": after load"},
	peak:   figure{22.8, bench + ": peak"},
	// To be measured: fetchCPU, kubeletCPU, as above.
}

var podsAPIFigures = figures{
	// Guesses without a command; call and empty are those of HTTPS until then.
	call:     figure{value: 0.698},
	empty:    figure{value: 0.448},
	fetch:    figure{value: 0.8},
	listTook: figure{value: 5},
	// To be measured: all of these, fetchCPU, listCPU, kubeletCPU, kubeletListCPU, bytes,
	// listBytes, memory, peak.
}
