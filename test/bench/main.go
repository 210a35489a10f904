// Command bench measures podseal against SPIRE's built-in attestor "k8s" on the
// same work in the same run, and prints one table.
//
// Both are plugins in processes of their own, started and asked as SPIRE Agent
// does. Both get the same configuration, letter by letter, the same stand-in
// kubelet, which lists its pods in a new random order each time, and the same
// real processes in real cgroups. Every answer is compared with what it has to
// be; a wrong one ends the run. Nothing ends because something is slow.
//
//	make bench
//	go run ./test/bench -rounds 1 -pods 110
//
// The table goes to standard output, what is being done to standard error.
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
	if len(os.Args) == 2 && os.Args[1] == roleWait {
		exit(wait())
	}
	rounds := flag.Int("rounds", 5, "how often everything is measured")
	sizes := flag.String("pods", "110,250,500", "numbers of pods on the node, with commas")
	flag.Parse()
	pods, err := numbers(*sizes)
	switch {
	case err != nil:
	case *rounds < 1:
		err = fmt.Errorf("%d rounds are too few", *rounds)
	case flag.NArg() > 0:
		err = fmt.Errorf("unknown arguments %q", flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, *rounds, pods)
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

// numbers reads numbers of pods. Each pod that is asked about is one of them.
func numbers(list string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		if n < callers {
			return nil, fmt.Errorf("%d pods are too few: %d of them call at once", n, callers)
		}
		all = append(all, n)
	}
	return all, nil
}

// run measures and prints. Whatever it starts it stops before it returns.
func run(ctx context.Context, rounds int, sizes []int) (err error) {
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
	sides := [2]side{
		podseal: {path: filepath.Join(root, "bin", "podseal"), want: podsealSelectors},
		builtIn: {path: built["k8s-attestor"], want: builtInSelectors},
	}
	about, err := describe(sides)
	if err != nil {
		return err
	}

	// The stand-in kubelet makes garbage with every list, and shares the processors
	// with who asks it. It is collected in the pauses, see quiet.
	debug.SetGCPercent(400)
	progress("making %d processes in cgroups of their own", callers+1)
	n, err := newNode()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()

	var r results
	var lists []list
	for _, size := range sizes {
		list, err := measure(ctx, n, sides, size, rounds, &r)
		if err != nil {
			return fmt.Errorf("with %d pods: %w", size, err)
		}
		lists = append(lists, list)
	}
	fmt.Printf("%s Medians of %d rounds.\n\n", about, rounds)
	r.print(os.Stdout)
	fmt.Println()
	for _, l := range lists {
		fmt.Println(l)
	}
	return nil
}

// measure measures everything with that many pods on the node.
func measure(ctx context.Context, n *node, sides [2]side, size, rounds int, r *results) (l list, err error) {
	k, err := startKubelet(size)
	if err != nil {
		return list{}, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	if l, err = k.measure(ctx); err != nil {
		return list{}, err
	}
	for i := range rounds {
		begin := time.Now()
		order := [2]int{podseal, builtIn}
		if i%2 == 1 {
			order = [2]int{builtIn, podseal}
		}
		round := round{node: n, kubelet: k, sides: sides, order: order}
		if err := round.run(ctx); err != nil {
			return list{}, err
		}
		r.add(size, &round.values)
		progress("%d pods: round %d of %d took %.0f s", size, i+1, rounds, time.Since(begin).Seconds())
	}
	return l, nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
