package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/pod"
)

// The bounds of an answer. Those of a pod come first: they are what keeps one
// pod from costing the others their identity.
const (
	// maxPod is the longest description of a pod that is decoded; etcd takes
	// 1.5 MiB.
	maxPod = maxValue
	// maxMember is the longest member of the list that is not its items.
	maxMember = 64 << 10
	// maxDepth is how deep a pod's description may nest.
	maxDepth = 128
	// headLength is how much of a pod's beginning is taken for a hint of what
	// follows: the kubelet writes names and UID first, which the API server
	// bounds.
	headLength = 1 << 10
	// maxPods and maxKept bound the pods of an answer and what is kept of them.
	maxPods = 20_000
	maxKept = 64 << 20
)

var (
	errPodTooLong = fmt.Errorf("%w: its description is longer than 2 MiB", ErrLimit)
	errPodTooDeep = fmt.Errorf("%w: its description nests deeper than %d levels", ErrLimit, maxDepth)
	errTooMany    = fmt.Errorf("%w: more than %d pods", ErrLimit, maxPods)
	errTooMuch    = fmt.Errorf("%w: more than 64 MiB of names, labels and images", ErrLimit)
)

// decoder turns answers into indexes. It remembers the pods of the last good
// answer by a keyed hash of their bytes: most pods are the same in the next one
// and keep their records. It is not for concurrent use.
type decoder struct {
	log *slog.Logger
	// seed makes the hashes unpredictable: nobody can write a pod whose bytes
	// pass for another's.
	seed maphash.Seed
	// spare is the buffer for the next answer, nil if there is none worth keeping.
	spare []byte
	known map[fingerprint]*record
	// lengths has the lengths of those that begin with headLength bytes of that
	// hash: the end of one that did not change need not be searched for.
	lengths map[uint64]int
}

// fingerprint stands for the exact bytes of a pod's description.
type fingerprint struct {
	sum    uint64
	length int
}

// answer is one answer that is being decoded.
type answer struct {
	*decoder
	*scanner
	builder *pod.Builder
	// records are the pods so far, which become the known ones, and heads their
	// lengths.
	records map[fingerprint]*record
	heads   map[uint64]int
	// pods counts the list's elements, kept what is kept of them.
	pods, kept int
	// nameless counts the pods without a UID that were not in the last answer.
	nameless int
}

func newDecoder(log *slog.Logger) *decoder {
	return &decoder{log: log, seed: maphash.MakeSeed()}
}

// decode reads a list of pods that was asked for at that time. A pod that can't
// be decoded is a fault of the index; an error is *ResponseError or *readError
// and means that there is no index.
func (d *decoder) decode(body io.Reader, taken time.Time) (*pod.Index, error) {
	a := &answer{
		decoder: d,
		scanner: newScanner(body, d.spare),
		builder: pod.NewBuilder(taken, len(d.known)),
		records: make(map[fingerprint]*record, len(d.known)),
		heads:   make(map[uint64]int, len(d.lengths)),
	}
	err := a.list()
	d.spare = nil
	if len(a.buf) <= scanBuffer {
		d.spare = a.buf
	}
	if err != nil {
		return nil, asResponseError(err)
	}
	d.known, d.lengths = a.records, a.heads
	if a.nameless > 0 {
		d.log.Warn("pods without a UID are skipped", "count", a.nameless)
	}
	return a.builder.Index(), nil
}

var (
	errNoObject = errors.New("expected an object")
	errNoItems  = errors.New("expected an items array")
)

// asResponseError adds PARITY.md's words.
func asResponseError(err error) error {
	switch {
	case errors.As(err, new(*readError)):
		return err
	case errors.Is(err, errNoObject), errors.Is(err, errNoItems), errors.Is(err, ErrLimit):
		return &ResponseError{what: "invalid kubelet response", Err: err}
	}
	return &ResponseError{what: "unable to parse kubelet response", Err: err}
}

// list reads {"kind": ..., "items": [...]} in any order, up to the end of the
// stream.
func (a *answer) list() error {
	c, err := a.peek()
	if err != nil {
		return a.located(notEOF(err))
	}
	if c != '{' {
		return a.located(a.something())
	}
	a.pos++
	found := false
	err = a.object(func(name string) error {
		if name != "items" {
			return a.skip()
		}
		if found {
			return errors.New("items is there twice")
		}
		found = true
		return a.items()
	})
	if err != nil {
		return a.located(err)
	}
	if !found {
		return errNoItems
	}
	return a.located(a.finish())
}

// located adds where a stream ended that should not have.
func (a *answer) located(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it breaks off after %d bytes: %w", a.before+int64(a.end), err)
	}
	return err
}

// finish makes sure that nothing follows.
func (a *answer) finish() error {
	c, err := a.peek()
	switch {
	case err == nil:
		return a.unexpected("the end", c)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// something is for an answer that is no object: is it JSON at all?
func (a *answer) something() error {
	if err := a.skip(); err != nil {
		return err
	}
	if err := a.finish(); err != nil {
		return err
	}
	return errNoObject
}

// skip reads a value that nobody is interested in.
func (a *answer) skip() error {
	v, whole, err := a.value(maxMember)
	switch {
	case err != nil:
		return err
	case !whole:
		return fmt.Errorf("%w: a part that is not its items is longer than 64 KiB", ErrLimit)
	case !jsontext.Value(v).IsValid():
		return fmt.Errorf("invalid JSON before byte %d", a.offset())
	}
	return nil
}

func (a *answer) items() error {
	c, err := a.peek()
	switch {
	case err != nil:
		return notEOF(err)
	case c == '[':
		a.pos++
		return a.array(a.item)
	case c != 'n':
		return errNoItems
	}
	// encoding/json writes a nil slice as null.
	at := a.offset()
	v, whole, err := a.value(len("null"))
	if err == nil && (!whole || string(v) != "null") {
		err = fmt.Errorf("expected an array or null at byte %d", at)
	}
	return err
}

// item reads one pod.
func (a *answer) item() error {
	if a.pods++; a.pods > maxPods {
		return errTooMany
	}
	key, r, err := a.unchanged()
	if err == nil && r == nil {
		key, r, err = a.read()
	}
	if err != nil {
		return err
	}
	if r == nil {
		return a.skipRest()
	}
	a.records[key] = r
	if a.kept += r.size; a.kept > maxKept {
		return errTooMuch
	}
	switch {
	case r.fault != nil:
		a.builder.Fault(r.uid, r.fault)
	case r.pod != nil:
		a.builder.Add(r.pod)
	}
	return nil
}

// unchanged passes the next pod if it is one of the last answer, in the very same
// bytes, and returns its record; nil otherwise. A pod ends where its bytes say so:
// the same bytes end in the same place.
func (a *answer) unchanged() (fingerprint, *record, error) {
	if c, err := a.peek(); err != nil || c != '{' {
		return fingerprint{}, nil, notEOF(err)
	}
	begin, err := a.ahead(headLength)
	if err != nil || len(begin) < headLength {
		return fingerprint{}, nil, err
	}
	head := maphash.Bytes(a.seed, begin)
	length, ok := a.lengths[head]
	if !ok {
		return fingerprint{}, nil, nil
	}
	v, err := a.ahead(length)
	if err != nil || len(v) < length {
		return fingerprint{}, nil, err
	}
	key := a.fingerprint(v)
	r := a.known[key]
	if r != nil {
		a.pos += length
		a.heads[head] = length
	}
	return key, r, nil
}

// read passes the next pod, or its beginning, for which it returns no record, if it
// is too long.
func (a *answer) read() (fingerprint, *record, error) {
	v, whole, err := a.value(maxPod)
	if err != nil {
		return fingerprint{}, nil, err
	}
	if !whole {
		a.builder.Fault(findUID(v), errPodTooLong)
		return fingerprint{}, nil, nil
	}
	key := a.fingerprint(v)
	r := a.known[key]
	if r == nil {
		r = newRecord(v, a.deepest)
		if r.pod == nil && r.fault == nil {
			a.nameless++
		}
	}
	if len(v) >= headLength {
		a.heads[maphash.Bytes(a.seed, v[:headLength])] = len(v)
	}
	return key, r, nil
}

func (d *decoder) fingerprint(v []byte) fingerprint {
	return fingerprint{maphash.Bytes(d.seed, v), len(v)}
}

// findUID looks for metadata.uid in the beginning of a pod that can't be
// decoded, so that its fault is its own. Nothing else is believed of such a
// pod, and what it calls itself only ever takes something away.
func findUID(v []byte) string {
	const longest = 512
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if !enter(d) || !find(d, "metadata") || !enter(d) || !find(d, "uid") || d.PeekKind() != '"' {
		return ""
	}
	uid, err := d.ReadToken()
	if err != nil || len(uid.String()) > longest {
		return ""
	}
	return uid.String()
}

// enter passes an opening brace.
func enter(d *jsontext.Decoder) bool {
	if d.PeekKind() != '{' {
		return false
	}
	_, err := d.ReadToken()
	return err == nil
}

// find goes to the value of a member of the object that d is in.
func find(d *jsontext.Decoder, name string) bool {
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return false
		}
		if t.String() == name {
			return true
		}
		if d.SkipValue() != nil {
			return false
		}
	}
	return false
}
