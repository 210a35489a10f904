// Command podseal is a SPIRE Agent plugin of type WorkloadAttestor for
// Kubernetes. SPIRE Agent starts it without arguments.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/podseal/podseal/plugin"
)

const help = `podseal is a workload attestor plugin for SPIRE Agent on Kubernetes.

It is started by the agent, not by hand. Name it in the agent's configuration:

  plugins {
    WorkloadAttestor "k8s" {
      plugin_cmd      = "/opt/podseal/podseal"
      plugin_checksum = "<sha256 of the file>"
      plugin_data {
      }
    }
  }

  podseal version   print the version
  podseal help      print this text
`

func main() {
	switch {
	case plugin.Started() && len(os.Args) == 1:
		plugin.Serve()
	case len(os.Args) == 1 || os.Args[1] == "help" || os.Args[1] == "--help" || os.Args[1] == "-h":
		fmt.Print(help)
	case len(os.Args) == 2 && (os.Args[1] == "version" || os.Args[1] == "--version"):
		fmt.Println(version())
	default:
		fmt.Fprintf(os.Stderr, "podseal: unknown arguments %q\n\n%s", os.Args[1:], help)
		os.Exit(2)
	}
}

// version is what the Go toolchain stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "podseal (unknown version)"
	}
	return fmt.Sprintf("podseal %s %s", info.Main.Version, info.GoVersion)
}
