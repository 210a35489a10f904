// Package test holds what is true of the project as a whole.
package test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/podseal/podseal/"

// mayImport says which of our packages each of our production packages may
// import. Imports point one way: what decides knows nothing of what asks.
var mayImport = map[string][]string{
	"pkg/guard":     {},
	"pkg/diagnosis": {},
	"pkg/printable": {},
	"pkg/pod":       {},
	"pkg/container": {},
	"pkg/image":     {},
	"pkg/unixpeer":  {},
	"pkg/evidence":  {"pkg/image"},
	"pkg/policy":    {"pkg/image"},
	"pkg/config":    {"pkg/guard", "pkg/image", "pkg/policy"},
	"pkg/kubelet":   {"pkg/diagnosis", "pkg/guard", "pkg/pod", "pkg/printable"},
	"pkg/podsapi":   {"pkg/diagnosis", "pkg/guard", "pkg/pod", "pkg/printable", "pkg/unixpeer"},
	"pkg/source":    {"pkg/guard", "pkg/pod"},
	"pkg/cri":       {"pkg/diagnosis", "pkg/guard", "pkg/image", "pkg/printable", "pkg/unixpeer"},
	"pkg/fair":      {"pkg/guard"},
	"pkg/store":     {"pkg/diagnosis", "pkg/guard", "pkg/image", "pkg/printable"},
	"pkg/rekor":     {"pkg/diagnosis", "pkg/evidence", "pkg/fair", "pkg/guard", "pkg/printable"},
	"pkg/registry":  {"pkg/diagnosis", "pkg/evidence", "pkg/fair", "pkg/guard", "pkg/image", "pkg/printable"},
	"pkg/sigstore":  {"pkg/evidence", "pkg/guard", "pkg/image", "pkg/printable"},
	"pkg/trustroot": {"pkg/diagnosis", "pkg/guard", "pkg/printable", "pkg/sigstore"},
	"pkg/selector":  {"pkg/pod", "pkg/printable", "pkg/sigstore"},
	"pkg/verify": {"pkg/cri", "pkg/evidence", "pkg/fair", "pkg/guard", "pkg/image", "pkg/pod", "pkg/policy", "pkg/printable", "pkg/registry", "pkg/rekor",
		"pkg/selector", "pkg/sigstore", "pkg/store", "pkg/trustroot"},
	"pkg/attest": {"pkg/container", "pkg/pod", "pkg/selector", "pkg/verify"},
	"pkg/setup": {"pkg/attest", "pkg/config", "pkg/container", "pkg/cri", "pkg/diagnosis", "pkg/image", "pkg/kubelet", "pkg/pod", "pkg/podsapi", "pkg/policy",
		"pkg/registry", "pkg/rekor", "pkg/sigstore", "pkg/source", "pkg/store", "pkg/trustroot", "pkg/verify"},
	"pkg/terminal": {"pkg/guard", "pkg/printable"},
	"pkg/doctor": {"pkg/container", "pkg/cri", "pkg/diagnosis", "pkg/guard", "pkg/image", "pkg/kubelet", "pkg/pod", "pkg/podsapi", "pkg/printable",
		"pkg/registry", "pkg/sigstore", "pkg/store", "pkg/trustroot"},
	"pkg/cli": {"pkg/attest", "pkg/config", "pkg/container", "pkg/diagnosis", "pkg/doctor", "pkg/evidence", "pkg/image", "pkg/kubelet", "pkg/pod",
		"pkg/policy", "pkg/printable", "pkg/selector", "pkg/setup", "pkg/sigstore", "pkg/terminal", "pkg/verify"},
	"plugin":         {"pkg/attest", "pkg/config", "pkg/container", "pkg/guard", "pkg/pod", "pkg/policy", "pkg/setup", "pkg/verify"},
	"plugin/podseal": {"pkg/cli", "pkg/terminal", "plugin"},
}

// thirdParty says which modules of others a package may import directly. The
// packages that are not named use the standard library alone.
var thirdParty = map[string][]string{
	"pkg/config":   {"github.com/go-json-experiment/json", "github.com/hashicorp/hcl", "github.com/spiffe/go-spiffe/v2"},
	"pkg/image":    {"github.com/go-json-experiment/json"},
	"pkg/kubelet":  {"github.com/go-json-experiment/json"},
	"pkg/podsapi":  {"google.golang.org/grpc", "google.golang.org/protobuf"},
	"pkg/unixpeer": {"golang.org/x/sys", "google.golang.org/grpc"},
	"pkg/cri":      {"github.com/go-json-experiment/json", "google.golang.org/grpc", "k8s.io/cri-api"},
	"pkg/registry": {"github.com/go-json-experiment/json"},
	"pkg/verify":   {"github.com/go-json-experiment/json"},
	"pkg/rekor":    {"github.com/go-json-experiment/json", "github.com/go-openapi/runtime", "github.com/go-openapi/strfmt", "github.com/sigstore/rekor"},
	"pkg/sigstore": {"github.com/go-json-experiment/json", "github.com/secure-systems-lab/go-securesystemslib", "github.com/sigstore/cosign/v2",
		"github.com/sigstore/protobuf-specs", "github.com/sigstore/sigstore", "github.com/sigstore/sigstore-go", "google.golang.org/protobuf"},
	"pkg/trustroot": {"github.com/go-json-experiment/json", "github.com/sigstore/protobuf-specs", "github.com/sigstore/sigstore-go",
		"github.com/theupdateframework/go-tuf/v2", "google.golang.org/protobuf"},
	"pkg/terminal": {"github.com/rivo/uniseg", "golang.org/x/term"},
	"pkg/cli":      {"github.com/spf13/cobra", "github.com/spiffe/go-spiffe/v2"},
	"plugin": {"github.com/hashicorp/go-hclog", "github.com/spiffe/go-spiffe/v2", "github.com/spiffe/spire-plugin-sdk",
		"google.golang.org/grpc", "google.golang.org/protobuf"},
}

// notLinked must not be reachable from the binary: each would bring a second way
// of doing what is done here, or more memory than the whole plugin has.
var notLinked = []string{
	"k8s.io/client-go", "k8s.io/apimachinery", "k8s.io/api", "k8s.io/kubelet", "sigs.k8s.io/controller-runtime",
	"github.com/spiffe/spire/", "net/http/httptest",
	module + "test", module + "pkg/kubelet/kubelettest", module + "pkg/container/containertest", module + "pkg/podsapi/podsapitest",
	module + "pkg/cri/critest", module + "pkg/unixpeer/unixpeertest", module + "pkg/sigstore/sigstoretest", "github.com/sigstore/sigstore-go/pkg/testing",
	"github.com/google/go-containerregistry/pkg/registry",
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, l := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./pkg/...", "./plugin/...") {
		fields := strings.Fields(l)
		pkg, imports := strings.TrimPrefix(fields[0], module), fields[1:]
		if path.Base(pkg) == path.Base(path.Dir(pkg))+"test" {
			continue // a fake that lives beside what it fakes
		}
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("%s is not in the table of packages: add it with what it may import", pkg)
			continue
		}
		seen[pkg] = true
		for _, i := range imports {
			ours, isOurs := strings.CutPrefix(i, module)
			switch {
			case isOurs && !slices.Contains(allowed, ours):
				t.Errorf("%s imports %s", pkg, ours)
			case !isOurs && strings.Contains(strings.Split(i, "/")[0], ".") &&
				!slices.ContainsFunc(thirdParty[pkg], func(m string) bool { return i == m || strings.HasPrefix(i, m+"/") }):
				t.Errorf("%s imports %s", pkg, i)
			}
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("%s is in the table of packages but is not there", pkg)
		}
	}
}

func TestTheBinaryLinksNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	deps := list(t, "-deps", "./plugin/podseal")
	if !slices.Contains(deps, module+"pkg/attest") {
		t.Fatalf("the list of %d packages is not the binary's", len(deps))
	}
	for _, dep := range deps {
		for _, no := range notLinked {
			if dep == strings.TrimSuffix(no, "/") || strings.HasPrefix(dep, strings.TrimSuffix(no, "/")+"/") {
				t.Errorf("the binary links %s", dep)
			}
		}
	}
}
