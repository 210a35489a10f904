package rekor_test

import (
	"crypto"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// What is judged without the log's entry to lack nothing else counts with what the log
// answers, and as it would if it had been stored with it.
func TestWhatALogHasCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ca := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewCA(sigstoretest.CAOptions{})
	rsa, p384 := sigstoretest.NewKey(sigstoretest.RSA2048), sigstoretest.NewKey(sigstoretest.ECDSAP384)
	owner := ca.Signer(dev())
	private := made(t)(sigstore.NewPKI(sigstore.PKIConfig{
		PEM: ca.ChainPEM(), RequireLog: true, Identities: []sigstore.Identity{{Subject: sigstore.Exact("dev@example.org")}},
	}))
	intoto := func(e *sigstoretest.Entry) { e.Kind, e.Version = "intoto", "0.0.2" }
	for name, c := range map[string]struct {
		authority *sigstore.Authority
		signature sigstoretest.Signature
	}{
		"keyless signature":                {keyless(t), sigstoretest.Signature{}},
		"keyless attestation":              {keyless(t), sigstoretest.Signature{Format: evidence.Envelope}},
		"keyless attestation, intoto":      {keyless(t), sigstoretest.Signature{Format: evidence.Envelope, Entry: intoto}},
		"keyless signature in an envelope": {keyless(t), sigstoretest.Signature{Format: evidence.Envelope, PredicateType: sigstoretest.SignPredicate}},
		"key's signature":                  {keyed(t, key), sigstoretest.Signature{Signer: key}},
		"key's attestation":                {keyed(t, key), sigstoretest.Signature{Signer: key, Format: evidence.Envelope}},
		"RSA key's signature":              {keyed(t, rsa), sigstoretest.Signature{Signer: rsa}},
		"P-384 key's signature":            {keyed(t, p384), sigstoretest.Signature{Signer: p384}},
		"P-384 key's attestation":          {keyed(t, p384), sigstoretest.Signature{Signer: p384, Format: evidence.Envelope}},
		"private PKI's signature":          {private, sigstoretest.Signature{Signer: owner}},
		"key with a certificate beside it": {keyed(t, owner), sigstoretest.Signature{Signer: owner}},
		"key with a certificate that the log does not know": {keyed(t, owner), sigstoretest.Signature{
			Signer: owner, Entry: func(e *sigstoretest.Entry) { e.Certificate = nil },
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := item(t, w.unbundled(c.signature))
			before := maps.Clone(found.Annotations)
			_, err := w.judge(c.authority, found)
			complete, err := w.client.Complete(t.Context(), pay, found, keyOf(t, err)...)
			if err != nil {
				t.Fatal(err)
			}
			if at, err := w.judge(c.authority, complete); err != nil || !at.Equal(sigstoretest.Time) {
				t.Errorf("signed at %v, %v", at, err)
			}
			if diff := cmp.Diff(before, found.Annotations); diff != "" {
				t.Errorf("the item itself was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// The annotation is byte by byte what is stored with a signature that has it, but for
// white space and the order of members.
func TestTheAnnotationIsCosigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := sigstoretest.Signature{Signer: w.Keyless(dev()), Digest: app, Witnesses: witnesses{w.Rekor1}}
	full := item(t, sigstoretest.Sign(s))
	bare := full
	bare.Annotations = maps.Clone(full.Annotations)
	const name = "dev.sigstore.cosign/bundle"
	delete(bare.Annotations, name)
	got, err := w.client.Complete(t.Context(), pay, bare)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canonical(t, full.Annotations[name]), canonical(t, got.Annotations[name])); diff != "" {
		t.Errorf("-stored +asked for:\n%s", diff)
	}
}

func TestALogThatHasNoEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := sigstoretest.NewLog(sigstoretest.LogOptions{})
	_, err := w.client.Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{Witnesses: witnesses{other}})))
	if !errors.Is(err, rekor.ErrNoEntry) {
		t.Errorf("got %v", err)
	}
	if n := len(w.server.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// A log has an entry once in each of its trees. The oldest one is from when the
// certificate was valid.
func TestTheOldestOfSeveralEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	found := w.unbundled(sigstoretest.Signature{})
	body, err := rekor.Wanted(item(t, found))
	if err != nil {
		t.Fatal(err)
	}
	at := func(hours int64) *sigstoretest.LogEntry {
		e := w.Rekor1.Add(sigstoretest.Entry{Body: []byte(body[0])})
		e.IntegratedTime = sigstoretest.Time.Unix() + 3600*hours
		e.SignedEntryTimestamp = w.Rekor1.Promise(e)
		return e
	}
	w.server.Break(sigstoretest.Entries(at(3), at(0), at(2)))
	complete, err := w.client.Complete(t.Context(), pay, item(t, found))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := w.judge(keyless(t), complete); err != nil || !at.Equal(sigstoretest.Time) {
		t.Errorf("signed at %v, %v", at, err)
	}
}

func TestALogBelowAPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outer := httptest.NewServer(http.StripPrefix("/transparency", w.server))
	t.Cleanup(outer.Close)
	for _, path := range []string{"/transparency", "/transparency/"} {
		client := newClient(t, rekor.Config{URL: outer.URL + path})
		if _, err := client.Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{}))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestURLsThatAreNoLogs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "rekor.example.org", "ftp://rekor.example.org", "https://", "https://:443", "https://user@rekor.example.org",
		"https://user:hunter2@rekor.example.org", "https://rekor.example.org?x", "https://rekor.example.org?", "https://rekor.example.org#x", "https://user:hunter2@[::1", "unix:///run/rekor",
	} {
		_, err := rekor.New(rekor.Config{URL: url})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// What can't be asked for is no failure of the log.
func TestItemsThatALogIsNotAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	five := []crypto.PublicKey{key.Public()}
	for range 4 {
		five = append(five, sigstoretest.NewKey(sigstoretest.ECDSAP256).Public())
	}
	with := func(name, value string) func(*evidence.Item) {
		return func(i *evidence.Item) { i.Annotations[name] = value }
	}
	const certificate = "dev.sigstore.cosign/certificate"
	for name, c := range map[string]struct {
		signature sigstoretest.Signature
		change    func(*evidence.Item)
		keys      []crypto.PublicKey
	}{
		"a bundle":                    {signature: sigstoretest.Signature{Format: evidence.Bundle}},
		"neither certificate nor key": {signature: sigstoretest.Signature{Signer: key}},
		"five keys":                   {signature: sigstoretest.Signature{Signer: key}, keys: five},
		"no key":                      {signature: sigstoretest.Signature{Signer: key}, keys: []crypto.PublicKey{"key"}},
		"a certificate that is none":  {change: with(certificate, "certificate")},
		"two certificates":            {change: func(i *evidence.Item) { i.Annotations[certificate] += i.Annotations[certificate] }},
		"no signature":                {change: with("dev.cosignproject.cosign/signature", "")},
		"a signature that is none":    {change: with("dev.cosignproject.cosign/signature", "%")},
		"no JSON":                     {change: func(i *evidence.Item) { i.Content = []byte("{") }},
		"two payloads":                {signature: sigstoretest.Signature{Format: evidence.Envelope}, change: func(i *evidence.Item) { i.Content = []byte(`{"payloadType":"a","payloadType":"b"}`) }},
		"no signature in it":          {signature: sigstoretest.Signature{Format: evidence.Envelope}, change: func(i *evidence.Item) { i.Content = []byte(`{"payloadType":"a","signatures":[]}`) }},
		"a payload not in base64":     {signature: sigstoretest.Signature{Format: evidence.Envelope}, change: func(i *evidence.Item) { i.Content = []byte(`{"payloadType":"a","payload":"%","signatures":[{}]}`) }},
	} {
		found := item(t, w.unbundled(c.signature))
		if c.change != nil {
			c.change(&found)
		}
		_, err := w.client.Complete(t.Context(), pay, found, c.keys...)
		if _, ofLog := errors.AsType[*rekor.Error](err); err == nil || ofLog || errors.Is(err, rekor.ErrNoEntry) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	if n := len(w.server.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestEachKindHasADiagnosis(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, kind := range []rekor.Kind{rekor.Unavailable, rekor.Limit, rekor.Malformed} {
		d, ok := diagnosis.Of(&rekor.Error{Host: "rekor.example.org", Kind: kind, Err: errors.New("a\nb")})
		if !ok || d.Remedy == "" || seen[d.Remedy] || string(d.Reason) != kind.String() {
			t.Errorf("%s: %+v", kind, d)
		}
		if want := `log rekor.example.org: a\nb`; d.Cause != want {
			t.Errorf("the cause is %q, want %q", d.Cause, want)
		}
		seen[d.Remedy] = true
	}
}
