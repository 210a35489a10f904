package sigstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
)

// The signatures that the containers image library keeps for its tests, made by
// cosign and skopeo years ago: of keys, of a PKI, and of the public good instance.

// theirs reads one of their signatures, of an image whose manifest is beside it.
func theirs(t *testing.T, dir, name string) (evidence.Item, []image.Digest) {
	t.Helper()
	read := func(name string) []byte {
		at := filepath.Join(corpora(t), "containers-image", dir)
		text := readFile(t, at, name)
		if link := string(text); strings.HasPrefix(link, "../") { // what was a link
			return readFile(t, at, strings.TrimSpace(link))
		}
		return text
	}
	text, ok := bytes.CutPrefix(read(name), []byte("\x00sigstore-json\n"))
	if !ok {
		t.Fatalf("%s/%s is another kind of signature: %.20q", dir, name, text)
	}
	var layer struct {
		MimeType, Payload string
		Annotations       map[string]string
	}
	if err := json.Unmarshal(text, &layer); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(layer.Payload)
	if err != nil {
		t.Fatal(err)
	}
	found := evidence.Item{Format: evidence.SimpleSigning, Content: payload, Annotations: layer.Annotations}
	return found, []image.Digest{image.Of(read("manifest.json"))}
}

func TestSignaturesOfTheContainersImageLibrary(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(corpora(t), "containers-image")
	key := newKeys(t, sigstore.KeysConfig{PEM: [][]byte{readFile(t, dir, "cosign.pub")}})
	other := newKeys(t, sigstore.KeysConfig{PEM: [][]byte{readFile(t, dir, "cosign2.pub")}})
	logged := newKeys(t, sigstore.KeysConfig{PEM: [][]byte{readFile(t, dir, "cosign.pub"), readFile(t, dir, "cosign2.pub")}, RequireLog: true})
	pki := newPKI(t, sigstore.PKIConfig{PEM: append(readFile(t, dir, "pki_root_crts.pem"), readFile(t, dir, "pki_intermediate_crts.pem")...), AnyIdentity: true})
	fulcio := newKeyless(t, sigstore.KeylessConfig{AnyIdentity: true})
	for name, c := range map[string]struct {
		dir, signature string
		authority      *sigstore.Authority
		want           sigstore.Reason
	}{
		"a key's":                            {"dir-img-cosign-valid", "signature-1", key, ""},
		"a key's, with a tag":                {"dir-img-cosign-valid-with-tag", "signature-1", key, ""},
		"a key's second":                     {"dir-img-cosign-valid-2", "signature-2", key, ""},
		"another key's":                      {"dir-img-cosign-valid", "signature-1", other, sigstore.ReasonSignature},
		"an unknown key's":                   {"dir-img-cosign-mixed", "signature-1", key, sigstore.ReasonSignature},
		"beside an unknown key's":            {"dir-img-cosign-mixed", "signature-2", key, ""},
		"of another digest":                  {"dir-img-cosign-manifest-digest-error", "signature-1", key, sigstore.ReasonContent},
		"of a manifest that was changed":     {"dir-img-cosign-modified-manifest", "signature-1", key, sigstore.ReasonContent},
		"something else":                     {"dir-img-cosign-other-attachment", "signature-1", key, sigstore.ReasonMalformed},
		"a key's, in the log":                {"dir-img-cosign-key-rekor-valid", "signature-1", other, ""},
		"a key's that the log must have":     {"dir-img-cosign-key-rekor-valid", "signature-1", logged, ""},
		"a key's that the log does not have": {"dir-img-cosign-valid", "signature-1", logged, sigstore.ReasonLog},
		"a PKI's":                            {"dir-img-cosign-pki-valid", "signature-1", pki, ""},
		"a PKI's for a key":                  {"dir-img-cosign-pki-valid", "signature-1", key, sigstore.ReasonSignature},
		"a key's for a PKI":                  {"dir-img-cosign-valid", "signature-1", pki, sigstore.ReasonSigner},
		"Fulcio's":                           {"dir-img-cosign-fulcio-rekor-valid", "signature-1", fulcio, ""},
		"Fulcio's for a PKI":                 {"dir-img-cosign-fulcio-rekor-valid", "signature-1", pki, sigstore.ReasonCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, digests := theirs(t, c.dir, c.signature)
			got, err := c.authority.Signature(sigstore.PublicGood(), found, digests, time.Now())
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil {
				t.Logf("%q: %s %q, %q, at %s", got.ClaimedName(), got.SubjectType(), got.Subject(), got.Issuer(), got.Time())
			}
		})
	}
}
