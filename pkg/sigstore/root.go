package sigstore

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/podseal/podseal/pkg/image"
)

// Root is a trust root: the CAs, logs and timestamp authorities of one Sigstore
// instance. All keys are from it and none from what is verified. It does not change
// and may be used by several goroutines.
type Root struct {
	trusted *root.TrustedRoot
	digest  image.Digest
}

// Bounds of a trusted_root.json.
const (
	maxRoot        = 1 << 20
	maxRootMembers = 16 << 10
	maxRootEntries = 128 // of each kind
)

// ParseRoot reads a trusted_root.json.
func ParseRoot(data []byte) (*Root, error) {
	r, err := guarded(func() (*Root, error) { return parseRoot(data) })
	if err != nil {
		return nil, fmt.Errorf("trust root: %w", err)
	}
	return r, nil
}

func parseRoot(data []byte) (*Root, error) {
	if len(data) > maxRoot {
		return nil, fmt.Errorf("%w: longer than %d bytes", errLimit, maxRoot)
	}
	if err := shape(data, maxRootMembers); err != nil {
		return nil, err
	}
	p := &prototrustroot.TrustedRoot{}
	// protojson refuses unknown members and those given twice.
	if err := protojson.Unmarshal(data, p); err != nil {
		return nil, err
	}
	if err := checkRoot(p); err != nil {
		return nil, err
	}
	t, err := root.NewTrustedRootFromProtobuf(p)
	if err != nil {
		return nil, err
	}
	for _, authority := range t.TimestampingAuthorities() {
		if a, ok := authority.(*root.SigstoreTimestampingAuthority); ok && a.Root == nil {
			return nil, fmt.Errorf("the timestamp authority %.200q has no CA", a.URI)
		}
	}
	return &Root{trusted: t, digest: image.Of(data)}, nil
}

// checkRoot checks what sigstore-go leaves: bounds, and two logs with one ID, of
// which the last would count.
func checkRoot(p *prototrustroot.TrustedRoot) error {
	for _, n := range []int{len(p.GetTlogs()), len(p.GetCtlogs()), len(p.GetCertificateAuthorities()), len(p.GetTimestampAuthorities())} {
		if n > maxRootEntries {
			return fmt.Errorf("%w: more than %d logs or authorities", errLimit, maxRootEntries)
		}
	}
	for what, logs := range map[string][]*prototrustroot.TransparencyLogInstance{"transparency": p.GetTlogs(), "certificate transparency": p.GetCtlogs()} {
		seen := map[string]bool{}
		for _, log := range logs {
			id := hex.EncodeToString(log.GetLogId().GetKeyId())
			if seen[id] {
				return fmt.Errorf("two %s logs with the ID %.100q", what, id)
			}
			seen[id] = true
		}
	}
	for _, ca := range append(p.GetCertificateAuthorities(), p.GetTimestampAuthorities()...) {
		if n := len(ca.GetCertChain().GetCertificates()); n > maxCertificates {
			return fmt.Errorf("%w: a chain of more than %d certificates", errLimit, maxCertificates)
		}
	}
	return nil
}

// Digest is the SHA-256 of the file.
func (r *Root) Digest() image.Digest { return r.digest }

// IsEmpty is whether the root has no CA: with it nothing keyless can be verified.
func (r *Root) IsEmpty() bool { return len(r.trusted.FulcioCertificateAuthorities()) == 0 }

//go:embed public_good_root.json
var publicGoodRoot string

// PublicGoodFile is the file that PublicGood is made of, for who puts parts of his
// own into it.
func PublicGoodFile() []byte { return []byte(publicGoodRoot) }

// PublicGoodDate is when the embedded root was current: half a year before the end
// of version 12 of the TUF root metadata (2025-08-19) with which it is handed on.
var PublicGoodDate = time.Date(2025, time.February, 19, 0, 0, 0, 0, time.UTC)

// PublicGood is the trust root of the public good instance (sigstore.dev) as of
// PublicGoodDate, for a start without a network: the target trusted_root.json of
// its TUF repository, in the copy that Sigstore's own libraries and its conformance
// suite have. It knows Rekor v1 and one timestamp authority, of GitHub's; Rekor v2 and
// a timestamp authority of the instance's own came later.
var PublicGood = sync.OnceValue(func() *Root {
	r, err := ParseRoot([]byte(publicGoodRoot))
	if err != nil {
		panic(errors.Join(errors.New("the embedded trust root"), err))
	}
	return r
})
