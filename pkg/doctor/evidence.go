package doctor

import (
	"context"
	"fmt"
	"syscall"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/store"
)

// Evidence is where evidence is kept over restarts: a *store.Store.
type Evidence interface{ Status() store.Status }

// leastRoom is the room below which a disk counts as full, in bytes: that of a few
// images' evidence.
const leastRoom = 16 << 20

// evidence looks at the directory where evidence is kept. It writes nothing there.
func (x *examination) evidence(context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return []Check{skipped(EvidenceStore, because(Configuration))}
	case !x.Settings.Images:
		return []Check{ok(EvidenceStore, "nothing is kept, as nothing is asked of images")}
	case x.Settings.CacheDir == "":
		return []Check{ok(EvidenceStore, "evidence is kept in memory, as cache.dir is not set: after a restart registries are asked for everything again")}
	case x.Evidence == nil:
		return []Check{ok(EvidenceStore, fmt.Sprintf("%q (cache.dir) is not there yet: the plugin makes it", x.Settings.CacheDir))}
	}
	f := evidenceFacts{Status: x.Evidence.Status()}
	f.readOnly, f.room, f.roomErr = roomIn(x.Settings.CacheDir)
	return []Check{judgeEvidence(f)}
}

// evidenceFacts is what the directory is like.
type evidenceFacts struct {
	store.Status
	readOnly bool
	room     uint64 // bytes that this user may still write there
	roomErr  error
}

func judgeEvidence(f evidenceFacts) Check {
	const meanwhile = "; until then what is new is kept in memory, and fetched again after a restart"
	holds := fmt.Sprintf("%q (cache.dir) holds %s of evidence in %d bytes", f.Dir, count(f.Records, "record"), f.Bytes)
	switch d, diagnosed := diagnosis.Of(f.Err); {
	case diagnosed:
		return warning(EvidenceStore, d.Cause, d.Remedy)
	case f.Err != nil:
		return warning(EvidenceStore, f.Err.Error(), "look at the directory, or name another one in cache.dir"+meanwhile)
	case f.roomErr != nil:
		return ok(EvidenceStore, holds)
	case f.readOnly:
		return warning(EvidenceStore, holds+", but it is on a file system that may not be written to", "mount that file system for writing, or name another directory in cache.dir"+meanwhile)
	case f.room < leastRoom:
		return warning(EvidenceStore, fmt.Sprintf("%s, but there is room for %d more only", holds, f.room), "make room on that disk, or name a directory on another one in cache.dir"+meanwhile)
	}
	return ok(EvidenceStore, holds)
}

// roomIn asks the kernel about the file system of a directory, statfs(2).
func roomIn(dir string) (readOnly bool, room uint64, err error) {
	const rdonly = 0x1 // ST_RDONLY
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false, 0, err
	}
	return s.Flags&rdonly != 0, s.Bavail * uint64(s.Bsize), nil // #nosec G115 -- a block's size is positive
}
