package verify

// The bounds of Ahead.
const (
	AheadDelay, AheadPace = aheadDelay, aheadPace
	AheadAtOnce           = aheadAtOnce
	AheadOfOne            = aheadOfOne
	AheadInAll            = aheadInAll
	AheadNames            = aheadNames
)
