package podsapi

import (
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/printable"
)

// The bounds of one pod's description, and of what is kept of it.
const (
	// maxPod is the longest that is decoded; etcd takes 1.5 MiB.
	maxPod    = 2 << 20
	maxRecord = 256 << 10
)

var errPodTooLong = fmt.Errorf("%w: its description is longer than 2 MiB", ErrLimit)

// record is what became of one pod's description: a pod or a fault. It is
// immutable.
type record struct {
	// uid is empty where a fault left nothing of it to be read.
	uid   string
	pod   *pod.Pod
	fault error
	// size is about how much memory is kept.
	size int
	// print stands for the exact bytes of the description.
	print fingerprint
}

// fingerprint tells descriptions apart by a keyed hash: nobody can write a pod
// whose bytes pass for another's, or for its own of before.
type fingerprint struct {
	sum    uint64
	length int
}

func fingerprintOf(seed maphash.Seed, b []byte) fingerprint {
	return fingerprint{maphash.Bytes(seed, b), len(b)}
}

// newRecord decodes a v1.Pod. It keeps nothing of b.
func newRecord(b []byte, print fingerprint) *record {
	p, size, err := decodePod(b)
	if err != nil {
		return &record{uid: findUID(b), fault: newUndecodable(err), size: 1 << 10, print: print}
	}
	return &record{uid: p.UID, pod: p, size: size, print: print}
}

// undecodable is why a pod can't be decoded, fit for printing: it may quote the
// pod.
type undecodable struct {
	text  string
	limit bool
}

func newUndecodable(err error) error {
	return &undecodable{printable.Line(err.Error(), 300), errors.Is(err, ErrLimit)}
}

func (e *undecodable) Error() string { return e.text }

// Is makes it an ErrLimit if it is one.
func (e *undecodable) Is(target error) bool { return e.limit && target == ErrLimit }

func decodePod(b []byte) (*pod.Pod, int, error) {
	if len(b) > maxPod {
		return nil, 0, errPodTooLong
	}
	var w wirePod
	if err := each(b, w.visit); err != nil {
		return nil, 0, err
	}
	p := w.pod()
	if p.UID == "" {
		return nil, 0, errors.New("it has no UID")
	}
	if id, twice := p.RepeatedID(); twice {
		return nil, 0, fmt.Errorf("two of its containers have the ID %q", clip(id))
	}
	p = p.Kept()
	size := p.Size()
	if size > maxRecord {
		return nil, 0, fmt.Errorf("%w: its names, labels, owners and images are longer than 256 KiB", ErrLimit)
	}
	return p, size, nil
}

// findUID looks for metadata.uid in a pod that can't be decoded, so that its
// fault is its own, or in one of which nothing else is wanted. Of a long one it
// reads no more than the fields before the metadata, which comes first.
func findUID(b []byte) string {
	const longest = 512
	var uid string
	errFound := errors.New("found")
	_ = each(b, func(f field) error {
		if f.number != podMetadata {
			return nil
		}
		m, err := f.message()
		if err != nil {
			return err
		}
		err = each(m, func(f field) error {
			if f.number == metaUID {
				return f.text(&uid)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return errFound
	})
	if len(uid) > longest {
		return ""
	}
	return uid
}

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
