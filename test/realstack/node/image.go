package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Image is an image of one static program, made here: there is no registry.
type Image struct {
	// Name is a whole reference, such as registry.test/workload:1.
	Name string
	// Program is the file that becomes /<its name> and the entry point.
	Program string
}

// descriptor is what OCI calls so.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive writes the image as an OCI layout in a tar file, which is what
// containerd imports.
func (i Image) archive(w io.Writer) error {
	layer, diffID, err := i.layer()
	if err != nil {
		return err
	}
	blobs := make(map[string][]byte)
	add := func(mediaType string, blob []byte) descriptor {
		sum := sha256.Sum256(blob)
		name := hex.EncodeToString(sum[:])
		blobs[name] = blob
		return descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: len(blob)}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + filepath.Base(i.Program)}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{diffID}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        add("application/vnd.oci.image.config.v1+json", config),
		"layers":        []descriptor{add("application/vnd.oci.image.layer.v1.tar+gzip", layer)},
	})
	if err != nil {
		return err
	}
	top := add("application/vnd.oci.image.manifest.v1+json", manifest)
	top.Annotations = map[string]string{"io.containerd.image.name": i.Name}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{top}})
	if err != nil {
		return err
	}

	out := tar.NewWriter(w)
	if err := addFile(out, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	for name, blob := range blobs {
		if err := addFile(out, "blobs/sha256/"+name, blob, 0o644); err != nil {
			return err
		}
	}
	if err := addFile(out, "index.json", index, 0o644); err != nil {
		return err
	}
	return out.Close()
}

// layer is the program alone, and the digest of the layer before it is compressed.
func (i Image) layer() (compressed []byte, diffID string, err error) {
	program, err := os.ReadFile(i.Program)
	if err != nil {
		return nil, "", err
	}
	var buffer bytes.Buffer
	sum := sha256.New()
	pack := gzip.NewWriter(&buffer)
	files := tar.NewWriter(io.MultiWriter(pack, sum))
	if err := addFile(files, filepath.Base(i.Program), program, 0o755); err != nil {
		return nil, "", err
	}
	if err := files.Close(); err != nil {
		return nil, "", err
	}
	if err := pack.Close(); err != nil {
		return nil, "", err
	}
	return buffer.Bytes(), fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}

func addFile(w *tar.Writer, name string, content []byte, mode int64) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
