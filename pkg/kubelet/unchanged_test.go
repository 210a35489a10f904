package kubelet_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/pod"
)

// What the decoder remembers of the answer before must never change what it makes
// of the next one, wherever that differs or breaks off.
func TestWhatIsRememberedChangesNoAnswer(t *testing.T) {
	t.Parallel()
	list := listing(t, 4)
	before, other := list(), list()
	for at := 0; at < len(other); at += 397 {
		for what, body := range map[string][]byte{
			"cut off":          other[:at],
			"a byte changed":   slices.Concat(other[:at], []byte("x"), other[at+1:]),
			"a byte more":      slices.Concat(other[:at], []byte("x"), other[at:]),
			"a byte less":      slices.Concat(other[:at], other[at+1:]),
			"a quote":          slices.Concat(other[:at], []byte(`"`), other[at+1:]),
			"a bracket more":   slices.Concat(other[:at], []byte("}"), other[at:]),
			"an opening brace": slices.Concat(other[:at], []byte("{"), other[at+1:]),
		} {
			d := quietDecoder()
			if x, err := d.Decode(bytes.NewReader(before), time.Time{}); err != nil || x.Len() != 4 {
				t.Fatal(x, err)
			}
			got, gotErr := d.Decode(iotest.HalfReader(bytes.NewReader(body)), time.Time{})
			want, wantErr := quietDecoder().Decode(bytes.NewReader(body), time.Time{})
			if text(gotErr) != text(wantErr) {
				t.Fatalf("%s at byte %d: error %v, want %v", what, at, gotErr, wantErr)
			}
			if wantErr != nil {
				continue
			}
			if diff := cmp.Diff(faults(want), faults(got)); diff != "" {
				t.Fatalf("%s at byte %d: faults (-want +got):\n%s", what, at, diff)
			}
			if diff := cmp.Diff(byUID(want), byUID(got), cmpopts.IgnoreUnexported(pod.Pod{})); diff != "" {
				t.Fatalf("%s at byte %d: pods (-want +got):\n%s", what, at, diff)
			}
		}
	}
}

func faults(x *pod.Index) map[string]string {
	texts := make(map[string]string)
	for uid, err := range x.Faults() {
		texts[uid] = err.Error()
	}
	return texts
}

// The beginning of a pod says only how long it may be.
func TestAPodThatBeginsAsBeforeIsReadAgain(t *testing.T) {
	t.Parallel()
	d := quietDecoder()
	long := string(bytes.Repeat([]byte("x"), 4<<10))
	image := func(of, rest string) string {
		return `{"items":[{"metadata":{"uid":"u","annotations":{"a":"` + long + `"}},"spec":{"containers":[{"name":"c","image":"` + of + `"}]}` + rest + `}]}`
	}
	for _, c := range []struct{ name, image, rest string }{
		{"at first", "one", ""}, {"the same", "one", ""}, {"as long", "two", ""}, {"longer", "three", ""}, {"shorter", "4", ""},
		{"with more behind what was all", "4", `,"status":{"phase":"Failed"}`}, {"as it was", "4", ""},
	} {
		x, err := d.Decode(bytes.NewReader([]byte(image(c.image, c.rest))), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := x.ByUID("u")
		switch completed := c.rest != ""; {
		case err != nil || p == nil || p.Completed != completed:
			t.Errorf("%s: %+v, %v", c.name, p, err)
		case !completed && p.Containers[0].SpecImage != c.image:
			t.Errorf("%s: %+v", c.name, p.Containers)
		}
	}
}
