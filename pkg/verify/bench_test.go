package verify_test

import (
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// BenchmarkVerify is one verification of an image over a connection that is there,
// with the registry on this machine and in this process. The round trips, which
// over a network are most of it, are counted.
func BenchmarkVerify(b *testing.B) {
	for _, form := range []struct {
		name   string
		format evidence.Format
		place  sigstoretest.Place
	}{
		{"sig", evidence.SimpleSigning, sigstoretest.SigTag},
		{"referrer", evidence.Bundle, sigstoretest.Referrers},
		{"fallback", evidence.Bundle, sigstoretest.FallbackTag},
	} {
		b.Run(form.name, func(b *testing.B) {
			w := newWorld(b, sigstoretest.RegistryOptions{})
			app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
			w.registry.Attach(app.Ref, form.place, w.sign(w.dev(), app.Ref.Digest, form.format))
			cfg, p := w.requires(b, keyless(b, devIssuer, devSubject)), running(app)
			var v *verify.Verifier
			requests, n := 0, 0
			for b.Loop() {
				if n%16 == 0 { // before the client's own limit makes it wait
					b.StopTimer()
					v = verifier(b, cfg, w.asks(b, registry.Limits{}, w.registry), verify.RecordStatuses{})
					if _, err := v.Container(b.Context(), p, &p.Containers[0]); err != nil {
						b.Fatal(err)
					}
					w.registry.Forget()
					b.StartTimer()
				}
				n++
				if _, err := v.Container(b.Context(), p, &p.Containers[0]); err != nil {
					b.Fatal(err)
				}
				requests = len(w.registry.Requests())
				w.registry.Forget()
			}
			b.ReportMetric(float64(requests), "requests/op")
		})
	}
}
