package setup

import "github.com/podseal/podseal/pkg/config"

// Using is where the next question about pods goes, KubeletPort or FromPodsAPI.
// Where both are possible and it is the port, the error is why; nil as long as
// nobody has looked, see Settle.
func (s sources) Using() (config.PodSource, error) {
	if s.auto != nil {
		if using, why := s.auto.Using(); !using {
			return config.KubeletPort, why
		}
	}
	if s.api != nil {
		return config.FromPodsAPI, nil
	}
	return config.KubeletPort, nil
}
