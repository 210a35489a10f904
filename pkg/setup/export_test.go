package setup

import "net/http"

// Through makes TUF repositories be asked another way than through the network. It is
// called before the first Build.
func (p *Process) Through(mirrors http.RoundTripper) { p.mirrors = mirrors }

// Roots are the trust roots of the parts.
func (p *Parts) Roots() []*TrustRoot { return p.images.roots }

// Ahead is whether anybody looks at images ahead of their first call.
func (p *Process) Ahead() bool { return p.ahead.Load() != nil }
