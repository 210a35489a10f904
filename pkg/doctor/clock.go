package doctor

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
)

// tolerance is by how much two clocks may differ before it is worth a word. By maxSkew
// signatures and certificates are refused as being of the future.
const (
	tolerance = 5 * time.Second
	maxSkew   = 5 * time.Minute
)

// toldTime is what somebody else than the kubelet says of the time.
type toldTime struct {
	// text is a sentence with the time in it.
	text string
	// ahead is by how much that is ahead of this node's clock at least; negative
	// behind it.
	ahead time.Duration
}

func (x *examination) clock(context.Context) []Check {
	ask := x.Synchronised
	if ask == nil {
		ask = kernelSynchronised
	}
	synchronised, err := ask()
	return []Check{judgeClock(clockFacts{time.Now(), synchronised, err, x.inspection, x.times})}
}

// clockFacts is what tells of a wrong clock.
type clockFacts struct {
	now time.Time
	// synchronised is the kernel's word, if err is nil.
	synchronised bool
	err          error
	// inspection is nil where the kubelet was not asked.
	inspection *kubelet.Inspection
	told       []toldTime
}

func judgeClock(f clockFacts) Check {
	const set = "set this node's clock, and look at its time service (chronyd, systemd-timesyncd or ntpd)"
	if future := f.fromTheFuture(); len(future) > 0 {
		return failed(Clock, fmt.Sprintf("this node's clock is behind: it is %s here, and %s", stamp(f.now), future[0]), set, future[1:]...)
	}
	if off, told := offset(f.inspection); told && off.Abs() > tolerance {
		return warning(Clock, fmt.Sprintf("what answers at %s has a clock that is %v %s this node's, but the kubelet of this node shares its clock: this is likely another machine's",
			f.inspection.Address, off.Abs().Round(time.Second), ahead(off)),
			"look whether node_name (or the variable that node_name_env names) is this node's name, and at its address")
	}
	for _, t := range f.told {
		if t.ahead.Abs() > tolerance {
			return warning(Clock, fmt.Sprintf("it is %s here, and %s: one of the two clocks is wrong", stamp(f.now), t.text), set)
		}
	}
	switch {
	case f.err != nil:
		return skipped(Clock, "the kernel does not tell whether the clock is set by a time service: "+f.err.Error())
	case !f.synchronised:
		return warning(Clock, "the kernel says that no time service sets this node's clock: tokens and certificates are judged by it",
			"start a time service (chronyd, systemd-timesyncd or ntpd) on the node; in a virtual machine the host may set the clock without telling the kernel")
	}
	return ok(Clock, "a time service sets this node's clock, and nothing contradicts it")
}

// fromTheFuture are the things that can't be there yet by our clock.
func (f clockFacts) fromTheFuture() (found []string) {
	late := f.now.Add(tolerance)
	if i := f.inspection; i != nil {
		if t := i.Token; t != nil && t.IssuedAt.After(late) {
			found = append(found, fmt.Sprintf("the token (token_path) was issued at %s", stamp(t.IssuedAt)))
		}
		if t := i.Token; t != nil && t.NotBefore.After(late) {
			found = append(found, fmt.Sprintf("the token (token_path) is valid from %s", stamp(t.NotBefore)))
		}
		if c := i.Certificate; c != nil && c.NotBefore.After(late) {
			found = append(found, fmt.Sprintf("the kubelet's certificate is valid from %s", stamp(c.NotBefore)))
		}
		if c := i.ClientCertificate; c != nil && c.NotBefore.After(late) {
			found = append(found, fmt.Sprintf("the client certificate (certificate_path) is valid from %s", stamp(c.NotBefore)))
		}
	}
	for _, t := range f.told {
		if t.ahead > maxSkew {
			found = append(found, t.text)
		}
	}
	return found
}

// offset is how far the kubelet's clock is ahead at least; told is false where
// there was no date. The date is cut to whole seconds, and was written some time
// between question and answer.
func offset(i *kubelet.Inspection) (ahead time.Duration, told bool) {
	if i == nil || i.Date.IsZero() || i.Answered.IsZero() {
		return 0, false
	}
	return between(i.Date, i.Asked, i.Answered), true
}

// between is how far a clock is ahead at least that showed date between asked and
// answered.
func between(date, asked, answered time.Time) time.Duration {
	switch {
	case date.After(answered):
		return date.Sub(answered)
	case date.Add(time.Second).Before(asked):
		return date.Add(time.Second).Sub(asked)
	}
	return 0
}

func ahead(off time.Duration) string {
	if off < 0 {
		return "behind"
	}
	return "ahead of"
}

// kernelSynchronised asks the kernel, adjtimex(2), and changes nothing.
func kernelSynchronised() (bool, error) {
	const (
		timeError = 5    // TIME_ERROR
		unsync    = 0x40 // STA_UNSYNC
	)
	var t syscall.Timex // Modes 0: only read
	state, err := syscall.Adjtimex(&t)
	if err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	return state != timeError && t.Status&unsync == 0, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
