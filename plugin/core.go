package plugin

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
)

// checkCore checks what the agent says of itself, with the built-in plugins'
// words.
func checkCore(core *configv1.CoreConfiguration) error {
	switch {
	case core == nil:
		return errors.New("server core configuration is required")
	case core.GetTrustDomain() == "":
		return errors.New("server core configuration must contain trust_domain")
	}
	if _, err := spiffeid.TrustDomainFromString(core.GetTrustDomain()); err != nil {
		return fmt.Errorf("server core configuration trust_domain is malformed: %w", err)
	}
	return nil
}
