package sigstore

import (
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/image"
)

// simpleSigning is the payload of cosign's own format, which is that of
// containers-signature(5).
type simpleSigning struct {
	digest      image.Digest
	name        string
	annotations map[string]string
}

// simpleSigningType is critical.type in cosign's payloads.
const simpleSigningType = "cosign container image signature"

// parseSimpleSigning reads exactly the bytes that were signed.
//
// containers-signature(5): "Consumers of container signatures MUST reject any
// signature where the critical object contains any unrecognized, additional
// members". What follows is as strict with all but "optional".
func parseSimpleSigning(payload []byte) (*simpleSigning, error) {
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("%w: longer than %d bytes", errLimit, maxPayload)
	}
	if err := shape(payload, 4<<10); err != nil {
		return nil, err
	}
	top, err := exactMembers(payload, "critical", "optional")
	if err != nil {
		return nil, err
	}
	critical, err := exactMembers(top["critical"], "identity", "image", "type")
	if err != nil {
		return nil, fmt.Errorf("critical: %w", err)
	}
	kind, err := text(critical, "type")
	if err != nil {
		return nil, fmt.Errorf("critical: %w", err)
	}
	if kind != simpleSigningType {
		return nil, fmt.Errorf("critical.type is %.100q, not %q", kind, simpleSigningType)
	}
	s := &simpleSigning{}
	content, err := exactMembers(critical["image"], "docker-manifest-digest")
	if err != nil {
		return nil, fmt.Errorf("critical.image: %w", err)
	}
	digest, err := text(content, "docker-manifest-digest")
	if err != nil {
		return nil, fmt.Errorf("critical.image: %w", err)
	}
	if s.digest, err = image.ParseDigest(digest); err != nil {
		return nil, fmt.Errorf("critical.image: docker-manifest-digest: %w", err)
	}
	identity, err := exactMembers(critical["identity"], "docker-reference")
	if err != nil {
		return nil, fmt.Errorf("critical.identity: %w", err)
	}
	if s.name, err = text(identity, "docker-reference"); err != nil {
		return nil, fmt.Errorf("critical.identity: %w", err)
	}
	if s.name != "" {
		if err := checkText(s.name); err != nil {
			return nil, fmt.Errorf("critical.identity: docker-reference: %w", err)
		}
	}
	if s.annotations, err = stringMembers(top["optional"]); err != nil {
		return nil, fmt.Errorf("optional: %w", err)
	}
	return s, nil
}

func (s *simpleSigning) names(candidates []image.Digest) (image.Digest, error) {
	for _, c := range candidates {
		if !c.IsZero() && s.digest == c {
			return c, nil
		}
	}
	return image.Digest{}, refuse(ReasonContent, "it signs %s, which is none of what runs", s.digest)
}

var errNoPayload = errors.New("neither a simple signing payload nor a DSSE envelope")
