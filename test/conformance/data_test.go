package conformance_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// evil is what a stranger would write where he may: it ends a line of a log and
// begins another, talks to a terminal, and to a shell.
const evil = "x\n{\"@level\":\"error\",\"@message\":\"forged\"}\r\x1b[31m\x00\u0085\u202e$(reboot)`reboot`;\"'\\|&<>:#"

// evilPod is evil wherever the API server or a runtime could let it through.
func evilPod() kubelettest.Pod {
	p := app("evil")
	p.Namespace, p.Name, p.ServiceAccount, p.NodeName = "ns"+evil, "name"+evil, "sa"+evil, "node"+evil
	p.Labels = map[string]string{"k" + evil: "v" + evil}
	p.Owners = []metav1.OwnerReference{{Kind: "Kind" + evil, Name: "owner" + evil, UID: "uid" + evil}}
	c := &p.Containers[0]
	c.Name, c.Image, c.StatusImage, c.ImageID = "c"+evil, "spec"+evil, "image"+evil, "id"+evil
	return p
}

// assertPlain is for what a person or a log gets to see.
func assertPlain(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' {
			t.Errorf("%s has the character %U: %q", what, r, text)
			return
		}
	}
}

// assertLog checks that the log is lines of JSON as they were written, all of
// them the plugin's own.
func assertLog(t *testing.T, plugin *pluginproc.Process) {
	t.Helper()
	for line := range bytes.Lines(plugin.RawLog()) {
		assertPlainBytes(t, bytes.TrimSuffix(line, []byte("\n")))
	}
	for _, l := range plugin.Log() {
		if l.Message == "forged" || strings.HasPrefix(l.Message, "x\n") {
			t.Errorf("a line is a stranger's: %+v", l)
		}
	}
}

func assertPlainBytes(t *testing.T, line []byte) {
	t.Helper()
	if !bytes.HasPrefix(line, []byte("{")) || bytes.ContainsAny(line, "\r\x00\x1b\x7f") {
		t.Errorf("a line of the log is no plain JSON: %q", line)
	}
}

// A selector is compared byte by byte with a registration entry, so it has what
// the pod has.
func TestSelectorsCarryWhatStrangersWroteAsItIs(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"verbose_container_locator_logs": true})
	pid := node.Pod(evilPod())
	wantSelectors(t, plugin, pid, sorted(nil,
		"ns:ns"+evil, "pod-name:name"+evil, "sa:sa"+evil, "node-name:node"+evil, "pod-uid:"+kubelettest.UID("evil"),
		"pod-label:k"+evil+":v"+evil, "pod-owner:Kind"+evil+":owner"+evil, "pod-owner-uid:Kind"+evil+":uid"+evil,
		"pod-image-count:1", "pod-init-image-count:0",
		"pod-image:image"+evil, "pod-image:id"+evil, "pod-spec-image:spec"+evil,
		"container-name:c"+evil, "container-image:image"+evil, "container-image:id"+evil, "container-type:regular"))
	assertLog(t, plugin)
}

// What goes to people, in errors and in the log, is escaped.
func TestErrorsAndTheLogEscapeWhatStrangersWrote(t *testing.T) {
	t.Parallel()
	const uid = "1\x1b[31m\"$(reboot)" // of a static pod, which its manifest chooses
	ephemeral := evilPod()
	ephemeral.Containers[0].Kind = kubelettest.Ephemeral
	ended := evilPod()
	ended.Containers[0].State = kubelettest.Terminated
	static := app("static")
	static.UID = uid

	for name, test := range map[string]struct {
		pod  *kubelettest.Pod
		path string
		fail kubelettest.Fault
		code codes.Code
		want string
	}{
		"an ephemeral container": {pod: &ephemeral, code: codes.FailedPrecondition, want: `of pod "nsx\n{\"@level\"`},
		"a container that ended": {pod: &ended, code: codes.FailedPrecondition, want: `of pod "nsx\n{\"@level\"`},
		"an unknown container": {pod: new(evilPod()), path: pluginproc.ContainerPath(kubelettest.UID("evil"), kubelettest.ID("other")),
			code: codes.DeadlineExceeded, want: `pod "nsx\n{\"@level\"`},
		"an unknown UID":     {path: pluginproc.ContainerPath(uid, kubelettest.ID("static")), code: codes.DeadlineExceeded, want: `pod UID "1\x1b[31m\"$(reboot)"`},
		"a UID that no text": {path: pluginproc.ContainerPath("1\xff\xfe", kubelettest.ID("static")), code: codes.DeadlineExceeded, want: `pod UID "1\xff\xfe"`},
		"no container":       {path: "/kubepods/pod" + uid + "/x\x1b[31m", code: codes.FailedPrecondition, want: `cgroup "x\x1b[31m"`},
		"a status": {pod: &static, fail: kubelettest.Status(500, evil), code: codes.Unavailable,
			want: `unexpected status code on pods response: 500 x\n{"@level"`},
		"a status that is no text": {pod: &static, fail: kubelettest.Status(500, "\xff\xfe"), code: codes.Unavailable, want: `500 \xff\xfe`},
		"garbage":                  {pod: &static, fail: kubelettest.Garbage(), code: codes.Unavailable, want: "unable to parse kubelet response"},
		"a redirect":               {pod: &static, fail: kubelettest.Redirect("/$(reboot)\"\u202e"), code: codes.Unavailable, want: "redirects are not followed"},
		"a pod that can't be decoded": {fail: kubelettest.Body(`{"items":[{"metadata":{"uid":"` + kubelettest.UID("evil") + `","x\u001b[31m\u0000":1,"x\u001b[31m\u0000":2}}]}`),
			path: pluginproc.ContainerPath(kubelettest.UID("evil"), kubelettest.ID("evil")), code: codes.Unavailable, want: "unable to decode pod info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, nil)
			if test.pod != nil {
				if err := node.Kubelet.AddPod(test.pod.Build()); err != nil {
					t.Fatal(err)
				}
				if test.path == "" {
					test.path = pluginproc.ContainerPath(test.pod.UID, test.pod.Containers[0].ID)
				}
			}
			if test.fail != nil {
				node.Kubelet.Inject(-1, test.fail)
			}
			_, err := plugin.Selectors(t.Context(), node.Process(test.path))
			wantStatus(t, err, test.code)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %q, want %q in it", err, test.want)
			}
			assertPlain(t, "the error", err.Error())
			line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Message == "attestation failed" })
			assertPlain(t, "the reason in the log", line.Text("reason"))
			assertLog(t, plugin)
		})
	}
}

func TestTheNameOfAnIgnoredCgroupIsEscapedInTheLog(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	path := "/x\x1b[31m\"\xff$(reboot).slice" + pluginproc.ContainerPath(kubelettest.UID("victim"), kubelettest.ID("victim"))
	pid := node.Process(path)
	wantSelectors(t, plugin, pid, nil)
	plugin.WaitFor(t, func(l pluginproc.Line) bool {
		return strings.Contains(l.Message, "not a pod") && l.Text("pid") == fmt.Sprint(pid)
	})
	assertLog(t, plugin)
}

func TestReferencesAreEscapedInErrors(t *testing.T) {
	t.Parallel()
	_, plugin := start(t, nil)
	for name, ref := range map[string][5]string{
		"name":      {"pods", "core", "ns", "name" + evil, ""},
		"namespace": {"pods", "core", "ns" + evil, "name", ""},
		"UID":       {"pods", "core", "", "", "uid" + evil},
		"kind":      {"pods" + evil, "core", "ns", "name", ""},
		"group":     {"pods", "core" + evil, "ns", "name", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := attestReference(t.Context(), plugin, refer(t, object(ref[0], ref[1], ref[2], ref[3], ref[4])))
			if err == nil {
				t.Fatal("it was found")
			}
			assertPlain(t, "the error", err.Error())
		})
	}
	reference := refer(t, object("pods", "core", "ns", "name", ""))
	reference.TypeUrl = evil
	_, err := attestReference(t.Context(), plugin, reference)
	wantStatus(t, err, codes.InvalidArgument, "unsupported reference type: ")
	assertPlain(t, "the error", err.Error())

	_, err = attestReference(as(t.Context(), "spiffe://example.org/a$(reboot)"), plugin, refer(t, object("pods", "core", "ns", "name", "")))
	wantStatus(t, err, codes.Internal, "unable to determine broker caller identity: ")
	assertPlain(t, "the error", err.Error())
	assertLog(t, plugin)
}

// Messages travel in headers, which have a bound.
func TestAMessageIsCutAndNotLost(t *testing.T) {
	t.Parallel()
	_, plugin := start(t, nil)
	long := strings.Repeat("\x1b", 1<<20)
	for name, reference := range map[string]*anypb.Any{
		"name": refer(t, object("pods", "core", "ns", long, "")),
		"UID":  refer(t, object("pods", "core", "", "", long)),
		"kind": refer(t, object(long, "core", "ns", "name", "")),
		"type": {TypeUrl: long},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := attestReference(t.Context(), plugin, reference)
			if code := status.Code(err); code != codes.NotFound && code != codes.Unimplemented && code != codes.InvalidArgument {
				t.Errorf("the code is %s", code)
			}
			if n := len(err.Error()); n < 1<<10 || n > 20<<10 || !strings.HasSuffix(err.Error(), "... (cut)") {
				t.Errorf("the message has %d bytes", n)
			}
		})
	}
	assertLog(t, plugin)
}
