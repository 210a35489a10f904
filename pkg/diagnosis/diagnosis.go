// Package diagnosis is how failures are told to people: what is wrong, and what to
// do about it. Errors of the packages that ask others (the kubelet, the runtime,
// registries) have one; doctor and the command line show it.
package diagnosis

import "errors"

// Reason is a kind of failure, for those who branch on it. Each package has its
// own; that of one says nothing about another.
type Reason string

// Diagnosis is a failure for people. Cause and Remedy are one line each, fit for
// printing, and name the key, file, host or name that they are about. Neither is
// empty.
type Diagnosis struct {
	Reason Reason
	Cause  string
	Remedy string
}

// New returns a Diagnosis.
func New(reason Reason, cause, remedy string) Diagnosis {
	return Diagnosis{Reason: reason, Cause: cause, Remedy: remedy}
}

// String is cause and remedy in one line.
func (d Diagnosis) String() string { return d.Cause + ": " + d.Remedy }

// Of returns the diagnosis of err, or of the first error in it that has one; false
// where there is none.
func Of(err error) (Diagnosis, bool) {
	e, ok := errors.AsType[interface {
		error
		Diagnosis() Diagnosis
	}](err)
	if !ok {
		return Diagnosis{}, false
	}
	return e.Diagnosis(), true
}
