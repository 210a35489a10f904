package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/podseal/podseal/pkg/podsapi"
)

const (
	// bareCalls is how often a bare client asks in a round, for a pod and for all.
	bareCalls = 50
	// barePause is between two of its questions: it keeps to 50 a second.
	barePause = 25 * time.Millisecond
)

// roleAsk makes this program a client of the Pods API without an attestor.
const roleAsk = "ask"

// ask asks, for each line of standard input, about the pod of that UID, or about
// all for an empty line. It answers with a line: how long that took and how much
// processor time this process has used so far, in nanoseconds.
func ask(args []string) error {
	if len(args) != 1 {
		return errors.New("the socket is missing")
	}
	cfg := podsapi.Config{Socket: args[0], TTL: 1, Interval: pollInterval}
	// The stand-in is known to be one.
	c, err := podsapi.New(cfg, podsapi.NewLimiter(), func(int32) (bool, error) { return false, nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer c.Close()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		begin := time.Now()
		x, err := c.Next(ctx, lines.Text(), time.Time{})
		took := time.Since(begin)
		cancel()
		switch {
		case err != nil:
			return err
		case x.Len() == 0:
			return errors.New("there are no pods")
		}
		used, err := ownCPU()
		if err != nil {
			return err
		}
		if _, err := fmt.Println(took.Nanoseconds(), used.Nanoseconds()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// bare measures what the Pods API costs without an attestor: a call about a pod,
// and one about all.
func (r *round) bare(ctx context.Context, subjects [sides]*subject) (err error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", roleAsk, r.kubelet.socket)
	cmd.Stderr = os.Stderr
	questions, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, questions.Close(), cmd.Wait()) }()
	if err := quiet(subjects); err != nil {
		return err
	}
	client := bareClient{questions: questions, answers: answers}
	get, err := client.measure(func(i int) string { return r.kubelet.pods[i%len(r.kubelet.pods)].UID })
	if err != nil {
		return fmt.Errorf("asking for one pod: %w", err)
	}
	list, err := client.measure(func(int) string { return "" })
	if err != nil {
		return fmt.Errorf("asking for all pods: %w", err)
	}
	r.values.add(getPodP50, podsAPI, get.p50)
	r.values.add(idleFloorP50, podsAPI, median(r.values[emptyP50][podsAPI])+get.p50)
	r.values.add(listP50, podsAPI, list.p50)
	r.values.add(listCPU, podsAPI, list.cpu)
	r.values.add(listKubeletCPU, podsAPI, list.kubeletCPU)
	return nil
}

// bareClient is a process with roleAsk.
type bareClient struct {
	questions io.Writer
	answers   io.Reader
}

// bareCost is what a question costs the client, and the stand-in, which is in
// this process.
type bareCost struct{ p50, cpu, kubeletCPU float64 }

// measure asks again and again. The first time, which makes the connection and
// the watch, does not count.
func (c *bareClient) measure(question func(i int) string) (bareCost, error) {
	if _, _, err := c.ask(question(0)); err != nil {
		return bareCost{}, err
	}
	// The next answer also says what the client did until now.
	time.Sleep(barePause)
	_, first, err := c.ask(question(0))
	if err != nil {
		return bareCost{}, err
	}
	own, err := ownCPU()
	if err != nil {
		return bareCost{}, err
	}
	var took []float64
	last := first
	for i := range bareCalls {
		time.Sleep(barePause)
		d, used, err := c.ask(question(i))
		if err != nil {
			return bareCost{}, err
		}
		took, last = append(took, d), used
	}
	ownAfter, err := ownCPU()
	return bareCost{percentile(took, 50), (last - first) / bareCalls, float64(ownAfter-own) / bareCalls}, err
}

func (c *bareClient) ask(question string) (took, used float64, err error) {
	if _, err := fmt.Fprintln(c.questions, question); err != nil {
		return 0, 0, err
	}
	_, err = fmt.Fscanln(c.answers, &took, &used)
	return took, used, err
}
