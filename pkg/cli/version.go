package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/terminal"
)

// versionDocument is what the Go toolchain stamped into the binary.
type versionDocument struct {
	header
	Version string `json:"version"`
	// Revision is the commit, empty where the binary was built outside of one.
	Revision string `json:"revision,omitempty"`
	// Modified is whether the source differed from that commit.
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *command) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionDocument{header: kind("Version"), Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Version = cmp.Or(info.Main.Version, v.Version)
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						v.Revision = s.Value
					case "vcs.modified":
						v.Modified = s.Value == "true"
					}
				}
			}
			if c.json() {
				return writeJSON(c.Stdout.W, v)
			}
			return v.write(c.Stdout)
		},
	}
}

func (v versionDocument) write(out *terminal.Output) error {
	w := &writer{out: out}
	w.line(fmt.Sprintf("podseal %s %s %s", v.Version, v.Go, v.Platform))
	return w.err
}
