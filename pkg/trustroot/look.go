package trustroot

import (
	"log/slog"

	"github.com/podseal/podseal/pkg/sigstore"
)

// Look returns what a Source of this configuration begins with, from this node's
// files: for a person who asks what another process would have without a network. It
// writes nothing and asks nobody. Its errors are those of New.
func Look(cfg Config) (*sigstore.Root, Status, error) {
	s, err := prepare(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, Status{}, err
	}
	root, status := s.Current()
	return root, status, nil
}

// Reload has the files that were named looked at at once. An error, as those of New,
// is about what is in them now; the last good root stays then.
func (s *Source) Reload() error {
	if _, err := prepare(s.cfg, slog.New(slog.DiscardHandler), nil); err != nil {
		return err
	}
	s.lookSoon()
	return nil
}
