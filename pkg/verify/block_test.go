package verify_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// The built-in attestor's selectors, and those of before, for every form in which a
// keyless signature is stored: what is expected is taken from what was signed, not
// from what was verified.
func TestTheSelectorsOfTheBlockForEveryKindOfSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	for i, at := range []struct {
		format evidence.Format
		place  sigstoretest.Place
	}{
		{evidence.SimpleSigning, sigstoretest.SigTag},
		{evidence.Bundle, sigstoretest.Referrers},
		{evidence.Bundle, sigstoretest.FallbackTag},
	} {
		for j, witnesses := range [][]sigstoretest.Witness{{w.Rekor1}, {w.Rekor2, w.TSA}, {w.TSA}} {
			for _, older := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%d/older=%t", at.format, at.place, j, older), func(t *testing.T) {
					t.Parallel()
					app := w.registry.PushImage(fmt.Sprintf("block/%d-%d-%t", i, j, older), sigstoretest.Image{Content: "app", Tag: "1"})
					artefact := w.sign(w.dev(), app.Ref.Digest, at.format, func(s *sigstoretest.Signature) { s.Witnesses = witnesses })
					w.registry.Attach(app.Ref, at.place, artefact)
					// Without a log only who gave that up is satisfied.
					logged := len(artefact.Parts.Entries) > 0 && (at.format == evidence.Bundle || j == 0)
					a := authority(t)(sigstore.NewKeyless(sigstore.KeylessConfig{
						Identities: []sigstore.Identity{{Issuer: sigstore.Exact(devIssuer), Subject: sigstore.Exact(devSubject)}}, IgnoreLog: !logged,
					}))
					client := w.asks(t, registry.Limits{}, w.registry)
					anew := func() *verify.Verifier {
						return verifier(t, verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(),
							Block: &verify.Block{Judge: verify.Judge{Authority: a, Root: fixed{w.root}}, Older: older}}, client, verify.RecordStatuses{})
					}

					names := map[bool]map[string]string{
						false: {"value": "image-signature-value:", "subject": "image-signature-subject:", "log": "image-signature-log-id:", "time": "image-signature-integrated-time:"},
						true:  {"value": "id0:image-signature-content:", "subject": "id0:image-signature-subject:", "log": "id0:image-signature-logid:", "time": "id0:image-signature-integrated-time:"},
					}[older]
					want := []string{
						names["subject"] + devSubject,
						names["value"] + base64.StdEncoding.EncodeToString(artefact.Parts.Signature),
					}
					if older {
						want = append(want, "sigstore-validation:passed")
					} else {
						want = append(want, "image-signature:verified", "image-signature-issuer:"+devIssuer, "image-signature-identity:"+devIssuer+"#"+devSubject)
					}
					if logged {
						entry := artefact.Parts.Entries[0]
						want = append(want, names["log"]+hex.EncodeToString(entry.LogID))
						if !older {
							want = append(want, fmt.Sprintf("image-signature-log-index:%d", entry.LogIndex))
						}
						if j == 0 {
							want = append(want, fmt.Sprintf("%s%d", names["time"], sigstoretest.Time.Unix()))
							if !older {
								want = append(want, "image-signature-signed-entry-timestamp:"+base64.StdEncoding.EncodeToString(entry.SignedEntryTimestamp))
							}
						}
					}
					wantSelectors(t, anew(), running(app), want...)

					if older {
						return // it has no selector for attestations
					}
					attestation, place := evidence.Envelope, sigstoretest.AttTag
					if at.format == evidence.Bundle {
						attestation, place = at.format, at.place
					}
					w.registry.Attach(app.Ref, place, w.sign(w.dev(), app.Ref.Digest, attestation, func(s *sigstoretest.Signature) {
						s.Witnesses, s.PredicateType = witnesses, sigstoretest.ProvenancePredicate
					}))
					wantSelectors(t, anew(), running(app), append(want, "image-attestations:verified")...)
				})
			}
		}
	}
}

// The failures of both blocks begin as they always did.
func TestTheAnswersOfTheBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("unsigned", sigstoretest.Image{Content: "app", Tag: "1"})
	for older, text := range map[bool]string{
		false: "error verifying sigstore image signature for imageID " + app.Ref.String() + ": there is no signature at ",
		true:  "error retrieving signature payload for imageID " + app.Ref.String() + ": there is no signature at ",
	} {
		v := w.verifier(t, verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(),
			Block: &verify.Block{Judge: verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{w.root}}, Older: older}})
		wantRefusal(t, v, running(app), verify.NotVerified, text)
		// Referenced by a tag: SPIRE's older form says that it is no digest.
		p := running(app)
		p.Containers[0].ImageID = app.Ref.Repository.String() + ":1"
		wantRefusal(t, v, p, verify.NotVerified, "it can't be told what runs as")
	}
}
