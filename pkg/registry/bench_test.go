package registry_test

import (
	"os"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/registry"
)

// Whoever remembers verdicts asks for the version each time.
func BenchmarkVersion(b *testing.B) {
	path := file(b, "password", []byte(password))
	old := time.Now().Add(-time.Hour) // so that it need not be read again
	if err := os.Chtimes(path, old, old); err != nil {
		b.Fatal(err)
	}
	c := newClient(b, registry.Config{Any: true, Registries: []registry.Registry{{Host: "example.org", Username: user, PasswordPath: path}}})
	for name, repository := range map[string]string{"block": "example.org/a/b", "stranger": "other.example.org/a/b"} {
		b.Run(name, func(b *testing.B) {
			r := mustRepository(repository)
			for b.Loop() {
				_ = c.Version(r)
			}
		})
	}
}
