package cri

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/diagnosis"
)

// ask asks the runtime about one container.
func (c *Client) ask(id string) (found *Container, err error) {
	err = c.link.do(func(s *session) error {
		found, err = s.container(id)
		return err
	})
	return found, err
}

// container makes the three calls, and believes the answers only as far as they
// agree.
func (s *session) container(id string) (*Container, error) {
	status, sandboxID, err := s.containerStatus(id)
	if err != nil {
		return nil, err
	}
	sandbox, err := s.sandboxStatus(sandboxID)
	if err != nil {
		return nil, err
	}
	found, err := in(status, sandbox)
	if err != nil {
		return nil, err
	}
	asked, err := imageOf(status)
	if err != nil {
		return nil, err
	}
	img, err := s.imageStatus(asked.text)
	if err != nil {
		return nil, err
	}
	found.ComparesLayers = strings.HasPrefix(cmp.Or(img.GetId(), asked.text), "sha256:")
	found.ConfigDigest, found.RepoDigests, err = asked.configuration(img)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// containerStatus asks about a container, and for all that the runtime has to say:
// only there is the ID of its sandbox. With it comes the container's environment,
// which holds secrets; nothing but the ID is kept of it.
func (s *session) containerStatus(id string) (*runtimev1.ContainerStatus, string, error) {
	answer, err := call(s, runtimev1.NewRuntimeServiceClient(s.grpc).ContainerStatus, &runtimev1.ContainerStatusRequest{ContainerId: id, Verbose: true})
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, "", &missing{fmt.Sprintf("the container %q", id), ReasonNoContainer}
	case err != nil:
		return nil, "", err
	case answer.GetStatus().GetId() != id: // runtimes complete the beginning of an ID
		return nil, "", contradicts("asked about the container %q it describes %q", id, answer.GetStatus().GetId())
	}
	sandboxID, err := sandboxOf(answer.GetInfo()["info"])
	if err != nil {
		return nil, "", contradicts("it does not say in which sandbox the container %q is: %w", id, err)
	}
	return answer.GetStatus(), sandboxID, nil
}

func (s *session) sandboxStatus(id string) (*runtimev1.PodSandboxStatus, error) {
	answer, err := call(s, runtimev1.NewRuntimeServiceClient(s.grpc).PodSandboxStatus, &runtimev1.PodSandboxStatusRequest{PodSandboxId: id})
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, &missing{fmt.Sprintf("the sandbox %q", id), ReasonNoContainer}
	case err != nil:
		return nil, err
	case answer.GetStatus().GetId() != id:
		return nil, contradicts("asked about the sandbox %q it describes %q", id, answer.GetStatus().GetId())
	}
	return answer.GetStatus(), nil
}

// imageStatus returns nil if there is no such image.
func (s *session) imageStatus(name string) (*runtimev1.Image, error) {
	answer, err := call(s, runtimev1.NewImageServiceClient(s.grpc).ImageStatus, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	return answer.GetImage(), err
}

// call makes one call over the session.
func call[Question, Answer any](s *session, method func(context.Context, Question, ...grpc.CallOption) (Answer, error), question Question) (Answer, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.timeout, errTimeout)
	defer cancel()
	return method(ctx, question)
}

// sandboxOf finds the ID of a container's sandbox in what a runtime adds to a status
// for people who debug. containerd and CRI-O begin it with that, so what follows,
// which the pod's author can make long, is not read.
func sandboxOf(info string) (string, error) {
	d := jsontext.NewDecoder(strings.NewReader(info))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return "", errors.New("what it says for debugging is no JSON object")
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		if name.String() != "sandboxID" {
			if err := d.SkipValue(); err != nil {
				return "", err
			}
			continue
		}
		value, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		if value.Kind() != '"' || value.String() == "" {
			return "", errors.New("its sandboxID is not a string")
		}
		return value.String(), nil
	}
	return "", errors.New("what it says for debugging has no sandboxID")
}

// missing is something that the runtime says it does not have.
type missing struct {
	what   string
	reason diagnosis.Reason
}

func (e *missing) Error() string { return e.what }
