package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/verify"
)

// usedEvidence is the list of what signatures and attestations there are.
type usedEvidence struct {
	// Fetched is when the registry gave it, Stored whether that was before this
	// question.
	Fetched string  `json:"fetched"`
	Age     float64 `json:"age_seconds"`
	Stored  bool    `json:"stored"`
}

// usedRoot is a trust root that something was judged by.
type usedRoot struct {
	Origin string `json:"origin"`
	// Fetched is when it was last known to be the newest, or its file written.
	Fetched string  `json:"fetched,omitempty"`
	Age     float64 `json:"age_seconds"`
	Expires string  `json:"expires,omitempty"`
	// Problem is why it can't be refreshed.
	Problem string `json:"problem,omitempty"`
}

// used takes what the verdicts are by.
func (v *verifiedImage) used(r *verify.Result, now time.Time) {
	for _, i := range r.Images {
		if !i.Fetched.IsZero() {
			v.Evidence = &usedEvidence{Fetched: rfc3339(i.Fetched), Age: max(0, seconds(now.Sub(i.Fetched))), Stored: i.Stored}
		}
	}
	for _, verdict := range r.Verdicts {
		for _, a := range verdict.Authorities {
			if a.Root.Origin.Kind == "" {
				continue // keys alone, or none is there
			}
			root := usedRoot{Origin: a.Root.Origin.String(), Fetched: rfc3339(a.Root.Fetched), Age: seconds(a.Root.Age), Expires: rfc3339(a.Root.Expires)}
			if a.Root.Err != nil {
				root.Problem = a.Root.Err.Error()
			}
			if !slices.ContainsFunc(v.TrustRoots, func(u usedRoot) bool { return u.Origin == root.Origin && u.Fetched == root.Fetched }) {
				v.TrustRoots = append(v.TrustRoots, root)
			}
		}
	}
}

func (e usedEvidence) text() string {
	if !e.Stored {
		return "fetched now"
	}
	return fmt.Sprintf("kept, fetched %s ago", duration(e.Age))
}

func (r usedRoot) text() string {
	text := r.Origin
	if r.Fetched != "" {
		text += fmt.Sprintf(", of %s (%s ago)", r.Fetched, duration(r.Age))
	}
	if r.Expires != "" {
		text += ", expires " + r.Expires
	}
	if r.Problem != "" {
		text += "; it can't be refreshed: " + r.Problem
	}
	return text
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
