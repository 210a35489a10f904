package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/test/realstack/spirestack"
)

// workloads are the programs of the demonstration, each in a pod of its own.
var workloads = []workloadSpec{
	{name: "api", namespace: "payments", serviceAccount: "api", path: "/payments/api",
		selectors: []string{"k8s:ns:payments", "k8s:sa:api", "k8s:container-name:api"}},
	{name: "frontend", namespace: "web", serviceAccount: "frontend", path: "/web/frontend",
		selectors: []string{"k8s:ns:web", "k8s:sa:frontend", "k8s:container-type:regular"}},
	{name: "miner", namespace: "web", serviceAccount: "default"},
	{name: "checkout", namespace: policyNamespace, serviceAccount: "checkout", image: "shop/checkout", signed: true, path: "/shop/checkout",
		selectors: []string{"k8s:ns:shop", "k8s:sa:checkout", "k8s:image-policy:release", "k8s:image-signer:release/ci"}},
	{name: "backdoor", namespace: policyNamespace, serviceAccount: "checkout", image: "shop/backdoor"},
}

// workloadSpec is a workload. One without a path has no registration entry of its
// own.
type workloadSpec struct {
	name, namespace, serviceAccount string
	path                            string
	selectors                       []string
	// image is its image's repository, in the registry that the policy may ask. One
	// that has an image and is not signed gets no selector from podseal at all.
	image  string
	signed bool
}

func (w workloadSpec) barred() bool { return w.image != "" && !w.signed }

func (w workloadSpec) pod() string { return w.name + "-6c9f" }

func entries() int {
	n := 0
	for _, w := range workloads {
		if w.path != "" {
			n++
		}
	}
	return n
}

// answer is what a workload got from the Workload API.
type answer struct {
	ID    string // the SPIFFE ID of its X.509-SVID
	Error string
	Code  codes.Code
}

// roleWorkload makes this program a workload. It waits for a line on standard
// input, which says that it is in its pod, asks, and prints its answer.
const roleWorkload = "workload"

func workload(socket string) error {
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var a answer
	svid, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix://"+socket))
	if err != nil {
		a.Error, a.Code = err.Error(), status.Code(err)
	} else {
		a.ID = svid.ID.String()
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// result is a workload with its answer.
type result struct {
	workloadSpec
	answer
	seen []string // the selectors that the agent had for it
	why  string   // what podseal said when it is barred
}

// ask runs the workloads one after the other.
func (n *node) ask(ctx context.Context, agent *spirestack.Agent) ([]result, error) {
	var results []result
	for _, w := range workloads {
		r, err := n.askFor(ctx, agent, w)
		if err != nil {
			return nil, fmt.Errorf("workload %s: %w", w.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// askFor runs a workload in its pod until it has its identity. The entries reach
// an agent within seconds of their creation, so one that is still expected is
// asked for again.
func (n *node) askFor(ctx context.Context, agent *spirestack.Agent, w workloadSpec) (result, error) {
	for end := time.Now().Add(time.Minute); ; {
		a, pid, err := n.run(ctx, agent.Socket(), w)
		if err != nil {
			return result{}, err
		}
		seen, err := agent.Attested(pid)
		if err != nil {
			return result{}, err
		}
		if w.barred() {
			why, err := reason(ctx, agent, pid)
			return result{w, a, slices.Concat(seen...), why}, err
		}
		if len(seen) == 0 {
			return result{}, errors.New("the agent did not attest it")
		}
		if a.ID != "" || w.path == "" || time.Now().After(end) {
			return result{w, a, seen[0], ""}, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return result{}, ctx.Err()
		}
	}
}

// reason is what podseal said about a process that it did not attest.
func reason(ctx context.Context, agent *spirestack.Agent, pid int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	record, err := agent.Await(ctx, 0, func(r spirestack.Record) bool {
		return r.Message == "attestation failed" && r.Fields["pid"] == float64(pid)
	})
	return record.Text("reason"), err
}

// run runs a workload in its pod's cgroup, once.
func (n *node) run(ctx context.Context, socket string, w workloadSpec) (a answer, pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return a, 0, err
	}
	cmd := exec.CommandContext(ctx, self, roleWorkload, socket)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return a, 0, err
	}
	if err := cmd.Start(); err != nil {
		return a, 0, err
	}
	err = n.place(w, cmd.Process.Pid)
	if err == nil {
		_, err = io.WriteString(in, "\n")
	}
	in.Close() // without its line the workload ends
	if waited := cmd.Wait(); err == nil && waited != nil {
		err = fmt.Errorf("%w: %s", waited, said.String())
	}
	if err != nil {
		return a, 0, err
	}
	return a, cmd.Process.Pid, json.Unmarshal(out.Bytes(), &a)
}

// printTable prints what the workloads got and why.
func printTable(w io.Writer, results []result) {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORKLOAD\tPOD\tSELECTORS THAT MATTERED\tSPIFFE ID OR REFUSAL")
	for _, r := range results {
		outcome, mattered := r.ID, r.selectors
		if r.ID == "" {
			outcome = fmt.Sprintf("refused: %s", r.Code)
		}
		switch {
		case r.barred():
			mattered = []string{"(none: its image is not signed)"}
		case r.path == "":
			mattered = []string{"k8s:ns:" + r.namespace, "k8s:sa:" + r.serviceAccount, "(in no entry)"}
		}
		for i, s := range mattered {
			if i == 0 {
				fmt.Fprintf(t, "%s\t%s/%s\t%s\t%s\n", r.name, r.namespace, r.pod(), s, outcome)
				continue
			}
			fmt.Fprintf(t, "\t\t%s\t\n", s)
		}
	}
	t.Flush()
	for l := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(l, " \n"))
	}
	for _, r := range results {
		if r.why != "" {
			fmt.Fprintf(w, "\nwhy not %s: %s\n", r.name, r.why)
		}
	}
}

// judge is nil if every workload got what it should, and for podseal's reasons:
// a demonstration that shows something else must not look like a success.
func judge(results []result) error {
	var problems []error
	for _, r := range results {
		want := ""
		if r.path != "" {
			want = "spiffe://demo.example" + r.path
		}
		refusal := codes.PermissionDenied
		if r.barred() {
			refusal = codes.Unavailable // SPIRE's, where an attestor fails
		}
		if r.ID != want || (want == "" && r.Code != refusal) {
			problems = append(problems, fmt.Errorf("workload %s got %q %s, expected %q", r.name, r.ID, r.Error, want))
		}
		if r.barred() {
			if len(r.seen) > 0 || !strings.Contains(r.why, fmt.Sprintf("image policy %q does not hold", policyName)) {
				problems = append(problems, fmt.Errorf("workload %s has the selectors %q, for %q", r.name, r.seen, r.why))
			}
			continue
		}
		for _, s := range append([]string{"k8s:pod-name:" + r.pod()}, r.selectors...) {
			if !strings.Contains("\n"+strings.Join(r.seen, "\n")+"\n", "\n"+s+"\n") {
				problems = append(problems, fmt.Errorf("workload %s has not the selector %s but %q", r.name, s, r.seen))
			}
		}
	}
	return errors.Join(problems...)
}
