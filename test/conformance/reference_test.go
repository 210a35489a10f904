package conformance_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/exp/proto/spiffe/broker"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// refer makes a reference as the agent passes it on.
func refer(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	reference, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

func attestReference(ctx context.Context, plugin *pluginproc.Process, reference *anypb.Any) ([]string, error) {
	resp, err := plugin.AttestReference(ctx, &workloadattestorv1.AttestReferenceRequest{Reference: reference})
	return resp.GetSelectorValues(), err
}

// as is a call on behalf of brokers.
func as(ctx context.Context, callers ...string) context.Context {
	for _, id := range callers {
		ctx = metadata.AppendToOutgoingContext(ctx, "spire-agent-broker-caller-id", id)
	}
	return ctx
}

// object is a reference to a Kubernetes object; an empty name is no key.
func object(plural, group, namespace, name, uid string) *broker.KubernetesObjectReference {
	ref := &broker.KubernetesObjectReference{Type: &broker.KubernetesObjectType{Plural: plural, Group: group}, Uid: uid}
	if namespace+name != "" {
		ref.Key = &broker.KubernetesObjectKey{Namespace: namespace, Name: name}
	}
	return ref
}

func TestReferencesToProcessesAndPods(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	pid := node.Pod(app("app"))
	uid := kubelettest.UID("app")
	for name, test := range map[string]struct {
		reference proto.Message
		want      []string
	}{
		"a process":          {&broker.WorkloadPIDReference{Pid: int32(pid)}, appSelectors("app")},
		"a process in none":  {&broker.WorkloadPIDReference{Pid: int32(os.Getpid())}, nil},
		"a pod by name":      {object("pods", "core", "shop", "app", ""), appPodSelectors("app")},
		"a pod by UID":       {object("pods", "core", "", "", uid), appPodSelectors("app")},
		"a pod by both":      {object("pods", "core", "shop", "app", uid), appPodSelectors("app")},
		"a process that was": {&broker.WorkloadPIDReference{Pid: int32(pluginproc.Ended(t))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := attestReference(t.Context(), plugin, refer(t, test.reference))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("selectors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferencesThatAreRefused(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	node.Pod(app("app"))
	other := kubelettest.UID("other")
	bad := func(m proto.Message) *anypb.Any {
		reference := refer(t, m)
		reference.Value = []byte{0xff, 0xff}
		return reference
	}
	for name, test := range map[string]struct {
		reference *anypb.Any
		code      codes.Code
		want      string
	}{
		"none":                    {nil, codes.InvalidArgument, "workload reference must be provided"},
		"of no type":              {&anypb.Any{}, codes.InvalidArgument, "unsupported reference type: "},
		"of another type":         {refer(t, wrapperspb.String("x")), codes.InvalidArgument, "unsupported reference type: type.googleapis.com/google.protobuf.StringValue"},
		"bytes for a process":     {bad(&broker.WorkloadPIDReference{}), codes.InvalidArgument, "unable to unmarshal PID reference: "},
		"bytes for an object":     {bad(&broker.KubernetesObjectReference{}), codes.InvalidArgument, "unable to unmarshal object reference: "},
		"without a type":          {refer(t, &broker.KubernetesObjectReference{Uid: other}), codes.InvalidArgument, "object reference is missing type"},
		"without a plural":        {refer(t, object("", "core", "", "", other)), codes.InvalidArgument, "object reference type is missing plural"},
		"without a group":         {refer(t, object("pods", "", "", "", other)), codes.InvalidArgument, "object reference type is missing group"},
		"without key and UID":     {refer(t, object("pods", "core", "", "", "")), codes.InvalidArgument, "object reference is missing key and UID"},
		"without a name":          {refer(t, object("pods", "core", "shop", "", other)), codes.InvalidArgument, "object reference key is missing name"},
		"without a namespace":     {refer(t, object("pods", "core", "", "app", "")), codes.InvalidArgument, "namespace is required when name is set for a namespaced resource"},
		"to another kind":         {refer(t, object("deployments", "apps", "shop", "app", "")), codes.Unimplemented, `Kubernetes resource "deployments.apps": only pods of this node can be referenced yet`},
		"to pods of another API":  {refer(t, object("pods", "metrics.k8s.io", "shop", "app", "")), codes.Unimplemented, `Kubernetes resource "pods.metrics.k8s.io"`},
		"to another name":         {refer(t, object("pods", "core", "shop", "other", "")), codes.NotFound, `pod "shop/other" not found on agent node`},
		"to another namespace":    {refer(t, object("pods", "core", "kube-system", "app", "")), codes.NotFound, `pod "kube-system/app" not found on agent node`},
		"to another UID":          {refer(t, object("pods", "core", "", "", other)), codes.NotFound, `pod with UID "` + other + `" not found on agent node`},
		"to a name with other ID": {refer(t, object("pods", "core", "shop", "app", other)), codes.NotFound, `pod "shop/app" has UID "` + kubelettest.UID("app") + `", expected "` + other + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := attestReference(t.Context(), plugin, test.reference)
			if len(got) > 0 {
				t.Errorf("selectors: %q", got)
			}
			wantStatus(t, err, test.code, test.want)
		})
	}
}

// Who refers to a pod waits for nothing to appear, and learns of a failing
// kubelet.
func TestAReferenceToAPodIsAnsweredByOneRequest(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	_, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "later", "")))
	wantStatus(t, err, codes.NotFound, `pod "shop/later"`)
	if n := node.Kubelet.Stats().Requests; n != 1 {
		t.Errorf("the kubelet was asked %d times", n)
	}
	node.Kubelet.Inject(-1, kubelettest.Status(503, "later"))
	pluginproc.Eventually(t, "the stored answer is too old", func() bool {
		_, err = attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "later", "")))
		return !strings.Contains(err.Error(), "not found")
	})
	wantStatus(t, err, codes.Unavailable, "unexpected status code on pods response: 503 later")
}

// A pod and its successor of the same name can both be there.
func TestAReferenceToANameThatTwoPodsHave(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	old, next := app("db"), app("db")
	old.Phase = corev1.PodSucceeded
	next.UID = kubelettest.UID("next")
	for _, p := range []kubelettest.Pod{old, next} {
		if err := node.Kubelet.AddPod(p.Build()); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ uid, want string }{
		"by name":           {"", next.UID},
		"by the old's UID":  {old.UID, old.UID},
		"by the next's UID": {next.UID, next.UID},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := attestReference(t.Context(), plugin, refer(t, object("pods", "core", "shop", "db", test.uid)))
			if err != nil || !contains(got, "pod-uid:"+test.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestBrokersThatMayAsk(t *testing.T) {
	t.Parallel()
	const a, b, stranger = "spiffe://example.org/a", "spiffe://example.org/b", "spiffe://example.org/stranger"
	node := pluginproc.NewNode(t, kubelettest.Options{})
	pid := node.Pod(app("app"))
	pod := refer(t, object("pods", "core", "shop", "app", ""))
	process := refer(t, &broker.WorkloadPIDReference{Pid: int32(pid)})
	with := node.Settings().With(settings{"experimental": settings{"broker": settings{
		"access_policy": "permissive",
		"brokers":       []settings{{"id": a}, {"id": b, "pod_reference_scope": "agent_node"}},
	}}})
	eachSpelling(t, with, func(t *testing.T, text string) {
		plugin := pluginproc.Start(t, pluginproc.Options{})
		_, err := attestReference(as(t.Context(), a), plugin, pod)
		wantStatus(t, err, codes.FailedPrecondition, "not configured")

		plugin.MustConfigure(t, node.Settings())
		_, err = attestReference(as(t.Context(), a), plugin, pod)
		wantStatus(t, err, codes.Internal, "broker configuration missing")

		if err := plugin.Configure(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		for _, caller := range []string{a, b} {
			for _, reference := range []*anypb.Any{pod, process} {
				if got, err := attestReference(as(t.Context(), caller), plugin, reference); err != nil || !contains(got, "pod-name:app") {
					t.Errorf("%s got %q, %v", caller, got, err)
				}
			}
		}
		_, err = attestReference(as(t.Context(), stranger), plugin, pod)
		wantStatus(t, err, codes.PermissionDenied, `broker "`+stranger+`" is not configured`)
		_, err = attestReference(as(t.Context(), stranger), plugin, process)
		wantStatus(t, err, codes.PermissionDenied, `broker "`+stranger+`" is not configured`)
		_, err = attestReference(as(t.Context(), "somebody"), plugin, pod)
		wantStatus(t, err, codes.Internal, "unable to determine broker caller identity: invalid broker caller SPIFFE ID")
		_, err = attestReference(as(t.Context(), a, b), plugin, pod)
		wantStatus(t, err, codes.Internal, "unable to determine broker caller identity: multiple broker caller SPIFFE IDs provided")
		_, err = plugin.Attest(as(t.Context(), stranger), &workloadattestorv1.AttestRequest{Pid: int32(pid)})
		wantStatus(t, err, codes.PermissionDenied, `broker "`+stranger+`" is not configured`)
		if got, err := attestReference(t.Context(), plugin, pod); err != nil || !contains(got, "pod-name:app") {
			t.Errorf("the agent itself got %q, %v", got, err)
		}
	})
}
