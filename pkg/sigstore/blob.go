package sigstore

import (
	"time"

	"github.com/podseal/podseal/pkg/image"
)

// Blob is an artifact that is no image: a file, or only its digest.
type Blob struct {
	// Content is the file. It is not looked at if Digest is set.
	Content []byte
	// Digest is the file's SHA-256.
	Digest image.Digest
}

// VerifyBlob judges a Sigstore bundle for a file, as the conformance suite of
// Sigstore's clients wants it: the bundle is the signature of the file, or has a
// statement with the file as a subject. Nothing of an image depends on it; it runs
// the same judgement with which images are judged. The error is a *[Refusal] or
// [ErrNoRoot].
func (a *Authority) VerifyBlob(r *Root, bundle []byte, blob Blob, now time.Time) error {
	_, err := guarded(func() (*verified, error) {
		if len(bundle) > maxContent {
			return nil, refuse(ReasonLimit, "the bundle is longer than %d bytes", maxContent)
		}
		f, err := parseBundle(bundle)
		if err != nil {
			return nil, err
		}
		if f.material.message != nil {
			f.material.message.artifact = artifact{bytes: blob.Content, sha256: blob.Digest}
		} else if err := f.isAbout(blob); err != nil {
			return nil, err
		}
		return a.judge(r, &f.material, now)
	})
	return err
}

func (f *found) isAbout(blob Blob) error {
	if err := f.readEnvelope(f.material.envelope); err != nil {
		return err
	}
	digest := blob.Digest
	if digest.IsZero() {
		digest = image.Of(blob.Content)
	}
	_, _, err := f.statement.names([]image.Digest{digest})
	return err
}
