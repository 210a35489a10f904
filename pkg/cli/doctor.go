package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/terminal"
)

// checkup is what `doctor` finds.
type checkup struct {
	header
	Checks []doctor.Check `json:"checks"`
	// Failed, Warnings and Skipped count the checks that ended so.
	Failed   int `json:"failed"`
	Warnings int `json:"warnings"`
	Skipped  int `json:"skipped"`
}

func (c *command) doctorCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what podseal stands on, and say what to do about each failure",
		Long: `doctor looks at the configuration, the node as it is seen from here, where pods
are known from, the way to the kubelet and what the credentials may do there, the
container runtime, trust roots, registries and the evidence store where something is
asked of images, clock, TMPDIR and the plugin's file. Each check has a name; what
fails or weakens comes with a remedy. Run it where the agent runs. It changes
nothing.

The exit code is 1 when a check fails.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context(), verbose) },
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the details of checks that are ok too")
	return cmd
}

func (c *command) doctor(ctx context.Context, verbose bool) error {
	cfg, err := c.loadConfig("")
	if err != nil {
		return err
	}
	options, done := c.examine(cfg)
	defer done()

	d := checkup{header: kind("Diagnosis"), Checks: []doctor.Check{}}
	names := doctor.Names()
	progress := terminal.StartProgress(c.Stderr, "checking "+names[0])
	defer progress.Stop()
	for check := range doctor.Run(ctx, options) {
		d.add(check)
		progress.Say("checking " + names[min(len(d.Checks), len(names)-1)])
		if !c.json() {
			if err := progress.Pause(func() error { return writeCheck(c.Stdout, check, verbose) }); err != nil {
				return err
			}
		}
	}
	progress.Stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if c.json() {
		err = writeJSON(c.Stdout.W, d)
	} else {
		err = d.writeSummary(c.Stdout)
	}
	if err == nil && d.Failed > 0 {
		err = errReported
	}
	return err
}

// closers close parts that were made one after the other.
type closers []func()

func (cs *closers) add(f func()) { *cs = append(*cs, f) }

func (cs *closers) close() {
	for _, f := range slices.Backward(*cs) {
		f()
	}
}

// examine makes the parts that the configuration is for, as far as they can be
// made: what can't be is a finding too. done closes them.
func (c *command) examine(cfg *configuration) (o doctor.Options, done func()) {
	var parts closers
	o = doctor.Options{
		Settings:   doctor.Settings{Problems: notices(cfg.problems), Warnings: notices(cfg.warnings)},
		Executable: c.Executable,
		TempDir:    cmp.Or(c.Getenv("TMPDIR"), "/tmp"),
	}
	if cfg.block.Pos.Line > 0 {
		o.Plugin = &doctor.Plugin{Name: cfg.block.Plugin, Command: cfg.block.Cmd.Text, Checksum: cfg.block.Checksum.Text}
	}
	if cfg.config == nil {
		return o, parts.close
	}
	o.Settings.PodSource, o.Settings.Kubelet = doctor.Source(cfg.config.PodSource), kubelet.Config(cfg.config.Kubelet)
	o.Settings.CgroupRoot, o.Settings.OwnPodUID = cfg.config.CgroupRoot, cfg.config.OwnPodUID
	process := setup.NewProcess(slog.New(slog.DiscardHandler)) // what is logged is in the findings
	process.Proc, process.Beside = c.Proc, true
	o.Locator, o.LocatorErr = process.Locator(cfg.config)
	if cfg.config.PodSource != config.FromPodsAPI {
		if client, err := process.Kubelet(cfg.config); err != nil {
			o.KubeletErr = err
		} else {
			o.Kubelet = client
			parts.add(client.Close)
		}
	}
	if cfg.config.PodSource != config.KubeletPort && o.Locator != nil {
		if client, err := process.PodsAPI(cfg.config, o.Locator); err != nil {
			o.PodsAPIErr = err
		} else {
			o.PodsAPI = client
			parts.add(client.Close)
		}
	}
	images := &cfg.config.Images
	o.Settings.CRISocket, o.Settings.CRINeeded = images.CRISocket, images.Wanted() && images.StatusSource == config.StatusFromCRI
	if images.CRISocket != "" && o.Locator != nil {
		if client, err := process.Runtime(cfg.config, o.Locator); err != nil {
			o.RuntimeErr = err
		} else {
			o.Runtime = client
			parts.add(client.Close)
		}
	}
	if images.Wanted() {
		examineImages(process, cfg.config, &o, &parts)
	}
	return o, parts.close
}

// examineImages makes the parts that judge images.
func examineImages(process *setup.Process, cfg *config.Config, o *doctor.Options, parts *closers) {
	o.Settings.Images, o.Settings.CacheDir = true, cfg.Images.Cache.Dir
	for _, r := range cfg.Images.Registries {
		o.Settings.Registries = append(o.Settings.Registries, doctor.Registry{Key: r.Path, Host: r.Host, Repositories: r.Repositories})
	}
	var roots []*setup.TrustRoot
	roots, o.TrustErr = process.TrustRoots(cfg)
	for _, r := range roots {
		o.TrustRoots = append(o.TrustRoots, r)
		parts.add(r.Close)
	}
	if client, err := process.Registries(cfg); err != nil {
		o.RegistriesErr = err
	} else {
		o.Registries = client
		parts.add(client.Close)
	}
	if kept := process.Evidence(cfg); kept != nil {
		o.Evidence = kept
		parts.add(kept.Close)
	}
}

func notices(findings []finding) []doctor.Notice {
	var all []doctor.Notice
	for _, f := range findings {
		all = append(all, doctor.Notice{Place: strings.TrimSuffix(f.place(), ": "), Key: f.Key, Message: f.Message})
	}
	return all
}

func (d *checkup) add(check doctor.Check) {
	d.Checks = append(d.Checks, check)
	switch check.Status {
	case doctor.Failed:
		d.Failed++
	case doctor.Warning:
		d.Warnings++
	case doctor.Skipped:
		d.Skipped++
	}
}

// write writes the checks and their sum.
func (d *checkup) write(out *terminal.Output, verbose bool) error {
	for _, check := range d.Checks {
		if err := writeCheck(out, check, verbose); err != nil {
			return err
		}
	}
	return d.writeSummary(out)
}

func (d *checkup) writeSummary(out *terminal.Output) error {
	text := fmt.Sprintf("%d checks: %d failed, %d with warnings, %d skipped", len(d.Checks), d.Failed, d.Warnings, d.Skipped)
	return out.Paragraph(terminal.Paragraph{Text: text, Style: terminal.Bold})
}

// writeCheck writes a check: its status, name and finding, and below what there
// is to do and to know.
func writeCheck(out *terminal.Output, check doctor.Check, verbose bool) error {
	style := map[doctor.Status]terminal.Style{
		doctor.OK: terminal.Good, doctor.Warning: terminal.Warning, doctor.Failed: terminal.Bad, doctor.Skipped: terminal.Dim,
	}[check.Status]
	w := &writer{out: out}
	w.sentence(fmt.Sprintf("%-8s", check.Status), style, check.Name+": "+check.Finding)
	if check.Status != doctor.OK || verbose {
		for _, detail := range check.Details {
			w.sentence("          ", terminal.Plain, detail)
		}
	}
	if check.Remedy != "" {
		w.sentence("        remedy: ", terminal.Bold, check.Remedy)
	}
	return w.err
}
