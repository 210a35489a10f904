package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// command is what all commands share.
type command struct {
	Env
	config configFlags
	// output is "table" or "json".
	output string
}

// Command returns the command line as a tree, for running it and for its manual
// pages.
func Command(env Env) *cobra.Command {
	c := &command{Env: env}
	root := &cobra.Command{
		Use:   "podseal",
		Short: "Workload attestor plugin for SPIRE Agent on Kubernetes",
		Long: `podseal is a workload attestor plugin for SPIRE Agent on Kubernetes.

SPIRE Agent starts it without arguments; name its file as the plugin_cmd of the
WorkloadAttestor "k8s" in the agent's configuration. By hand it shows what the
plugin sees, with the same parts that the plugin runs. Run it where the agent
runs: in the agent's container, for example with kubectl exec, or on the node.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// How many letters a command may be off to be suggested.
		SuggestionsMinimumDistance: 2,
		Args:                       noArgs,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE:          func(*cobra.Command, []string) error { return c.checkFlags() },
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout.W)
	root.SetErr(env.Stderr.W)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; see %s --help", err, cmd.CommandPath())
	})
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	flags := root.PersistentFlags()
	flags.StringVar(&c.config.path, "config", "", "the agent's configuration, or a file with plugin_data alone; - for standard input (default: where agents have it)")
	flags.StringVar(&c.config.plugin, "plugin", "", "name of the WorkloadAttestor in the agent's configuration (default: whose plugin_cmd is podseal, else k8s)")
	flags.BoolVar(&c.config.expandEnv, "expand-env", false, "expand environment variables in the configuration, as the agent does with -expandEnv")
	flags.StringVarP(&c.output, "output", "o", outputTable, "output format: table or json")
	mustMark(root.MarkPersistentFlagFilename("config", "conf", "hcl", "json"))
	mustMark(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp)))
	root.AddCommand(c.attestCommand(), c.listCommand(), c.verifyCommand(), c.validateCommand(), c.doctorCommand(), c.versionCommand(), c.verifyBundleCommand())
	return root
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

func (c *command) json() bool { return c.output == outputJSON }

func (c *command) checkFlags() error {
	if !slices.Contains([]string{outputTable, outputJSON}, c.output) {
		return usagef("--output %q: it is %s or %s", c.output, outputTable, outputJSON)
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		text := fmt.Sprintf("unknown command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += fmt.Sprintf(": did you mean %s?", strings.Join(near, " or "))
		}
		return usagef("%s; see %s --help", text, cmd.CommandPath())
	}
	return usagef("%s takes no arguments, not %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// mustMark is for mistakes in this package: a flag that is not there.
func mustMark(err error) {
	if err != nil {
		panic(err)
	}
}
