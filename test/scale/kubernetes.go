package main

import "time"

// What Kubernetes 1.36.3 does, with where its source says so.
const (
	// pkg/kubelet/apis/config/v1beta1/defaults.go
	authenticationTTL = 2 * time.Minute
	authorizedTTL     = 5 * time.Minute
	unauthorizedTTL   = 30 * time.Second
	syncFrequency     = time.Minute

	// pkg/kubelet/pod_workers.go: a pod, and with it the token in its volume, is
	// looked at again after up to half as much more.
	syncJitter = syncFrequency / 2

	// pkg/kubelet/kubelet.go: how often the kubelet asks the runtime what runs.
	relistPeriod = time.Second

	// pkg/kubelet/kubelet.go: how long a container that ends is left alone, at first
	// and at most.
	firstPause = 10 * time.Second
	lastPause  = 5 * time.Minute

	// pkg/serviceaccount/claims.go: the token that every pod gets.
	tokenLifetime = 3607 * time.Second
	// pkg/kubelet/token/token_manager.go: a token is asked for anew in the last
	// fifth of its life, up to 10 s earlier.
	tokenRefresh = tokenLifetime - tokenLifetime/5
	tokenJitter  = 10 * time.Second

	// pkg/kubelet/apis/pods/constants.go: calls of the Pods API.
	serverPerSecond = 100
	serverAtOnce    = 10

	// k8s.io/apiserver: pkg/server/config.go, and the shares of the priority
	// level "system", which has what nodes ask but for their own status, in
	// pkg/apis/flowcontrol/bootstrap/default.go.
	requestsInFlight = 400 + 200
	systemShares     = 30
	allShares        = 30 + 40 + 10 + 40 + 100 + 20 + 5
	systemSeats      = (requestsInFlight*systemShares + allShares - 1) / allShares
)

// reviews counts what a kubelet asks the API server because it was asked for
// its pods.
type reviews struct {
	// tokens are TokenReviews, access SubjectAccessReviews, issued TokenRequests.
	tokens, access, issued int
}

func (r reviews) sum() int { return r.tokens + r.access + r.issued }

// kubelet is what a node's kubelet remembers of the attestor: answers of the API
// server, each for its time from when it was given, however often it is used.
type kubelet struct {
	s        *simulation
	settings settings
	count    func(reviews)

	// token counts the tokens that the agent's pod has had, used is the one that
	// the attestor has read, at loaded.
	token, used int
	loaded      time.Duration

	// reviewed and allowed are the tokens that the kubelet knows, until when.
	reviewed, allowed           int
	reviewedUntil, allowedUntil time.Duration
	// denied is the same for a permission that the agent does not have.
	denied      int
	deniedUntil time.Duration
}

// newKubelet returns one whose agent's token is somewhere in its life.
func newKubelet(s *simulation, set settings, count func(reviews)) *kubelet {
	k := &kubelet{s: s, settings: set, count: count, token: 1, used: 1, loaded: -time.Hour}
	k.renewAfter(-s.upTo(tokenRefresh))
	return k
}

// renewAfter has a token that was issued at that time renewed.
func (k *kubelet) renewAfter(issued time.Duration) {
	due := issued + tokenRefresh - k.s.upTo(tokenJitter)
	at := issued
	for at < due || at <= k.s.now {
		at += syncFrequency + k.s.upTo(syncJitter)
	}
	k.s.at(at, k.renew)
}

func (k *kubelet) renew() {
	k.token++
	k.count(reviews{issued: 1})
	k.renewAfter(k.s.now)
}

// restarted is for an agent that begins anew: its pod is another, with a token
// of its own.
func (k *kubelet) restarted() {
	k.token++
	k.count(reviews{issued: 1})
	k.loaded = -time.Hour
}

// admit is a request for the pods: who is it, and may he? The user that the
// kubelet asks about has the token's ID among his attributes, so a new token is
// a new question (k8s.io/apiserver: pkg/authentication/serviceaccount/util.go,
// plugin/pkg/authorizer/webhook/webhook.go).
func (k *kubelet) admit() {
	now := k.s.now
	if now-k.loaded >= k.settings.reload {
		k.used, k.loaded = k.token, now
	}
	var asked reviews
	if k.reviewed != k.used || now >= k.reviewedUntil {
		k.reviewed, k.reviewedUntil = k.used, now+k.settings.authenticationTTL
		asked.tokens++
	}
	if k.settings.proxyRole && (k.denied != k.used || now >= k.deniedUntil) {
		k.denied, k.deniedUntil = k.used, now+unauthorizedTTL
		asked.access++
	}
	if k.allowed != k.used || now >= k.allowedUntil {
		k.allowed, k.allowedUntil = k.used, now+k.settings.authorizedTTL
		asked.access++
	}
	k.count(asked)
}
