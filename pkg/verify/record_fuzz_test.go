package verify_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// What differs from process to process stands in the corpus under a name.
const (
	fuzzHost      = "127.0.0.1:5000"
	fuzzSignature = "THE-SIGNATURE"
)

// Whatever is in the store as a record: it is no panic, an image that nobody has signed
// is not accepted by it, and nor is a signed one without its signature.
func FuzzRecord(f *testing.F) {
	w := newWorld(f, sigstoretest.RegistryOptions{})
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	good := w.registry.PushImage("app", sigstoretest.Image{Content: "good", Tag: "1"})
	evil := w.registry.PushImage("app", sigstoretest.Image{Content: "evil"})
	theirs := w.registry.PushImage("theirs", sigstoretest.Image{Content: "theirs"})
	signature := w.sign(key, good.Ref.Digest, evidence.SimpleSigning, func(s *sigstoretest.Signature) { s.Witnesses = nil })
	w.registry.Attach(good.Ref, sigstoretest.Usual, signature)
	signed := signature.Annotations["dev.cosignproject.cosign/signature"]
	cfg := w.requires(f, authority(f)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}})))
	cfg.Ages = verify.Ages{TTL: 100 * 365 * 24 * time.Hour, StaleTTL: 100 * 365 * 24 * time.Hour, NegativeTTL: 100 * 365 * 24 * time.Hour}

	elsewhere := running(good)
	elsewhere.Containers[0].ImageID = theirs.Ref.String()
	pods := map[string]*pod.Pod{"good": running(good), "evil": running(evil), "elsewhere": elsewhere}
	kept := newTampered()
	asks := func(v *verify.Verifier) {
		for _, name := range []string{"good", "evil", "elsewhere"} {
			_, _ = v.Container(f.Context(), pods[name], &pods[name].Containers[0])
		}
	}
	asks(remembering(f, cfg, w.filled(f, cfg, asks), verify.RecordStatuses{}, kept))
	if len(kept.kept) != 3 {
		f.Fatalf("%d records", len(kept.kept))
	}
	general := strings.NewReplacer(w.registry.Host(), fuzzHost, signed, fuzzSignature)
	for _, record := range kept.kept {
		f.Add([]byte(general.Replace(string(record))))
		f.Add([]byte(general.Replace(strings.ReplaceAll(string(record), good.Ref.Digest.Hex(), evil.Ref.Digest.Hex()))))
		f.Add([]byte(general.Replace(strings.ReplaceAll(string(record), evil.Ref.Digest.Hex(), good.Ref.Digest.Hex()))))
	}
	f.Add([]byte(`{"fetched":"2026-01-01T00:00:00Z","version":"","elsewhere":true}`))
	special := strings.NewReplacer(fuzzHost, w.registry.Host(), fuzzSignature, signed)
	nobody := &shelf{before: away}

	// The way that the fuzzer takes leads to where an image is accepted.
	s := &tampered{Store: kept.Store, planted: []byte(special.Replace(general.Replace(string(kept.kept[0]))))}
	if _, err := remembering(f, cfg, nobody, verify.RecordStatuses{}, s).Container(f.Context(), pods["good"], &pods["good"].Containers[0]); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, template []byte) {
		record := []byte(special.Replace(string(template)))
		if again, err := verify.ParseRecord(record); err == nil {
			if once, err := verify.ParseRecord(again); err != nil || !bytes.Equal(again, once) {
				t.Fatalf("it reads in another way the second time: %v", err)
			}
		}
		for name, p := range pods {
			s := &tampered{Store: kept.Store, planted: record}
			_, err := remembering(t, cfg, nobody, verify.RecordStatuses{}, s).Container(t.Context(), p, &p.Containers[0])
			if _, ok := errors.AsType[*guard.PanicError](err); ok {
				t.Fatalf("%s: %+v", name, err)
			}
			if err == nil && (name != "good" || !bytes.Contains(record, []byte(good.Ref.Digest.Hex()))) {
				t.Fatalf("%s is accepted", name)
			}
		}
	})
}
