package setup

import (
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/cri"
)

// Runtime makes the part that asks the container runtime. It must be closed.
func (p *Process) Runtime(cfg *config.Config, locator *container.Locator) (*cri.Client, error) {
	return cri.New(cri.Config{Socket: cfg.Images.CRISocket}, inPod(locator))
}
