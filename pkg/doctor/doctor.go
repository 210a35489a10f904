// Package doctor examines what podseal stands on: the configuration, the node as
// it is seen from here, where pods are known from, the way to the kubelet and what
// the credentials may do there, the container runtime, what images are judged by and
// where their signatures are from, clock, temporary directory and the plugin's own
// file. It asks through the same parts as the plugin and has no second way of its own.
// What it finds are sentences: one that says what is wrong, with the key, file, host or
// name, and one that says what to do.
//
// It changes nothing but a socket that it makes in TMPDIR and removes again, and
// it never suggests a value that somebody on the node could have planted.
package doctor

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/printable"
)

// Status is how a check ended.
type Status string

// The statuses. They are part of the JSON output.
const (
	OK Status = "ok"
	// Warning is for what works but allows somebody more than it need, or may
	// stop working.
	Warning Status = "warning"
	// Failed is for what keeps workloads from their identities.
	Failed Status = "failed"
	// Skipped is for what can't be said, or does not apply.
	Skipped Status = "skipped"
)

// Check is one thing that was looked at. All strings are single lines, fit for
// printing.
type Check struct {
	// Name is one of Names.
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Finding says what there is; for Skipped why there is nothing to say.
	Finding string `json:"finding"`
	// Remedy says what to do: for Failed and Warning always, else never.
	Remedy string `json:"remedy,omitempty"`
	// Details are more about it, in an order that means something.
	Details []string `json:"details,omitempty"`
}

// The names of the checks. They are part of the JSON output.
const (
	Configuration         = "configuration"
	HostPID               = "host-pid"
	Cgroups               = "cgroups"
	PodSource             = "pod-source"
	KubeletFiles          = "kubelet-files"
	KubeletName           = "kubelet-name"
	KubeletConnection     = "kubelet-connection"
	KubeletCertificate    = "kubelet-certificate"
	KubeletServerName     = "kubelet-server-name"
	KubeletAuthentication = "kubelet-authentication"
	KubeletPermission     = "kubelet-permission"
	KubeletLeastPrivilege = "kubelet-least-privilege"
	KubeletPods           = "kubelet-pods"
	Clock                 = "clock"
	KubeletRoot           = "kubelet-root"
	Containers            = "containers"
	ContainerRuntime      = "container-runtime"
	TrustRoots            = "trust-roots"
	Registries            = "registries"
	EvidenceStore         = "evidence-store"
	TempDir               = "tmpdir"
	PluginChecksum        = "plugin-checksum"
)

// Names are the names of all checks in the order in which Run makes them, each
// once.
func Names() []string {
	return []string{
		Configuration, HostPID, Cgroups, PodSource,
		KubeletFiles, KubeletName, KubeletConnection, KubeletCertificate, KubeletServerName, KubeletAuthentication,
		KubeletPermission, KubeletLeastPrivilege, KubeletPods,
		KubeletRoot, Containers, ContainerRuntime,
		TrustRoots, Registries, EvidenceStore,
		Clock, TempDir, PluginChecksum,
	}
}

// Options say what to examine.
type Options struct {
	// Settings are what was read of the configuration.
	Settings Settings
	// Locator finds the processes' containers; nil where it could not be made,
	// with the reason in LocatorErr, or where the configuration has problems.
	Locator    *container.Locator
	LocatorErr error
	// Kubelet is the kubelet's port; nil where it could not be made, with the
	// reason in KubeletErr, where the configuration has problems, or where
	// Settings.PodSource has no use for it. PodsAPI is the same of the kubelet's
	// Pods API, which can't be made without a Locator.
	Kubelet    Kubelet
	KubeletErr error
	PodsAPI    PodsAPI
	PodsAPIErr error
	// Runtime is the container runtime, which can't be made without a Locator; nil
	// where it could not be, with the reason in RuntimeErr, or where
	// Settings.CRISocket is empty.
	Runtime    Runtime
	RuntimeErr error
	// TrustRoots are what signatures are judged by, none where keys alone are needed or
	// nothing is asked of images; TrustErr is why they could not be made.
	TrustRoots []TrustRoot
	TrustErr   error
	// Registries asks registries; nil where Settings.Registries is empty, or where it
	// could not be made, with the reason in RegistriesErr.
	Registries    RegistryClient
	RegistriesErr error
	// Evidence is the evidence store in Settings.CacheDir; nil where there is no such
	// directory.
	Evidence Evidence
	// Plugin is how the agent starts podseal; nil where only plugin_data was
	// given.
	Plugin *Plugin
	// Executable is the file that runs now.
	Executable string
	// TempDir is where the agent and the plugin meet, os.TempDir().
	TempDir string
	// Synchronised says whether the kernel's clock is set by a time service;
	// nil asks the kernel.
	Synchronised func() (bool, error)
}

// Settings are a configuration as far as it could be read.
type Settings struct {
	// Problems are why it is refused. Warnings are about settings that weaken
	// what podseal vouches for, or have no effect.
	Problems, Warnings []Notice
	// PodSource is where pods are to be known from, Kubelet how the kubelet's port
	// is reached, CgroupRoot the kubelet's --cgroup-root, OwnPodUID the UID of the
	// pod that this process is in, empty where that is not known; all without
	// meaning where there are Problems.
	PodSource             Source
	Kubelet               kubelet.Config
	CgroupRoot, OwnPodUID string
	// CRISocket is the container runtime's socket, empty for none, CRINeeded whether
	// image policies believe the runtime and nobody else.
	CRISocket string
	CRINeeded bool
	// Images is whether anything is asked of images. Registries are those with a block,
	// CacheDir is where evidence is kept over restarts, empty for nowhere.
	Images     bool
	Registries []Registry
	CacheDir   string
}

// Source is a value of the key pod_source.
type Source string

// The sources.
const (
	// Auto is the Pods API where it answers, and the kubelet's port otherwise.
	Auto        Source = "auto"
	KubeletPort Source = "kubelet"
	FromPodsAPI Source = "pods_api"
)

// Notice is a sentence about the configuration.
type Notice struct {
	// Place is where in which file, such as "agent.conf:12:5"; empty for none.
	Place string
	// Key is the dotted path of the key; empty for the text as a whole.
	Key     string
	Message string
}

// Kubelet is a pod source that can be inspected: a *kubelet.Client.
type Kubelet interface {
	Next(ctx context.Context, newerThan time.Time) (*pod.Index, error)
	Inspect(ctx context.Context) (*kubelet.Inspection, error)
}

// PodsAPI is the other one: a *podsapi.Client.
type PodsAPI interface {
	Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error)
	Inspect(ctx context.Context) (*podsapi.Inspection, error)
}

// Run makes the checks, in the order of Names, and yields each as soon as it is
// made. Every name comes exactly once, unless ctx ends: then it stops at once.
func Run(ctx context.Context, o Options) iter.Seq[Check] {
	return func(yield func(Check) bool) {
		x := &examination{Options: o}
		for _, step := range []func(context.Context) []Check{
			x.configuration, x.hostPID, x.cgroups, x.podSource, x.way, x.pods, x.survey, x.runtime,
			x.trustRoots, x.registries, x.evidence, x.clock, x.tempDir, x.plugin,
		} {
			checks := step(ctx)
			if ctx.Err() != nil {
				return
			}
			for _, c := range checks {
				if !yield(c.printable()) {
					return
				}
			}
		}
	}
}

// examination is what the checks have learnt so far. Every step runs alone.
type examination struct {
	Options

	// blind is why the processes of the node can't be looked at, empty where
	// they can.
	blind string
	// version is the kind of cgroups, empty where it is not known.
	version container.CgroupVersion
	// usesAPI is whether pods are known from the Pods API, noAPI why they are not
	// although nothing else will do.
	usesAPI bool
	noAPI   string
	// inspection is the way to the kubelet's port, nil where nobody went it. noWay
	// is the check that it ended at, empty where it did not.
	inspection *kubelet.Inspection
	noWay      string
	// index is the kubelet's list, nil where there is none; list gives a newer one.
	index *pod.Index
	list  func(ctx context.Context, newerThan time.Time) (*pod.Index, error)
	// times are what mirrors and registries say of the time.
	times []toldTime
}

func ok(name, finding string, details ...string) Check {
	return Check{Name: name, Status: OK, Finding: finding, Details: details}
}

func warning(name, finding, remedy string, details ...string) Check {
	return Check{name, Warning, finding, remedy, details}
}

func failed(name, finding, remedy string, details ...string) Check {
	return Check{name, Failed, finding, remedy, details}
}

func skipped(name, why string) Check {
	return Check{Name: name, Status: Skipped, Finding: why}
}

// because is why a check is skipped after another one failed.
func because(name string) string { return "not looked at, because " + name + " failed" }

const (
	// maxSentence bounds a sentence, in bytes; maxDetails how many there are.
	maxSentence = 4 << 10
	maxDetails  = 100
)

// printable is where everything that strangers wrote is made fit for printing.
func (c Check) printable() Check {
	c.Finding = printable.Line(c.Finding, maxSentence)
	c.Remedy = printable.Line(c.Remedy, maxSentence)
	c.Details = slices.Clone(c.Details[:min(len(c.Details), maxDetails)])
	for i := range c.Details {
		c.Details[i] = printable.Line(c.Details[i], maxSentence)
	}
	return c
}
