package trustroot

import "time"

// The times and bounds that tests wait for.
const (
	FirstRetry     = firstRetry
	LastRetry      = lastRetry
	FilePeriod     = filePeriod
	LookSpacing    = lookSpacing
	RefreshTimeout = refreshTimeout
	FileTimeout    = fileTimeout
	MaxTimestamp   = maxTimestamp
)

// PublicGoodRoot is publicGoodRoot.
var PublicGoodRoot = publicGoodRoot

// StoreName is the name of the file that keeps the state of a mirror's repository.
func StoreName(mirror string) string { return newStore("", mirror).name }

// Replay reads what a store holds, as it is read at a start, and returns the target.
func Replay(initial, stored []byte) ([]byte, error) {
	d, err := parseStored(stored)
	if err != nil {
		return nil, err
	}
	s, err := replay(initial, *d)
	if err != nil {
		return nil, err
	}
	return s.Target, nil
}

// Keep writes what stored holds, as after a refresh.
func Keep(dir, mirror string, initial, stored []byte) error {
	d, err := parseStored(stored)
	if err != nil {
		return err
	}
	s, err := replay(initial, *d)
	if err != nil {
		return err
	}
	s.Checked = d.Checked
	return newStore(dir, mirror).save(initial, s)
}

// Follow is the client's workflow with a repository of files: "1.root.json",
// "timestamp.json".
func Follow(initial []byte, files map[string][]byte, now time.Time) ([]byte, error) {
	s, err := follow(initial, nil, filed(files), now)
	if err != nil {
		return nil, err
	}
	return s.Target, nil
}

type filed map[string][]byte

func (f filed) metadata(role string, version int64, _ int64) ([]byte, error) {
	return f.file(role, version)
}

func (f filed) target(string, int64) ([]byte, error) { return f.file("target", 0) }

func (f filed) file(role string, version int64) ([]byte, error) {
	name := role
	if role == "root" {
		name = "root" + string(rune('0'+version%10))
	}
	if content, ok := f[name]; ok {
		return content, nil
	}
	return nil, errNone
}

// ParseAuthorities and ParseLogKey read the files of the environment.
var (
	ParseAuthorities = parseAuthorities
	ParseLogKey      = parseLogKey
	ParseMirror      = parseMirror
)

// Overlaid is a trust root whose parts are all in content.
func Overlaid(content []byte) ([]byte, error) {
	o := &overlay{fulcio: &watched[[]authority]{}, rekor: &watched[logKey]{}, ctlog: &watched[logKey]{}}
	var err error
	if o.fulcio.value, err = parseAuthorities(content); err == nil {
		return o.over(publicGoodRoot)
	}
	if o.rekor.value, err = parseLogKey(content); err != nil {
		return nil, err
	}
	o.ctlog.value = o.rekor.value
	return o.over(nil)
}
