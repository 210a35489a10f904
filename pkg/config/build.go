package config

import (
	"math"
	"path"
	"slices"
	"time"
)

const (
	defaultSecurePort        = 10250
	defaultMaxPollAttempts   = 60
	defaultPollRetryInterval = 500 * time.Millisecond
	defaultReloadInterval    = time.Minute
	defaultCAPath            = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	defaultTokenPath         = "/var/run/secrets/kubernetes.io/serviceaccount/token" // #nosec G101 -- a path, not a token
	requestTimeout           = 10 * time.Second                                      // of one request to the kubelet
	defaultNodeNameEnv       = "MY_NODE_NAME"
	defaultPodUIDEnv         = "MY_POD_UID"
	defaultPodsAPISocket     = "/var/lib/kubelet/pods-api/pods-api.sock"
)

// result reads the tree by the schema and applies defaults and rules.
func (w *walker) result(root *node, env func(string) string) Result {
	s := w.section("", root.pos, key{keys: schema}, root.fields, true)
	b := build(s, env, len(w.unreadable) > 0)
	r := Result{Warnings: b.warnings}
	if len(w.unreadable) > 0 {
		// What can't be read counted as absent, and rules about it would mislead.
		b.problems = nil
		r.Warnings = w.withoutTheAbsent(b.warnings)
	}
	r.Warnings = r.Warnings.cut(len(r.Warnings), "warnings")
	r.Problems, r.Answers = w.all(b.problems)
	if len(r.Problems) == 0 {
		r.Config = &b.config
	}
	return r
}

// withoutTheAbsent leaves out what is said because something was not given, where it was
// and can't be read.
func (w *walker) withoutTheAbsent(warnings Problems) Problems {
	unread := func(p Problem) bool { return p.Key == "node_name" }
	if !slices.ContainsFunc(w.unreadable, unread) {
		return warnings
	}
	return slices.DeleteFunc(warnings, func(p Problem) bool { return p.Key == "node_name_env" })
}

// build's order is the built-in attestor's, so that the first problem is the same:
// brokers, conflicts, durations, ports, credentials; then the rules that only podseal
// has.
func build(s *section, env func(string) string, partial bool) *builder {
	b := &builder{s: s, env: env, partial: partial}
	b.broker(s.block("experimental").block("broker"))
	b.kubeletClientConflicts()
	b.durations()
	b.podSource()
	b.kubelet()
	b.ports()
	b.attestTimeout()
	b.cgroupRoot()
	b.ownPodUID()
	b.flags()
	b.notYet()
	b.images()
	return b
}

type builder struct {
	s   *section
	env func(string) string
	// partial is true where something can't be read and counts as absent.
	partial  bool
	config   Config
	problems Problems
	warnings Problems
}

func (b *builder) problem(key, format string, args ...any) {
	b.problems.add(key, b.s.at(key), format, args...)
}

// warn of a top-level key; the message begins with it, or with several of which it is
// the first.
func (b *builder) warn(key, message string) *Problem {
	b.warnings.add(key, b.s.at(key), "%s", message)
	return &b.warnings[len(b.warnings)-1]
}

func (b *builder) kubeletClientConflicts() {
	if !b.s.flag("disable_kubelet_client") {
		return
	}
	for _, key := range []string{
		"kubelet_read_only_port", "kubelet_secure_port", "kubelet_ca_path", "skip_kubelet_verification", "token_path", "certificate_path",
		"private_key_path", "use_anonymous_authentication", "node_name_env", "node_name", "reload_interval",
	} {
		if v := b.s.value(key); v.number > 0 || v.text != "" || v.flag {
			b.problem(key, "disable_kubelet_client cannot be used with %s", key)
		}
	}
	if b.config.Broker == nil {
		return
	}
	for _, broker := range b.config.Broker.IDs {
		if broker.Scope == cluster {
			continue
		}
		key := brokersPath + "[" + broker.ID.String() + "].pod_reference_scope"
		b.problems.add(key, b.s.at("disable_kubelet_client"), "%s must be \"cluster\" when disable_kubelet_client is true", key)
	}
}

func (b *builder) durations() {
	b.config.PollRetryInterval = b.duration("poll_retry_interval", "poll retry interval", defaultPollRetryInterval)
	b.config.Kubelet.Interval = b.config.PollRetryInterval
	b.config.Kubelet.ReloadInterval = b.duration("reload_interval", "reload interval", defaultReloadInterval)
	b.config.Kubelet.TTL = b.duration("pod_cache_ttl", "pod cache ttl", b.config.PollRetryInterval)
}

// podSource decides where pods are known from.
func (b *builder) podSource() {
	const key = "pod_source"
	b.config.PodSource = PodSource(b.s.text(key))
	switch b.config.PodSource {
	case "":
		b.config.PodSource = Auto
	case Auto, KubeletPort:
	case FromPodsAPI:
	default:
		b.problem(key, "%s: unsupported value %q; must be one of [%s, %s, %s]", key, b.s.text(key), Auto, KubeletPort, FromPodsAPI)
	}
	if b.config.PodSource == KubeletPort {
		b.unused("pod_source", "pods_api_socket")
	}
	b.config.PodsAPI = PodsAPI{Socket: defaultPodsAPISocket, TTL: b.config.Kubelet.TTL, Interval: b.config.PollRetryInterval}
	if socket := b.s.text("pods_api_socket"); socket != "" {
		b.config.PodsAPI.Socket = socket
		b.absolute("pods_api_socket", socket)
	}
}

// absolute reports a path that is not absolute and clean. One that is has no "..".
func (b *builder) absolute(key, name string) bool {
	if isAbsolute(name) {
		return true
	}
	b.problem(key, "%s: %q is not an absolute, clean path", key, name)
	return false
}

func isAbsolute(name string) bool { return path.IsAbs(name) && path.Clean(name) == name }

// duration is the key's value, or its default where it is absent, zero or negative.
func (b *builder) duration(key, name string, byDefault time.Duration) time.Duration {
	text := b.s.text(key)
	if text == "" {
		return byDefault
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		b.problem(key, "unable to parse %s: %v", name, err)
	}
	if d <= 0 {
		return byDefault
	}
	return d
}

// ports checks what kubelet took. The built-in attestor takes one below zero for none
// and fails with one that is too high when it dials.
func (b *builder) ports() {
	for _, key := range []string{"kubelet_read_only_port", "kubelet_secure_port"} {
		if port := b.s.number(key); port < 0 || port > 65535 {
			b.problem(key, "%s: %d is not a port (1 to 65535, or 0 for unset)", key, port)
			b.problems[len(b.problems)-1].BuiltInIgnores = true
		}
	}
}

func (b *builder) attestTimeout() {
	attempts := b.s.number("max_poll_attempts")
	if attempts <= 0 {
		attempts = defaultMaxPollAttempts
	}
	b.config.MaxPollAttempts = attempts

	const key = "attest_timeout"
	timeout, err := time.ParseDuration(b.s.text(key))
	switch {
	case b.s.text(key) == "":
	case err != nil:
		b.problem(key, "unable to parse attest timeout: %v", err)
		return
	case timeout < 0:
		b.problem(key, "%s: %v is negative", key, timeout)
		return
	}
	if timeout > 0 {
		b.config.AttestTimeout = timeout
		return
	}
	interval := b.config.PollRetryInterval
	if int64(attempts) > math.MaxInt64/int64(interval) {
		b.problem("max_poll_attempts", "max_poll_attempts: %d times %v is longer than a duration can be; use less, or set attest_timeout", attempts, interval)
		return
	}
	// Attempts that are few and close mean "fail soon when the container is not
	// there". They did not mean, with the built-in attestor, that the kubelet has to
	// answer as fast: a request may take the 10 s that it may always take.
	b.config.AttestTimeout = max(time.Duration(attempts)*interval, requestTimeout)
}

func (b *builder) cgroupRoot() {
	const key = "cgroup_root"
	root := b.s.text(key)
	if root == "" || root == "/" {
		return
	}
	if b.absolute(key, root) {
		b.config.CgroupRoot = root
	}
}

func (b *builder) ownPodUID() {
	const key = "pod_uid_env"
	name := b.s.text(key)
	if name == "" {
		b.config.OwnPodUID = b.env(defaultPodUIDEnv)
		return
	}
	b.config.OwnPodUID = b.env(name)
	if b.config.OwnPodUID == "" {
		b.warn(key, key+": the environment has no "+name+", so a process in the agent's own pod is sought in all pods, by its container's ID")
	}
}

func (b *builder) flags() {
	b.config.DisableContainerSelectors = b.s.flag("disable_container_selectors")
	b.config.VerboseContainerLocatorLogs = b.s.flag("verbose_container_locator_logs")
	b.config.EphemeralContainers = b.s.flag("ephemeral_containers")
	if b.config.EphemeralContainers {
		b.warn("ephemeral_containers", "ephemeral_containers: whoever may add an ephemeral container to a pod gets that pod's identity")
	}
	if b.s.given("use_new_container_locator") && !b.s.flag("use_new_container_locator") {
		b.warn("use_new_container_locator", "use_new_container_locator: ignored, podseal has one locator")
	}
	if cache := b.s.block("experimental").block("api_server").block("cache"); cache.flag("enabled") {
		b.warnings.add("experimental.api_server.cache.enabled", cache.at("enabled"), "experimental.api_server.cache.enabled: without effect, podseal does not ask the API server")
	}
}

// notYet refuses what the built-in attestor does and podseal does not do so far: to
// ignore it would give other selectors, or more rights, than were asked for.
func (b *builder) notYet() {
	if b.s.flag("disable_kubelet_client") {
		b.problem("disable_kubelet_client", "disable_kubelet_client: not yet: podseal knows pods from the kubelet alone; remove it and give podseal access to the kubelet")
	}
	if b.s.flag("enable_namespace_labels") {
		b.problem("enable_namespace_labels", "enable_namespace_labels: not yet: remove it and use the selectors ns and pod-label in registration entries")
	}
	broker := b.s.block("experimental").block("broker")
	if AccessPolicy(broker.text("access_policy")) == enforced {
		const key = brokerPath + ".access_policy"
		b.problems.add(key, broker.at("access_policy"), "%s: not yet: podseal asks the API server nothing; use %q and list only brokers that may see every pod of the node", key, Permissive)
	}
	for _, entry := range broker.all("brokers") {
		if Scope(entry.text("pod_reference_scope")) == cluster {
			key := brokersPath + "[" + entry.text("id") + "].pod_reference_scope"
			b.problems.add(key, entry.at("pod_reference_scope"), "%s: not yet: podseal knows the pods of its node only; use %q and let the broker ask the agent of the pod's node", key, AgentNode)
		}
	}
}

// nodeName is found as the built-in attestor finds it: a variable that was named and
// is empty does not fall back to the default one.
func (b *builder) nodeName() string {
	if name := b.s.text("node_name"); name != "" {
		return name
	}
	variable := b.s.text("node_name_env")
	if variable == "" {
		return b.env(defaultNodeNameEnv)
	}
	name := b.env(variable)
	if name == "" {
		b.warn("node_name_env", "node_name_env: the environment has no "+variable+", so the kubelet is dialled at 127.0.0.1 and its name is not verified").BuiltInIgnores = true
	}
	return name
}
