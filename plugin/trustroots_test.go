package plugin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// mirrored is a request whose policy is judged by the trust root of a mirror.
func mirrored(t *testing.T, mirror string, repository *trustroottest.Repository) *configv1.ConfigureRequest {
	t.Helper()
	server, err := kubelettest.Start(kubelettest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	files, err := server.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, repository.RootJSON(1), 0o600); err != nil {
		t.Fatal(err)
	}
	return &configv1.ConfigureRequest{
		CoreConfiguration: &configv1.CoreConfiguration{TrustDomain: "example.org"},
		HclConfiguration: fmt.Sprintf(`
			kubelet_secure_port = %d
			kubelet_ca_path     = %q
			token_path          = %q
			registries          = "any"
			trust_root "public" {
				tuf {
					mirror    = %q
					root_path = %q
				}
			}
			image_policy "release" {
				authority "dev" {
					issuer     = "https://accounts.example.org"
					subject    = "dev@example.org"
					trust_root = "public"
				}
			}`, server.Port(), files.CA, files.Token, mirror, root),
	}
}

// line is the first line of the log with that message, or one that begins so.
func line(t *testing.T, log *buffer, message string) map[string]any {
	t.Helper()
	for text := range strings.Lines(log.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		if said, _ := fields["@message"].(string); strings.HasPrefix(said, message) {
			return fields
		}
	}
	t.Fatalf("the log does not say %q:\n%s", message, log)
	return nil
}

// Invariant 11: a mirror that takes connections and says nothing costs Configure no more
// than its bound, and the log says what follows.
func TestConfigureGoesOnWithoutAMirror(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p, log := logged(t)
	defer p.Close()
	begin := time.Now()
	if _, err := p.Configure(t.Context(), mirrored(t, "http://"+listener.Addr().String(), trustroottest.New(sigstoretest.New().TrustedRoot()))); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*setup.SettleTime {
		t.Errorf("it took %v", took)
	}
	if p.parts.Load() == nil {
		t.Error("the configuration is not in use")
	}
	if said := line(t, log, "trust_root[public]: there is no trust root yet, and nothing that is judged by it can be verified until there is"); said["@level"] != "warn" {
		t.Errorf("it is logged as %v", said)
	}
}

// Where a trust root is from, which it is and how old stand in the log.
func TestConfigureLogsTheTrustRoot(t *testing.T) {
	t.Parallel()
	repository := trustroottest.New(sigstoretest.New().TrustedRoot())
	server := httptest.NewServer(repository)
	defer server.Close()
	p, log := logged(t)
	defer p.Close()
	if _, err := p.Configure(t.Context(), mirrored(t, server.URL, repository)); err != nil {
		t.Fatal(err)
	}
	said := line(t, log, "trust root")
	if said["@level"] != "info" || said["trust_root"] != "public" || said["origin"] != "TUF, "+server.URL {
		t.Errorf("it is logged as %v", said)
	}
	for _, key := range []string{"digest", "fetched", "age", "expires"} {
		if text := fmt.Sprint(said[key]); said[key] == nil || text == "" {
			t.Errorf("%s is missing in %v", key, said)
		}
	}
	if text := log.String(); strings.Contains(text, "there is no trust root") {
		t.Errorf("it is warned of:\n%s", text)
	}
}
