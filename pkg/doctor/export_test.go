package doctor

// The judges, for tables of facts.
var (
	JudgeConfiguration = judgeConfiguration
	JudgeHostPID       = judgeHostPID
	JudgeCgroups       = judgeCgroups
	JudgeWay           = judgeWay
	JudgePods          = judgePods
	JudgeClock         = judgeClock
	JudgeTempDir       = judgeTempDir
	Span               = span
)

type (
	WayFacts   = wayFacts
	ClockFacts = clockFacts
)
