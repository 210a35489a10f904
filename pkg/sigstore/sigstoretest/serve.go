package sigstoretest

import (
	"crypto/x509"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/podseal/podseal/pkg/image"
)

// What a registry answers: the OCI distribution specification 1.1.

func (r *Registry) serveManifest(w http.ResponseWriter, q *http.Request, name, reference string) {
	digest, err := image.ParseDigest(reference)
	if err != nil && !image.ValidTag(reference) {
		r.violated(w, q, "neither a digest nor a tag")
		return
	}
	r.mu.Lock()
	repo, found := r.repositories[name]
	var m manifest
	if found {
		if err != nil {
			digest, found = repo.tags[reference]
		}
		if found {
			m, found = repo.manifests[digest]
		}
	}
	r.mu.Unlock()
	if !found {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	if !accepts(q, m.mediaType) {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "found, but the Accept header does not support "+m.mediaType)
		return
	}
	answer(w, q, m.mediaType, digest, m.body)
}

func (r *Registry) serveBlob(w http.ResponseWriter, q *http.Request, name, reference string) {
	digest, err := image.ParseDigest(reference)
	if err != nil {
		r.violated(w, q, "no digest")
		return
	}
	r.mu.Lock()
	var body []byte
	found := false
	if repo, ok := r.repositories[name]; ok {
		body, found = repo.blobs[digest]
	}
	r.mu.Unlock()
	if !found {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	answer(w, q, "application/octet-stream", digest, body)
}

func (r *Registry) serveReferrers(w http.ResponseWriter, q *http.Request, name, reference string) {
	if _, err := image.ParseDigest(reference); err != nil {
		r.violated(w, q, "no digest")
		return
	}
	if r.options.NoReferrers {
		http.NotFound(w, q) // as registries do that know no such path
		return
	}
	kind := q.URL.Query().Get("artifactType")
	if r.options.NoFilter {
		kind = ""
	}
	found := r.referrers(name, reference, kind)
	if kind != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if size := r.options.PageSize; size > 0 {
		from, _ := strconv.Atoi(q.URL.Query().Get("from"))
		from = min(max(from, 0), len(found))
		if next := from + size; next < len(found) {
			query := q.URL.Query()
			query.Set("from", strconv.Itoa(next))
			w.Header().Set("Link", "<"+(&url.URL{Path: q.URL.Path, RawQuery: query.Encode()}).String()+`>; rel="next"`)
			found = found[:next]
		}
		found = found[from:]
	}
	w.Header().Set("Content-Type", mediaIndex)
	_, _ = w.Write(indexJSON(found))
}

// referrers are the descriptors of what refers to a digest, sorted by digest.
func (r *Registry) referrers(name, subject, kind string) []object {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []object{}
	repo, ok := r.repositories[name]
	if !ok {
		return out
	}
	for _, d := range slices.SortedFunc(maps.Keys(repo.manifests), image.Digest.Compare) {
		m := repo.manifests[d]
		if m.subject == subject && (kind == "" || m.about["artifactType"] == kind) {
			out = append(out, m.about)
		}
	}
	return out
}

func answer(w http.ResponseWriter, q *http.Request, mediaType string, digest image.Digest, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if q.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

// accepts is whether the request names that media type. Registries convert, or
// deny, what a client does not say that it knows.
func accepts(q *http.Request, mediaType string) bool {
	for _, header := range q.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			kind, _, _ := strings.Cut(strings.TrimSpace(part), ";")
			if kind == mediaType || kind == "*/*" {
				return true
			}
		}
	}
	return false
}

const (
	mediaIndex       = "application/vnd.oci.image.index.v1+json"
	mediaManifest    = "application/vnd.oci.image.manifest.v1+json"
	mediaDockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaDockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	mediaConfig      = "application/vnd.oci.image.config.v1+json"
	mediaDockerConf  = "application/vnd.docker.container.image.v1+json"
	mediaLayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaDockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	mediaEmpty       = "application/vnd.oci.empty.v1+json"
)

func indexJSON(manifests []object) []byte {
	return must(json.Marshal(object{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": manifests}))
}

func serverTemplate(names []string) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: serial(), NotBefore: Always.Start, NotAfter: Always.End,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if address := net.ParseIP(n); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	return template
}
