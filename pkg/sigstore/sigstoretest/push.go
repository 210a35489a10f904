package sigstoretest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/podseal/podseal/pkg/image"
)

// PutBlob stores bytes as a blob.
func (r *Registry) PutBlob(path string, body []byte) image.Digest {
	d := image.Of(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(path).blobs[d] = body
	return d
}

// PutManifest stores bytes as a manifest, whatever they are. Where they name a
// subject they are in its list of referrers.
func (r *Registry) PutManifest(path, mediaType string, body []byte) image.Digest {
	return r.putManifest(path, mediaType, body, true)
}

func (r *Registry) putManifest(path, mediaType string, body []byte, listed bool) image.Digest {
	d := image.Of(body)
	m := manifest{mediaType: mediaType, body: body, about: descriptor(mediaType, body)}
	var fields struct {
		Subject      struct{ Digest string }
		ArtifactType string
		Config       struct{ MediaType string }
		Annotations  map[string]string
	}
	if json.Unmarshal(body, &fields) == nil {
		if listed {
			m.subject = fields.Subject.Digest
		}
		m.about["artifactType"] = cmp.Or(fields.ArtifactType, fields.Config.MediaType)
		if fields.Annotations != nil {
			m.about["annotations"] = fields.Annotations
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(path).manifests[d] = m
	return d
}

// Tag gives a manifest a name.
func (r *Registry) Tag(path, tag string, d image.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(path).tags[tag] = d
}

// Delete removes a tag, or a manifest or blob by its digest.
func (r *Registry) Delete(path, reference string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	repo := r.repository(path)
	delete(repo.tags, reference)
	if d, err := image.ParseDigest(reference); err == nil {
		delete(repo.manifests, d)
		delete(repo.blobs, d)
	}
}

func (r *Registry) repository(path string) *repository {
	repo, ok := r.repositories[path]
	if !ok {
		repo = &repository{blobs: make(map[image.Digest][]byte), manifests: make(map[image.Digest]manifest), tags: make(map[string]image.Digest)}
		r.repositories[path] = repo
	}
	return repo
}

func descriptor(mediaType string, body []byte) object {
	return object{"mediaType": mediaType, "digest": image.Of(body).String(), "size": len(body)}
}

// Image says what an image is.
type Image struct {
	// Content is what is in its layers: images of the same content and platform have
	// the same configuration digest.
	Content string
	// Layers is their number, 1 by default; none when it is negative.
	Layers int
	// Platform is this node's by default.
	Platform image.Platform
	// Docker has the media types of Docker's schema 2.
	Docker bool
	// Annotations make another manifest of the same configuration.
	Annotations map[string]string
	// Tag is the manifest's, if any.
	Tag string
}

// Pushed is an image or index that is in a registry.
type Pushed struct {
	Ref       image.Ref
	MediaType string
	Manifest  []byte
	// Config is the configuration's digest; none of an index.
	Config   image.Digest
	Platform image.Platform
}

// PushImage puts an image into a repository.
func (r *Registry) PushImage(path string, i Image) Pushed {
	if i.Platform == (image.Platform{}) {
		i.Platform = image.NodePlatform()
	}
	manifestType, configType, layerType := mediaManifest, mediaConfig, mediaLayer
	if i.Docker {
		manifestType, configType, layerType = mediaDockerImage, mediaDockerConf, mediaDockerLayer
	}
	layers, ids := []object{}, []string{}
	for n := range max(0, cmp.Or(i.Layers, 1)) {
		archive := archiveOf(fmt.Sprintf("%d: %s", n, i.Content))
		compressed := compress(archive)
		r.PutBlob(path, compressed)
		layers = append(layers, descriptor(layerType, compressed))
		ids = append(ids, image.Of(archive).String())
	}
	config := must(json.Marshal(withPlatform(object{
		"created": "2025-01-01T00:00:00Z", "config": object{"Cmd": []string{"/app"}},
		"rootfs": object{"type": "layers", "diff_ids": ids},
	}, i.Platform)))
	fields := object{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor(configType, config), "layers": layers,
	}
	if i.Annotations != nil {
		fields["annotations"] = i.Annotations
	}
	p := r.push(path, i.Tag, manifestType, fields)
	p.Config, p.Platform = r.PutBlob(path, config), i.Platform
	return p
}

// Index says what an index lists.
type Index struct {
	Children    []Child
	Docker      bool
	Annotations map[string]string
	Tag         string
}

// Child is what an index lists, in the words of the index: under another Platform
// than its own if that is set.
type Child struct {
	Pushed
	Platform image.Platform
}

// PushIndex puts an index into a repository.
func (r *Registry) PushIndex(path string, i Index) Pushed {
	mediaType := mediaIndex
	if i.Docker {
		mediaType = mediaDockerList
	}
	children := []object{}
	for _, c := range i.Children {
		d := descriptor(c.MediaType, c.Manifest)
		if platform := cmp.Or(c.Platform, c.Pushed.Platform); platform != (image.Platform{}) {
			d["platform"] = withPlatform(object{}, platform)
		}
		children = append(children, d)
	}
	fields := object{"schemaVersion": 2, "mediaType": mediaType, "manifests": children}
	if i.Annotations != nil {
		fields["annotations"] = i.Annotations
	}
	return r.push(path, i.Tag, mediaType, fields)
}

func (r *Registry) push(path, tag, mediaType string, fields object) Pushed {
	body := must(json.Marshal(fields))
	p := Pushed{MediaType: mediaType, Manifest: body}
	p.Ref = image.Ref{Repository: r.Repository(path), Digest: r.PutManifest(path, mediaType, body)}
	if tag != "" {
		r.Tag(path, tag, p.Ref.Digest)
	}
	return p
}

func withPlatform(o object, p image.Platform) object {
	o = maps.Clone(o)
	o["os"], o["architecture"] = p.OS, p.Architecture
	if p.Variant != "" {
		o["variant"] = p.Variant
	}
	return o
}

// archiveOf is a layer with one file.
func archiveOf(content string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(0, w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(content))}))
	must(w.Write([]byte(content)))
	must(0, w.Close())
	return b.Bytes()
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	must(w.Write(b))
	must(0, w.Close())
	return out.Bytes()
}
