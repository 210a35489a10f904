package store_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// each runs a test of what goes first with a store in memory and with one in a
// directory. flush waits until all is where it stays.
func each(t *testing.T, f func(t *testing.T, open func(store.Config) *store.Store, flush func())) {
	t.Parallel()
	for _, where := range []string{"memory", "directory"} {
		t.Run(where, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f(t, func(cfg store.Config) *store.Store {
					if where == "directory" {
						cfg.Dir = filepath.Join(t.TempDir(), "store")
					}
					return open(t, cfg)
				}, func() {
					synctest.Wait()
					time.Sleep(time.Second)
				})
			})
		})
	}
}

func present(s *store.Store, names ...string) (there []string) {
	for _, n := range names {
		if _, ok := s.Record(key(n)); ok {
			there = append(there, n)
		}
	}
	return there
}

func wantPresent(t *testing.T, s *store.Store, want string, names ...string) {
	t.Helper()
	if got := strings.Join(present(s, names...), " "); got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// ADVERSARIAL.md, row 45.
func TestANamespaceWithAThousandImagesEvictsItsOwn(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxRecords: 50})
		neighbours := []string{"a", "b", "c", "d"}
		for _, n := range neighbours {
			s.PutRecord(key(n), n, []byte(n), []image.Ref{put(t, s, n, body(1))})
			flush()
		}
		for i := range 1000 {
			name := fmt.Sprint("hostile", i)
			s.PutRecord(key(name), "hostile", []byte(name), []image.Ref{put(t, s, name, body(i))})
			if i%20 == 0 {
				flush()
			}
		}
		flush()
		wantPresent(t, s, "a b c d hostile999", "a", "b", "c", "d", "hostile0", "hostile953", "hostile999")
		for _, n := range neighbours {
			wantBlob(t, s, ref(t, n, body(1)), body(1))
		}
		if got := s.Status().Records; got != 50 {
			t.Errorf("there are %d records", got)
		}
	})
}

// The same with few but large images: it is the bytes that are taken from others.
func TestATenantWithLargeBlobsEvictsItsOwn(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxBytes: 1 << 20})
		for i := range 20 {
			name := fmt.Sprint("small", i)
			s.PutRecord(key(name), "small", []byte(name), []image.Ref{put(t, s, name, body(i))})
			flush()
		}
		large := make([]byte, 200<<10)
		for i := range 20 {
			name := fmt.Sprint("large", i)
			s.PutRecord(key(name), "large", []byte(name), []image.Ref{put(t, s, name, large)})
			flush()
		}
		wantPresent(t, s, "small0 small19 large19", "small0", "small19", "large0", "large15", "large19")
		if hasBlob(t, s, ref(t, "large0", large), large) {
			t.Error("a blob is there that only an evicted record needed")
		}
	})
}

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxRecords: 3})
		for _, n := range []string{"one", "two", "three"} {
			s.PutRecord(key(n), "ns", []byte(n), nil)
			flush()
		}
		wantRecord(t, s, key("one"), "one")
		flush()
		s.PutRecord(key("four"), "ns", nil, nil)
		flush()
		wantPresent(t, s, "one three four", "one", "two", "three", "four")
	})
}

// Looking at the directory again does not make all of it equally new.
func TestWhatWasUsedIsKnownAfterAScan(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxRecords: 8})
		for i := range 8 {
			s.PutRecord(key(fmt.Sprint(i)), "ns", body(i), nil)
			flush()
		}
		for i := 7; i >= 0; i-- {
			wantRecord(t, s, key(fmt.Sprint(i)), string(body(i)))
			flush()
		}
		time.Sleep(store.ScanPeriod)
		for i := range 5 {
			s.PutRecord(key(fmt.Sprint("new", i)), "ns", nil, nil)
			flush()
		}
		wantPresent(t, s, "0 1 2", "0", "1", "2", "3", "4", "5", "6", "7")
	})
}

func TestABlobThatTwoRecordsNeedStaysWithTheSecond(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxRecords: 2})
		shared, own := put(t, s, "app", body(1)), put(t, s, "app", body(2))
		s.PutRecord(key("one"), "ns", nil, []image.Ref{shared, own, own})
		flush()
		s.PutRecord(key("two"), "ns", nil, []image.Ref{shared})
		flush()
		s.PutRecord(key("three"), "ns", nil, nil)
		flush()
		wantPresent(t, s, "two three", "one", "two", "three")
		wantBlob(t, s, shared, body(1))
		if hasBlob(t, s, own, body(2)) {
			t.Error("what only the evicted record needed is there")
		}
	})
}

func TestPinnedOnesAreNeverEvicted(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		pinned := map[store.Key]bool{key("a"): true, key("b"): true, key("c"): true}
		var log syncBuffer
		s := open(store.Config{MaxRecords: 3, Pinned: func(k store.Key) bool { return pinned[k] }, Log: log.logger()})
		for _, n := range []string{"a", "b", "other"} {
			s.PutRecord(key(n), "ns", []byte(n), []image.Ref{put(t, s, n, body(1))})
			flush()
		}
		for i := range 100 {
			s.PutRecord(key(fmt.Sprint(i)), fmt.Sprint("ns", i), nil, nil)
			flush()
		}
		wantPresent(t, s, "a b 99", "a", "b", "other", "98", "99")
		wantBlob(t, s, ref(t, "a", body(1)), body(1))

		s.PutRecord(key("c"), "late", []byte("c"), nil)
		flush()
		for i := range 3 {
			s.PutRecord(key("new"), fmt.Sprint("ns", i), nil, nil)
			flush()
		}
		wantPresent(t, s, "a b c", "a", "b", "c", "99", "new")
		if got := log.count("there is no room"); got != 1 {
			t.Errorf("it is logged %d times:\n%s", got, log.String())
		}
		s.PutRecord(key("a"), "ns", []byte("newer"), nil)
		flush()
		wantRecord(t, s, key("a"), "newer")
	})
}

// Nobody is evicted for what does not stay.
func TestWhatDoesNotFitCostsNothing(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxBytes: 64 << 10, Pinned: func(k store.Key) bool { return k == key("pinned") }})
		pinned := put(t, s, "pinned", make([]byte, 20<<10))
		s.PutRecord(key("pinned"), "ns", []byte("pinned"), []image.Ref{pinned})
		flush()
		for _, n := range []string{"x", "y"} {
			s.PutRecord(key(n), "ns", []byte(n), []image.Ref{put(t, s, n, body(1))})
			flush()
		}
		s.PutRecord(key("huge"), "huge", make([]byte, 60<<10), nil)
		flush()
		s.PutRecord(key("pinned"), "ns", make([]byte, 60<<10), nil)
		flush()
		wantPresent(t, s, "pinned x y", "pinned", "x", "y", "huge")
		wantRecord(t, s, key("pinned"), "pinned")
		wantBlob(t, s, pinned, make([]byte, 20<<10))
		wantBlob(t, s, ref(t, "x", body(1)), body(1))
	})
}

func TestBlobsThatNoRecordNeedsGoWhenTheyAreOld(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxBytes: 128 << 10})
		content := func(i int) []byte { return append(make([]byte, 22<<10), body(i)...) }
		needed := put(t, s, "app", content(0))
		s.PutRecord(key("a"), "ns", []byte("a"), []image.Ref{needed})
		loose := []image.Ref{put(t, s, "app", content(1)), put(t, s, "app", content(2))}
		flush()
		time.Sleep(store.Young)
		wantBlob(t, s, loose[1], content(2)) // is used again
		for i := range 3 {
			s.PutRecord(key(fmt.Sprint(i)), fmt.Sprint(i), content(i), nil)
			flush()
		}
		if hasBlob(t, s, loose[0], content(1)) {
			t.Error("an old blob that no record needs is there")
		}
		wantBlob(t, s, loose[1], content(2))
		wantPresent(t, s, "a 0 1 2", "a", "0", "1", "2")
	})
}

// Blobs are put before it is known for whom they are. Who has many fetched that
// belong to nothing gets half of the place with them, and not all.
func TestAFloodOfBlobsThatNoRecordNeeds(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxBytes: 1 << 20})
		for i := range 10 {
			name := fmt.Sprint("app", i)
			s.PutRecord(key(name), name, make([]byte, 20<<10), []image.Ref{put(t, s, name, make([]byte, 16<<10))})
			flush()
		}
		for i := range 300 {
			put(t, s, "flood", append(make([]byte, 30<<10), body(i)...))
			if i%10 == 0 {
				flush()
			}
		}
		flush()
		for i := range 10 {
			name := fmt.Sprint("app", i)
			wantPresent(t, s, name, name)
			wantBlob(t, s, ref(t, name, make([]byte, 16<<10)), make([]byte, 16<<10))
		}
		newest := append(make([]byte, 30<<10), body(299)...)
		wantBlob(t, s, ref(t, "flood", newest), newest)
	})
}

// Each reference costs memory, even of a blob that is not there.
func TestManyReferencesAreBoundedInAll(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		s := open(store.Config{MaxRecords: 64})
		refs := make([]image.Ref, store.MaxRefs)
		s.PutRecord(key("few"), "few", nil, nil)
		for i := range 4 {
			for j := range refs {
				refs[j] = ref(t, fmt.Sprint("app", i), body(j))
			}
			flush()
			s.PutRecord(key(fmt.Sprint(i)), "many", nil, refs)
		}
		flush()
		wantPresent(t, s, "few 2 3", "few", "0", "1", "2", "3")
	})
}

func TestTheBoundsHoldWhateverIsPut(t *testing.T) {
	each(t, func(t *testing.T, open func(store.Config) *store.Store, flush func()) {
		cfg := store.Config{MaxBytes: 200 << 10, MaxRecords: 20, Pinned: func(k store.Key) bool { return k[0] < 30 }}
		s := open(cfg)
		random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- a test that does the same each time
		var refs []image.Ref
		for i := range 3000 {
			switch random.IntN(4) {
			case 0, 1:
				content := append(make([]byte, random.IntN(12<<10)), body(random.IntN(500))...)
				refs = append(refs, put(t, s, "app", content))
			case 2:
				var needs []image.Ref
				for range random.IntN(min(8, len(refs)+1)) {
					needs = append(needs, refs[len(refs)-1-random.IntN(min(len(refs), 20))])
				}
				s.PutRecord(key(fmt.Sprint(random.IntN(60))), fmt.Sprint(random.IntN(5)), make([]byte, random.IntN(8<<10)), needs)
			case 3:
				s.Record(key(fmt.Sprint(random.IntN(60))))
			}
			if random.IntN(10) == 0 {
				flush()
				time.Sleep(time.Duration(random.IntN(120)) * time.Second)
			}
			if err := s.Check(); err != nil {
				t.Fatalf("after %d: %v", i, err)
			}
		}
		flush()
		if got := s.Status(); got.Bytes > cfg.MaxBytes || got.Bytes < cfg.MaxBytes/2 || got.Records > 20 {
			t.Errorf("got %+v", got)
		}
		if dir := s.Status().Dir; dir != "" {
			if got := onDisk(t, dir); got != s.Status().Bytes+4096 {
				t.Errorf("%d bytes are in the directory, %d were counted", got, s.Status().Bytes)
			}
		}
	})
}
