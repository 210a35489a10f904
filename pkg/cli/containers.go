package cli

import (
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/terminal"
)

// containerList is what `list` finds.
type containerList struct {
	header
	// Taken is when the kubelet was asked.
	Taken      time.Time         `json:"taken"`
	Containers []listedContainer `json:"containers"`
	// Unreadable are pods that the kubelet lists but that can't be read.
	Unreadable []unreadablePod `json:"unreadable"`
}

// listedContainer is a container of the node.
type listedContainer struct {
	Namespace   string `json:"namespace"`
	Pod         string `json:"pod"`
	PodUID      string `json:"pod_uid"`
	Container   string `json:"container"`
	Type        string `json:"type"`
	State       string `json:"state"`
	ContainerID string `json:"container_id"`
	// Image and ImageID are the runtime's names for the image, or the pod's where
	// the runtime has none yet.
	Image   string `json:"image"`
	ImageID string `json:"image_id"`
	// Selectors are those of a process in the container; none where NoSelectors
	// says why there are none.
	Selectors   []string `json:"selectors"`
	NoSelectors *failure `json:"no_selectors,omitempty"`
}

type unreadablePod struct {
	// PodUID is empty where not even that could be read.
	PodUID string `json:"pod_uid"`
	Reason string `json:"reason"`
}

// key is what stays the same while a container changes.
func (c listedContainer) key() string { return c.PodUID + "/" + c.Container }

var containerColumns = []string{"namespace", "pod", "container", "type", "state", "image"}

func (c listedContainer) cells() []terminal.Cell {
	return []terminal.Cell{terminal.Text(c.Namespace), terminal.Text(c.Pod), terminal.Text(c.Container), terminal.Text(c.Type), stateStyle(c.State).Text(c.State), terminal.Text(c.Image)}
}

func stateStyle(state string) terminal.Style {
	if state == "running" {
		return terminal.Good
	}
	return terminal.Warning
}

// write writes the list. With selectors there is a column more, in which each
// selector begins on a line of its own where the rows are not for other programs.
func (l *containerList) write(out *terminal.Output, withSelectors bool) error {
	w := &writer{out: out}
	columns := containerColumns
	var rows [][]terminal.Cell
	for _, c := range l.Containers {
		row := c.cells()
		if withSelectors {
			row = append(row, c.selectorCell())
		}
		rows = append(rows, row)
	}
	if withSelectors {
		columns = append(columns[:len(columns):len(columns)], "selectors")
	}
	w.table(columns, rows)
	for _, p := range l.Unreadable {
		uid := p.PodUID
		if uid == "" {
			uid = "without a UID that could be read"
		}
		w.sentence("unreadable: ", terminal.Bad, "pod "+uid+": "+p.Reason)
	}
	return w.err
}

func (c listedContainer) selectorCell() terminal.Cell {
	if c.NoSelectors != nil {
		return terminal.Warning.Text("none: " + c.NoSelectors.Cause)
	}
	return terminal.Text(strings.Join(c.Selectors, " "))
}

// containerEvent is a change that `list --watch` sees.
type containerEvent struct {
	header
	// Event is "added", "changed" or "removed".
	Event     string          `json:"event"`
	Taken     time.Time       `json:"taken"`
	Container listedContainer `json:"container"`
}
