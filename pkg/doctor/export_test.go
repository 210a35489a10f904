package doctor

import (
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
)

// Some of the judges, for tables of facts.
var (
	JudgeHostPID = judgeHostPID
	JudgeCgroups = judgeCgroups
	Span         = span
)

// JudgeClock is judgeClock.
func JudgeClock(now time.Time, synchronised bool, err error, i *kubelet.Inspection) Check {
	return judgeClock(clockFacts{now, synchronised, err, i})
}

// KernelSynchronised is what asks the kernel.
var KernelSynchronised = kernelSynchronised
