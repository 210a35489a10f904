package main

import "time"

// figure is something that was measured, with the command that gives it.
type figure struct {
	value   float64
	command string
}

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

// askedImage is what a registry is asked about one image by one node, as a pod's spec
// names the image and as it was signed.
type askedImage struct {
	byTag, index bool
	signature    string // by how it is stored, "" for none
	tokens       bool   // that the registry gives, as many public ones do
	// first is how many requests that takes on a node that has nothing of the image,
	// again how many when the list of signatures is to be renewed; with tokens, when
	// the last one is not good any more.
	first, again int
}

const (
	sigTag = "`.sig`"
	bundle = "bundle"
)

// askedImages are counted by a test, with a key and keyless: those are asked alike.
var askedImages = []askedImage{
	{byTag: true, signature: sigTag, first: 7, again: 5},
	{byTag: true, signature: bundle, first: 8, again: 5},
	{byTag: true, first: 6, again: 5},
	{byTag: true, index: true, signature: sigTag, first: 12, again: 9},
	{byTag: true, index: true, signature: bundle, first: 13, again: 9},
	{byTag: true, index: true, first: 11, again: 9},
	{byTag: true, index: true, signature: bundle, tokens: true, first: 15, again: 11},
	{signature: bundle, first: 7, again: 4},
	{index: true, signature: sigTag, first: 11, again: 8},
	{index: true, signature: bundle, first: 12, again: 8},
}

// typical is the image that scenarios are about, and unsigned the same without a
// signature.
var (
	typical  = askedOf(true, true, bundle)
	unsigned = askedOf(true, true, "")
)

func askedOf(byTag, index bool, signature string) askedImage {
	for _, a := range askedImages {
		if a.byTag == byTag && a.index == index && a.signature == signature && !a.tokens {
			return a
		}
	}
	panic("there is no such image among those that are asked about")
}

// verificationCPU is the CPU time of a verification for which nothing was kept, in ms.
var verificationCPU = figure{5.5, verifying + ": keyless, a bundle, an index"}

// askedMirror is how many requests the mirror of a trust root answers, a TUF repository:
// for a node that has nothing of it, if the root metadata that trust begins with is
// the newest; when nothing is new but the time stamp; and when the trust root is
// another. A test counts them.
var askedMirror = struct{ first, again, news int }{first: 5, again: 2, news: 5}

const verifying = "`go test -run '^$' -bench . ./pkg/verify`"

var builtInFigures = figures{
	call:       figure{1.28, bench + ": back to back, an attestation, CPU"},
	empty:      figure{0.550, bench + ": empty call, CPU"},
	fetch:      figure{32.1 - 1.07, bench + ": an attestation on an idle node less one back to back, p50"},
	first:      figure{111, bench + ": from the start to the first answer"},
	fetchCPU:   figure{41.9 - 1.28, bench + ": an attestation on an idle node less one back to back, CPU"},
	kubeletCPU: figure{3.16 + 11.9, bench + ": CPU of the stand-in for one, and encoding the list, of its last lines"},
	bytes:      figure{110 * 10593, bench + ": its last lines"},
	// The process that only links the attestor is the agent's, not its.
	memory: figure{120 - 39, bench + ": after load, less before anything was attested"},
	peak:   figure{142 - 39, bench + ": peak, less before anything was attested"},
}

var httpsFigures = figures{
	call:       figure{0.593, bench + ": back to back, an attestation, CPU"},
	empty:      figure{0.417, bench + ": empty call, CPU"},
	fetch:      figure{5.43 - 0.604, bench + ": an attestation on an idle node less one back to back, p50"},
	first:      figure{34.5, bench + ": from the start to the first answer"},
	fetchCPU:   figure{4.01 - 0.593, bench + ": an attestation on an idle node less one back to back, CPU"},
	kubeletCPU: figure{3.41 + 11.9, bench + ": CPU of the stand-in for one, and encoding the list, of its last lines"},
	bytes:      figure{110 * 10593, bench + ": its last lines"},
	memory:     figure{22.6, bench + ": after load"},
	peak:       figure{23.0, bench + ": peak"},
}

var podsAPIFigures = figures{
	call:           figure{0.679, bench + ": back to back, an attestation, CPU"},
	empty:          figure{0.484, bench + ": empty call, CPU"},
	fetch:          figure{0.984, bench + ": GetPod by a bare client, p50"},
	listTook:       figure{6.19, bench + ": ListPods by a bare client, p50"},
	first:          figure{17.2, bench + ": from the start to the first answer"},
	fetchCPU:       figure{2.08 - 0.679, bench + ": an attestation on an idle node less one back to back, CPU"},
	listCPU:        figure{4.54, bench + ": ListPods by a bare client, CPU"},
	kubeletCPU:     figure{0.800, bench + ": CPU of the stand-in for one"},
	kubeletListCPU: figure{6.72, bench + ": ListPods, CPU of the stand-in"},
	bytes:          figure{6089, bench + ": its last lines"},
	listBytes:      figure{110 * 6089, bench + ": its last lines"},
	memory:         figure{21.2, bench + ": after load"},
	peak:           figure{22.8, bench + ": peak"},
}
