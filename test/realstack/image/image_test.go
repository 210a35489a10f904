package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/podseal/podseal/test/realstack/image"
)

func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(path, []byte("#!"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPushedImageIsPulledBack(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	app := image.Of("ghcr.io/team/app:1", program(t))
	digest, err := app.Push(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	again, err := app.Push(t.Context(), address)
	if err != nil || again != digest {
		t.Errorf("made again it is %s, not %s: %v", again, digest, err)
	}
	alias := app
	alias.Name, alias.Annotations = "ghcr.io/other/alias:1", map[string]string{"a": "b"}
	other, err := alias.Push(t.Context(), address)
	if err != nil || other == digest {
		t.Errorf("the annotated manifest is %s like the other: %v", other, err)
	}

	reference, err := name.NewDigest(address + "/team/app@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference)
	if err != nil {
		t.Fatal(err)
	}
	config, err := pulled.ConfigFile()
	if err != nil || !slices.Equal(config.Config.Entrypoint, []string{"/app"}) || config.OS != "linux" {
		t.Errorf("config %+v: %v", config, err)
	}
	layers, err := pulled.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers: %v", len(layers), err)
	}
	files, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	header, err := tar.NewReader(files).Next()
	if err != nil || header.Name != "app" || header.Mode != 0o755 {
		t.Errorf("the layer has %+v: %v", header, err)
	}
}

func TestAnArchiveHasTheName(t *testing.T) {
	t.Parallel()
	var archive bytes.Buffer
	if err := image.Of("registry.test/app:1", program(t)).Archive(&archive); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(archive.Bytes(), []byte(`"io.containerd.image.name": "registry.test/app:1"`)) {
		t.Error("the archive does not name the image")
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	err := image.Of("registry.test/app:1", "/nowhere/app").Archive(io.Discard)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nowhere/app") {
		t.Errorf("the error is %v", err)
	}
}
