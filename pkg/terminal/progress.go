package terminal

import (
	"fmt"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/printable"
)

const (
	// patience is how long something may take without a word about it.
	patience = time.Second
	// redraw is how often a line that is replaced is looked at again.
	redraw = 200 * time.Millisecond
	// repeat is the time between two lines where none is replaced.
	repeat = 10 * time.Second
	// maxProgress is how many bytes of a text are shown.
	maxProgress = 1 << 10

	clearLine = "\r\x1b[K"
)

// Progress says on an output, usually standard error, what is waited for. For the
// first second it says nothing. Then, where a line can be replaced, one line shows
// the last text and the seconds since the start, fitted to the width, until Stop or
// Pause take it away. Elsewhere the text is written as a line, and again when it has
// changed, at most every 10 seconds. All methods may be called by any goroutine.
type Progress struct {
	out     *Output
	started time.Time
	stop    func()

	// text is the last one said. Its lock is never held while anything is written, so that
	// Say does not wait for a terminal.
	textLock sync.Mutex
	text     string

	// screen holds one value while something is written to the terminal, for it is
	// that which must not happen twice at a time, and while the terminal is lent to
	// the caller of Pause. What is below belongs to who put it there.
	screen chan struct{}
	shown  string // what stands on the line that is replaced, or what was written last
	wrote  time.Time
}

// StartProgress begins to say text. Stop must be called.
func StartProgress(out *Output, text string) *Progress {
	p := &Progress{out: out, started: time.Now(), text: text, screen: make(chan struct{}, 1)}
	stopping := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		// The work that is waited for matters more than the line about it: if the
		// line ends in a panic, the command does not.
		_ = guard.Do(func() error { p.run(stopping); return nil })
	})
	p.stop = sync.OnceFunc(func() {
		close(stopping)
		running.Wait()
		defer p.hold()()
		p.clear()
	})
	return p
}

// Say changes the text. It does not wait.
func (p *Progress) Say(text string) {
	p.textLock.Lock()
	defer p.textLock.Unlock()
	p.text = text
}

// Pause takes the line away while write writes to the same terminal, and returns
// its error. It must not be called by write.
func (p *Progress) Pause(write func() error) error {
	defer p.hold()()
	p.clear()
	return write()
}

// Stop ends it, and takes the line away. Nothing is written afterwards. It may be
// called more than once.
func (p *Progress) Stop() { p.stop() }

func (p *Progress) run(stopping <-chan struct{}) {
	select {
	case <-stopping:
		return
	case <-time.After(patience):
	}
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		p.draw()
		select {
		case <-stopping:
			return
		case <-tick.C:
		}
	}
}

func (p *Progress) draw() {
	defer p.hold()()
	p.textLock.Lock()
	text := printable.Line(p.text, maxProgress)
	p.textLock.Unlock()

	if p.out.Rewrite {
		line := p.fit(text)
		if line != p.shown {
			_ = p.out.write("\r" + line + "\x1b[K")
			p.shown = line
		}
		return
	}
	if now := time.Now(); text != p.shown && (p.wrote.IsZero() || now.Sub(p.wrote) >= repeat) {
		_ = p.out.write(text + "\n")
		p.shown, p.wrote = text, now
	}
}

// hold waits for the screen, and returns what gives it back.
func (p *Progress) hold() (release func()) {
	p.screen <- struct{}{}
	return func() { <-p.screen }
}

// clear takes the line away that is replaced. The screen is held.
func (p *Progress) clear() {
	if p.out.Rewrite && p.shown != "" {
		_ = p.out.write(clearLine)
		p.shown = ""
	}
}

// fit is the line for a text: one column less than there are, for a terminal may
// begin a new line after the last one.
func (p *Progress) fit(text string) string {
	elapsed := fmt.Sprintf(" (%ds)", int(time.Since(p.started).Seconds()))
	room := p.out.width() - 1 - len(elapsed)
	if p.out.width() == 0 || displayWidth(text) <= room {
		return text + elapsed
	}
	const more = "..."
	return split(text).upTo(room-len(more)).String() + more + elapsed
}
