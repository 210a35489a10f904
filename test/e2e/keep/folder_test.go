package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holdVar makes this test binary a process that holds a folder's lock.
const holdVar = "PODSEAL_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdVar); path != "" {
		fmt.Println(folder(path).hold())
		_, _ = os.Stdin.Read(make([]byte, 1)) // the test closes it, or is gone
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts a process that tries to hold the folder, and returns it with what
// it says of that.
func startHolder(t *testing.T, f folder) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVar+"="+string(f))
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

func newFolder(t *testing.T) folder {
	t.Helper()
	f, err := openFolder(filepath.Join(t.TempDir(), "cache", "e2e"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheFolderIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	if err := os.Chmod(string(f), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(string(f)); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(f.kubeconfig(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{string(f): 0o700, f.kubeconfig(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestTheKernelSaysWhoHoldsTheFolder(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	if pid, err := f.holder(); pid != 0 || err != nil {
		t.Errorf("of a new folder: %d, %v", pid, err)
	}
	first, said := startHolder(t, f)
	if said != "<nil>\n" {
		t.Fatalf("the first: %q", said)
	}
	if _, said := startHolder(t, f); said != errHeld.Error()+"\n" {
		t.Errorf("the second: %q", said)
	}
	if pid, err := f.holder(); pid != first.Process.Pid || err != nil {
		t.Errorf("process %d, %v; want %d", pid, err, first.Process.Pid)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if pid, err := f.holder(); pid != 0 || err != nil {
		t.Errorf("after a kill: %d, %v", pid, err)
	}
	if _, said := startHolder(t, f); said != "<nil>\n" {
		t.Errorf("the next: %q", said)
	}
}

func TestEndEndsTheHolderAndNobodyElse(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	other, _ := startHolder(t, newFolder(t))
	held, _ := startHolder(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.end(ctx, other.Process.Pid); err == nil {
		t.Error("a process that does not hold the lock was ended")
	}
	if err := f.end(ctx, held.Process.Pid); err != nil {
		t.Error(err)
	}
	if pid, err := f.holder(); pid != 0 || err != nil {
		t.Errorf("held by %d, %v", pid, err)
	}
	if err := other.Process.Signal(os.Interrupt); errors.Is(err, os.ErrProcessDone) {
		t.Error("another process was ended")
	}
}

func TestARecordIsItsKeepersOnly(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	want := &record{Keeper: 7, Inside: 8, Machine: "/tmp/m", site: site{Kubectl: "/k", Path: []string{"/p"}}}
	if r, err := f.running(7); r != nil || err != nil {
		t.Errorf("before: %v, %v", r, err)
	}
	if err := writeJSON(f.recorded(), want); err != nil {
		t.Fatal(err)
	}
	if r, err := f.running(6); r != nil || err != nil {
		t.Errorf("of another: %v, %v", r, err)
	}
	r, err := f.running(7)
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(record{})); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := writeJSON(f.recorded(), &record{Keeper: 7, Machine: "/tmp/m"}); err != nil {
		t.Fatal(err)
	}
	if r, err := f.running(7); r != nil || err != nil {
		t.Errorf("before all is up: %v, %v", r, err)
	}
	if err := f.tidy(t.Output()); err == nil {
		t.Error("a folder that is no machine's is to be removed, and that is no error")
	}
}

func TestWordsAreQuotedForAShell(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{"/a/b-c_1.2+3": "/a/b-c_1.2+3", "/my folder": "'/my folder'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := quote(word); got != want {
			t.Errorf("%s: %s", word, got)
		}
	}
}
