package pod

// MaxRoster is the bound on what a Roster remembers.
const MaxRoster = maxRoster
