package sigstoretest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// The example of the package's documentation.
func TestAnImageSignedByAReleaseWorkflow(t *testing.T) {
	t.Parallel()
	sigstore := sigstoretest.New()
	registry := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := registry.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	release := sigstore.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
	signature := sigstoretest.Sign(sigstoretest.Signature{
		Signer:    release,
		Digest:    app.Ref.Digest,
		Format:    evidence.Bundle,
		Witnesses: []sigstoretest.Witness{sigstore.Rekor2, sigstore.TSA},
	})
	manifests := registry.Attach(app.Ref, sigstoretest.Usual, signature)

	_, found := get(t, registry, "/v2/pay/api/blobs/"+signature.Item(app.Ref).Blob.String())
	if d := cmp.Diff(string(signature.Content), string(found)); d != "" || len(manifests) != 1 {
		t.Errorf("%d manifests: %s", len(manifests), d)
	}
	v := verifier{root: sigstore.Root(), options: []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1)}}
	if err := v.verify(t, signature, app.Ref.Digest); err != nil {
		t.Error(err)
	}
}
