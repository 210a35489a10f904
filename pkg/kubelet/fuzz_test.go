package kubelet_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
)

// FuzzDecode: no answer makes the decoder panic or keep a large buffer; the
// sizes in which it arrives and what was decoded before make no difference; and
// on valid JSON it sees what the oracle sees.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"PodList","items":[{"metadata":{"uid":"u"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := kubelet.NewDecoder(slog.New(slog.DiscardHandler))
		x, err := d.Decode(bytes.NewReader(body), time.Time{})
		again, errAgain := d.Decode(iotest.OneByteReader(bytes.NewReader(body)), time.Time{})
		if text(err) != text(errAgain) {
			t.Fatalf("errors differ: %v, %v", err, errAgain)
		}
		if err != nil {
			if _, ok := errors.AsType[*kubelet.ResponseError](err); !ok {
				t.Fatalf("error is %T: %v", err, err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !strconv.IsPrint(r) }) || len(err.Error()) > 3<<10 {
				t.Fatalf("not fit for a log: %q", err)
			}
			checkInvalid(t, body, err)
			return
		}
		if diff := cmp.Diff(byUID(x), byUID(again), cmpopts.IgnoreUnexported(pod.Pod{})); diff != "" {
			t.Fatalf("the second time it is different\n%s", diff)
		}
		checkAgainstOracle(t, body, x)
	})
}

// checkInvalid makes sure that a list which is one is not refused.
func checkInvalid(t *testing.T, body []byte, err error) {
	if errors.Is(err, kubelet.ErrLimit) || !jsontext.Value(body).IsValid() {
		return
	}
	if _, _, oracleErr := oracleList(body); oracleErr == nil {
		t.Fatalf("a good list is refused: %v", err)
	}
}

func checkAgainstOracle(t *testing.T, body []byte, x *pod.Index) {
	if !jsontext.Value(body).IsValid() {
		return // the oracle is for valid documents
	}
	want, unattributed, err := oracleList(body)
	if err != nil {
		t.Fatalf("the oracle refuses it: %v", err)
	}
	if errors.Is(x.Unattributed(), kubelet.ErrLimit) {
		return
	}
	if unattributed != (x.Unattributed() != nil) {
		t.Fatalf("a fault without a UID: %v, the oracle says %t", x.Unattributed(), unattributed)
	}
	for uid := range want {
		if _, err := x.ByUID(uid); errors.Is(err, kubelet.ErrLimit) {
			delete(want, uid)
		}
	}
	if diff := cmp.Diff(want, byUID(x), cmpopts.IgnoreUnexported(pod.Pod{}), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-oracle +decoder)\n%s", diff)
	}
}

func byUID(x *pod.Index) map[string]*pod.Pod {
	pods := make(map[string]*pod.Pod)
	for p := range x.All() {
		pods[p.UID] = p
	}
	return pods
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzFindUID: whatever the beginning of a pod looks like, nothing panics, and
// a UID is found only at its place.
func FuzzFindUID(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"x","uid":"u","lab`))
	f.Add([]byte(`{"spec":{"metadata":{"uid":"u"}},"metadata":[{"uid":"u"}]}`))
	f.Fuzz(func(t *testing.T, v []byte) {
		uid := kubelet.FindUID(v)
		if uid == "" || !jsontext.Value(v).IsValid() {
			return
		}
		if _, want := oracle(v); want != uid {
			t.Fatalf("found %q, want %q", uid, want)
		}
	})
}

// FuzzReadClaims: a token file may hold anything.
func FuzzReadClaims(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3NjcyMjU2MDB9.c2ln")
	f.Add("e30.eyJzdWIiOiJhG1siLCJhdWQiOlsiYSIsImIiXSwiaWF0IjoxLCJuYmYiOjIuNSwiZXhwIjozfQ.c2ln")
	f.Add("a.b.c")
	f.Add(strings.Repeat(".", 10))
	f.Fuzz(func(t *testing.T, token string) {
		c := kubelet.ReadClaims(token)
		for _, at := range []time.Time{c.IssuedAt, c.NotBefore, c.Expires} {
			if !at.IsZero() && (at.Unix() <= 0 || at.Year() > 100_000) {
				t.Fatalf("time %v", at)
			}
		}
		for _, s := range append(c.Audience, c.Subject) {
			if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || len(s) > 1000 {
				t.Fatalf("not fit for printing: %q", s)
			}
		}
	})
}
