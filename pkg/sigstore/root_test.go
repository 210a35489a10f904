package sigstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func TestTheEmbeddedRoot(t *testing.T) {
	t.Parallel()
	r := sigstore.PublicGood()
	if r.IsEmpty() || r.Digest().IsZero() || r != sigstore.PublicGood() {
		t.Error("it is nothing")
	}
	if sigstore.PublicGoodDate.After(time.Now()) {
		t.Error("it is of the future")
	}
}

func TestARootIsKnownByItsBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if w.root.Digest() != image.Of(w.Root().JSON()) {
		t.Error("another digest")
	}
	empty, err := sigstore.ParseRoot([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	if err != nil || !empty.IsEmpty() {
		t.Errorf("an empty root: %v", err)
	}
}

func TestRootsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	change := func(f func(*sigstoretest.Root)) string {
		r := w.Root()
		f(&r)
		return string(r.JSON())
	}
	good := string(w.Root().JSON())
	for name, text := range map[string]string{
		"nothing":                          "",
		"null":                             "null",
		"an object":                        "{}",
		"a list":                           "[]",
		"truncated":                        good[:len(good)/2],
		"something behind it":              good + "{}",
		"another media type":               change(func(r *sigstoretest.Root) { r.MediaType = "application/json" }),
		"a member twice":                   strings.Replace(good, `{`, `{"tlogs":[],`, 1),
		"an unknown member":                strings.Replace(good, `{`, `{"x":1,`, 1),
		"a log twice":                      change(func(r *sigstoretest.Root) { r.Logs = slices.Repeat(r.Logs, 2) }),
		"a CT log twice":                   change(func(r *sigstoretest.Root) { r.CTLogs = slices.Repeat(r.CTLogs, 2) }),
		"a log without an ID":              change(func(r *sigstoretest.Root) { r.Logs[0].ID = nil }),
		"a log without a begin (row 14)":   change(func(r *sigstoretest.Root) { r.Logs[0].Valid.Start = time.Time{} }),
		"a log without a validity":         change(func(r *sigstoretest.Root) { r.Logs[0].Valid = sigstoretest.Period{} }),
		"a Fulcio without a certificate":   change(func(r *sigstoretest.Root) { r.Fulcios[0].Chain = nil }),
		"a Fulcio with what is none":       change(func(r *sigstoretest.Root) { r.Fulcios[0].Chain[0] = []byte("x") }),
		"a Fulcio of nine certificates":    change(func(r *sigstoretest.Root) { r.Fulcios[0].Chain = slices.Repeat(r.Fulcios[0].Chain[:1], 9) }),
		"129 Fulcios":                      change(func(r *sigstoretest.Root) { r.Fulcios = slices.Repeat(r.Fulcios, 129) }),
		"null logs":                        `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[null]}`,
		"more than 1 MiB":                  good + strings.Repeat(" ", 1<<20),
		"a million members":                `{"tlogs":[{}` + strings.Repeat(",{}", 200_000) + `]}`,
		"an authority that is only a leaf": change(func(r *sigstoretest.Root) { r.TSAs[0].Chain = r.TSAs[0].Chain[:1] }),
	} {
		if _, err := sigstore.ParseRoot([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}
