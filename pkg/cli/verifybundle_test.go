package cli

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/test/testenv"
)

// conformanceCases is how many cases of verification the conformance suite of
// Sigstore's clients has. None is left out.
const conformanceCases = 70

// corpus is the conformance suite's directory of cases.
func corpus(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(cmp.Or(os.Getenv("PODSEAL_CORPORA"), filepath.Join("..", "..", "..", "shared", "corpora")), "sigstore-conformance")
	_, err := os.Stat(dir)
	testenv.Require(t, err == nil, "the corpora are not here; name their directory with PODSEAL_CORPORA")
	return dir
}

// run runs a command line and returns its exit code and what it says.
func run(t *testing.T, args ...string) (int, string) {
	var out bytes.Buffer
	code := Main(t.Context(), Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &terminal.Output{W: &out}, Stderr: &terminal.Output{W: &out},
		Getenv: func(string) string { return "" }, Proc: "/proc", Executable: "podseal",
	})
	return code, out.String()
}

// content is a case's file, or what the suite takes without one.
func content(t *testing.T, file, otherwise string) string {
	t.Helper()
	text, err := os.ReadFile(file) // #nosec G304 -- a file of the corpus
	if os.IsNotExist(err) {
		return otherwise
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(corpus(t), "bundle-verify")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		n++
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, e.Name())
			args := []string{"verify-bundle", "--bundle", filepath.Join(path, "bundle.sigstore.json")}
			if key := filepath.Join(path, "key.pub"); exists(key) {
				args = append(args, "--key", key)
			} else {
				args = append(args,
					"--certificate-identity", content(t, filepath.Join(path, "identity"), "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
					"--certificate-oidc-issuer", content(t, filepath.Join(path, "issuer"), "https://token.actions.githubusercontent.com"))
			}
			if root := filepath.Join(path, "trusted_root.json"); exists(root) {
				args = append(args, "--trusted-root", root)
			}
			artifact := filepath.Join(path, "artifact")
			if !exists(artifact) {
				artifact = filepath.Join(dir, "a.txt")
			}
			bytes, err := os.ReadFile(artifact) // #nosec G304 -- a file of the corpus
			if err != nil {
				t.Fatal(err)
			}
			want := exitOK
			if strings.HasSuffix(e.Name(), "_fail") {
				want = exitFailed
			}
			// The suite gives the file and, in a second run, its digest.
			for _, what := range []string{artifact, image.Of(bytes).String()} {
				code, said := run(t, append(args, what)...)
				if code != want {
					t.Errorf("%s: exit code %d, want %d: %s", what, code, want, said)
				}
				t.Logf("%s", said)
			}
		})
	}
	if n != conformanceCases {
		t.Errorf("there are %d cases, not %d", n, conformanceCases)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestVerifyBundleRefusesACommandLineThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"nobody":                {"--bundle", "x", "y"},
		"a key and an identity": {"--bundle", "x", "--key", "k", "--certificate-identity", "i", "--certificate-oidc-issuer", "o", "y"},
		"no issuer":             {"--bundle", "x", "--certificate-identity", "i", "y"},
		"two files":             {"--bundle", "x", "--key", "k", "y", "z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if code, said := run(t, append([]string{"verify-bundle"}, args...)...); code != exitUsage {
				t.Errorf("exit code %d, want %d: %s", code, exitUsage, said)
			}
		})
	}
}

// Who asks without a trust root is told how old the one is that is used.
func TestVerifyBundleSaysTheDateOfTheRootThatIsBuiltIn(t *testing.T) {
	t.Parallel()
	const told = "the public-good trust root of 2025-02-19 that is built in"
	identity := []string{"--certificate-identity", "i", "--certificate-oidc-issuer", "o"}
	for _, c := range []struct {
		args []string
		want bool
	}{
		{identity, true},
		{append([]string{"--trusted-root", "r"}, identity...), false},
		{[]string{"--key", "k"}, true},
	} {
		code, said := run(t, append([]string{"verify-bundle", "--bundle", filepath.Join(t.TempDir(), "none"), "y"}, c.args...)...)
		if code != exitFailed || strings.Contains(said, told) != c.want {
			t.Errorf("%q: exit code %d: %s", c.args, code, said)
		}
	}
}

// The staging instance's trust root is not the public good one's: without a root
// nothing is verified.
func TestVerifyBundleKnowsNoStagingRoot(t *testing.T) {
	t.Parallel()
	code, said := run(t, "verify-bundle", "--staging", "--bundle", "x", "--certificate-identity", "i", "--certificate-oidc-issuer", "o", "y")
	if code != exitFailed || !strings.Contains(said, "--trusted-root") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
