package sigstore

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/sigstore/cosign/v2/pkg/types"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/printable"
)

// statement is an in-toto statement: what is claimed (the predicate) of which
// content (the subjects).
type statement struct {
	predicateType string
	predicate     jsontext.Value
	subjects      []subject
}

type subject struct {
	// digest is the one under "sha256", zero if there is none of the right form.
	digest image.Digest
	// annotations are those with a string for a value.
	annotations map[string]string
}

// statementTypes are the versions of in-toto's attestation framework, which do not
// differ in what is read here.
var statementTypes = []string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}

// maxStatementMembers bounds a predicate's members and elements: a list of all
// that an image consists of has some hundred thousand.
const maxStatementMembers = 256 << 10

// parseStatement reads exactly the bytes that were signed. Unknown members are
// skipped, as in-toto demands.
func parseStatement(payload []byte) (*statement, error) {
	if err := shape(payload, maxStatementMembers); err != nil {
		return nil, err
	}
	found, err := members(payload, "_type", "subject", "predicateType", "predicate")
	if err != nil {
		return nil, err
	}
	version, err := text(found, "_type")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(statementTypes, version) {
		return nil, fmt.Errorf("_type is %.100q, not in-toto's", version)
	}
	s := &statement{predicate: found["predicate"]}
	if s.predicateType, err = text(found, "predicateType"); err != nil {
		return nil, err
	}
	if err := checkText(s.predicateType); err != nil {
		return nil, fmt.Errorf("predicateType: %w", err)
	}
	err = array(found["subject"], maxSubjects, func(value jsontext.Value) error {
		one, err := parseSubject(value)
		s.subjects = append(s.subjects, one)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	return s, nil
}

func parseSubject(data []byte) (s subject, err error) {
	found, err := members(data, "digest", "annotations")
	if err != nil {
		return s, err
	}
	n := 0
	err = object(found["digest"], func(algorithm string, value jsontext.Value) error {
		if n++; n > maxDigests {
			return fmt.Errorf("%w: more than %d digests", errLimit, maxDigests)
		}
		known, err := find([]string{"sha256"}, algorithm)
		if known {
			hex, err := text(map[string]jsontext.Value{"sha256": value}, "sha256")
			if err != nil {
				return err
			}
			// One in capitals or of another length is a digest of nothing that we
			// look for.
			s.digest, _ = image.ParseDigest("sha256:" + hex)
		}
		return err
	})
	if err != nil {
		return s, fmt.Errorf("digest: %w", err)
	}
	if s.annotations, err = stringMembers(found["annotations"]); err != nil {
		return s, fmt.Errorf("annotations: %w", err)
	}
	return s, nil
}

// stringMembers are the members of an object, or of none, that are strings.
func stringMembers(data jsontext.Value) (map[string]string, error) {
	if absent(data) {
		return nil, nil
	}
	found := map[string]string{}
	err := object(data, func(name string, value jsontext.Value) error {
		if value.Kind() != '"' {
			return nil
		}
		s, err := jsontext.AppendUnquote(nil, value)
		found[name] = string(s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// isSignature is whether the statement says nothing but that the image is signed.
// It depends on the signed bytes alone: the type that a manifest's annotation says
// costs an attacker nothing, and cosign itself has it wrong for attestations.
func (s *statement) isSignature() bool { return s.predicateType == types.CosignSignPredicateType }

// names returns the first candidate that is a subject, and that subject's
// annotations.
func (s *statement) names(candidates []image.Digest) (image.Digest, map[string]string, error) {
	for _, c := range candidates {
		for _, one := range s.subjects {
			if !c.IsZero() && one.digest == c {
				return c, one.annotations, nil
			}
		}
	}
	switch len(s.subjects) {
	case 0:
		return image.Digest{}, nil, refuse(ReasonContent, "the statement is about nothing: it has no subject")
	case 1:
		if d := s.subjects[0].digest; !d.IsZero() {
			return image.Digest{}, nil, refuse(ReasonContent, "the statement is about %s, which is none of what runs", d)
		}
	}
	return image.Digest{}, nil, refuse(ReasonContent, "none of the statement's subjects (%d) has the sha256 digest of what runs", len(s.subjects))
}

// checkText refuses text that would look different from what it is, or move a
// cursor, or end a line, in a selector, a log or a registration entry. Whoever
// gets such a text signed means harm.
func checkText(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("it is empty")
	case len(s) > maxText:
		return fmt.Errorf("%w: longer than %d bytes", errLimit, maxText)
	case printable.Line(s, 0) != s:
		return fmt.Errorf("%.100q has characters that don't show, or is no UTF-8", s)
	}
	return nil
}
