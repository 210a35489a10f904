package realstack_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/podseal/podseal/test/realstack"
)

func TestEveryToolIsPinned(t *testing.T) {
	t.Parallel()
	root, err := realstack.SourceRoot()
	if err != nil {
		t.Fatal(err)
	}
	for name, pin := range realstack.Pins() {
		if _, err := realstack.RequiredVersion(filepath.Join(root, "test", "tools", pin[0], "go.mod"), pin[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnUnknownToolIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := realstack.Build(t.Context(), io.Discard, "kubelt"); err == nil {
		t.Error("no error")
	}
}

func TestASecondBuilderWaitsAndSaysSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := realstack.Lock(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	if _, err := realstack.Lock(ctx, path, func() { cancel(reason) }); !errors.Is(err, reason) {
		t.Errorf("a lock that is held: %v", err)
	}
	waited := false
	again, err := realstack.Lock(t.Context(), path, func() { waited = true; unlock() })
	if err != nil || !waited {
		t.Fatalf("waited %t, %v", waited, err)
	}
	again()
}
