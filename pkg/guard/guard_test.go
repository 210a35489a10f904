package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/guard"
)

func TestDoReturnsTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	want := errors.New("sour milk")
	if got := guard.Do(func() error { return want }); !errors.Is(got, want) {
		t.Errorf("Do = %v, want %v", got, want)
	}
	if got := guard.Do(func() error { return nil }); got != nil {
		t.Errorf("Do = %v, want nil", got)
	}
}

func nilMap(m map[string]int) error {
	m["x"] = 1
	return nil
}

func TestAPanicIsAnErrorWithItsStackReportedOnce(t *testing.T) {
	t.Parallel()
	err := guard.Do(func() error {
		return nilMap(nil)
	})
	p, ok := errors.AsType[*guard.PanicError](err)
	if !ok {
		t.Fatalf("Do = %v, want a *PanicError", err)
	}
	if !strings.Contains(p.Error(), "nil map") {
		t.Errorf("Error() = %q, want the panic's value in it", p.Error())
	}
	if !strings.Contains(string(p.Stack), "TestAPanicIsAnErrorWithItsStackReportedOnce") {
		t.Errorf("the stack does not show where it happened:\n%s", p.Stack)
	}
	if !p.FirstReport() || p.FirstReport() {
		t.Error("FirstReport must be true once and then false")
	}
}
