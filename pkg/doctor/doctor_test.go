package doctor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

func TestNothingIsWrong(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	all := n.run(t)
	if bad := slices.Concat(all.with(doctor.Failed), all.with(doctor.Warning), all.with(doctor.Skipped)); len(bad) > 0 {
		t.Errorf("not ok: %v", bad)
	}
	for name, words := range map[string]string{
		doctor.HostPID:               `process 1 is in cgroup "/init.scope"`,
		doctor.Cgroups:               "cgroup v2",
		doctor.PodSource:             `as pod_source "kubelet" asks for`,
		doctor.KubeletName:           `node_name "localhost" has the address 127.0.0.1`,
		doctor.KubeletCertificate:    "which expires in 23h59m",
		doctor.KubeletServerName:     `has the name "localhost" (node_name)`,
		doctor.KubeletAuthentication: n.files.Token + `" (token_path), which expires in 23h59m`,
		doctor.KubeletPods:           "2 pods with 2 running containers",
		doctor.KubeletRoot:           "cgroup v2; the kubelet's root is /kubepods.slice as seen from here",
		doctor.Containers:            "every one of 2 running containers",
	} {
		all.check(t, want{name, doctor.OK, []string{words}, nil})
	}
	if stats := n.Stats(); stats.MaxInFlight != 1 || stats.Requests != 1 || stats.Other != 1 {
		t.Errorf("the kubelet saw %d and %d requests, %d at a time", stats.Requests, stats.Other, stats.MaxInFlight)
	}
	if left, err := os.ReadDir(n.options.TempDir); err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v, %v", left, err)
	}
}

// Each failure is told by the sentences of one check.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kubelet kubelettest.Options
		change  func(t *testing.T, n *node)
		want    want
		// also fail: checks that the same mistake shows in.
		also []string
	}{
		"the wrong CA": {change: func(t *testing.T, n *node) { must(t, n.NewServingCA()) },
			want: want{doctor.KubeletCertificate, doctor.Failed, []string{"was issued by", "kubelet_ca_path"}, []string{"put its issuer's certificate", "kubelet_ca_path"}}},
		"an expired certificate": {change: func(t *testing.T, n *node) {
			must(t, n.SetServing(kubelettest.Leaf{NotAfter: time.Now().Add(-time.Minute)}))
		}, want: want{doctor.KubeletCertificate, doctor.Failed, []string{"is valid from"}, []string{"renew it"}}},
		"a certificate of tomorrow": {change: func(t *testing.T, n *node) {
			must(t, n.SetServing(kubelettest.Leaf{NotBefore: time.Now().Add(time.Hour)}))
		}, want: want{doctor.Clock, doctor.Failed, []string{"clock is behind", "kubelet's certificate is valid from"}, []string{"set this node's clock"}}, also: []string{doctor.KubeletCertificate}},
		"the wrong name": {change: func(t *testing.T, n *node) {
			must(t, n.SetServing(kubelettest.Leaf{Names: []string{"node-7.example.org"}}))
		},
			want: want{doctor.KubeletServerName, doctor.Failed, []string{`has the names "node-7.example.org" and not "localhost"`}, []string{"kubelet_server_name", "node_name_env"}}},
		"a name without an address": {change: func(_ *testing.T, n *node) { n.cfg.NodeName = strings.Repeat("n", 64) },
			want: want{doctor.KubeletName, doctor.Failed, []string{"can't be resolved"}, []string{"node_name", "MY_NODE_NAME", "spec.nodeName"}}},
		"nobody there": {change: func(_ *testing.T, n *node) { n.Stop() },
			want: want{doctor.KubeletConnection, doctor.Failed, []string{"nothing listens on localhost:"}, []string{"start the kubelet", "kubelet_secure_port"}}},
		"plain HTTP": {kubelet: kubelettest.Options{Plain: true}, change: func(_ *testing.T, n *node) {
			n.cfg.Secure, n.cfg.CAPath, n.cfg.TokenPath = true, n.files.CA, n.files.Token
		}, want: want{doctor.KubeletConnection, doctor.Failed, []string{"does not speak TLS"}, []string{"kubelet_read_only_port"}}},
		"a client certificate wanted": {kubelet: kubelettest.Options{RequireClientCertificate: true},
			want: want{doctor.KubeletAuthentication, doctor.Failed, []string{"refused the TLS connection"}, []string{"certificate_path"}}},
		"an expired token": {change: func(t *testing.T, n *node) {
			write(t, n.files.Token, kubelettest.Token(time.Now().Add(-time.Minute)), 0o600)
		}, want: want{doctor.KubeletAuthentication, doctor.Failed, []string{"has expired at", "token_path"}, []string{"projected volume"}}},
		"an unknown token": {change: func(_ *testing.T, n *node) { n.SetTokens() },
			want: want{doctor.KubeletAuthentication, doctor.Failed, []string{"token refused, or the kubelet can't reach the API server"}, []string{"authentication.webhook"}}},
		"no token": {change: func(t *testing.T, n *node) { write(t, n.files.Token, "", 0o600) },
			want: want{doctor.KubeletAuthentication, doctor.Failed, []string{"there is no token in", "token_path"}, []string{"token_path"}}},
		"no token file": {change: func(t *testing.T, n *node) { must(t, os.Remove(n.files.Token)) },
			want: want{doctor.KubeletFiles, doctor.Failed, []string{"unable to load token", "token_path"}, []string{"automountServiceAccountToken"}}},
		"no CA file": {change: func(t *testing.T, n *node) { must(t, os.Remove(n.files.CA)) },
			want: want{doctor.KubeletFiles, doctor.Failed, []string{"unable to load kubelet CA"}, []string{"kubelet_ca_path"}}},
		"a token of tomorrow": {change: func(t *testing.T, n *node) {
			token := kubelettest.Claims{IssuedAt: time.Now().Add(time.Hour), NotBefore: time.Now().Add(time.Hour), Expires: time.Now().Add(2 * time.Hour)}.Token()
			n.SetTokens(token)
			write(t, n.files.Token, token, 0o600)
		}, want: want{doctor.Clock, doctor.Failed, []string{"clock is behind", "token_path"}, []string{"set this node's clock"}}},
		"no permission": {change: func(_ *testing.T, n *node) { n.SetPermission(kubelettest.ServiceAccount, kubelettest.Nothing) },
			want: want{doctor.KubeletPermission, doctor.Failed, []string{"does not let him list its pods", kubelettest.ServiceAccount}, []string{"nodes/pods", "ClusterRole"}}},
		"no permission without credentials": {kubelet: kubelettest.Options{Anonymous: true, Forbidden: []string{"system:anonymous"}},
			change: func(_ *testing.T, n *node) { n.cfg.Anonymous = true },
			want:   want{doctor.KubeletPermission, doctor.Failed, []string{"no credentials were sent"}, []string{"token_path", "grant nothing to system:anonymous"}}},
		"not a kubelet": {change: func(_ *testing.T, n *node) { n.Inject(-1, kubelettest.Garbage()) },
			want: want{doctor.KubeletPods, doctor.Failed, []string{"gives no list of pods"}, []string{"kubelet_secure_port"}}},
		"processes in no pod": {change: func(_ *testing.T, n *node) {
			n.proc.Start(100, "/init.scope")
			n.proc.Start(101, "/custom"+cgroup("api"))
		}, want: want{doctor.KubeletRoot, doctor.Failed, []string{"2 running containers, but not one of the 4 processes"}, []string{"cgroup_root", "hostPID: true"}}},
		"no hostPID": {change: func(_ *testing.T, n *node) { n.blind() },
			want: want{doctor.HostPID, doctor.Failed, []string{"the processes of the node can't be seen"}, []string{"hostPID: true"}}},
		"another PID namespace": {change: func(_ *testing.T, n *node) { n.options.LocatorErr = errors.New("/proc shows this process as 7") },
			want: want{doctor.HostPID, doctor.Failed, []string{"/proc shows this process as 7"}, []string{"hostPID: true"}}},
		"TMPDIR is not there": {change: func(_ *testing.T, n *node) { n.options.TempDir = "/nowhere/tmp" },
			want: want{doctor.TempDir, doctor.Failed, []string{`"/nowhere/tmp"`, "TMPDIR"}, []string{"emptyDir"}}},
		"TMPDIR is too long": {change: func(t *testing.T, n *node) {
			n.options.TempDir = filepath.Join(n.options.TempDir, strings.Repeat("d", 90))
			must(t, os.Mkdir(n.options.TempDir, 0o700))
		}, want: want{doctor.TempDir, doctor.Failed, []string{"TMPDIR", "is too long", "107 are possible"}, []string{"name is short"}}},
		"another file": {change: func(t *testing.T, n *node) { write(t, n.options.Plugin.Command, "another program", 0o700) },
			want: want{doctor.PluginChecksum, doctor.Failed, []string{sum("the program"), sum("another program"), "plugin_checksum"}, []string{`plugin_checksum = "` + sum("another program") + `"`}}},
		"no file": {change: func(_ *testing.T, n *node) { n.options.Plugin.Command += "-none" },
			want: want{doctor.PluginChecksum, doctor.Failed, []string{"podseal-none", "plugin_cmd"}, []string{"plugin_cmd"}}},
		"a file that can't be started": {change: func(t *testing.T, n *node) { must(t, os.Chmod(n.options.Plugin.Command, 0o600)) },
			want: want{doctor.PluginChecksum, doctor.Failed, []string{"permission denied"}, []string{"execute"}}},
		"half a checksum": {change: func(_ *testing.T, n *node) { n.options.Plugin.Checksum = "abcd" },
			want: want{doctor.PluginChecksum, doctor.Failed, []string{`"abcd"`}, []string{`plugin_checksum = "` + sum("the program") + `"`}}},
		"the built-in attestor": {change: func(_ *testing.T, n *node) { n.options.Plugin.Command = "" },
			want: want{doctor.PluginChecksum, doctor.Failed, []string{"built-in"}, []string{"plugin_cmd"}}},
		"a typo": {change: func(_ *testing.T, n *node) {
			n.options.Settings.Problems = []doctor.Notice{{Place: "agent.conf:3:5", Key: "kubelet_secure_prot", Message: "unknown configurations detected: kubelet_secure_prot"}}
		}, want: want{doctor.Configuration, doctor.Failed, []string{"agent.conf:3:5", "kubelet_secure_prot"}, []string{"validate"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, c.kubelet)
			if n.cfg.Port = n.Port(); c.kubelet.Plain {
				n.cfg.NodeName = "localhost"
			}
			if c.change != nil {
				c.change(t, n)
			}
			all := n.run(t)
			all.check(t, c.want)
			for _, bad := range all.with(doctor.Failed) {
				if bad != c.want.name && !slices.Contains(c.also, bad) {
					t.Errorf("%s failed too", bad)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What works but allows somebody more than it should.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kubelet kubelettest.Options
		change  func(t *testing.T, n *node)
		want    want
	}{
		"the read-only port": {kubelet: kubelettest.Options{Plain: true},
			want: want{doctor.KubeletConnection, doctor.Warning, []string{"kubelet_read_only_port", "every process in the node's network namespace", "decides which selectors"}, []string{"kubelet_secure_port"}}},
		"no verification": {change: func(_ *testing.T, n *node) { n.cfg.SkipVerification = true },
			want: want{doctor.KubeletCertificate, doctor.Warning, []string{"skip_kubelet_verification", "whoever answers at localhost:", "decides which selectors"}, []string{"kubelet_ca_path"}}},
		"no name": {change: func(_ *testing.T, n *node) { n.cfg.NodeName = "" },
			want: want{doctor.KubeletServerName, doctor.Warning, []string{"no node name", "127.0.0.1", "while the kubelet restarts"}, []string{"MY_NODE_NAME", "spec.nodeName"}}},
		"anonymous": {kubelet: kubelettest.Options{Anonymous: true}, change: func(_ *testing.T, n *node) { n.cfg.Anonymous = true },
			want: want{doctor.KubeletAuthentication, doctor.Warning, []string{"use_anonymous_authentication"}, []string{"authentication.anonymous.enabled"}}},
		"no token, and none wanted": {kubelet: kubelettest.Options{Anonymous: true}, change: func(t *testing.T, n *node) { write(t, n.files.Token, "", 0o600) },
			want: want{doctor.KubeletAuthentication, doctor.Warning, []string{"there is no token in", "answers all the same"}, []string{"authentication.anonymous.enabled"}}},
		"nodes/proxy": {change: func(_ *testing.T, n *node) {
			n.SetPermission(kubelettest.ServiceAccount, kubelettest.NodesProxy)
		}, want: want{doctor.KubeletLeastPrivilege, doctor.Warning, []string{"nodes/proxy", "run commands in every container"}, []string{"nodes/pods", "1.33"}}},
		"another machine's clock": {change: func(_ *testing.T, n *node) { n.SetClock(-time.Hour) },
			want: want{doctor.Clock, doctor.Warning, []string{"behind", "shares its clock"}, []string{"node_name"}}},
		"no time service": {change: func(_ *testing.T, n *node) { n.options.Synchronised = func() (bool, error) { return false, nil } },
			want: want{doctor.Clock, doctor.Warning, []string{"no time service"}, []string{"chronyd"}}},
		"an undecodable pod": {change: func(_ *testing.T, n *node) { n.AddRaw("broken", []byte(`{"metadata":{"uid":"broken","name":7}}`)) },
			want: want{doctor.KubeletPods, doctor.Warning, []string{"1 more pod that can't be read", `"broken"`}, []string{"kubectl"}}},
		"a forged cgroup": {change: func(_ *testing.T, n *node) {
			n.proc.Start(200, "/user.slice/user-1000.slice/user@1000.service"+cgroup("web"))
		}, want: want{doctor.KubeletRoot, doctor.Warning, []string{"user@1000.service", "somebody made a cgroup with a pod's name", "--cgroup-root"}, []string{"take no value from a path"}}},
		"a container without a process": {change: func(t *testing.T, n *node) { must(t, n.AddPod(webPod("lonely"))) },
			want: want{doctor.Containers, doctor.Warning, []string{"2 of 3 running containers", "shop/lonely container main"}, []string{"gVisor"}}},
		"no checksum": {change: func(_ *testing.T, n *node) { n.options.Plugin.Checksum = "" },
			want: want{doctor.PluginChecksum, doctor.Warning, []string{"becomes the attestor"}, []string{`plugin_checksum = "` + sum("the program") + `"`}}},
		"another program runs": {change: func(t *testing.T, n *node) {
			n.options.Executable = write(t, filepath.Join(t.TempDir(), "other"), "another program", 0o700)
		}, want: want{doctor.PluginChecksum, doctor.Warning, []string{sum("another program")}, []string{"plugin_cmd"}}},
		"a setting": {change: func(_ *testing.T, n *node) {
			n.options.Settings.Warnings = []doctor.Notice{{Key: "x", Message: "x: not used"}, {Place: "agent.conf:1:1", Key: "y", Message: "weak"}}
		}, want: want{doctor.Configuration, doctor.Warning, []string{"2 warnings, first x: not used"}, []string{"change"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, c.kubelet)
			if c.change != nil {
				c.change(t, n)
			}
			all := n.run(t)
			all.check(t, c.want)
			if bad := all.with(doctor.Failed); len(bad) > 0 {
				t.Errorf("failed: %v", bad)
			}
			if bad := all.with(doctor.Warning); !slices.Equal(bad, []string{c.want.name}) {
				t.Errorf("warnings: %v", bad)
			}
		})
	}
}

func TestWhatDependsOnAFailureIsSkipped(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.Stop()
	n.blind()
	all := n.run(t)
	for _, name := range []string{doctor.KubeletCertificate, doctor.KubeletServerName, doctor.KubeletAuthentication, doctor.KubeletPermission, doctor.KubeletLeastPrivilege, doctor.KubeletPods} {
		all.check(t, want{name, doctor.Skipped, []string{"because kubelet-connection failed"}, nil})
	}
	for _, name := range []string{doctor.KubeletRoot, doctor.Containers} {
		all.check(t, want{name, doctor.Skipped, []string{"because host-pid failed"}, nil})
	}
	n = newNode(t, kubelettest.Options{})
	n.options.Plugin = nil
	n.options.Settings.Problems = []doctor.Notice{{Message: "wrong"}}
	all = n.run(t)
	all.check(t, want{doctor.PluginChecksum, doctor.Skipped, []string{"only plugin_data was given"}, nil})
	all.check(t, want{doctor.KubeletPods, doctor.Skipped, []string{"because configuration failed"}, nil})
	if stats := n.Stats(); stats.Requests+stats.Other != 0 {
		t.Errorf("a kubelet was asked that nobody configured: %+v", stats)
	}
}

func TestATokenThatIsReplacedMeanwhileIsNoFailure(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	client, err := n.client(t) // with the token that is there now
	must(t, err)
	n.options.Kubelet = client
	token := kubelettest.Token(time.Now().Add(time.Hour))
	n.SetTokens(token)
	write(t, n.files.Token, token, 0o600)
	n.run(t).check(t, want{doctor.KubeletAuthentication, doctor.OK, nil, nil})
}

func TestTheAgentsOwnContainerNeedsNoProcess(t *testing.T) {
	t.Parallel()
	// In a cgroup namespace of its own, in the pod "web".
	n := newNode(t, kubelettest.Options{})
	n.proc.Start(os.Getpid(), "/")
	n.proc.Start(1, "/../../../../init.scope")
	n.proc.Start(100, "/")
	n.proc.Start(101, "/../../kubepods-burstable-pod"+strings.ReplaceAll(kubelettest.UID("api"), "-", "_")+".slice/cri-containerd-"+kubelettest.ID("api")+".scope")
	for _, uid := range []string{kubelettest.UID("web"), ""} {
		n.options.Settings.OwnPodUID = uid
		all := n.run(t)
		all.check(t, want{doctor.Containers, doctor.OK, []string{"every one of 1 running container "}, nil})
		all.check(t, want{doctor.KubeletRoot, doctor.OK, []string{"the kubelet's root is /.."}, nil})
	}
}

func TestItStopsAtOnceWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.options.Locator = n.proc.Locator()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	n.options.Kubelet = stuck{asked}
	go func() {
		<-asked
		cancel()
	}()
	var names []string
	for c := range doctor.Run(ctx, n.options) {
		names = append(names, c.Name)
	}
	if want := []string{doctor.Configuration, doctor.HostPID, doctor.Cgroups, doctor.PodSource}; !slices.Equal(names, want) {
		t.Errorf("checks %v, want %v", names, want)
	}
	for range doctor.Run(t.Context(), n.options) {
		break
	}
}

// stuck never answers.
type stuck struct{ asked chan struct{} }

func (s stuck) Inspect(ctx context.Context) (*kubelet.Inspection, error) {
	close(s.asked)
	<-ctx.Done()
	return &kubelet.Inspection{}, context.Cause(ctx)
}

func (s stuck) Next(ctx context.Context, _ time.Time) (*pod.Index, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestHostPIDAndCgroupsThatCantBeRead(t *testing.T) {
	t.Parallel()
	want{doctor.HostPID, doctor.Failed, []string{"boom"}, []string{"hostPID"}}.match(t, doctor.JudgeHostPID(container.HostPID{}, errors.New("boom")))
	want{doctor.Cgroups, doctor.Failed, []string{"boom"}, []string{"/proc"}}.match(t, doctor.JudgeCgroups("", errors.New("boom")))
	for _, v := range []container.CgroupVersion{container.CgroupV1, container.CgroupHybrid} {
		want{doctor.Cgroups, doctor.OK, []string{"cgroup " + string(v)}, nil}.match(t, doctor.JudgeCgroups(v, nil))
	}
}
