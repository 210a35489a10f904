package config

import "strings"

//go:generate go test . -run TestTheManualHasTheKeysOfTheSchema -update

// kind is what a key takes.
type kind string

const (
	stringKind   kind = "string"
	intKind      kind = "int"
	boolKind     kind = "bool"
	durationKind kind = "duration"
	timeKind     kind = "time"
	sizeKind     kind = "size"
	// linesKind is a string that may have line breaks.
	linesKind kind = "text"
	// listKind takes a single string for a list of one, as HCL does.
	listKind kind = "list of strings"
	// stringMapKind and listMapKind are objects with any keys.
	stringMapKind kind = "map of strings"
	listMapKind   kind = "map of lists of strings"
	// blockKind is an object; given several times, its keys are put together.
	blockKind kind = "block"
	// blocksKind is any number of objects: a list, or the key repeated.
	blocksKind kind = "list of blocks"
	// namedKind is any number of objects with a name each: a label.
	namedKind kind = "named blocks"
)

// key is a key that may stand in the text. The table below is the one place that knows
// them: the text is walked against it, and docs/configuration.md is made from it.
type key struct {
	name string
	kind kind
	// byDefault is what an absent key means, for people. The values themselves are
	// applied in build.go.
	byDefault string
	// meaning is a sentence or two for people.
	meaning string
	// errors are the messages about this key that configurations and alerts may
	// know, `...` standing for what varies.
	errors []string
	// added is true for keys that the built-in attestor does not have.
	added bool
	// anyText is true for strings that the built-in attestor takes whatever they
	// are. It tries others when it is configured: as a duration, as a file.
	anyText bool
	// secret is true for values that no message shows.
	secret bool
	// unchecked is true for blocks in which the built-in attestor looks for no unknown
	// keys.
	unchecked bool
	// mayBeEmpty is true for named blocks of which there may be none where the key is
	// given.
	mayBeEmpty bool
	keys       []key
}

// schema has the keys in the order in which the built-in attestor reads them, for that
// decides which problem is reported first, and then those that podseal added.
var schema = []key{
	{
		name: "kubelet_read_only_port", kind: intKind, byDefault: "0",
		meaning: "Port of the kubelet's read-only server, usually 10255: plain HTTP to 127.0.0.1. Node name, certificates and credentials are not used with it. 0 for none.",
		errors:  []string{"cannot use both the read-only and secure port", "kubelet_read_only_port: ... is not a port (1 to 65535, or 0 for unset)"},
	},
	{
		name: "kubelet_secure_port", kind: intKind, byDefault: "10250",
		meaning: "Port of the kubelet's HTTPS server. 0 for the default.",
		errors:  []string{"kubelet_secure_port: ... is not a port (1 to 65535, or 0 for unset)"},
	},
	{
		name: "disable_kubelet_client", kind: boolKind, byDefault: "false",
		meaning: "Not yet: `true` is refused.",
		errors:  []string{"disable_kubelet_client cannot be used with ...", "disable_kubelet_client: not yet: ..."},
	},
	{
		name: "max_poll_attempts", kind: intKind, byDefault: "60",
		meaning: "How often the kubelet is asked for a container that it does not show yet. 0 and less for the default. Together with `poll_retry_interval` it is the default of `attest_timeout`.",
		errors:  []string{"max_poll_attempts: ... is longer than a duration can be; ..."},
	},
	{
		name: "poll_retry_interval", kind: durationKind, byDefault: "500ms",
		meaning: "Time between the starts of two requests to the kubelet, and how long an answer is used for other callers. 0 and less for the default.",
		errors:  []string{"unable to parse poll retry interval: ..."},
	},
	{
		name: "kubelet_ca_path", kind: stringKind, byDefault: defaultCAPath,
		meaning: "PEM file that the kubelet's certificate is verified with: certificates of authorities, or the kubelet's own serving certificate.",
		errors:  []string{"unable to load kubelet CA: ...", "unable to parse kubelet CA: ..."},
	},
	{
		name: "skip_kubelet_verification", kind: boolKind, byDefault: "false",
		meaning: "Weakens: the kubelet's certificate is not verified, so that whoever can answer in its place decides which selectors a workload gets.",
	},
	{
		name: "token_path", kind: stringKind, byDefault: defaultTokenPath,
		meaning: "File with the bearer token for the kubelet. Used when there is neither anonymous authentication nor a client certificate.",
		errors:  []string{"unable to load token: ..."},
	},
	{
		name: "certificate_path", kind: stringKind, byDefault: "none",
		meaning: "PEM file with the client certificate for the kubelet, together with `private_key_path`.",
		errors:  []string{"the private key path is required with the certificate path", "unable to load certificate: ...", "unable to load keypair: ..."},
	},
	{
		name: "private_key_path", kind: stringKind, byDefault: "none",
		meaning: "PEM file with the key of `certificate_path`.",
		errors:  []string{"the certificate path is required with the private key path", "unable to load private key: ..."},
	},
	{
		name: "use_anonymous_authentication", kind: boolKind, byDefault: "false",
		meaning: "The kubelet is asked without credentials, also where a token or certificate is configured.",
	},
	{
		name: "node_name_env", kind: stringKind, byDefault: defaultNodeNameEnv, anyText: true,
		meaning: "Environment variable with the node's name. Where this key is given and the variable is empty there is no node name; " + defaultNodeNameEnv + " is not looked at then.",
	},
	{
		name: "node_name", kind: stringKind, byDefault: "from `node_name_env`", anyText: true,
		meaning: "Name or address of the node: it is dialled, and verified in the kubelet's certificate. Without a node name 127.0.0.1 is dialled and the certificate's chain is verified, not its name.",
	},
	{
		name: "reload_interval", kind: durationKind, byDefault: "1m",
		meaning: "The files named above are read again at a request when this has passed. 0 and less for the default.",
		errors:  []string{"unable to parse reload interval: ..."},
	},
	{
		name: "disable_container_selectors", kind: boolKind, byDefault: "false",
		meaning: "No `container-...` selectors: a process is attested when its pod is known, although its container may not be yet.",
	},
	{
		name: "use_new_container_locator", kind: boolKind, byDefault: "true",
		meaning: "Accepted and ignored, `false` with a warning: podseal has one locator.",
	},
	{
		name: "verbose_container_locator_logs", kind: boolKind, byDefault: "false",
		meaning: "A debug line for every line of a process's cgroup file.",
	},
	{
		name: "enable_namespace_labels", kind: boolKind, byDefault: "false",
		meaning: "Not yet: `true` is refused.",
		errors:  []string{"enable_namespace_labels: not yet: ..."},
	},
	sigstoreKey,
	{
		name: "experimental", kind: blockKind,
		meaning: "What the built-in attestor calls experimental.",
		keys: []key{
			{
				name: "api_server", kind: blockKind,
				meaning: "How the API server is asked.",
				keys: []key{{
					name: "cache", kind: blockKind,
					meaning: "The cache of what the API server said.",
					keys: []key{{
						name: "enabled", kind: boolKind, byDefault: "false",
						meaning: "Accepted, and without effect: podseal does not ask the API server.",
					}},
				}},
			},
			{
				name: "broker", kind: blockKind,
				meaning: "Callers of the SPIFFE Broker API that may ask for the selectors of processes and pods. Without the block nobody may.",
				keys: []key{
					{
						name: "access_policy", kind: stringKind, byDefault: "none, it must be given",
						meaning: "`permissive`: a broker may ask for everything in its scope. `enforced` is refused: not yet.",
						errors: []string{
							"experimental.broker.access_policy: must be specified as one of [permissive, enforced]",
							"experimental.broker.access_policy: unsupported value ...; must be one of [permissive, enforced]",
							"experimental.broker.access_policy: not yet: ...",
						},
					},
					{
						name: "brokers", kind: blocksKind, byDefault: "none, at least one must be given",
						meaning: "The brokers: a list of blocks, or the block repeated, each with or without a label of its own (`brokers \"broker\" { ... }`, as the SPIRE chart writes it).",
						errors:  []string{"experimental.broker.brokers: at least one broker is required"},
						keys: []key{
							{
								name: "id", kind: stringKind, byDefault: "none, it must be given",
								meaning: "SPIFFE ID of the broker.",
								errors: []string{
									"experimental.broker.brokers[...].id: must be specified",
									"experimental.broker.brokers[...].id: duplicate broker id",
									"experimental.broker.brokers[...].id: <what is wrong with it>",
								},
							},
							{
								name: "pod_reference_scope", kind: stringKind, byDefault: "agent_node",
								meaning: "Which pods the broker may name: `agent_node`, those of the agent's node. `cluster` is refused: not yet.",
								errors: []string{
									"experimental.broker.brokers[...].pod_reference_scope: unsupported value ...; must be one of [agent_node, cluster]",
									"experimental.broker.brokers[...].pod_reference_scope must be \"cluster\" when disable_kubelet_client is true",
									"experimental.broker.brokers[...].pod_reference_scope: not yet: ...",
								},
							},
						},
					},
				},
			},
			olderSigstoreKey,
		},
	},
	{
		name: "pod_source", kind: stringKind, byDefault: "auto", added: true,
		meaning: "Where pods are known from. `kubelet`: the kubelet's HTTPS (or read-only) port. `pods_api`: the kubelet's Pods API on its local socket, without network, certificates, token or permission; the keys about the kubelet's port are not used then. `auto`: the Pods API while it answers, and the kubelet's port otherwise.",
		errors:  []string{"pod_source: unsupported value ...; must be one of [auto, kubelet, pods_api]"},
	},
	{
		name: "pods_api_socket", kind: stringKind, byDefault: defaultPodsAPISocket, added: true,
		meaning: "Socket of the kubelet's Pods API: `pods-api/pods-api.sock` in the kubelet's `--root-dir`. Mount its directory, not the socket: a kubelet that restarts makes it anew. It may not be a symbolic link itself.",
		errors:  []string{"pods_api_socket: ... is not an absolute, clean path"},
	},
	{
		name: "pod_cache_ttl", kind: durationKind, byDefault: "`poll_retry_interval`", added: true,
		meaning: "How old what is known of a pod may be when it is used for a caller who just came. More makes fewer requests to the kubelet, and a changed label or status is seen later. 0 and less for the default.",
		errors:  []string{"unable to parse pod cache ttl: ..."},
	},
	{
		name: "attest_timeout", kind: durationKind, byDefault: "`max_poll_attempts` x `poll_retry_interval`, at least `10s`", added: true,
		meaning: "How long one attestation may take in all. 0 for the default.",
		errors:  []string{"unable to parse attest timeout: ...", "attest_timeout: ... is negative"},
	},
	{
		name: "cgroup_root", kind: stringKind, byDefault: "none", added: true,
		meaning: "The kubelet's `--cgroup-root`, for an agent that runs outside it, such as one on the host of a kind node. `/` is the same as none.",
		errors:  []string{"cgroup_root: ... is not an absolute, clean path"},
	},
	{
		name: "kubelet_server_name", kind: stringKind, byDefault: "none", added: true,
		meaning: "Name to verify in the kubelet's certificate where it differs from the name dialled.",
	},
	{
		name: "ephemeral_containers", kind: boolKind, byDefault: "false", added: true,
		meaning: "Processes in ephemeral containers (`kubectl debug`) are attested too: whoever may add one to a pod gets that pod's identity.",
	},
	{
		name: "pod_uid_env", kind: stringKind, byDefault: defaultPodUIDEnv, added: true,
		meaning: "Environment variable with the UID of the agent's own pod (downward API, `metadata.uid`), for processes in the agent's own pod. An empty variable is no UID.",
	},
	criSocketKey,
	statusSourceKey,
	trustRootKey,
	registriesKey,
	registryKey,
	limitsKey,
	cacheKey,
	imagePolicyKey,
}

// find is the schema's entry for a key. Keys match without regard to case, as SPIRE's do.
func find(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if strings.EqualFold(k.name, name) {
			return k, true
		}
	}
	return key{}, false
}
