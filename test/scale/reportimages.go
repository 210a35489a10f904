package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// reportImages writes the tables about images.
func reportImages(w io.Writer) {
	section(w, "What is asked about one image", askedRows())
	section(w, "Verifying images", verifiedRows())
	section(w, "One new image", newImageRows())
	section(w, "Rollouts of the agent, where images are verified", restartRows())
	section(w, "Trust roots", trustRows())
}

func askedRows() [][]string {
	rows := [][]string{{"the pod's spec has", "which is", "signed by", "requests, the first time on a node", "with the list fetched anew"}}
	for _, a := range askedImages {
		has, is, by := "a digest", "a manifest", a.signature
		if a.byTag {
			has = "a tag"
		}
		if a.index {
			is = "an index"
		}
		if a.signature == "" {
			by = "nobody"
		}
		if a.tokens {
			is += ", of a registry that gives tokens"
		}
		rows = append(rows, []string{has, is, by, fmt.Sprint(a.first), fmt.Sprint(a.again)})
	}
	return rows
}

func verifiedRows() [][]string {
	rows := [][]string{{"what happens, where the image of every container is verified", "calls/s", "conversations/s", "requests to registries/s", "cores busy with it, at most"}}
	for _, sc := range imageScenarios {
		m := sc.simulate(overTLS)
		cpu := verificationCPU.ms().Seconds() * float64(m.images.conversations) / sc.lasts.Seconds() * sc.scale()
		rows = append(rows, []string{sc.name, sc.rate(m.calls), sc.rate(m.images.conversations), sc.rate(m.images.requests), number(cpu)})
	}
	return rows
}

// most is how many requests a second registries are sent at most, over a window.
func (sc scenario) most(m *measured) float64 {
	return float64(slices.Max(m.images.windows)) / window.Seconds() * sc.scale()
}

// newImageRows are what one repository is asked. What a mirror asks is arithmetic: it
// keeps what has a digest for good, and the rest not at all or for a minute.
func newImageRows() [][]string {
	rows := [][]string{{"one new image", "requests to its registry", "a second", "most a second, over 10 s", "requests of a mirror that keeps what has a digest", "of one that keeps the rest for a minute"}}
	for _, sc := range imageRollouts {
		m := sc.simulate(overTLS)
		contents := typical.first - typical.again
		minutes := int((sc.lasts + time.Minute - 1) / time.Minute)
		rows = append(rows, []string{
			sc.name, fmt.Sprint(m.images.requests), sc.rate(m.images.requests), number(sc.most(m)),
			fmt.Sprint(m.images.lists + contents), fmt.Sprint(minutes*typical.again + contents),
		})
	}
	return rows
}

func restartRows() [][]string {
	rows := [][]string{{"maxUnavailable", "`cache.dir`", "requests to registries, a node", "all nodes, a second", "most a second, over 10 s", "the last image of a node waits for what one registry is sent"}}
	for _, cacheDir := range []bool{false, true} {
		for _, sc := range agentRestarts(cacheDir) {
			m := sc.simulate(overTLS)
			sc.lasts = m.last // what the rates are of
			set := "not set"
			if cacheDir {
				set = "set"
			}
			rows = append(rows, []string{sc.name, set, sc.each(m.images.requests), sc.rate(m.images.requests), number(sc.most(m)), duration(m.images.slowest)})
		}
	}
	return rows
}

// trustRows are arithmetic: agents ask on their own, each in its time.
func trustRows() [][]string {
	rows := [][]string{{"the mirror of a trust root (TUF), which all nodes use", "requests, in all", "a second"}}
	row := func(what string, each int, over time.Duration) {
		all := clusterNodes * each
		rows = append(rows, []string{what, fmt.Sprint(all), number(float64(all) / over.Seconds())})
	}
	row("a day without news", askedMirror.again, mirrorRefresh-mirrorSpread/2)
	row("a day with another trust root", askedMirror.news, mirrorRefresh-mirrorSpread/2)
	row("all agents start at once, and nothing was kept", askedMirror.first, agentDownMore)
	row("the day after", askedMirror.again, mirrorSpread)
	return rows
}
