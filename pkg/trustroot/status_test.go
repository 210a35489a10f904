package trustroot_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/trustroot"
)

func TestAStatusForAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for want, s := range map[string]trustroot.Status{
			"nowhere": {},
			"the file /etc/root.json, written 12d ago":                                                {Origin: trustroot.Origin{Kind: trustroot.FromFile, Location: "/etc/root.json"}, Fetched: now.Add(-12 * day), Age: 12 * day},
			"TUF, https://tuf.example.org, fetched 47m ago, expires 2000-01-08T00:00:00Z":             {Origin: trustroot.Origin{Kind: trustroot.FromMirror, Location: "https://tuf.example.org"}, Fetched: now.Add(-47 * time.Minute), Age: 47 * time.Minute, Expires: now.Add(7 * day)},
			"the cache of TUF, https://a/\\x1b[31m, fetched 25h03m ago, expired 1999-12-31T23:59:59Z": {Origin: trustroot.Origin{Kind: trustroot.FromCache, Location: "https://a/\x1b[31m"}, Fetched: now.Add(-25 * time.Hour), Age: 25*time.Hour + 3*time.Minute, Expires: now.Add(-time.Second)},
			"the environment (with SIGSTORE_ROOT_FILE), written 5s ago":                               {Origin: trustroot.Origin{Kind: trustroot.FromEnvironment, Environment: []string{trustroot.VarRootFile}}, Fetched: now.Add(-5 * time.Second), Age: 5 * time.Second},
			"the public-good root of 2025-02-19 that is built in, made 3d ago":                        {Origin: trustroot.Origin{Kind: trustroot.FromBuild}, Fetched: now.Add(-3 * day), Age: 3 * day},
		} {
			if got := s.String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}
