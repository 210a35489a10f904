package plugin

import (
	"context"
	"slices"
	"strconv"

	"github.com/spiffe/go-spiffe/v2/exp/proto/spiffe/broker"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/setup"
)

// brokerCaller is the metadata in which the agent says that a broker asks, and
// which one.
const brokerCaller = "spire-agent-broker-caller-id"

var errNotConfigured = status.Error(codes.FailedPrecondition, "not configured")

// Attest returns the selectors of a process.
func (p *Plugin) Attest(ctx context.Context, req *workloadattestorv1.AttestRequest) (*workloadattestorv1.AttestResponse, error) {
	resp := &workloadattestorv1.AttestResponse{}
	err := p.rpc("Attest", func() (err error) {
		parts := p.parts.Load()
		if parts == nil {
			return errNotConfigured
		}
		if err := authorize(ctx, parts.Config.Broker); err != nil {
			return err
		}
		resp.SelectorValues, err = p.attestPID(ctx, parts, req.GetPid())
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// AttestReference returns the selectors of what a reference of the SPIFFE Broker
// API means: a process, or a pod of this node.
func (p *Plugin) AttestReference(ctx context.Context, req *workloadattestorv1.AttestReferenceRequest) (*workloadattestorv1.AttestReferenceResponse, error) {
	resp := &workloadattestorv1.AttestReferenceResponse{}
	err := p.rpc("AttestReference", func() (err error) {
		parts := p.parts.Load()
		if parts == nil {
			return errNotConfigured
		}
		if req.GetReference() == nil {
			return status.Error(codes.InvalidArgument, "workload reference must be provided")
		}
		if err := authorize(ctx, parts.Config.Broker); err != nil {
			return err
		}
		resp.SelectorValues, err = p.attestReference(ctx, parts, req.GetReference())
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// authorize is nil if who asks may ask: the agent itself, or a broker that the
// configuration names.
func authorize(ctx context.Context, b *config.Broker) error {
	callers := metadata.ValueFromIncomingContext(ctx, brokerCaller)
	switch len(callers) {
	case 0:
		return nil
	case 1:
	default:
		return status.Error(codes.Internal, "unable to determine broker caller identity: multiple broker caller SPIFFE IDs provided")
	}
	id, err := spiffeid.FromString(callers[0])
	switch {
	case err != nil:
		return status.Errorf(codes.Internal, "unable to determine broker caller identity: invalid broker caller SPIFFE ID: %v", err)
	case b == nil:
		return status.Error(codes.Internal, "broker configuration missing")
	case !slices.ContainsFunc(b.IDs, func(known config.BrokerID) bool { return known.ID == id }):
		return status.Errorf(codes.PermissionDenied, "broker %q is not configured", id)
	}
	return nil
}

func (p *Plugin) attestReference(ctx context.Context, parts *setup.Parts, reference *anypb.Any) ([]string, error) {
	switch reference.GetTypeUrl() {
	case typeURL(&broker.WorkloadPIDReference{}):
		var ref broker.WorkloadPIDReference
		if err := reference.UnmarshalTo(&ref); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "unable to unmarshal PID reference: %v", err)
		}
		return p.attestPID(ctx, parts, ref.GetPid())
	case typeURL(&broker.KubernetesObjectReference{}):
		var ref broker.KubernetesObjectReference
		if err := reference.UnmarshalTo(&ref); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "unable to unmarshal object reference: %v", err)
		}
		pod, err := podRef(&ref)
		if err != nil {
			return nil, err
		}
		report, err := parts.Attestor.AttestPod(ctx, pod)
		if err != nil {
			p.failures.attestation(0, pod.UID, report, err)
			return nil, toStatus(err)
		}
		p.failures.images(0, report)
		return report.Selectors, nil
	}
	return nil, status.Error(codes.InvalidArgument, "unsupported reference type: "+printable(reference.GetTypeUrl()))
}

// printable escapes what does not print, without quotes around it.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

func typeURL(m proto.Message) string {
	return "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
}

// podRef checks a reference to a Kubernetes object, which must be a pod.
func podRef(ref *broker.KubernetesObjectReference) (attest.PodRef, error) {
	kind, key := ref.GetType(), ref.GetKey()
	var problem string
	switch {
	case kind == nil:
		problem = "object reference is missing type"
	case kind.GetPlural() == "":
		problem = "object reference type is missing plural"
	case kind.GetGroup() == "":
		problem = "object reference type is missing group"
	case key == nil && ref.GetUid() == "":
		problem = "object reference is missing key and UID"
	case key != nil && key.GetName() == "":
		problem = "object reference key is missing name"
	case kind.GetPlural() != "pods" || kind.GetGroup() != "core":
		return attest.PodRef{}, status.Errorf(codes.Unimplemented, "Kubernetes resource %q: only pods of this node can be referenced yet", kind.GetPlural()+"."+kind.GetGroup())
	case key != nil && key.GetNamespace() == "":
		problem = "namespace is required when name is set for a namespaced resource"
	}
	if problem != "" {
		return attest.PodRef{}, status.Error(codes.InvalidArgument, problem)
	}
	return attest.PodRef{Namespace: key.GetNamespace(), Name: key.GetName(), UID: ref.GetUid()}, nil
}

func (p *Plugin) attestPID(ctx context.Context, parts *setup.Parts, pid int32) ([]string, error) {
	report, err := parts.Attestor.Attest(ctx, pid)
	if err != nil {
		p.failures.attestation(pid, report.Ref.PodUID(), report, err)
		return nil, toStatus(err)
	}
	if len(report.Ignored) > 0 {
		p.failures.ignored(pid, report.Ignored)
	}
	p.failures.images(pid, report)
	return report.Selectors, nil
}
