package cri

import "time"

// SandboxOf gives tests what is read of a runtime's words for people.
var SandboxOf = sandboxOf

// Known is how many answers are remembered.
func (c *Client) Known() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

// SetTimeout makes that the bound of each call.
func (c *Client) SetTimeout(d time.Duration) { c.link.timeout = d }

const (
	MaxMessage = maxMessage
	MaxCalls   = maxCalls
)
