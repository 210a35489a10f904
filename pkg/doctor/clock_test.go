package doctor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/kubelet"
)

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 500e6, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	dated := func(d time.Duration) *kubelet.Inspection {
		return &kubelet.Inspection{Address: "node:10250", Asked: now, Answered: at(10 * time.Millisecond), Date: at(d).Truncate(time.Second)}
	}
	for name, c := range map[string]struct {
		unsynchronised bool
		err            error
		inspection     *kubelet.Inspection
		want           want
	}{
		"nobody was asked":      {want: want{status: doctor.OK}},
		"the same clock":        {inspection: dated(0), want: want{status: doctor.OK}},
		"no date":               {inspection: &kubelet.Inspection{Asked: now, Answered: now}, want: want{status: doctor.OK}},
		"a little ahead":        {inspection: dated(5 * time.Second), want: want{status: doctor.OK}},
		"a little behind":       {inspection: dated(-5 * time.Second), want: want{status: doctor.OK}},
		"ahead":                 {inspection: dated(7 * time.Second), want: want{status: doctor.Warning, finding: []string{"node:10250", "ahead of this node's"}}},
		"behind":                {inspection: dated(-8 * time.Second), want: want{status: doctor.Warning, finding: []string{"behind this node's"}}},
		"the kernel is silent":  {err: errors.New("adjtimex: not permitted"), want: want{status: doctor.Skipped, finding: []string{"adjtimex: not permitted"}}},
		"no time service":       {unsynchronised: true, want: want{status: doctor.Warning, remedy: []string{"time service"}}},
		"issued a moment ahead": {inspection: &kubelet.Inspection{Token: &kubelet.Claims{IssuedAt: at(4 * time.Second)}}, want: want{status: doctor.OK}},
		"a token of tomorrow": {inspection: &kubelet.Inspection{Token: &kubelet.Claims{IssuedAt: at(24 * time.Hour)}},
			want: want{status: doctor.Failed, finding: []string{"it is 2026-06-01T12:00:00Z here", "issued at 2026-06-02T12:00:00Z"}}},
		"a client certificate of tomorrow": {inspection: &kubelet.Inspection{ClientCertificate: &kubelet.Certificate{NotBefore: at(24 * time.Hour)}},
			want: want{status: doctor.Failed, finding: []string{"certificate_path"}}},
		// What proves the clock wrong counts more than what the kernel says.
		"a certificate of tomorrow": {unsynchronised: true, inspection: &kubelet.Inspection{Certificate: &kubelet.Certificate{NotBefore: at(24 * time.Hour)}},
			want: want{status: doctor.Failed, finding: []string{"kubelet's certificate is valid from"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.name = doctor.Clock
			c.want.match(t, doctor.JudgeClock(now, !c.unsynchronised, c.err, c.inspection))
		})
	}
}

func TestTheKernelIsAskedAndNotChanged(t *testing.T) {
	t.Parallel()
	if _, err := doctor.KernelSynchronised(); err != nil {
		t.Errorf("anybody may read the clock's state: %v", err)
	}
}
