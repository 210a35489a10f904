package doctor

import (
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/store"
)

// Some of the judges, for tables of facts.
var (
	JudgeHostPID = judgeHostPID
	JudgeCgroups = judgeCgroups
)

// JudgeClock is judgeClock.
func JudgeClock(now time.Time, synchronised bool, err error, i *kubelet.Inspection) Check {
	return judgeClock(clockFacts{now: now, synchronised: synchronised, err: err, inspection: i})
}

// JudgeClockTold is judgeClock with what somebody said of the time.
func JudgeClockTold(now time.Time, text string, ahead time.Duration) Check {
	return judgeClock(clockFacts{now: now, synchronised: true, told: []toldTime{{text, ahead}}})
}

// Between is how far a clock is ahead that showed date.
var Between = between

// JudgeEvidence is judgeEvidence.
func JudgeEvidence(s store.Status, readOnly bool, room uint64) Check {
	return judgeEvidence(evidenceFacts{Status: s, readOnly: readOnly, room: room})
}

// KernelSynchronised is what asks the kernel.
var KernelSynchronised = kernelSynchronised
