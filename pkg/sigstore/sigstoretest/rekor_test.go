package sigstoretest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// logged is an entry as Rekor v1 has it.
type logged struct {
	Body           []byte
	IntegratedTime int64
	LogID          string
	LogIndex       int64
}

// retrieve asks a log for entries.
func retrieve(t *testing.T, url string, ids ...string) []map[string]logged {
	t.Helper()
	query := fmt.Sprintf(`{"entryUUIDs":["%s"]}`, strings.Join(ids, `","`))
	resp, err := http.Post(url+"/api/v1/log/entries/retrieve", "application/json", strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var found []map[string]logged
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return found
}

func TestALogIsAskedForWhatItHas(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	server := sigstoretest.NewRekor(t, s.Rekor1)
	made := sigstoretest.Sign(sigstoretest.Signature{
		Signer: s.Keyless(sigstoretest.Identity{}), Digest: app, Witnesses: witnesses{s.Rekor1}, Break: sigstoretest.LogOnly,
	})
	if made.Format != evidence.SimpleSigning || made.Annotations["dev.sigstore.cosign/bundle"] != "" {
		t.Fatalf("it has an entry: %v", made.Annotations)
	}
	id := entryID(t, made)
	none := strings.Repeat("0", 64)
	if found := retrieve(t, server.URL(), none); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	for _, ids := range [][]string{{id}, {none, id}, {strings.Repeat("1", 16) + id}} {
		found := retrieve(t, server.URL(), ids...)
		if len(found) != 1 || len(found[0]) != 1 {
			t.Fatalf("found %v", found)
		}
		for name, e := range found[0] {
			if !strings.HasSuffix(name, id) || len(name) != 80 || e.IntegratedTime != sigstoretest.Time.Unix() {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	if n := len(server.Requests()); n != 4 {
		t.Errorf("%d requests", n)
	}
}

// entryID is the name of a signature's entry by Rekor's own code.
func entryID(t *testing.T, a *sigstoretest.Artefact) string {
	t.Helper()
	proposed, err := types.NewProposedEntry(t.Context(), "hashedrekord", "0.0.1", types.ArtifactProperties{
		ArtifactHash: image.Of(a.Content).String(), SignatureBytes: a.Parts.Signature,
		PublicKeyBytes: [][]byte{[]byte(a.Annotations["dev.sigstore.cosign/certificate"])}, PKIFormat: "x509",
	})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := types.UnmarshalEntry(proposed)
	if err != nil {
		t.Fatal(err)
	}
	body, err := types.CanonicalizeEntry(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append([]byte{0}, body...)) // RFC 6962, section 2.1
	return hex.EncodeToString(sum[:])
}

// Row 27: who asks a log for its key has no use for the answer.
func TestAClientThatAsksALogForMoreFailsItsTest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ method, path, kind, body string }{
		"the key":        {http.MethodGet, "/api/v1/log/publicKey", "", ""},
		"a new entry":    {http.MethodPost, "/api/v1/log/entries", "application/json", "{}"},
		"an index":       {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{"logIndexes":[1]}`},
		"nothing":        {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{"entryUUIDs":[]}`},
		"eleven":         {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{"entryUUIDs":["` + strings.Repeat(strings.Repeat("0", 64)+`","`, 10) + strings.Repeat("0", 64) + `"]}`},
		"half a hash":    {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{"entryUUIDs":["00"]}`},
		"no hash":        {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{"entryUUIDs":["` + strings.Repeat("x", 64) + `"]}`},
		"something else": {http.MethodPost, "/api/v1/log/entries/retrieve", "text/plain", `{}`},
		"no JSON":        {http.MethodPost, "/api/v1/log/entries/retrieve", "application/json", `{`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tb := &recorder{T: t}
			server := sigstoretest.NewRekor(tb, sigstoretest.NewLog(sigstoretest.LogOptions{}))
			q, err := http.NewRequestWithContext(t.Context(), c.method, server.URL()+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			q.Header.Set("Content-Type", c.kind)
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := tb.failed(); len(got) != 1 || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d, and the test failed with %q", resp.StatusCode, got)
			}
		})
	}
}
