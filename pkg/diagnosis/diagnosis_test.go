package diagnosis_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/podseal/podseal/pkg/diagnosis"
)

type flood struct{}

func (flood) Error() string { return "the river has left its bed" }

func (flood) Diagnosis() diagnosis.Diagnosis {
	return diagnosis.New("water", "the cellar is full of water", "pump it out")
}

func TestOfFindsTheDiagnosisWithinAnError(t *testing.T) {
	t.Parallel()
	d, ok := diagnosis.Of(fmt.Errorf("at home: %w", errors.Join(errors.New("dark"), flood{})))
	if want := (diagnosis.Diagnosis{Reason: "water", Cause: "the cellar is full of water", Remedy: "pump it out"}); !ok || d != want {
		t.Errorf("Of = %v, %v, want %v", d, ok, want)
	}
	if got, want := d.String(), "the cellar is full of water: pump it out"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}

func TestAnErrorWithoutADiagnosisHasNone(t *testing.T) {
	t.Parallel()
	if d, ok := diagnosis.Of(errors.New("dark")); ok {
		t.Errorf("Of = %v", d)
	}
}
