package setup

import (
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/verify"
)

// logs are the transparency logs that may be asked, by their URLs.
type logs map[string]*rekor.Client

// log returns the log of that URL, nil for none. One that the configuration before had
// is the same one, with what is known of whether it answers.
func (t *trust) log(url string) (verify.Log, error) {
	if url == "" {
		return nil, nil
	}
	known := t.logs[url]
	if known == nil {
		known = t.logsBefore[url]
	}
	if known == nil {
		var err error
		if known, err = rekor.New(rekor.Config{URL: url}); err != nil {
			return nil, err
		}
	}
	if t.logs == nil {
		t.logs = logs{}
	}
	t.logs[url] = known
	return known, nil
}

// closeUnlessIn closes those that kept has not.
func (l logs) closeUnlessIn(kept logs) {
	for url, log := range l {
		if kept[url] != log {
			log.Close()
		}
	}
}
