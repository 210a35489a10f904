package config

import (
	"strings"
	"time"
)

// The bounds of the cache.
//
// A signature that was removed counts for as long as ttl, so a day is the most; below
// a minute, registries would be asked about every image of the node all the time.
// Someone who keeps a registry away makes removed signatures count for as long as
// stale_ttl: a week is more than an outage should last.
const (
	defaultTTL, minTTL, maxTTL         = time.Hour, time.Minute, 24 * time.Hour
	defaultNegativeTTL, minNegativeTTL = 30 * time.Second, time.Second
	defaultStaleTTL, maxStaleTTL       = 24 * time.Hour, 7 * 24 * time.Hour

	defaultMaxEntries, minEntries, mostEntries = 2048, 16, 65536
)

// cache reads how long what was found out is used.
func (b *builder) cache(s *section) {
	c := &b.config.Images.Cache
	c.TTL = b.within(s, "ttl", defaultTTL, minTTL, maxTTL)
	c.StaleTTL = b.within(s, "stale_ttl", defaultStaleTTL, c.TTL, maxStaleTTL)
	c.NegativeTTL = b.within(s, "negative_ttl", defaultNegativeTTL, minNegativeTTL, c.TTL)
	c.MaxEntries = b.number(s, "max_entries", defaultMaxEntries, minEntries, mostEntries)
	c.Dir = b.file(s, "dir")
}

// within is a duration from least to most, and the default where it is not given or is
// refused.
func (b *builder) within(s *section, key string, byDefault, least, most time.Duration) time.Duration {
	text := s.text(key)
	if text == "" {
		return byDefault
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		b.refuse(s, key, "%v", err)
	case d < least || d > most:
		b.refuse(s, key, "%s is not %s to %s", text, short(least), short(most))
	default:
		return d
	}
	return byDefault
}

// short is a duration without the zeros at its end: 1h, and not 1h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
