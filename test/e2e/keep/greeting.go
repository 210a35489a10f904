package main

import (
	"fmt"
	"strings"
)

// greeting is what a person needs to know.
func greeting(f folder, r *record, already bool) string {
	state := "is up"
	if already {
		state = "is up already"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nThe cluster %s: Kubernetes, SPIRE and podseal in a machine of their own, kept by process %d.\n", state, r.Keeper)
	for _, a := range r.Answers {
		fmt.Fprintf(&text, "  %s/%s %s\n", workloadsNamespace, a.Workload, a)
	}
	fmt.Fprintf(&text, `
From here (the cluster's own kubectl is last in PATH):
  export KUBECONFIG=%s PATH="$PATH":%s
  kubectl get pods -A
  kubectl -n payments logs -f deploy/reports
  kubectl -n spire exec ds/spire-agent -- /opt/podseal/podseal list
  kubectl -n spire logs -f ds/spire-agent

Inside, where podseal, kubectl, ctr, spire-server and spire-agent are in PATH:
  make e2e-shell
    podseal doctor
    ctr containers list
    spire-server entry show -socketPath $SPIRE_SERVER_SOCKET
    spire-agent healthcheck -socketPath ${SPIFFE_ENDPOINT_SOCKET#unix://}

Its log:   %s
Its files: %s
To end it: make e2e-down
`, quote(f.kubeconfig()), quote(r.Kubectl), f.log(), r.Machine)
	return text.String()
}

// quote makes one word of a POSIX shell.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
