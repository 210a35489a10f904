// Package sigstoretest makes "an image signed by X at time T" and has it in a
// registry: a virtual Sigstore (Fulcio with SCTs, Rekor v1 and v2, timestamp
// authorities, private PKI, keys) and an OCI registry on the loopback interface.
// It is written from the specifications and uses nothing of the libraries that
// judge, so that a mistake of theirs is not made here too.
//
//	sigstore := sigstoretest.New()
//	registry := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
//	app := registry.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
//	release := sigstore.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
//	signature := sigstoretest.Sign(sigstoretest.Signature{
//		Signer:    release,
//		Digest:    app.Ref.Digest,
//		Format:    evidence.Bundle,
//		Witnesses: []sigstoretest.Witness{sigstore.Rekor2, sigstore.TSA},
//	})
//	registry.Attach(app.Ref, sigstoretest.Usual, signature)
//	// sigstore.TrustedRoot(), registry.CAPEM() and app.Ref are what a verifier needs;
//	// signature.Item(app.Ref) is what it would find, without a registry.
//
// # Who signs
//
// [Sigstore.Keyless] is somebody whom Fulcio certifies at the time of signing,
// [NewKey] a key alone, and [CA.Signer] of a [NewCA] one of a private PKI, whose
// leaves are as old as the CA. An [Identity] says anything, Fulcio's extensions in
// a private leaf too.
//
// # Where
//
// [Registry.Attach] knows cosign's tags, the referrers API and the fallback tag. A
// registry fails the test when its client breaks the protocol, so tests about
// credentials need no more than a second registry, without [Auth], where they must
// not go.
//
// # The log itself
//
// A signature with LogOnly as its Break is in the log and is stored without the log's
// entry, as older ones are. A [Rekor] is that log for who asks for the entry. It fails
// the test when it is asked for its key: that is for the trust root to say.
//
// # Breaking things
//
// There are four places to break a signature in, from the inside out.
//
//   - Data, which is signed and recorded faithfully: Payload, Subject, Predicate and
//     PayloadType of a [Signature], Time and Certified, Hash; every field of an
//     [Identity], its SCTs and its Template.
//   - Entry and Token of a [Signature] change what the log is told and what is
//     stamped. Log and authority sign it as they sign everything: a valid entry of
//     another signature, key or digest, or of a time in the future.
//   - Break changes the parts when all is signed: take one from another signature's
//     [Artefact.Parts], flip a bit, leave it out, have it twice. To sign an altered
//     part anew use [Log.Promise], [Log.Checkpoint], [Log.Add], [TSA.Issue] and
//     [CA.Issue].
//   - The [Artefact] is bytes and annotations that can be replaced before they are
//     attached: duplicate keys, malformed JSON, anything.
//
// A [Root] is plain data as well: authorities of several deployments, windows of
// validity, a log without its identifier.
//
//	signature := sigstoretest.Sign(sigstoretest.Signature{
//		Signer: release, Digest: evil, Witnesses: []sigstoretest.Witness{sigstore.Rekor1},
//		Break: func(p *sigstoretest.Parts) { p.Entries = good.Parts.Entries },
//	})
//
// A registry is broken with [Registry.Break], and the log with [Rekor.Break], and a
// [Fault], a ready one or a function; what is stored is broken with
// [Registry.PutManifest] and [Registry.PutBlob], which store what they get.
//
// A request that makes no sense (two log entries for cosign's image, which has room
// for one) panics.
package sigstoretest
