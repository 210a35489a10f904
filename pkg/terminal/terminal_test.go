package terminal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/test/testenv"
)

// openTerminal opens a terminal of so many columns.
func openTerminal(t *testing.T, columns uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	testenv.Require(t, err == nil, "needs /dev/ptmx")
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	testenv.Require(t, err == nil, "needs /dev/pts")
	t.Cleanup(func() { slave.Close() })
	return slave
}

func TestNewOnATerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		columns uint16
		env     map[string]string
		want    terminal.Output
	}{
		{"a terminal", 61, map[string]string{"TERM": "xterm"}, terminal.Output{Width: 61, Color: true, Rewrite: true}},
		{"COLUMNS", 61, map[string]string{"TERM": "xterm", "COLUMNS": "99"}, terminal.Output{Width: 99, Color: true, Rewrite: true}},
		{"COLUMNS is no number", 61, map[string]string{"TERM": "xterm", "COLUMNS": "wide"}, terminal.Output{Width: 61, Color: true, Rewrite: true}},
		{"COLUMNS is nothing to write on", 61, map[string]string{"TERM": "xterm", "COLUMNS": "0"}, terminal.Output{Width: 61, Color: true, Rewrite: true}},
		{"COLUMNS is negative", 61, map[string]string{"TERM": "xterm", "COLUMNS": "-5"}, terminal.Output{Width: 61, Color: true, Rewrite: true}},
		{"a terminal that does not know its width", 0, map[string]string{"TERM": "xterm"}, terminal.Output{Width: 80, Color: true, Rewrite: true}},
		{"NO_COLOR", 61, map[string]string{"TERM": "xterm", "NO_COLOR": "0"}, terminal.Output{Width: 61, Rewrite: true}},
		{"NO_COLOR is empty", 61, map[string]string{"TERM": "xterm", "NO_COLOR": ""}, terminal.Output{Width: 61, Color: true, Rewrite: true}},
		{"TERM=dumb", 61, map[string]string{"TERM": "dumb"}, terminal.Output{Width: 61}},
		{"no TERM", 61, nil, terminal.Output{Width: 61}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := openTerminal(t, c.columns)
			c.want.W = file
			got := terminal.New(file, func(name string) string { return c.env[name] })
			if *got != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}

func TestNewOnWhatIsNoTerminal(t *testing.T) {
	t.Parallel()
	env := map[string]string{"TERM": "xterm", "COLUMNS": "99"}
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	closed, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []*os.File{pipe, closed} {
		got := terminal.New(file, func(name string) string { return env[name] })
		if want := (terminal.Output{W: file}); *got != want {
			t.Errorf("got %+v, want %+v", *got, want)
		}
	}
}

func TestATableWithAnotherNumberOfCellsIsAnError(t *testing.T) {
	t.Parallel()
	for _, bad := range [][]terminal.Cell{row("a"), row("a", "b", "c"), nil} {
		var text bytes.Buffer
		err := (&terminal.Output{W: &text}).Table([]string{"one", "two"}, [][]terminal.Cell{row("a", "b"), bad})
		want := fmt.Sprintf("row 2 of the table has %d cells for 2 columns", len(bad))
		if err == nil || err.Error() != want || text.Len() > 0 {
			t.Errorf("got %v and %q, want %s", err, text.String(), want)
		}
	}
}

func TestACommandIsOneLineToPaste(t *testing.T) {
	t.Parallel()
	words := []string{"spire-server", "entry", "create", "-spiffeID", "spiffe://example.org/ns/pay/sa/api", "-selector", "k8s:ns:pay", "-selector", "k8s:pod-label:a:it's $(id)"}
	var text bytes.Buffer
	out := &terminal.Output{W: &text, Width: 40, Color: true}
	if err := out.Command(4, words...); err != nil {
		t.Fatal(err)
	}
	want := `    spire-server entry create -spiffeID spiffe://example.org/ns/pay/sa/api -selector k8s:ns:pay -selector 'k8s:pod-label:a:it'\''s $(id)'` + "\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	text.Reset()
	if err := out.Command(0, "echo", "a\x1b[201~\nreboot"); !errors.Is(err, printable.ErrUnprintable) || text.Len() > 0 {
		t.Errorf("got %v and %q", err, text.String())
	}
}

// What one pod's author wrote must not hide the rows of all others, nor cost a
// megabyte of spaces in each.
func TestAHugeCellIsCutWithAMark(t *testing.T) {
	t.Parallel()
	for _, width := range []int{0, 60} {
		var text bytes.Buffer
		out := &terminal.Output{W: &text, Width: width}
		if err := out.Table([]string{"label", "pod"}, [][]terminal.Cell{row("before", "a"), row(strings.Repeat("0123456789abcdef", 4096), "b"), row("after", "c")}); err != nil {
			t.Fatal(err)
		}
		got := text.String()
		if len(got) > 5*4096 || !strings.Contains(strings.NewReplacer("\n", "", " ", "").Replace(got), "...(cut)") {
			t.Errorf("%d columns: %d bytes", width, len(got))
		}
		lines := strings.Split(strings.TrimSpace(got), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "after ") || !strings.HasSuffix(last, " c") {
			t.Errorf("%d columns: the last line is %q", width, last)
		}
	}
	var text bytes.Buffer
	out := &terminal.Output{W: &text, Width: 80}
	if err := out.Paragraph(terminal.Paragraph{Text: strings.Repeat("word ", 1<<16)}); err != nil {
		t.Fatal(err)
	}
	if text.Len() > 17<<10 || !strings.HasSuffix(text.String(), "(cut)\n") {
		t.Errorf("a paragraph of %d bytes", text.Len())
	}
}

type brokenWriter struct{ error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.error }

func TestAWriteThatFailsIsToldOf(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	out := &terminal.Output{W: brokenWriter{broken}}
	for what, err := range map[string]error{
		"table":     out.Table([]string{"a"}, nil),
		"paragraph": out.Paragraph(terminal.Paragraph{Text: "a"}),
		"command":   out.Command(0, "a"),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A terminal of less than 20 columns, where nothing can be laid out, gets what one
// of 20 gets.
func TestAVeryNarrowTerminal(t *testing.T) {
	t.Parallel()
	var got []string
	for _, width := range []int{1, 19, 20} {
		var text strings.Builder
		out := &terminal.Output{W: &text, Width: width}
		if err := out.Table([]string{"pod", "image"}, [][]terminal.Cell{row("api-7d9f8c6b5-x2x4z", "registry.example.org/pay/api")}); err != nil {
			t.Fatal(err)
		}
		got = append(got, text.String())
	}
	want := "POD: api-7d9f8c6b5-\n     x2x4z\nIMAGE: registry.\n       example.org/\n       pay/api\n"
	if diff := cmp.Diff([]string{want, want, want}, got); diff != "" {
		t.Error(diff)
	}
}
