package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// helperVar makes this program a process that a test may kill: it writes to the
// directory that the variable names for ever. namespaceVar says that a test is alone
// in a mount namespace of its own, in which it may mount over that directory.
const (
	helperVar    = "PODSEAL_STORE_HELPER"
	namespaceVar = "PODSEAL_STORE_NAMESPACE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVar); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// recordOf is the only body of a record with this number that is ever written: its
// first bytes say which version of it.
func recordOf(number, generation int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(generation)) // #nosec G115 -- a small number
	for sum := sha256.Sum256(fmt.Append(nil, number, generation)); len(b) < 3000; {
		b = append(b, sum[:]...)
	}
	return b
}

const numbers = 8

func writeForEver(dir string) {
	s := store.Open(store.Config{Dir: dir, MaxBytes: 16 << 20})
	for generation := os.Getpid()%numbers + 1; ; generation++ {
		number := generation % numbers
		content := fmt.Appendf(make([]byte, 20<<10), "%d of %d", generation%100, os.Getpid()%3)
		repository, err := image.ParseRepository("registry.example.org/app")
		if err != nil {
			panic(err)
		}
		r := image.Ref{Repository: repository, Digest: image.Of(content)}
		s.Put(r, mediaType, content)
		s.PutRecord(key(fmt.Sprint(number)), fmt.Sprint(number%3), recordOf(number, generation), []image.Ref{r})
		fmt.Println("writing")
		time.Sleep(100 * time.Microsecond)
	}
}

// wholeRecord returns the generation of a record, 0 if there is none.
func wholeRecord(t *testing.T, s *store.Store, number int) int {
	t.Helper()
	got, ok := s.Record(key(fmt.Sprint(number)))
	if !ok {
		return 0
	}
	if len(got) < 8 {
		t.Fatalf("a record of %d bytes", len(got))
	}
	generation := int(binary.BigEndian.Uint64(got)) // #nosec G115 -- a small number
	if !bytes.Equal(got, recordOf(number, generation)) {
		t.Fatalf("record %d of generation %d is not what was written", number, generation)
	}
	return generation
}

// start returns when the process writes.
func start(t *testing.T, dir string) (stop func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), helperVar+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stderr = &out
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.ReadFull(stdout, make([]byte, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, stdout) })
	return sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Error(out.String())
		}
	})
}

func TestKilledInTheMiddleOfWriting(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	var salt []byte
	var kept [numbers]bool
	for i := range 100 {
		stop := start(t, dir)
		time.Sleep(time.Duration(i%40) * time.Millisecond)
		stop()
		s := store.Open(store.Config{Dir: dir, MaxBytes: 16 << 20})
		for number := range numbers {
			there := wholeRecord(t, s, number) > 0
			if kept[number] && !there {
				t.Fatalf("after kill %d neither the old nor the new record %d is there", i, number)
			}
			kept[number] = there
		}
		switch status := s.Status(); {
		case status.Err != nil || status.Bytes > 16<<20:
			t.Fatalf("after kill %d: %+v", i, status)
		case salt != nil && !bytes.Equal(salt, s.Salt()):
			t.Fatalf("after kill %d there is another salt", i)
		}
		salt = s.Salt()
		s.Close()
	}
	if kept == [numbers]bool{} {
		t.Error("nothing was ever kept")
	}
	t.Logf("%d unfinished files are left", len(files(t, dir, store.Unfinished)))
}

func TestTwoProcessesAndTwoStoresOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	defer start(t, dir)()
	var wg sync.WaitGroup
	stores := []*store.Store{open(t, store.Config{Dir: dir, MaxBytes: 16 << 20}), open(t, store.Config{Dir: dir, MaxBytes: 1 << 20})}
	for i, s := range stores {
		for j := range 4 {
			wg.Go(func() {
				for generation := 1; generation < 100; generation++ {
					number := (generation + j) % numbers
					wholeRecord(t, s, number)
					s.PutRecord(key(fmt.Sprint(number)), "ns", recordOf(number, generation), []image.Ref{put(t, s, "app", body(generation))})
					hasBlob(t, s, ref(t, "app", body(generation/2)), body(generation/2))
					own := fmt.Sprint(i, j, generation)
					s.PutRecord(key(own), own, []byte(own), nil)
					hasRecord(t, s, key(own), own)
					s.Status()
				}
			})
		}
	}
	wg.Wait()
	for _, s := range stores {
		if err := errors.Join(s.Status().Err, s.Check()); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	s := open(t, store.Config{Dir: dir, MaxBytes: 16 << 20})
	there := 0
	for number := range numbers {
		if wholeRecord(t, s, number) > 0 {
			there++
		}
	}
	if there == 0 || !bytes.Equal(s.Salt(), stores[0].Salt()) || !bytes.Equal(s.Salt(), stores[1].Salt()) {
		t.Errorf("%d records are there", there)
	}
}
