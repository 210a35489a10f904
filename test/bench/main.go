// Command bench measures podseal, with the kubelet's port and with its Pods API,
// against SPIRE's built-in attestor "k8s" on the same work in the same run, and
// prints one table.
//
// All are plugins in processes of their own, started and asked as SPIRE Agent
// does. All get the same configuration but for where pods are known from, the
// same stand-in kubelet, which lists its pods in a new random order each time,
// and the same real processes in real cgroups. Every answer is compared with what
// it has to be; a wrong one ends the run. Nothing ends because something is slow.
//
//	make bench
//	go run ./test/bench -rounds 1 -pods 110
//	go run ./test/bench -plot docs/performance.svg -rounds 3
//
// The table goes to standard output, what is being done to standard error. With
// -plot only the idle node and the memory after load are measured, at more sizes
// of the node, and drawn.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/podseal/podseal/test/realstack"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleWait:
			exit(wait())
		case roleListen:
			exit(listen())
		case roleAsk:
			exit(ask(os.Args[2:]))
		}
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	flag.StringVar(&o.plot, "plot", "", "draw latency and memory against the pods on the node into this `file`, an SVG, and measure no more than that")
	sizes := flag.String("pods", "", "numbers of pods on the node, with commas (default "+defaultSizes+", to plot "+defaultPlotSizes+")")
	flag.Parse()
	err := o.setSizes(*sizes)
	switch {
	case err != nil:
	case o.rounds < 1:
		err = fmt.Errorf("%d rounds are too few", o.rounds)
	case flag.NArg() > 0:
		err = fmt.Errorf("unknown arguments %q", flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started has been stopped")
	}
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	defaultSizes     = "110,250,500"
	defaultPlotSizes = "10,30,110,250,500,1000"
)

// options is what is measured.
type options struct {
	rounds int
	sizes  []int  // numbers of pods on the node
	plot   string // the file to draw into, empty for none
}

// setSizes reads numbers of pods, or takes the default. A hundred pods call at
// once, unless only a plot is wanted.
func (o *options) setSizes(list string) (err error) {
	least := callers
	if o.plot != "" {
		least = 1
	}
	if list == "" {
		list = defaultSizes
		if o.plot != "" {
			list = defaultPlotSizes
		}
	}
	o.sizes, err = numbers(list, least)
	return err
}

// tries is how often it is measured in a round how soon a container is known that
// is published: 50 times in all rounds together, or more.
func (o *options) tries() int {
	if o.plot != "" {
		return 0
	}
	return (50 + o.rounds - 1) / o.rounds
}

// numbers reads numbers of pods, none of them smaller than least.
func numbers(list string, least int) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		if n < least {
			return nil, fmt.Errorf("%d pods are too few, there must be %d", n, least)
		}
		all = append(all, n)
	}
	return all, nil
}

// run measures and prints. Whatever it starts it stops before it returns.
func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to put processes into cgroups as a container runtime does")
	}
	root, err := realstack.SourceRoot()
	if err != nil {
		return err
	}
	built, err := realstack.Build(ctx, os.Stderr, "k8s-attestor")
	if err != nil {
		return err
	}
	ours := side{path: filepath.Join(root, "bin", "podseal"), want: podsealSelectors}
	compared := [sides]side{
		https:   ours,
		podsAPI: ours,
		builtIn: {path: built["k8s-attestor"], want: builtInSelectors},
	}
	about, err := describe(compared)
	if err != nil {
		return err
	}

	// The stand-in kubelet makes garbage with every list, and shares the processors
	// with who asks it. It is collected in the pauses, see quiet.
	debug.SetGCPercent(400)
	progress("making %d processes in cgroups of their own", 2*callers)
	n, err := newNode()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()

	var r results
	var lists []list
	for _, size := range o.sizes {
		list, err := measure(ctx, n, compared, size, o, &r)
		if err != nil {
			return fmt.Errorf("with %d pods: %w", size, err)
		}
		lists = append(lists, list)
	}
	fmt.Printf("%s Medians of %d rounds.\n\n", about, o.rounds)
	r.print(os.Stdout)
	fmt.Println()
	for _, l := range lists {
		fmt.Println(l)
	}
	if o.plot == "" {
		return nil
	}
	svg, err := r.draw(fmt.Sprintf("%s Medians of %d rounds.", about, o.rounds))
	if err != nil {
		return err
	}
	return os.WriteFile(o.plot, svg, 0o644) // #nosec G306 -- a drawing for everyone
}

// measure measures everything with that many pods on the node.
func measure(ctx context.Context, n *node, compared [sides]side, size int, o options, r *results) (l list, err error) {
	k, err := startKubelet(size, n.listen)
	if err != nil {
		return list{}, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	if l, err = k.measure(ctx); err != nil {
		return list{}, err
	}
	for i := range o.rounds {
		begin := time.Now()
		round := round{node: n, kubelet: k, sides: compared, tries: o.tries()}
		for turn := range sides {
			round.order[turn] = (i + turn) % sides // everyone is first at times
		}
		if err := round.run(ctx); err != nil {
			return list{}, err
		}
		r.add(size, &round.values)
		progress("%d pods: round %d of %d took %.0f s", size, i+1, o.rounds, time.Since(begin).Seconds())
	}
	return l, nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
