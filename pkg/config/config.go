// Package config reads podseal's plugin_data: text in, a Config or all reasons against
// it out. It opens no file and no connection, so that Validate can use it as it is, and
// it never guesses: what is unknown, given twice or of the wrong type is a problem.
package config

import (
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Config is a configuration that holds: defaults are applied and contradictions
// resolved. docs/configuration.md is the manual of the keys it comes from.
type Config struct {
	// PodSource says where pods are known from.
	PodSource PodSource
	// Kubelet says how the kubelet is reached; not used with the source PodsAPI.
	Kubelet Kubelet
	// PodsAPI says where the kubelet's Pods API is; not used with the source
	// KubeletPort.
	PodsAPI PodsAPI
	// MaxPollAttempts is how often a container is looked for before its attestation
	// ends; at least 1.
	MaxPollAttempts int
	// PollRetryInterval is the time between two looks; positive.
	PollRetryInterval time.Duration
	// AttestTimeout bounds one attestation as a whole; positive.
	AttestTimeout time.Duration
	// DisableContainerSelectors leaves container-... selectors out, and attests a
	// process whose pod is known although its container is not.
	DisableContainerSelectors bool
	// EphemeralContainers attests processes in ephemeral containers too.
	EphemeralContainers bool
	// VerboseContainerLocatorLogs asks for a debug line per cgroup line.
	VerboseContainerLocatorLogs bool
	// CgroupRoot is the kubelet's --cgroup-root for an agent outside it: absolute and
	// clean, or "" for none.
	CgroupRoot string
	// OwnPodUID is the UID of the pod that the agent runs in, or "" where it is not
	// known.
	OwnPodUID string
	// Broker is who may use the Broker API; nil for nobody.
	Broker *Broker
	// Images is what is asked of the images that run.
	Images Images
}

// Kubelet has the fields of kubelet.Config, in its order. What is not used is empty:
// exactly one of token, certificate and Anonymous is there over the secure port, and
// nothing but the port and the intervals over the read-only one.
type Kubelet struct {
	// Secure is HTTPS, else plain HTTP to 127.0.0.1.
	Secure bool
	// Port is 1 to 65535.
	Port int
	// NodeName is dialled, and verified unless ServerName is set; "" is 127.0.0.1,
	// with the certificate's chain verified only.
	NodeName string
	// ServerName is verified instead of the name dialled; "" for none.
	ServerName string
	// CAPath is the PEM file to verify with; "" with SkipVerification.
	CAPath string
	// SkipVerification accepts every certificate.
	SkipVerification bool
	// Anonymous sends no credentials.
	Anonymous bool
	// TokenPath is the file with the bearer token, or "".
	TokenPath string
	// CertificatePath and PrivateKeyPath are the client certificate, or both "".
	CertificatePath, PrivateKeyPath string
	// ReloadInterval is how old what was read of these files may be; positive.
	ReloadInterval time.Duration
	// Interval is Config.PollRetryInterval.
	Interval time.Duration
	// TTL is how old an answer may be that is shared; positive.
	TTL time.Duration
}

// PodSource is a value of pod_source.
type PodSource string

// The sources of pods.
const (
	// Auto is the Pods API while it answers, and the kubelet's port otherwise.
	Auto        PodSource = "auto"
	KubeletPort PodSource = "kubelet"
	FromPodsAPI PodSource = "pods_api"
)

// PodsAPI is where the kubelet's Pods API is and how old its answers may be.
type PodsAPI struct {
	// Socket is an absolute, clean path.
	Socket string
	// TTL and Interval are those of Kubelet.
	TTL, Interval time.Duration
}

// Broker is the configuration of the Broker API.
type Broker struct {
	AccessPolicy AccessPolicy
	// IDs are the brokers, sorted by ID, each once, at least one.
	IDs []BrokerID
}

// BrokerID is a broker and what it may ask for.
type BrokerID struct {
	ID    spiffeid.ID
	Scope Scope
}

// AccessPolicy says whether the API server is asked if a broker may see an object.
type AccessPolicy string

// Permissive does not ask: a broker sees everything in its scope.
const Permissive AccessPolicy = "permissive"

// Scope says which pods a broker may refer to.
type Scope string

// AgentNode is the pods of the agent's node.
const AgentNode Scope = "agent_node"

// Result is what a text comes to.
type Result struct {
	// Config is nil if and only if there are Problems.
	Config *Config
	// Problems are all reasons against the text, each with its place: one for every
	// unknown key.
	Problems Problems
	// Warnings are about settings that weaken what podseal vouches for or that have
	// no effect. They are there beside Problems too, as far as they are certain then.
	Warnings Problems
	// Answers are the Problems as the plugin answers them: Configure with the first,
	// Validate with all. As from the built-in attestor, one of them names all unknown
	// keys.
	Answers []string
}

// Parse reads the text of plugin_data, or of the file that plugin_data_file names: HCL,
// or JSON where it begins with a brace. env looks up an environment variable, "" for
// one that is not set; os.Getenv will do.
//
// The text may be anything: what can't be read is a problem, never a panic.
func Parse(text string, env func(string) string) Result {
	src, err := newSource(text)
	if err != nil {
		return refused(err)
	}
	root, err := read(src)
	if err != nil {
		return refused(err)
	}
	return parse(root, &walker{}, env)
}

func parse(root *node, w *walker, env func(string) string) Result {
	if fault := root.firstFault(); fault != nil {
		return refused(fault)
	}
	return w.result(root, env)
}

func refused(err error) Result {
	p := undecodable(err)
	return Result{Problems: Problems{p}, Answers: []string{p.Message}}
}
