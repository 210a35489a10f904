package sigstoretest

import "time"

// Sigstore is one deployment: all that a keyless signature needs.
type Sigstore struct {
	Fulcio *CA
	CT     *CTLog
	// Rekor1 and Rekor2 are logs of either version.
	Rekor1, Rekor2 *Log
	TSA            *TSA
}

// New makes a deployment whose authorities are valid Always and whose Fulcio, of
// a root and an intermediate, certifies for ten minutes from the time of signing
// and has each certificate in the certificate transparency log.
func New() *Sigstore {
	ct := NewCTLog()
	return &Sigstore{
		Fulcio: NewCA(CAOptions{Name: "sigstoretest fulcio", Lifetime: 10 * time.Minute, Logs: []*CTLog{ct}}),
		CT:     ct,
		Rekor1: NewLog(LogOptions{Version: 1}),
		Rekor2: NewLog(LogOptions{Version: 2, Key: Ed25519}),
		TSA:    NewTSA(TSAOptions{}),
	}
}

// Keyless is a signer whom Fulcio knows by that identity.
func (s *Sigstore) Keyless(id Identity) *Signer { return s.Fulcio.Signer(id) }

// Root is the deployment's trusted root, for a test to change.
func (s *Sigstore) Root() Root { return Trust(s.Fulcio, s.CT, s.Rekor1, s.Rekor2, s.TSA) }

// TrustedRoot is the deployment's trusted_root.json.
func (s *Sigstore) TrustedRoot() []byte { return s.Root().JSON() }
