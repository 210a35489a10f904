package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// connectTimeout bounds what comes before a request is sent: finding the address and
	// connecting to it, and then once more TLS.
	connectTimeout = 2 * time.Second
	// opensAfter is how many times in a row a host can't be connected to before nobody
	// tries for a while: firstPause at first, and twice as long each time that it
	// still can't, lastPause at most.
	opensAfter = 2
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// maxBroken is of how many hosts it is kept that they can't be connected to, for
	// one registry: whoever runs it chooses where it leads.
	maxBroken = 8
)

// breaker is what is known of a host that could not be connected to. Its fields are
// guarded by endpoint.mu.
//
// Only what happens before a request is sent counts: how long an answer takes may
// depend on what is asked for, and so on who may push to a repository.
type breaker struct {
	failures int
	// first is why, and since is when it was found out.
	first error
	since time.Time
	// next is when somebody may try again, pause how long that was put off, and
	// trying whether somebody does.
	next   time.Time
	pause  time.Duration
	trying bool
}

// open is whether the host is not to be tried at that time.
func (b *breaker) open(now time.Time) bool {
	return b != nil && b.failures >= opensAfter && (b.trying || now.Before(b.next))
}

func (b *breaker) refusal(host string) error {
	return fail(Unavailable, "there was no connection to %q since %s, and it is only tried from time to time: %w", clip(host), b.since.UTC().Format(time.RFC3339), b.first)
}

// attempt is one request's try to get an answer from a host.
type attempt struct {
	talk
	url  *url.URL
	host string // with scheme and port
	// probe is whether it is the one that tries a host again.
	probe bool
	// callers is the context of who asks, which may end for reasons of its own, ctx the
	// request's, and cancel ends that.
	callers, ctx context.Context
	cancel       context.CancelFunc
	// connecting ends the request that gets no connection.
	connecting *time.Timer
	connected  atomic.Bool
	// seen is for Inspect, else nil.
	seen *sight
}

// reachable is why a host is not asked, if it is not: it did not answer a request of
// the conversation, or nobody can connect to it.
func (t talk) reachable(u *url.URL) error {
	host := u.Scheme + " " + hostPort(u)
	if err := t.with.unanswered(host); err != nil {
		return err
	}
	if t.isOwn(u) {
		if _, err := t.transport(); err != nil { // which sees a new CA
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.broken[host]; b.open(time.Now()) {
		return b.refusal(u.Host)
	}
	return nil
}

// attempt begins to ask a host. After a nil error the attempt must be closed.
func (t talk) attempt(ctx context.Context, u *url.URL) (*attempt, error) {
	a := &attempt{talk: t, url: u, host: u.Scheme + " " + hostPort(u), callers: ctx}
	if err := t.with.unanswered(a.host); err != nil {
		return nil, err
	}
	if err := a.begin(); err != nil {
		return nil, err
	}
	if t.isOwn(u) {
		a.seen = t.with.seen
	}
	timeout, connect := t.client.timeout, t.client.connect
	ctx, a.cancel = context.WithTimeoutCause(ctx, timeout, tooSlow(timeout))
	ctx, giveUp := context.WithCancelCause(ctx)
	a.connecting = time.AfterFunc(connect, func() {
		if !a.connected.Load() {
			giveUp(fmt.Errorf("no connection within %v", connect))
		}
	})
	a.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Again for another connection, where one that was kept turns out to be dead.
		GetConn: func(string) {
			a.connected.Store(false)
			a.connecting.Reset(connect)
		},
		TLSHandshakeStart: func() { a.connecting.Reset(connect) },
		GotConn: func(info httptrace.GotConnInfo) {
			a.connecting.Stop()
			a.connected.Store(true)
			if !info.Reused {
				a.reached()
			}
			if a.seen != nil {
				a.seen.connection(info)
			}
		},
	})
	return a, nil
}

// begin is whether the host may be tried.
func (a *attempt) begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.broken[a.host]
	if b.open(time.Now()) {
		return b.refusal(a.url.Host)
	}
	if b != nil && b.failures >= opensAfter {
		b.trying, a.probe = true, true
	}
	return nil
}

// close ends all that belongs to the request.
func (a *attempt) close() {
	a.cancel()
	a.abandon()
}

// forgetBroken lets everybody try again at once.
func (e *endpoint) forgetBroken() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.broken)
}

// reached takes note of a connection.
func (a *attempt) reached() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.probe = false
	delete(a.broken, a.host)
}

// end takes note of how the request went: that there is an answer, or why not.
func (a *attempt) end(err error) {
	a.connecting.Stop()
	_, slow := errors.AsType[tooSlow](err)
	switch {
	case err == nil:
		a.reached()
		a.mu.Lock()
		a.answered = time.Now()
		a.mu.Unlock()
	case a.callers.Err() != nil || kindOf(err) != Unavailable:
		// It says nothing about the host.
	case !a.connected.Load():
		a.unreachable(err)
		a.with.giveUp(a.host, err)
	case slow:
		a.with.giveUp(a.host, err)
	}
}

// abandon lets somebody else try, if nothing was found out.
func (a *attempt) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.broken[a.host]; b != nil && a.probe {
		b.trying = false
	}
}

// unreachable takes note of a host that can't be connected to.
func (a *attempt) unreachable(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(a.broken, func(_ string, b *breaker) bool { return !b.trying && now.Sub(b.next) > lastPause })
	b := a.broken[a.host]
	switch {
	case b == nil && len(a.broken) >= maxBroken && !a.isOwn(a.url):
		return
	case b == nil:
		b = &breaker{first: err, since: now}
		a.broken[a.host] = b
	case b.failures >= opensAfter && !a.probe:
		return // it began before it was known
	}
	a.probe, b.trying = false, false
	if b.failures++; b.failures >= opensAfter {
		b.pause = min(max(2*b.pause, firstPause), lastPause)
	}
	b.next = now.Add(b.pause)
}

// tooSlow is a request that took longer than the time for one.
type tooSlow time.Duration

func (t tooSlow) Error() string { return fmt.Sprintf("no complete answer within %v", time.Duration(t)) }
