package main

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// simulation is time that passes from event to event. Times are since its start.
// Two events at the same time happen in the order in which they were asked for,
// and chance comes from a seed: the same simulation always goes the same way.
type simulation struct {
	now    time.Duration
	events events
	asked  int
	rand   *rand.Rand
}

func newSimulation(seed uint64) *simulation {
	return &simulation{rand: rand.New(rand.NewPCG(seed, 0))}
}

// at has f happen at time t, or now if that has passed.
func (s *simulation) at(t time.Duration, f func()) {
	s.asked++
	heap.Push(&s.events, event{max(t, s.now), s.asked, f})
}

func (s *simulation) after(d time.Duration, f func()) { s.at(s.now+d, f) }

// run lets time pass until the end. What is asked for later does not happen.
func (s *simulation) run(end time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.happen()
	}
	s.now = end
}

// upTo is a time from 0 to d, all of them as likely.
func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rand.Float64() * float64(d))
}

// poisson is the time to the next of things that happen by chance, on average
// every d.
func (s *simulation) poisson(d time.Duration) time.Duration {
	return time.Duration(s.rand.ExpFloat64() * float64(d))
}

type event struct {
	at     time.Duration
	number int
	happen func()
}

// events is a heap.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if e[i].at != e[j].at {
		return e[i].at < e[j].at
	}
	return e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
