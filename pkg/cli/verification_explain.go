package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/pkg/verify"
)

// imageExplanation is how it came to that.
type imageExplanation struct {
	// Config is the digest of the image's configuration, which says what runs.
	Config string `json:"config,omitempty"`
	// Problems are what kept other manifests from being asked about.
	Problems []string     `json:"problems,omitempty"`
	Places   []askedPlace `json:"places"`
	// Candidates are what each authority says of everything that was found.
	Candidates []judgedCandidate `json:"candidates"`
}

// askedPlace is a digest in a repository that was asked.
type askedPlace struct {
	Place string `json:"place"`
	// Origin is why it was asked.
	Origin   string   `json:"origin,omitempty"`
	Found    []string `json:"found"`
	Problems []string `json:"problems,omitempty"`
}

type judgedCandidate struct {
	// Candidate is what it is and where it was found.
	Candidate string `json:"candidate"`
	// Policy is as in judgedPolicy, Authority the name of one of an image_policy.
	Policy    string `json:"policy"`
	Authority string `json:"authority,omitempty"`
	// Kind is "signature" or "attestation" for what counts.
	Kind    string `json:"kind,omitempty"`
	Counts  bool   `json:"counts"`
	Refusal string `json:"refusal,omitempty"`
	// Signer is who signed what counts.
	Signer *signer `json:"signer,omitempty"`
}

type signer struct {
	Issuer      string            `json:"issuer,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	SubjectType string            `json:"subject_type,omitempty"`
	Claims      map[string]string `json:"claims,omitempty"`
	// Key is the SHA-256 of the key's SubjectPublicKeyInfo.
	Key string `json:"key"`
	// Time is when a log or a timestamp authority saw it first.
	Time string `json:"time,omitempty"`
	// LogID is that of the transparency log that has it.
	LogID string `json:"log_id,omitempty"`
	// Digest is the content that was signed.
	Digest string `json:"digest"`
}

// explain adds what was found and what each authority says of it.
func (v *verifiedImage) explain(r *verify.Result) {
	e := &imageExplanation{Places: []askedPlace{}, Candidates: []judgedCandidate{}}
	v.Explanation = e
	for _, i := range r.Images {
		origins := map[image.Ref]string{}
		if i.Content != nil {
			e.Config = i.Content.Config.String()
			for _, c := range i.Content.Candidates {
				origins[c.Ref] = string(c.Origin)
			}
			for _, problem := range i.Content.Problems {
				e.Problems = append(e.Problems, problem.Error())
			}
		}
		for _, a := range i.Asked {
			place := askedPlace{Place: a.Ref.String(), Origin: cmp.Or(origins[a.Ref], "in the repository of the image ID"), Found: []string{}}
			for _, item := range a.Items {
				place.Found = append(place.Found, candidate(item))
			}
			for _, problem := range a.Problems {
				place.Problems = append(place.Problems, problem.Error())
			}
			e.Places = append(e.Places, place)
		}
	}
	for _, verdict := range r.Verdicts {
		for _, a := range verdict.Authorities {
			base := judgedCandidate{Policy: nameOf(verdict.Dialect, verdict.Policy), Authority: a.Name}
			for _, s := range a.Signatures {
				e.count(base, "signature", s)
			}
			for _, s := range a.Attestations {
				e.count(base, "attestation "+s.PredicateType(), s)
			}
			for _, refusal := range a.Refusals {
				c := base
				c.Candidate, c.Refusal = candidate(refusal.Item), refusal.Err.Error()
				e.Candidates = append(e.Candidates, c)
			}
		}
	}
}

func candidate(i evidence.Item) string { return fmt.Sprintf("%s from %s", i.Format, i.Source) }

// signed is a signature or an attestation that counts.
type signed interface {
	Item() evidence.Item
	Issuer() string
	Subject() string
	SubjectType() sigstore.SubjectType
	Claims() map[sigstore.Claim]string
	Time() time.Time
	LogID() string
	Key() image.Digest
	Digest() image.Digest
}

func (e *imageExplanation) count(c judgedCandidate, kind string, s signed) {
	c.Candidate, c.Kind, c.Counts = candidate(s.Item()), kind, true
	c.Signer = &signer{
		Issuer: s.Issuer(), Subject: s.Subject(), SubjectType: string(s.SubjectType()),
		Key: s.Key().String(), LogID: s.LogID(), Digest: s.Digest().String(),
	}
	c.Signer.Time = rfc3339(s.Time())
	for name, value := range s.Claims() {
		if c.Signer.Claims == nil {
			c.Signer.Claims = map[string]string{}
		}
		c.Signer.Claims[string(name)] = value
	}
	e.Candidates = append(e.Candidates, c)
}

func (e *imageExplanation) write(w *writer) {
	if e.Config != "" {
		w.sentence("configuration of what runs: ", terminal.Bold, e.Config)
	}
	for _, p := range e.Problems {
		w.sentence("not looked at: ", terminal.Warning, p)
	}
	var rows [][]terminal.Cell
	for _, p := range e.Places {
		found := append(append([]string{}, p.Found...), p.Problems...)
		if len(found) == 0 {
			found = []string{"nothing"}
		}
		for _, f := range found {
			rows = append(rows, []terminal.Cell{terminal.Text(p.Place), terminal.Text(p.Origin), terminal.Text(f)})
		}
	}
	if len(rows) > 0 {
		w.table([]string{"asked", "because it is", "found"}, rows)
	}
	rows = nil
	for _, c := range e.Candidates {
		by := c.Policy
		if c.Authority != "" {
			by += ", authority " + c.Authority
		}
		verdict := terminal.Bad.Text(c.Refusal)
		if c.Counts {
			verdict = terminal.Good.Text("counts as " + c.Kind + ": " + c.Signer.text())
		}
		rows = append(rows, []terminal.Cell{terminal.Text(c.Candidate), terminal.Text(by), verdict})
	}
	if len(rows) > 0 {
		w.table([]string{"candidate", "judged by", "verdict"}, rows)
	}
}

func (s *signer) text() string {
	text := "signed with the key " + s.Key
	if s.Subject != "" {
		text = "signed by " + s.Subject
	}
	if s.Issuer != "" {
		text += ", for whom " + s.Issuer + " vouches"
	}
	if s.Time != "" {
		text += ", at " + s.Time
	}
	if s.LogID != "" {
		text += ", in the log " + s.LogID
	}
	return text
}
