package selector

import (
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/pod"
)

// Kind is what the part of a selector before its first colon means: the selectors
// of one kind are set by the same people.
type Kind struct {
	// Name is that part. The selectors of experimental.sigstore have the ID of the
	// container before it.
	Name string
	// SetBy says in words who can choose the value, as docs/selectors.md does.
	SetBy string
	// Granted is whether a value that others have can't be had by writing a
	// pod, only by what the cluster's administrators grant. The other kinds
	// prove nothing about who runs the workload.
	Granted bool
}

const (
	author  = "the pod's author"
	writer  = "who may write the pod"
	runtime = "the container runtime, see below"

	accepted  = "who signed the image, and is accepted"
	certifier = "the certificate authority of the trust root, about who signed"
	logger    = "the transparency log of the trust root"
)

// kinds are all kinds, those of pods first, in the order of docs/selectors.md.
var kinds = []Kind{
	// Creating pods in a namespace, and using its accounts by that, is what RBAC
	// grants there; the API server enforces both.
	{Name: "ns", SetBy: "who may create pods in that namespace", Granted: true},
	{Name: "sa", SetBy: "the pod's author, among the accounts of the namespace", Granted: true},
	{Name: "node-name", SetBy: "the scheduler, or the pod's author"},
	{Name: "pod-uid", SetBy: "the API server; for a static pod the kubelet or the manifest"},
	{Name: "pod-name", SetBy: author},
	{Name: "pod-image-count", SetBy: author},
	{Name: "pod-init-image-count", SetBy: author},
	{Name: "pod-image", SetBy: "the pod's author: also an image that never started appears"},
	{Name: "pod-init-image", SetBy: author},
	{Name: "pod-label", SetBy: writer},
	{Name: "pod-owner", SetBy: "who may write the pod: nobody checks that the owner exists"},
	{Name: "pod-owner-uid", SetBy: writer},
	{Name: "pod-image-digest", SetBy: runtime},
	{Name: "pod-spec-image", SetBy: author},

	{Name: "container-name", SetBy: author},
	{Name: "container-image", SetBy: runtime},
	{Name: "container-type", SetBy: author},
	{Name: "container-image-digest", SetBy: runtime},

	// Of the image: what was signed says nothing about who runs it.
	{Name: "image-signature", SetBy: accepted},
	{Name: "image-attestations", SetBy: accepted},
	{Name: "image-signature-identity", SetBy: certifier},
	{Name: "image-signature-subject", SetBy: certifier},
	{Name: "image-signature-issuer", SetBy: certifier},
	{Name: "image-signature-value", SetBy: accepted},
	{Name: "image-signature-log-id", SetBy: logger},
	{Name: "image-signature-log-index", SetBy: logger},
	{Name: "image-signature-integrated-time", SetBy: logger},
	{Name: "image-signature-signed-entry-timestamp", SetBy: logger},
	{Name: "image-signature-source-repository", SetBy: certifier},
	{Name: "image-signature-source-ref", SetBy: certifier},
	{Name: "image-signature-source-digest", SetBy: certifier},
	{Name: "image-signature-build-signer", SetBy: certifier},
	{Name: "image-signature-build-trigger", SetBy: certifier},
	{Name: "image-signature-runner-environment", SetBy: certifier},

	{Name: "image-policy", SetBy: "the operator: the policy, and whom it accepts"},
	{Name: "image-signer", SetBy: accepted},
	{Name: "image-signer-identity", SetBy: "the certificate authority that the policy trusts, about who signed"},
	{Name: "image-signer-key", SetBy: accepted},
	{Name: "image-signer-claim", SetBy: certifier},
	{Name: "pod-image-policy", SetBy: "the operator: the policy, and whom it accepts"},

	{Name: "sigstore-validation", SetBy: "who signed the image, and is accepted; or the operator, by the list of images that are not looked at"},
	{Name: "image-signature-content", SetBy: accepted},
	{Name: "image-signature-logid", SetBy: logger},
}

// Kinds returns all kinds of selectors.
func Kinds() []Kind { return slices.Clone(kinds) }

// Suggested returns the selectors of the pod that a registration entry should
// have: those that nobody brings about by writing a pod somewhere else, sorted.
// They are its namespace and its service account, which mean something together
// only. So there are none for a pod that lacks one, as a static pod does: nothing
// that it has would keep others out.
func Suggested(p *pod.Pod) []string {
	var values []string
	for _, s := range Pod(p) {
		name, value, _ := strings.Cut(s, ":")
		if !granted(name) {
			continue
		}
		if value == "" {
			return nil
		}
		values = append(values, s)
	}
	return values
}

func granted(name string) bool {
	return slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == name && k.Granted })
}
