// Package image makes container images of static programs, without a daemon and
// without a base image, for the local registry or to be imported.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image of one layer.
type Image struct {
	// Name is a whole reference with a tag, such as registry.test/workload:1.
	Name string
	// Files maps paths in the image to files here, which become executable.
	Files map[string]string
	// Entrypoint is the program and its first arguments.
	Entrypoint []string
	// Annotations are the manifest's: with others the manifest has another digest
	// and its content is the same.
	Annotations map[string]string
}

// Of is an image of one program, which is its entry point.
func Of(reference, program string) Image {
	inside := "/" + filepath.Base(program)
	return Image{Name: reference, Files: map[string]string{inside: program}, Entrypoint: []string{inside}}
}

// build makes the image. Equal inputs give equal bytes.
func (i Image) build() (v1.Image, error) {
	files, err := i.files()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	config, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = i.Entrypoint
	if made, err = mutate.ConfigFile(made, config); err != nil {
		return nil, err
	}
	if i.Annotations != nil {
		annotated, ok := mutate.Annotations(made, i.Annotations).(v1.Image)
		if !ok {
			return nil, fmt.Errorf("%s can't be annotated", i.Name)
		}
		made = annotated
	}
	return made, nil
}

// files is the layer, as a tar archive.
func (i Image) files() ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	made := map[string]bool{"/": true, ".": true}
	for _, inside := range slices.Sorted(maps.Keys(i.Files)) {
		if dir := path.Dir(inside); !made[dir] {
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Name: dir[1:] + "/", Mode: 0o755, Typeflag: tar.TypeDir}); err != nil {
				return nil, err
			}
		}
		content, err := os.ReadFile(i.Files[inside])
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Name: inside[1:], Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), w.Close()
}

// Push makes the image and puts it into the registry at address, a host and port
// that speak plain HTTP, under its name without the registry's. It returns the
// manifest's digest.
func (i Image) Push(ctx context.Context, address string) (digest string, err error) {
	reference, err := name.NewTag(i.Name)
	if err != nil {
		return "", err
	}
	registry, err := name.NewRegistry(address, name.Insecure)
	if err != nil {
		return "", err
	}
	made, err := i.build()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", i.Name, err)
	}
	target := registry.Repo(reference.RepositoryStr()).Tag(reference.TagStr())
	if err := remote.Write(target, made, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("image %s: %w", i.Name, err)
	}
	hash, err := made.Digest()
	return hash.String(), err
}

// Archive writes the image as an OCI layout in a tar archive, in the way that
// containerd imports with the image's name.
func (i Image) Archive(w io.Writer) error {
	made, err := i.build()
	if err != nil {
		return fmt.Errorf("image %s: %w", i.Name, err)
	}
	dir, err := os.MkdirTemp("", "podseal-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := written.AppendImage(made, layout.WithAnnotations(map[string]string{"io.containerd.image.name": i.Name})); err != nil {
		return fmt.Errorf("image %s: %w", i.Name, err)
	}
	archive := tar.NewWriter(w)
	return errors.Join(archive.AddFS(os.DirFS(dir)), archive.Close())
}
