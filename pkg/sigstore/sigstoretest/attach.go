package sigstoretest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
)

// Place is where signatures and attestations of an image are in a registry.
type Place int

const (
	// Usual is where cosign puts it: simple signing at SigTag, envelopes at AttTag,
	// bundles among the Referrers.
	Usual Place = iota
	// SigTag is the image with the tag sha256-<hex>.sig, a layer for each signature.
	SigTag
	// AttTag is the image with the tag sha256-<hex>.att.
	AttTag
	// Referrers is a manifest of its own, which the referrers API lists.
	Referrers
	// FallbackTag is a manifest of its own, which the index with the tag sha256-<hex>
	// lists and the API does not.
	FallbackTag
)

// Attach puts signatures and attestations there for the image, in the repository
// of ref and in that order, after those that are there. What they sign is not
// looked at. It returns the digest of each manifest that it wrote.
func (r *Registry) Attach(ref image.Ref, place Place, artefacts ...*Artefact) []image.Digest {
	r.attaching.Lock()
	defer r.attaching.Unlock()
	var out []image.Digest
	for _, a := range artefacts {
		switch cmp.Or(place, usual(a.Format)) {
		case SigTag:
			out = append(out, r.attachLayer(ref, ".sig", a))
		case AttTag:
			out = append(out, r.attachLayer(ref, ".att", a))
		case FallbackTag:
			out = append(out, r.attachManifest(ref, a, false))
		default:
			out = append(out, r.attachManifest(ref, a, true))
		}
	}
	return out
}

func usual(f evidence.Format) Place {
	switch f {
	case evidence.SimpleSigning:
		return SigTag
	case evidence.Envelope:
		return AttTag
	}
	return Referrers
}

// attachLayer adds a layer to one of cosign's images.
func (r *Registry) attachLayer(ref image.Ref, suffix string, a *Artefact) image.Digest {
	path, tag := ref.Repository.Path(), fallbackTag(ref.Digest)+suffix
	var before struct{ Layers []object }
	if m, ok := r.tagged(path, tag); ok {
		must(0, json.Unmarshal(m.body, &before))
	}
	layer := descriptor(a.MediaType, a.Content)
	if a.Annotations != nil {
		layer["annotations"] = maps.Clone(a.Annotations)
	}
	r.PutBlob(path, a.Content)
	config := []byte(`{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{"created":"0001-01-01T00:00:00Z"}],"os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}`)
	r.PutBlob(path, config)
	d := r.PutManifest(path, mediaManifest, must(json.Marshal(object{
		"schemaVersion": 2, "mediaType": mediaManifest,
		"config": descriptor(mediaConfig, config), "layers": append(before.Layers, layer),
	})))
	r.Tag(path, tag, d)
	return d
}

// attachManifest writes a manifest that refers to the image, as cosign does.
func (r *Registry) attachManifest(ref image.Ref, a *Artefact, listed bool) image.Digest {
	path := ref.Repository.Path()
	r.PutBlob(path, a.Content)
	r.PutBlob(path, []byte("{}"))
	subject := object{"mediaType": mediaManifest, "digest": ref.Digest.String(), "size": 0}
	r.mu.Lock()
	if m, ok := r.repository(path).manifests[ref.Digest]; ok {
		subject = descriptor(m.mediaType, m.body)
	}
	r.mu.Unlock()
	annotations := object{"org.opencontainers.image.created": "2025-06-01T12:00:00Z"}
	if a.Format == evidence.Bundle {
		annotations["dev.sigstore.bundle.content"] = "message-signature"
		if a.predicateType != "" {
			annotations["dev.sigstore.bundle.content"] = "dsse-envelope"
			annotations["dev.sigstore.bundle.predicateType"] = a.predicateType
		}
	}
	layer := descriptor(a.MediaType, a.Content)
	if a.Annotations != nil {
		layer["annotations"] = maps.Clone(a.Annotations)
	}
	body := must(json.Marshal(object{
		"schemaVersion": 2, "mediaType": mediaManifest, "artifactType": artifactType(a),
		"config": descriptor(mediaEmpty, []byte("{}")), "layers": []object{layer},
		"subject": subject, "annotations": annotations,
	}))
	d := r.putManifest(path, mediaManifest, body, listed)
	if !listed {
		r.addFallback(ref, d)
	}
	return d
}

func artifactType(a *Artefact) string {
	switch a.Format {
	case evidence.SimpleSigning:
		return "application/vnd.dev.cosign.artifact.sig.v1+json"
	case evidence.Envelope:
		return "application/vnd.in-toto+json"
	}
	return a.MediaType
}

// AddFallback adds a manifest of the same repository to the index with the
// image's fallback tag.
func (r *Registry) AddFallback(ref image.Ref, d image.Digest) {
	r.attaching.Lock()
	defer r.attaching.Unlock()
	r.addFallback(ref, d)
}

func (r *Registry) addFallback(ref image.Ref, d image.Digest) {
	path := ref.Repository.Path()
	r.mu.Lock()
	m, ok := r.repository(path).manifests[d]
	r.mu.Unlock()
	if !ok {
		panic(fmt.Sprintf("no manifest %s in %s", d, path))
	}
	var index struct{ Manifests []object }
	if before, ok := r.tagged(path, fallbackTag(ref.Digest)); ok {
		must(0, json.Unmarshal(before.body, &index))
	}
	r.Tag(path, fallbackTag(ref.Digest), r.PutManifest(path, mediaIndex, indexJSON(append(index.Manifests, m.about))))
}

// tagged is the manifest with that tag.
func (r *Registry) tagged(path, tag string) (manifest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	repo := r.repository(path)
	d, ok := repo.tags[tag]
	if !ok {
		return manifest{}, false
	}
	m, ok := repo.manifests[d]
	return m, ok
}

func fallbackTag(d image.Digest) string { return "sha256-" + d.Hex() }
