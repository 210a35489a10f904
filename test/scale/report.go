package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report writes all tables.
func report(w io.Writer) error {
	node := [][]string{{"what happens", "attestor", "calls", "refused", "requests to the kubelet", "a second", "most in one", "MB", "CPU of the calls", "of the requests", "the kubelet's for them", "wait, p50", "p99"}}
	cluster := [][]string{{"what happens", "all nodes", builtIn.name, overTLS.name, overPods.name}}
	for _, sc := range scenarios {
		var all []*measured
		for _, k := range kinds {
			m := sc.simulate(k)
			if m.failed > 0 {
				return fmt.Errorf("%s, %s: %d calls of ordinary workloads were not answered", sc.name, k.name, m.failed)
			}
			node = append(node, sc.nodeRow(k, m))
			all = append(all, m)
		}
		if sc.of == clusterNodes {
			cluster = append(cluster, sc.clusterRows(all)...)
		}
	}
	section(w, "The cluster", append(cluster, memory()...))
	reportImages(w)
	section(w, "One node", node)
	section(w, "Rollouts of the agent", rollouts())
	section(w, "What settings move", moved())
	section(w, "When the API server is slow", late())
	section(w, "Ceilings", ceilings())
	section(w, "Assumptions", assumptions())
	return nil
}

// clusterRows are what all nodes together do a second.
func (sc scenario) clusterRows(all []*measured) [][]string {
	var rows [][]string
	for _, what := range []string{"requests to kubelets/s", "MB/s", "cores busy with calls", "TokenReviews/s", "SubjectAccessReviews/s", "TokenRequests/s"} {
		rows = append(rows, []string{sc.name, what})
	}
	for i, k := range kinds {
		m := all[i]
		cores := number(m.cpu.Seconds() / sc.lasts.Seconds() * sc.scale())
		for j, value := range []string{
			sc.rate(m.fetches + m.lists), number(sc.transferred(k, m) / sc.lasts.Seconds() * sc.scale()), cores,
			sc.rate(m.reviews.tokens), sc.rate(m.reviews.access), sc.rate(m.reviews.issued),
		} {
			rows[j] = append(rows[j], value)
		}
	}
	return rows
}

func rollouts() [][]string {
	rows := [][]string{{"maxUnavailable", "takes", "attestations/s", "TokenReviews/s", "SubjectAccessReviews/s", "TokenRequests/s", "of these three, most a second, over 10 s", "one API server's seats suffice where each takes"}}
	for _, sc := range agentRollouts {
		m := sc.simulate(overTLS)
		sc.lasts = m.last // what the rates are of
		most := float64(slices.Max(m.windows)) / window.Seconds() * sc.scale()
		rows = append(rows, []string{
			sc.name, span(m.last.Round(time.Second)), sc.rate(m.calls),
			sc.rate(m.reviews.tokens), sc.rate(m.reviews.access), sc.rate(m.reviews.issued), number(most), duration(time.Duration(systemSeats / most * float64(time.Second))),
		})
	}
	return rows
}

func moved() [][]string {
	rows := [][]string{{"an hour of fetching every 30 s, over HTTPS", "lists a node", "MB", "wait, p50", "p99", "TokenReviews/s", "SubjectAccessReviews/s"}}
	for _, sc := range variations {
		m := sc.simulate(overTLS)
		rows = append(rows, []string{
			sc.name, sc.each(m.fetches), number(sc.transferred(overTLS, m) / float64(sc.nodes)), duration(percentile(m.waits, 50)), duration(percentile(m.waits, 99)),
			sc.rate(m.reviews.tokens), sc.rate(m.reviews.access),
		})
	}
	return rows
}

func late() [][]string {
	rows := [][]string{{"a status takes", "built-in", "podseal, HTTPS", "with `max_poll_attempts` 240", "podseal, Pods API"}}
	answered := func(sc scenario, k kind) string {
		m := sc.simulate(k)
		return number(100*float64(len(m.waits))/float64(m.calls)) + " %"
	}
	for _, d := range delays {
		sc, patient := delayed(d, defaults.attempts), delayed(d, 240)
		rows = append(rows, []string{span(d), answered(sc, builtIn), answered(sc, overTLS), answered(patient, overTLS), answered(sc, overPods)})
	}
	return rows
}

func section(w io.Writer, title string, rows [][]string) {
	fmt.Fprintf(w, "### %s\n\n", title)
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	fmt.Fprintln(w)
}

func (sc scenario) nodeRow(k kind, m *measured) []string {
	f := k.figures
	perNode := func(fetch, list figure) string {
		all := fetch.ms()*time.Duration(m.fetches) + list.ms()*time.Duration(m.lists)
		return duration(all / time.Duration(sc.nodes))
	}
	return []string{
		sc.name, k.name, sc.each(m.calls), sc.each(m.refused),
		sc.requests(m), number(float64(m.fetches+m.lists) / sc.lasts.Seconds() / float64(sc.nodes)), strconv.Itoa(m.busiest),
		number(sc.transferred(k, m) / float64(sc.nodes)),
		duration(m.cpu / time.Duration(sc.nodes)), perNode(f.fetchCPU, f.listCPU), perNode(f.kubeletCPU, f.kubeletListCPU),
		duration(percentile(m.waits, 50)), duration(percentile(m.waits, 99)),
	}
}

// requests are those of one node.
func (sc scenario) requests(m *measured) string {
	if m.lists == 0 {
		return sc.each(m.fetches)
	}
	return sc.each(m.fetches) + ", and " + sc.each(m.lists) + " for all pods"
}

// transferred is how many MB all the simulated nodes do.
func (sc scenario) transferred(k kind, m *measured) float64 {
	return (float64(m.fetches)*k.figures.bytes.value + float64(m.lists)*k.figures.listBytes.value) / 1e6
}

// each is a count for one node, rate for a second and the whole cluster.
func (sc scenario) each(count int) string { return number(float64(count) / float64(sc.nodes)) }

func (sc scenario) rate(count int) string {
	return number(float64(count) / sc.lasts.Seconds() * sc.scale())
}

// scale is how many nodes each of the simulated stands for.
func (sc scenario) scale() float64 { return float64(sc.of) / float64(sc.nodes) }

// memory is arithmetic: what a node has, for all nodes.
func memory() [][]string {
	after, all, peak := []string{"always", "memory after load, GiB"}, []string{"always", "the same of a node, MiB"}, []string{"always", "at most of a node, MiB"}
	for _, k := range kinds {
		f := k.figures
		after = append(after, number(f.memory.value*clusterNodes/1024))
		all = append(all, number(f.memory.value))
		peak = append(peak, number(f.peak.value))
	}
	return [][]string{after, all, peak}
}

// ceilings are arithmetic: what can't be exceeded however much is called, and
// what has it.
func ceilings() [][]string {
	perSecond := func(ttl time.Duration) string { return number(clusterNodes / ttl.Seconds()) }
	rows := [][]string{{"what", "at most", "set by"}}
	row := func(what, most, by string) { rows = append(rows, []string{what, most, by}) }
	row("lists, a node", number(1/defaults.interval.Seconds())+"/s", "`poll_retry_interval`")
	row("what they transfer, a node", number(httpsFigures.bytes.value/1e6/defaults.interval.Seconds())+" MB/s", "the same")
	row("calls of the Pods API, a node", fmt.Sprintf("%d/s", requestsPerSecond), fmt.Sprintf("podseal, half of the %d that the kubelet answers", serverPerSecond))
	row("lists through the Pods API, a node", number(1/defaults.interval.Seconds())+"/s", "`poll_retry_interval`")
	row("the same while pods change and a container is waited for whose cgroup names no pod", number(1/relist.Seconds())+"/s", "podseal")
	row("requests to one registry, a node", fmt.Sprintf("%d/s, %d at once", registryPerSecond, registryBurst), "podseal")
	row("the same, for one namespace", fmt.Sprintf("%d/s, %d at once", registryPerSecond/2, registryBurst/2), "the same")
	row("images of one registry within `limits.image_budget`, a node that has nothing of them", inTime(typical.first), "the same; in brackets those of one namespace")
	row("the same, of which only lists are to be fetched", inTime(typical.again), "the same")
	row("TokenReviews, 10,000 nodes that all list", perSecond(authenticationTTL)+"/s", "`authentication.webhook.cacheTTL` of the kubelet")
	row("SubjectAccessReviews, the same", perSecond(authorizedTTL)+"/s", "`authorization.webhook.cacheAuthorizedTTL` of the kubelet")
	row("more of both for tokens that are new", perSecond(tokenRefresh-tokenJitter)+"/s each", "the token's lifetime")
	row("requests of kubelets in flight, an API server", fmt.Sprint(systemSeats), "its priority level `system`, with all else that nodes ask")
	for _, k := range kinds {
		row(fmt.Sprintf("calls with %d cores, a node, %s", cores, k.name), number(cores*1000/k.figures.call.value)+"/s", "CPU")
	}
	return rows
}

// inTime is how many images are verified in the time that a call has for them, each
// with so many requests.
func inTime(requests int) string {
	most := registryBurst + registryPerSecond*int(imageBudget.Seconds())
	return fmt.Sprintf("%d (%d)", most/requests, most/2/requests)
}

// assumptions are the table of what the simulation takes for granted.
func assumptions() [][]string {
	rows := [][]string{{"assumption", "value"}}
	row := func(what string, value any) { rows = append(rows, []string{what, fmt.Sprint(value)}) }
	row("nodes; pods on each; containers in each", fmt.Sprintf("%d; %d; 1", clusterNodes, podsPerNode))
	row("a list of a node's pods", fmt.Sprintf("%s MB, of pods of %s KB", number(httpsFigures.bytes.value/1e6), number(httpsFigures.bytes.value/podsPerNode/1e3)))
	row("cores that the attestor may use", cores)
	row("CPU time of a call that is refused, or looks in vain", "that of a process in no pod")
	row("from a container's start to its workload's call", firstCall)
	row("from a container's start until the kubelet knows it", fmt.Sprintf("0 to %v, evenly: it asks the runtime that often", span(relistPeriod)))
	row("from there until `/pods` shows it, which the API server must know first", defaults.throughAPI)
	row("workloads that stream", "one call for each start, and one when the agent comes back")
	row("an agent that is replaced", fmt.Sprintf("away for %v to %v, evenly; counts as ready %v later", agentDown, agentDown+agentDownMore, agentReady))
	row("all agents, replaced one after the other", span((clusterNodes * (agentDown + agentDownMore/2 + agentReady)).Round(time.Hour)))
	row("workloads of a replaced agent", "come back as go-spiffe does: 1, 3, 6, 10, 15, 21, 28, ... s after the stream broke, all of a node at once")
	row("kubelet's caches", fmt.Sprintf("TokenReview %v, SubjectAccessReview %v, refusals %v", span(authenticationTTL), span(authorizedTTL), span(unauthorizedTTL)))
	row("the token for the kubelet", fmt.Sprintf("lives %v, renewed after %v to %v, at the pod's next sync (every %v to %v); read again every %v",
		tokenLifetime, tokenRefresh-tokenJitter, tokenRefresh, span(syncFrequency), span(syncFrequency+syncJitter), span(defaults.reload)))
	row("images", fmt.Sprintf("%d on each node, of one registry and several namespaces: in the spec a tag, which is an index, signed by a bundle", imagesPerNode))
	row("podseal's verdicts", fmt.Sprintf("`cache.ttl` %v, `cache.negative_ttl` %v, `limits.image_budget` %v, `tuf.refresh` %v", span(verdictTTL), span(negativeTTL), span(imageBudget), span(mirrorRefresh)))
	row("a crash loop", fmt.Sprintf("the container ends with its first call; the kubelet starts it again after %v, and twice as long each time up to %v", span(firstPause), span(lastPause)))
	row("processes that ask again", "as go-spiffe does: after 1, 2, 3, ... s, at most 30 s")
	row("podseal", fmt.Sprintf("`poll_retry_interval` and `pod_cache_ttl` %v, `max_poll_attempts` %d, `attest_timeout` %v", defaults.interval, defaults.attempts, defaults.timeout))
	return rows
}

// span is a time without what is zero at its end.
func span(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// percentile is the value that p in a hundred don't exceed. It sorts.
func percentile(of []time.Duration, p int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[(len(of)-1)*p/100]
}

func duration(d time.Duration) string {
	if d >= time.Second {
		return number(d.Seconds()) + " s"
	}
	return number(float64(d)/float64(time.Millisecond)) + " ms"
}

// number has three significant digits, or what is before the point.
func number(v float64) string {
	digits := 0
	if v != 0 {
		digits = max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0)
	}
	s := strconv.FormatFloat(v, 'f', min(digits, 4), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
