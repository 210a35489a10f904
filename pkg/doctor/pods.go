package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
)

// role is the smallest that will do, a line at a time.
var role = []string{
	"apiVersion: rbac.authorization.k8s.io/v1",
	"kind: ClusterRole",
	"metadata:",
	"  name: podseal",
	"rules:",
	`  - apiGroups: [""]`,
	`    resources: ["nodes/pods"] # before Kubernetes 1.33: nodes/proxy`,
	`    verbs: ["get"]`,
}

// pods asks for the list that attestations are made from, and the kubelet's port
// also where it is only the fallback.
func (x *examination) pods(ctx context.Context) []Check {
	permission, excess, pods := skipped(KubeletPermission, x.noWay), skipped(KubeletLeastPrivilege, x.noWay), skipped(KubeletPods, x.noWay)
	if x.noWay == "" {
		x.list = x.Kubelet.Next
		index, err := x.list(ctx, time.Time{})
		x.index = index
		permission, pods = judgePods(x.Settings.Kubelet, index, err)
		excess = judgeExcess(x.inspection)
	}
	switch {
	case x.noAPI != "":
		pods = skipped(KubeletPods, x.noAPI)
	case x.usesAPI:
		if pods.Status == Failed { // there is no other check for it then
			permission = failed(KubeletPermission, pods.Finding, pods.Remedy)
		}
		pods = x.podsOfAPI(ctx)
	}
	return append(x.fallback([]Check{permission, excess}), pods)
}

func judgePods(cfg kubelet.Config, index *pod.Index, err error) (permission, pods Check) {
	permission = ok(KubeletPermission, "the credentials may list the pods of this node")
	if !cfg.Secure {
		permission = skipped(KubeletPermission, "the read-only port asks for no permission")
	}
	d, diagnosed := diagnosis.Of(err)
	if err != nil && !diagnosed {
		d = diagnosis.Diagnosis{Cause: err.Error(), Remedy: "look at podseal's log and at the kubelet's"}
	}
	switch {
	case err != nil && d.Reason == kubelet.ReasonForbidden:
		permission = failed(KubeletPermission, d.Cause, d.Remedy, role...)
		pods = skipped(KubeletPods, because(KubeletPermission))
	case err != nil && d.Reason == kubelet.ReasonAnonymous:
		permission = failed(KubeletPermission, d.Cause, d.Remedy)
		pods = skipped(KubeletPods, because(KubeletPermission))
	case err != nil:
		permission = skipped(KubeletPermission, because(KubeletPods))
		pods = failed(KubeletPods, d.Cause, d.Remedy)
	default:
		pods = judgeIndex(index)
	}
	return permission, pods
}

func judgeExcess(i *kubelet.Inspection) Check {
	const name = KubeletLeastPrivilege
	switch i.Excess {
	case kubelet.ExcessNotApplicable:
		return skipped(name, "the read-only port asks for no permission")
	case kubelet.ExcessNone:
		return ok(name, "the credentials do not hold nodes/proxy")
	case kubelet.ExcessProxy:
		return warning(name, "the credentials hold `nodes/proxy`, which lets whoever gets hold of them run commands in every container of the node (or the kubelet lets everybody do everything: authorization.mode AlwaysAllow)",
			"replace `nodes/proxy` by `nodes/pods` in the ClusterRole of the agent's service account (Kubernetes 1.33 and later)", role...)
	}
	return skipped(name, fmt.Sprintf("the kubelet did not tell what else the credentials may do: it answered %d", i.Status))
}

func judgeIndex(index *pod.Index) Check {
	finding := fmt.Sprintf("the kubelet lists %s with %s", count(index.Len(), "pod"), count(len(running(index)), "running container"))
	var faults []string
	for _, fault := range index.Faults() {
		faults = append(faults, fault.Error())
	}
	if len(faults) == 0 {
		return ok(KubeletPods, finding)
	}
	return warning(KubeletPods, fmt.Sprintf("%s, and %s that can't be read, whose workloads get no selectors: %s", finding, count(len(faults), "more pod"), faults[0]),
		"look at the pods that are named with `kubectl get pod -o json`: something in them is beyond podseal's bounds, or is no valid JSON", faults...)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
