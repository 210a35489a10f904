package plugin

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/verify"
)

// A workload that can't be attested asks again and again. Its first failure of a
// kind is logged at once, the next ones once a minute with their number, so that
// no pod can fill the log. A pod can fail in a few ways only; maxFailures is for
// the number of pods, and processes in none share one entry.
const (
	failureInterval = time.Minute
	maxFailures     = 4096
)

// failureLog logs failed attestations.
type failureLog struct {
	log *slog.Logger

	mu   sync.Mutex // guards seen, not held while logging
	seen map[failure]*recurrence
}

// failure is what makes two failures the same.
type failure struct {
	podUID string
	step   attest.Step
	code   codes.Code
	// mode is set for what is not the attestation's failure, and policy is whose that is:
	// in a pod that fails one nobody could be told of another else.
	mode   policy.Mode
	policy string
}

type recurrence struct {
	logged     time.Time
	suppressed int
}

// attestation logs the failure of an attestation. pid is 0 where the call named
// a pod.
func (f *failureLog) attestation(pid int32, podUID string, r *attest.Report, err error) {
	suppressed, ok := f.admit(failure{podUID: podUID, step: r.Step, code: codeOf(err)})
	if !ok {
		return
	}
	f.log.Warn("attestation failed", append([]any{
		"pid", pid, "pod_uid", podUID, "container_id", r.Ref.ContainerID(), "step", r.Step, "reason", err, "suppressed", suppressed,
	}, policies(err)...)...)
}

// images logs what an attestation that went well did so in spite of: policies that
// don't hold and fail none, and old evidence.
func (f *failureLog) images(pid int32, r *attest.Report) {
	if r.Images == nil {
		return
	}
	for _, mode := range []policy.Mode{policy.Withhold, policy.Audit} {
		failures, suppressed := f.news(r, mode)
		if len(failures) == 0 {
			continue
		}
		message := "image policies don't hold: their selectors are withheld"
		if mode == policy.Audit {
			message = `image policies don't hold, and nothing follows but that their selectors are missing (mode = "audit")`
		}
		err := &verify.Error{Failures: failures}
		f.log.Warn(message, append([]any{"pid", pid, "pod_uid", r.Pod.UID, "reason", err, "suppressed", suppressed}, policies(err)...)...)
	}
	for _, v := range r.Images.Verdicts {
		if v.Stale.IsZero() {
			continue
		}
		if suppressed, ok := f.admit(failure{podUID: r.Pod.UID, step: attest.StepImages, mode: policy.Mode(policy.Stale), policy: v.Policy}); ok {
			f.log.Warn(`an image was verified by evidence from before its registry stopped to answer (on_unavailable = "stale")`,
				"pid", pid, "pod_uid", r.Pod.UID, "image_policy", v.Policy, "fetched", v.Stale, "suppressed", suppressed)
		}
	}
}

// news are those of the policies that were withheld in that mode which are to be logged
// now, and how many like them were not since the last.
func (f *failureLog) news(r *attest.Report, mode policy.Mode) (failures []verify.Failure, suppressed int) {
	isNew := map[string]bool{}
	for _, failed := range r.Images.Withheld {
		if failed.Mode != mode {
			continue
		}
		if _, known := isNew[failed.Policy]; !known {
			n, ok := f.admit(failure{podUID: r.Pod.UID, step: attest.StepImages, mode: mode, policy: failed.Policy})
			isNew[failed.Policy] = ok
			suppressed += n
		}
		if isNew[failed.Policy] {
			failures = append(failures, failed)
		}
	}
	return failures, suppressed
}

// policies says which image policies it was, and of which images, for those who
// look for them; the reasons of every candidate are in the error's text.
func policies(err error) []any {
	refused, ok := errors.AsType[*verify.Error](err)
	if !ok {
		return nil
	}
	var names, images []string
	for _, f := range refused.Failures {
		names, images = append(names, cmp.Or(f.Policy, string(f.Dialect))), append(images, f.Image)
	}
	return []any{"image_policy", joined(names), "image", joined(images)}
}

// joined sorts and quotes what may be a stranger's.
func joined(values []string) string {
	slices.Sort(values)
	var out []string
	for _, v := range slices.Compact(values) {
		if v != "" {
			out = append(out, printable(v))
		}
	}
	return strings.Join(out, ", ")
}

// ignored logs cgroups that look like a pod's but can't be trusted.
func (f *failureLog) ignored(pid int32, paths []string) {
	suppressed, ok := f.admit(failure{step: attest.StepContainer})
	if !ok {
		return
	}
	f.log.Warn("the process is in a cgroup that is named like a pod's but is not where this node's kubelet makes them: not a pod (any user may have made it; if the kubelet runs with --cgroup-root, set cgroup_root)",
		"pid", pid, "path", paths[0], "suppressed", suppressed)
}

// admit is whether to log a failure now, and how many like it were not logged
// since the last.
func (f *failureLog) admit(kind failure) (suppressed int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	r, known := f.seen[kind]
	switch {
	case known && now.Sub(r.logged) < failureInterval:
		r.suppressed++
		return 0, false
	case known:
		suppressed = r.suppressed
	case len(f.seen) >= maxFailures:
		f.forget(now)
		if len(f.seen) >= maxFailures {
			return 0, false
		}
	}
	if f.seen == nil {
		f.seen = make(map[failure]*recurrence)
	}
	f.seen[kind] = &recurrence{logged: now}
	return suppressed, true
}

// forget drops what did not happen lately.
func (f *failureLog) forget(now time.Time) {
	for kind, r := range f.seen {
		if now.Sub(r.logged) >= failureInterval {
			delete(f.seen, kind)
		}
	}
}
