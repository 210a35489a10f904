package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack"
)

//go:embed workloads.yaml
var workloads string

const (
	workloadsNamespace = "payments"
	// answerLimit is for the images, the pods and the entries. Seconds are usual.
	answerLimit = 3 * time.Minute
)

// answer is what a workload got from the Workload API.
type answer struct {
	Workload string `json:"workload"`
	ID       string `json:"id,omitempty"`
	Code     string `json:"code,omitempty"`
}

func (a answer) String() string {
	if a.ID != "" {
		return "gets " + a.ID
	}
	return "is refused: " + a.Code
}

// runWorkloads registers what examples/entries.json has, starts the workloads, and
// returns when each got the answer that is due.
func runWorkloads(ctx context.Context, s *stack.Stack) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	root, err := realstack.SourceRoot()
	if err != nil {
		return nil, err
	}
	if err := s.Server.CreateEntries(ctx, filepath.Join(root, "examples", "entries.json")); err != nil {
		return nil, err
	}
	if _, err := s.Kubectl(ctx, workloads, "apply", "--validate=strict", "-f", "-"); err != nil {
		return nil, err
	}
	answers := []answer{
		{Workload: "reports", ID: s.Server.ID("/payments/reports")},
		{Workload: "stranger", Code: "PermissionDenied"},
	}
	for _, due := range answers {
		if err := await(ctx, s, due); err != nil {
			state, _ := s.Kubectl(ctx, "", "describe", "pods", "--namespace", workloadsNamespace)
			return nil, fmt.Errorf("workload %s: %w\n%s", due.Workload, err, state)
		}
		fmt.Fprintf(os.Stderr, "workload %s/%s: %s\n", workloadsNamespace, due.Workload, due)
	}
	return answers, nil
}

// await returns when the workload's last answer is the one that is due: before the
// agent knows a new entry it refuses.
func await(ctx context.Context, s *stack.Stack, due answer) error {
	for {
		last, err := lastAnswer(ctx, s, due.Workload)
		if err == nil && last == due {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return fmt.Errorf("%w: its last answer is %+v, due is %+v", context.Cause(ctx), last, due)
		}
	}
}

func lastAnswer(ctx context.Context, s *stack.Stack, workload string) (answer, error) {
	pods, err := s.Client.CoreV1().Pods(workloadsNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + workload})
	if err != nil {
		return answer{}, err
	}
	i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if i < 0 {
		return answer{}, fmt.Errorf("none of its %d pods runs", len(pods.Items))
	}
	lines, err := s.Node.Output(&pods.Items[i], "workload")
	if err != nil || len(lines) == 0 {
		return answer{}, err
	}
	var last answer
	err = json.Unmarshal([]byte(lines[len(lines)-1]), &last)
	last.Workload = workload
	return last, err
}
