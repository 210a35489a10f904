package verify

import (
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/trustroot"
)

// Result is what was established about images, as far as it got. It is there on
// errors too, for people; selectors come of it only without one.
type Result struct {
	// NoPolicy is whether no policy applies to any of the images. Nothing was looked
	// at then. It is another thing than a policy that holds, and than an image that
	// was skipped.
	NoPolicy bool
	// Images are the images that were looked at, in the pod's order.
	Images []Image
	// Verdicts are those of every policy that applies to each image, in the order of
	// the images; of one image the block's first, then sorted by name.
	Verdicts []Verdict
	// Trust is what selectors are made of; empty unless every policy holds that
	// fails an attestation.
	Trust selector.Trust
	// Withheld are the policies that don't hold and cost only their own selectors,
	// in the order of the verdicts.
	Withheld []Failure
}

// Image is what was found out about one image.
type Image struct {
	// Container is the container's name.
	Container string
	// Runs is what its source says that the container runs.
	Runs Runs
	// Content is the content that runs, nil where nothing needed it or it could not
	// be established.
	Content *image.Content
	// Asked are the places that were asked for evidence, in their order. Content and
	// Asked are there for who wants an explanation (Config.Explain).
	Asked []Asked
	// Fetched is when the list of evidence was fetched that the verdicts are by, zero
	// where none was needed, or nothing could be asked for. Stored is whether that was before this call.
	Fetched time.Time
	Stored  bool
}

// Asked is one place that was asked for evidence.
type Asked struct {
	Ref image.Ref
	// Items are what was found there.
	Items []evidence.Item
	// Problems are what was there and could not be taken, and why the rest could
	// not be told.
	Problems []error
}

// Dialect is the kind of configuration that a verdict is of.
type Dialect string

// The dialects.
const (
	DialectPolicy   Dialect = "image_policy"
	DialectSigstore Dialect = "sigstore"
	DialectOlder    Dialect = "experimental.sigstore"
)

// Verdict is what a policy, or a block, says of an image.
type Verdict struct {
	Container string
	Dialect   Dialect
	// Policy is the name of an image_policy, empty for a block.
	Policy string
	// Skipped is whether the image is on the block's list of images that are not
	// looked at. Result is empty then.
	Skipped bool
	Result  policy.Result
	// Stale is when the evidence was fetched, for one that holds by evidence from
	// before the registry stopped to answer (on_unavailable = "stale"); else zero.
	Stale time.Time
	// Authorities are the policy's, in their order; a block has one without a name.
	Authorities []AuthorityVerdict
}

// AuthorityVerdict is what an authority says of an image.
type AuthorityVerdict struct {
	Name   string
	Static policy.Static
	Result policy.Result
	// Root is what is known of the trust root that it judged by; zero for none.
	Root trustroot.Status
	// Signatures and Attestations are those that it accepts, in the order in which
	// they were found. Their items have no content.
	Signatures   []*sigstore.Signature
	Attestations []*sigstore.Attestation
	// Refusals are the candidates that it does not accept as signatures, and why, for
	// who wants an explanation (Config.Explain). Their items have no content.
	Refusals []Refusal

	// root is the one that Root is about, while it judges.
	root *sigstore.Root
	// unknown is what kept it from looking at everything, lacking what would count
	// with an entry of a log.
	unknown error
	lacking []lack
}

// Refusal is a candidate that does not count.
type Refusal struct {
	Item evidence.Item
	Err  error
}
