package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/terminal"
)

// listFlags say what `list` shows.
type listFlags struct {
	namespace, pod   string
	selectors, watch bool
	interval         time.Duration
}

func (c *command) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show every container of the node with its pod, image and selectors",
		Long: `list asks the kubelet for the pods of the node and shows their containers. With
--selectors it shows what a process in each would get, or why it would get
nothing. Pods that the kubelet lists but that can't be read are shown too, and
completed ones, in which no process can be, are not.

No registry is asked: of an image to which a policy applies list says nothing,
neither the selectors that come of it nor that there are none because of it.
attest and verify do.`,
		Example: "  podseal list --namespace payments --selectors\n  podseal list --watch",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.interval <= 0 {
				return usagef("--interval %v: it must be positive", f.interval)
			}
			return c.list(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "", "only pods of this namespace")
	flags.StringVar(&f.pod, "pod", "", "only the pod of this name or UID")
	flags.BoolVar(&f.selectors, "selectors", false, "show the selectors of each container")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on and show what changes")
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "with --watch: time between two looks")
	return cmd
}

func (c *command) list(ctx context.Context, f listFlags) error {
	cfg, parts, done, err := c.parts(ctx, false)
	if err != nil {
		return err
	}
	defer done()
	look := func(newerThan time.Time) (*containerList, error) {
		source, _ := parts.Using()
		progress := terminal.StartProgress(c.Stderr, "asking "+cfg.kubelet(source)+" for the pods of the node")
		defer progress.Stop()
		listing, err := parts.Attestor.List(ctx, newerThan)
		if err != nil {
			return nil, err
		}
		return newContainerList(cfg.selectorType(), listing, f), nil
	}
	list, err := look(time.Time{})
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	if !f.watch {
		if c.json() {
			return writeJSON(c.Stdout.W, list)
		}
		return list.write(c.Stdout, f.selectors)
	}
	return c.watch(ctx, f, list, look)
}

// watch shows the containers that there are and then each change, until ctx ends.
// A kubelet that does not answer is no reason to stop: it may be restarting, which
// is when people watch.
func (c *command) watch(ctx context.Context, f listFlags, list *containerList, look func(time.Time) (*containerList, error)) error {
	if err := c.writeEvents(f, list.changes(nil)); err != nil {
		return err
	}
	var trouble string
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.interval):
		}
		next, err := look(list.Taken)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if d := diagnose(err); d.Cause != trouble {
				trouble = d.Cause
				fail(c.Stderr, d)
			}
			continue
		case trouble != "":
			trouble = ""
			c.note("the kubelet answers again")
		}
		if err := c.writeEvents(f, next.changes(list)); err != nil {
			return err
		}
		list = next
	}
}

func (c *command) writeEvents(f listFlags, events []containerEvent) error {
	if c.json() {
		var errs error
		for _, e := range events {
			errs = errors.Join(errs, writeJSONLine(c.Stdout.W, e))
		}
		return errs
	}
	return writeEvents(c.Stdout, events, f.selectors)
}

func newContainerList(selectorType string, listing *attest.Listing, f listFlags) *containerList {
	l := &containerList{header: kind("ContainerList"), Taken: listing.Taken.UTC(), Containers: []listedContainer{}, Unreadable: []unreadablePod{}}
	for _, w := range listing.Workloads {
		switch {
		case w.Pod == nil:
			// It may be any namespace's, and any name.
			l.Unreadable = append(l.Unreadable, unreadablePod{w.PodUID, diagnose(w.Err).Cause})
		case f.shows(w):
			l.Containers = append(l.Containers, newListedContainer(selectorType, w))
		}
	}
	return l
}

func (f listFlags) shows(w attest.Workload) bool {
	return (f.namespace == "" || w.Pod.Namespace == f.namespace) && (f.pod == "" || w.Pod.Name == f.pod || w.Pod.UID == f.pod)
}

func newListedContainer(selectorType string, w attest.Workload) listedContainer {
	c := listedContainer{
		Namespace: w.Pod.Namespace, Pod: w.Pod.Name, PodUID: w.Pod.UID,
		Container: w.Container.Name, Type: string(w.Container.Type), State: string(w.Container.State()),
		ContainerID: w.Container.ID, Image: w.Container.Image, ImageID: w.Container.ImageID, Selectors: []string{},
	}
	if c.Image == "" {
		c.Image = w.Container.SpecImage
	}
	for _, s := range w.Selectors {
		c.Selectors = append(c.Selectors, selectorType+":"+s)
	}
	if w.Err != nil {
		c.NoSelectors = diagnose(w.Err)
	}
	return c
}

// changes are what differs from the list before, in the list's order, and then
// what is gone.
func (l *containerList) changes(before *containerList) []containerEvent {
	old := map[string]listedContainer{}
	if before != nil {
		for _, c := range before.Containers {
			old[c.key()] = c
		}
	}
	event := func(what string, c listedContainer) containerEvent {
		return containerEvent{header: kind("ContainerEvent"), Event: what, Taken: l.Taken, Container: c}
	}
	events := []containerEvent{}
	for _, c := range l.Containers {
		was, known := old[c.key()]
		delete(old, c.key())
		switch {
		case !known:
			events = append(events, event("added", c))
		case !reflect.DeepEqual(was, c):
			events = append(events, event("changed", c))
		}
	}
	if before != nil {
		for _, c := range before.Containers {
			if _, gone := old[c.key()]; gone {
				events = append(events, event("removed", c))
			}
		}
	}
	return events
}

// writeEvents writes a line, or on a terminal a few, for each change.
func writeEvents(out *terminal.Output, events []containerEvent, withSelectors bool) error {
	for _, e := range events {
		c := e.Container
		text := fmt.Sprintf("%s/%s %s (%s, %s) %s", c.Namespace, c.Pod, c.Container, c.Type, c.State, c.Image)
		if withSelectors {
			text += " " + strings.TrimSpace(c.selectorCell().Text)
		}
		label := e.Taken.Format(time.TimeOnly) + " " + fmt.Sprintf("%-8s", e.Event)
		if err := out.Paragraph(terminal.Paragraph{Label: label, LabelStyle: eventStyle(e.Event), Text: text}); err != nil {
			return err
		}
	}
	return nil
}

func eventStyle(event string) terminal.Style {
	switch event {
	case "added":
		return terminal.Good
	case "removed":
		return terminal.Bad
	}
	return terminal.Warning
}
