package diagnosis_test

import (
	"errors"
	"testing"

	"github.com/podseal/podseal/pkg/diagnosis"
)

func TestKindsHaveANameAndARemedy(t *testing.T) {
	t.Parallel()
	kinds := diagnosis.Kinds{{"wet", "dry it"}, {"dark", "light a lamp"}}
	for kind, want := range map[int]diagnosis.Diagnosis{
		0: diagnosis.New("wet", "rain", "dry it"), 1: diagnosis.New("dark", "rain", "light a lamp"),
		2: diagnosis.New("kind 2", "rain", "look into it"), -1: diagnosis.New("kind -1", "rain", "look into it"),
	} {
		if got := kinds.Diagnose(kind, "rain"); got != want || kinds.Name(kind) != string(want.Reason) {
			t.Errorf("%d: %+v, %q, want %+v", kind, got, kinds.Name(kind), want)
		}
	}
}

func TestSeveralErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	wet, dark := errors.New("it is wet"), errors.New("it is dark")
	err := error(diagnosis.Several{wet, dark})
	if err.Error() != "it is wet; it is dark" || !errors.Is(err, wet) || !errors.Is(err, dark) {
		t.Errorf("got %v", err)
	}
}
