// Package evidence holds what was found about an image and not judged yet: the
// bytes of signatures and attestations as a registry, or a file, had them. Nothing
// in it is believed: everybody who may push to a repository, and who runs the
// registry, chooses all of it, the annotations and where it was found included.
// Package sigstore judges it.
package evidence

import "github.com/podseal/podseal/pkg/image"

// Format is the form of an Item's content.
type Format string

// The formats, with their names for people.
const (
	// SimpleSigning is a layer of an image with cosign's tag sha256-<hex>.sig:
	// Content is the payload that was signed; signature, certificates, log entry
	// and timestamp are in the layer's annotations.
	SimpleSigning Format = "simple signing"
	// Envelope is a layer of an image with cosign's tag sha256-<hex>.att: Content
	// is a DSSE envelope; the rest is in the layer's annotations.
	Envelope Format = "envelope"
	// Bundle is a Sigstore bundle: Content has all there is.
	Bundle Format = "bundle"
)

// Item is one signature or attestation, or what somebody put in its place.
type Item struct {
	Format Format
	// Source says for people where it was found; it may hold a stranger's text.
	Source string
	// At is the image, in the repository that was asked, that it was found for.
	At image.Ref
	// Blob is the digest of Content, which was compared.
	Blob image.Digest
	// Content is what Format says, at most as long as the limits allow.
	Content []byte
	// Annotations are those of the layer for the formats of cosign's tags, and
	// nil for a bundle: what a bundle's manifest says of it counts for nothing.
	Annotations map[string]string
}
