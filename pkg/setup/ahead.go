package setup

import (
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/verify"
)

// lookAhead makes v the one that looks at images of this node's containers ahead of
// their first call; nil is nobody, and so is one beside the plugin, who answers one
// question and ends.
func (p *Process) lookAhead(v *verify.Verifier) *verify.Ahead {
	var ahead *verify.Ahead
	if v != nil && !p.Beside {
		ahead = verify.NewAhead(v, p.roster, p.log)
	}
	p.ahead.Store(ahead)
	return ahead
}

// started is for a pod of which a container was started.
func (p *Process) started(of *pod.Pod) {
	if ahead := p.ahead.Load(); ahead != nil {
		ahead.Add(of)
	}
}

// rosterFor is what the sources of a configuration tell what they hear: nothing where no
// images are verified.
func (p *Process) rosterFor(cfg *config.Config) *pod.Roster {
	if cfg.Images.Wanted() {
		return p.roster
	}
	return nil
}
