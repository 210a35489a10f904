package sigstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Each item is what its signed bytes are: a bundle is a signature with cosign's
// predicate alone, and it does not matter in whose place an item is, or what an
// annotation says that it is.
func TestEachItemIsJudgedForWhatItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := keyless(t, releaseIdentity())
	const provenance = "https://slsa.dev/provenance/v1"
	for name, c := range map[string]struct {
		make        func(*sigstoretest.Signature)
		place       evidence.Format // where it is found, if not where it belongs
		isSignature bool
	}{
		"a payload":                            {func(s *sigstoretest.Signature) { s.Format = evidence.SimpleSigning }, "", true},
		"a payload in the attestations' place": {func(s *sigstoretest.Signature) { s.Format = evidence.SimpleSigning }, evidence.Envelope, true},
		"cosign's bundle":                      {func(s *sigstoretest.Signature) {}, "", true},
		"cosign's statement in an envelope": {func(s *sigstoretest.Signature) {
			s.Format, s.PredicateType = evidence.Envelope, sigstoretest.SignPredicate
		}, "", true},
		"an attestation": {func(s *sigstoretest.Signature) { s.Format = evidence.Envelope }, "", false},
		"an attestation in the signatures' place": {func(s *sigstoretest.Signature) { s.Format = evidence.Envelope }, evidence.SimpleSigning, false},
		"a bundle with an attestation":            {func(s *sigstoretest.Signature) { s.PredicateType = provenance }, "", false},
		"nearly cosign's predicate":               {func(s *sigstoretest.Signature) { s.PredicateType = sigstoretest.SignPredicate + "/" }, "", false},
		"cosign's predicate in capitals":          {func(s *sigstoretest.Signature) { s.PredicateType = strings.ToUpper(sigstoretest.SignPredicate) }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.signed()
			c.make(&s)
			if s.Format != evidence.Bundle {
				s.Witnesses = witnesses{w.Rekor1}
			}
			found := item(t, sigstoretest.Sign(s))
			if c.place != "" {
				found.Format = c.place
			}
			if found.Annotations != nil {
				found.Annotations["predicateType"] = map[bool]string{true: provenance, false: sigstoretest.SignPredicate}[c.isSignature]
			}
			_, asSignature := a.Signature(w.root, found, []image.Digest{app}, now)
			_, asAttestation := a.Attestation(w.root, found, []image.Digest{app}, now)
			right, wrong, sentinel := asSignature, asAttestation, sigstore.ErrNotAttestation
			if !c.isSignature {
				right, wrong, sentinel = asAttestation, asSignature, sigstore.ErrNotSignature
			}
			if right != nil {
				t.Error(right)
			}
			if !errors.Is(wrong, sentinel) || reasonOf(wrong) != sigstore.ReasonKind {
				t.Error(wrong)
			}
		})
	}
}

// A signature of a file says nothing of an image, even of a file that is the
// image's manifest: cosign makes no such thing and accepts none.
func TestASignatureOfAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Message, s.Payload = true, []byte("app")
	found := item(t, sigstoretest.Sign(s))
	a := keyless(t, releaseIdentity())
	if _, err := a.Signature(w.root, found, []image.Digest{app}, now); !errors.Is(err, sigstore.ErrNotSignature) {
		t.Error(err)
	}
	if _, err := a.Attestation(w.root, found, []image.Digest{app}, now); !errors.Is(err, sigstore.ErrNotAttestation) {
		t.Error(err)
	}
	if err := a.VerifyBlob(w.root, found.Content, sigstore.Blob{Content: []byte("app")}, now); err != nil {
		t.Error(err)
	}
	if err := a.VerifyBlob(w.root, found.Content, sigstore.Blob{Digest: app}, now); err != nil {
		t.Error(err)
	}
	refused(t, a.VerifyBlob(w.root, found.Content, sigstore.Blob{Digest: evil}, now), sigstore.ReasonSignature)
}

// Row 5: an attestation counts for the authority that signed it, and its type is
// the one that was signed.
func TestAnAttestationByAnotherAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.PredicateType = "https://slsa.dev/provenance/v1"
	s.Signer = w.Keyless(dev())
	_, err := w.attest(t, keyless(t, releaseIdentity()), s)
	refused(t, err, sigstore.ReasonIdentity)
	// The type outside of what is signed changes nothing.
	envelope := s
	envelope.Format, envelope.Witnesses, envelope.Signer = evidence.Envelope, witnesses{w.Rekor1}, w.Keyless(release())
	found := item(t, sigstoretest.Sign(envelope))
	found.Annotations["predicateType"] = "https://cyclonedx.org/bom"
	got, err := keyless(t, releaseIdentity()).Attestation(w.root, found, []image.Digest{app}, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.PredicateType() != "https://slsa.dev/provenance/v1" {
		t.Errorf("it is a %q", got.PredicateType())
	}
}

// What an operator gives up, and nothing else.
func TestWhatIsGivenUp(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), sigstoretest.New()
	noSCT := release()
	noSCT.SCTs = func([][]byte) [][]byte { return nil }
	atOnce := sigstoretest.Time.Add(time.Minute)
	for name, c := range map[string]struct {
		config sigstore.KeylessConfig
		change func(*sigstoretest.Signature)
		now    time.Time
		want   sigstore.Reason
	}{
		"a log":                             {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.TSA} }},
		"a log, but no time":                {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = nil }, want: sigstore.ReasonCertificate},
		"a log, and it is valid now":        {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = nil }, now: atOnce},
		"a log that tells the time":         {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.Rekor1} }},
		"a log that nobody knows":           {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{stranger.Rekor1} }, want: sigstore.ReasonCertificate},
		"a log, not certificate logs":       {config: sigstore.KeylessConfig{IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Signer = w.Keyless(noSCT) }, want: sigstore.ReasonSCT},
		"certificate logs":                  {config: sigstore.KeylessConfig{IgnoreSCT: true}, change: func(s *sigstoretest.Signature) { s.Signer = w.Keyless(noSCT) }},
		"certificate logs, not the log":     {config: sigstore.KeylessConfig{IgnoreSCT: true}, change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.TSA} }, want: sigstore.ReasonLog},
		"neither counts for other Fulcios":  {config: sigstore.KeylessConfig{IgnoreSCT: true, IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Signer = stranger.Keyless(release()) }, want: sigstore.ReasonCertificate},
		"neither counts for other signers":  {config: sigstore.KeylessConfig{IgnoreSCT: true, IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Signer = w.Keyless(dev()) }, want: sigstore.ReasonIdentity},
		"neither counts for other contents": {config: sigstore.KeylessConfig{IgnoreSCT: true, IgnoreLog: true}, change: func(s *sigstoretest.Signature) { s.Digest = evil }, want: sigstore.ReasonContent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Identities = []sigstore.Identity{releaseIdentity()}
			s := w.signed()
			c.change(&s)
			at := now
			if !c.now.IsZero() {
				at = c.now
			}
			_, err := newKeyless(t, c.config).Signature(w.root, item(t, sigstoretest.Sign(s)), []image.Digest{app}, at)
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Rows 7 and 31: what is no signature at all.
func TestWhatIsNoSignatureAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := sigstoretest.Sign(w.signed())
	layer := w.signed()
	layer.Format, layer.Witnesses = evidence.SimpleSigning, witnesses{w.Rekor1}
	signature := sigstoretest.Sign(layer)
	layer.Format = evidence.Envelope
	envelope := sigstoretest.Sign(layer)
	with := func(made *sigstoretest.Artefact, key, value string) *sigstoretest.Artefact {
		copied := *made
		copied.Annotations = map[string]string{}
		for k, v := range made.Annotations {
			copied.Annotations[k] = v
		}
		copied.Annotations[key] = value
		return &copied
	}
	content := func(format evidence.Format, text string) *sigstoretest.Artefact {
		return &sigstoretest.Artefact{Format: format, Content: []byte(text), Annotations: map[string]string{}}
	}
	change := func(old, new string) *sigstoretest.Artefact {
		text := strings.Replace(string(good.Content), old, new, 1)
		if text == string(good.Content) {
			t.Fatalf("there is no %q", old)
		}
		return content(evidence.Bundle, text)
	}
	const bundle, stamp = "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"
	for name, c := range map[string]struct {
		artefact *sigstoretest.Artefact
		want     sigstore.Reason
	}{
		"nothing, a bundle":                {content(evidence.Bundle, ""), sigstore.ReasonMalformed},
		"nothing, a layer":                 {content(evidence.SimpleSigning, ""), sigstore.ReasonMalformed},
		"an unknown format":                {content("tarball", "{}"), sigstore.ReasonUnsupported},
		"null":                             {content(evidence.Bundle, "null"), sigstore.ReasonMalformed},
		"an empty bundle":                  {content(evidence.Bundle, "{}"), sigstore.ReasonUnsupported},
		"a bundle of nothing":              {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`), sigstore.ReasonMalformed},
		"a bundle of null":                 {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":null,"dsseEnvelope":null}`), sigstore.ReasonMalformed},
		"an empty chain":                   {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":{"x509CertificateChain":{"certificates":[]}}}`), sigstore.ReasonMalformed},
		"a null certificate":               {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":{"x509CertificateChain":{"certificates":[null]}}}`), sigstore.ReasonMalformed},
		"a key, no content":                {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}}}`), sigstore.ReasonMalformed},
		"a null log entry":                 {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[null]}}`), sigstore.ReasonMalformed},
		"an empty log entry":               {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[{"inclusionProof":{}}]}}`), sigstore.ReasonMalformed},
		"ten thousand log entries":         {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[{}`+strings.Repeat(",{}", 10_000)+`]}}`), sigstore.ReasonLog},
		"a million log entries":            {content(evidence.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[{}`+strings.Repeat(",{}", 1_000_000)+`]}}`), sigstore.ReasonLimit},
		"nested deeply":                    {content(evidence.Bundle, strings.Repeat("[", 100_000)), sigstore.ReasonLimit},
		"more than 8 MiB":                  {content(evidence.Bundle, strings.Repeat(" ", 8<<20+1)), sigstore.ReasonLimit},
		"a member twice":                   {change(`"mediaType":`, `"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","mediaType":`), sigstore.ReasonMalformed},
		"a member twice, spelt otherwise":  {change(`"mediaType":`, `"media_type":"application/vnd.dev.sigstore.bundle.v0.3+json","mediaType":`), sigstore.ReasonMalformed},
		"an unknown member":                {change(`"mediaType":`, `"trustMe":true,"mediaType":`), sigstore.ReasonMalformed},
		"both contents":                    {change(`"mediaType":`, `"messageSignature":{},"mediaType":`), sigstore.ReasonMalformed},
		"another version":                  {change(`v0.3+json`, `v0.4+json`), sigstore.ReasonUnsupported},
		"something behind it":              {content(evidence.Bundle, string(good.Content)+"{}"), sigstore.ReasonMalformed},
		"no signature":                     {with(signature, "dev.cosignproject.cosign/signature", ""), sigstore.ReasonMalformed},
		"a signature that is no base64":    {with(signature, "dev.cosignproject.cosign/signature", "!"), sigstore.ReasonMalformed},
		"a log entry that is none":         {with(signature, bundle, "x"), sigstore.ReasonMalformed},
		"a log entry of null":              {with(signature, bundle, `{"SignedEntryTimestamp":null,"Payload":null}`), sigstore.ReasonMalformed},
		"a log entry with more":            {with(signature, bundle, `{"x":1,`+signature.Annotations[bundle][1:]), sigstore.ReasonMalformed},
		"a log entry twice":                {with(signature, bundle, `{"SignedEntryTimestamp":"AA==",`+signature.Annotations[bundle][1:]), sigstore.ReasonMalformed},
		"a body that is none":              {with(signature, bundle, `{"SignedEntryTimestamp":"AA==","Payload":{"body":"eA==","integratedTime":1,"logIndex":1,"logID":"`+app.Hex()+`"}}`), sigstore.ReasonMalformed},
		"a body of another kind":           {with(signature, bundle, `{"SignedEntryTimestamp":"AA==","Payload":{"body":"eyJraW5kIjoicnBtIiwiYXBpVmVyc2lvbiI6IjAuMC4xIn0=","integratedTime":1,"logIndex":1,"logID":"`+app.Hex()+`"}}`), sigstore.ReasonUnsupported},
		"an endless log entry":             {with(signature, bundle, strings.Repeat("x", 257<<10)), sigstore.ReasonLimit},
		"a timestamp that is none":         {with(signature, stamp, "x"), sigstore.ReasonMalformed},
		"an endless timestamp":             {with(signature, stamp, strings.Repeat("x", 257<<10)), sigstore.ReasonLimit},
		"a payload and an envelope":        {content(evidence.SimpleSigning, `{"critical":{},"payloadType":"x"}`), sigstore.ReasonMalformed},
		"neither payload nor envelope":     {content(evidence.SimpleSigning, `{}`), sigstore.ReasonMalformed},
		"an envelope without a signature":  {content(evidence.Envelope, `{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}`), sigstore.ReasonMalformed},
		"an envelope whose one is null":    {content(evidence.Envelope, `{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[null]}`), sigstore.ReasonMalformed},
		"an envelope with two signatures":  {content(evidence.Envelope, strings.Replace(string(envelope.Content), `"signatures":[`, `"signatures":[{"sig":"AA=="},`, 1)), sigstore.ReasonMalformed},
		"an envelope with another payload": {content(evidence.Envelope, `{"payloadType":"text/plain","payload":"","signatures":[{"sig":"AA=="}]}`), sigstore.ReasonUnsupported},
		"a payload twice":                  {content(evidence.Envelope, `{"payload":"",`+string(envelope.Content)[1:]), sigstore.ReasonMalformed},
		"a payload in capitals as well":    {content(evidence.Envelope, `{"Payload":"",`+string(envelope.Content)[1:]), sigstore.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := keyless(t, releaseIdentity())
			_, err := a.Signature(w.root, item(t, c.artefact), []image.Digest{app}, now)
			refused(t, err, c.want)
			if _, err := a.Attestation(w.root, item(t, c.artefact), []image.Digest{app}, now); err == nil {
				t.Error("it is an attestation")
			}
		})
	}
}

// A refusal is one line that can be printed, whatever a stranger wrote.
func TestARefusalIsOneLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{`{"mediaType":"x\n\u001b[31m"}`, "\x1b[31m", `{"critical":{"\n":1}}`} {
		for _, format := range []evidence.Format{evidence.Bundle, evidence.SimpleSigning, "\n"} {
			_, err := keyless(t, releaseIdentity()).Signature(w.root, evidence.Item{Format: format, Content: []byte(text)}, nil, now)
			if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1<<10 {
				t.Errorf("%q", err)
			}
		}
	}
}
