// Package container finds the Kubernetes container that a process is in.
//
// Its only source is /proc/<pid>/cgroup, which the kernel writes and the process
// can't. Mount tables and namespaces are never looked at: every user who may make
// a user namespace can put another pod's name into them.
//
// Even the cgroup's path is evidence only in part. systemd and container engines
// hand subtrees of cgroups to users, who may make a cgroup named like any pod in
// theirs. So every path is read from the agent's own cgroup outwards: what is
// shared with it is removed, and what remains must begin at once with a name that
// only this node's kubelet can have made. What lies below the container was made
// by the workload and is not read.
//
// The package uses the standard library alone and has no opinion on what a pod is.
package container
