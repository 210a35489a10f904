package critest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// before is what happens before an answer.
func (s *Server) before(ctx context.Context, count func(*Stats)) (Faults, error) {
	s.mu.Lock()
	count(&s.stats)
	if s.faults.HangUp > 0 {
		s.faults.HangUp--
		for c := range s.conns {
			_ = c.Close()
			delete(s.conns, c)
		}
	}
	f := s.faults
	s.mu.Unlock()
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
	return f, f.Err
}

// sandboxID is the ID of the pod's sandbox.
func sandboxID(podUID string) string { return "sandbox-of-" + podUID }

// ContainerStatus describes a container, named by its ID or by an ID's beginning.
func (s *Server) ContainerStatus(ctx context.Context, r *runtimev1.ContainerStatusRequest) (*runtimev1.ContainerStatusResponse, error) {
	f, err := s.before(ctx, func(x *Stats) { x.Containers++ })
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.container(r.ContainerId)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "an error occurred when try to find container %q: not found", r.ContainerId)
	}
	answer := &runtimev1.ContainerStatusResponse{Status: &runtimev1.ContainerStatus{
		Id:       c.ID,
		Metadata: &runtimev1.ContainerMetadata{Name: c.Name},
		State:    c.State,
		Labels: map[string]string{
			"io.kubernetes.container.name": c.Name,
			"io.kubernetes.pod.name":       c.PodName,
			"io.kubernetes.pod.namespace":  c.Namespace,
			"io.kubernetes.pod.uid":        c.PodUID,
		},
		Annotations: map[string]string{"io.kubernetes.container.hash": "1234abcd"},
		Mounts:      []*runtimev1.Mount{{ContainerPath: "/etc/hosts", HostPath: "/var/lib/kubelet/pods/x/etc-hosts"}},
	}}
	s.name(answer.Status, c)
	if r.Verbose {
		answer.Info = map[string]string{"info": info(c), "note": "{}"}
	}
	if f.Container != nil {
		f.Container(answer)
	}
	return answer, nil
}

func (s *Server) container(prefix string) (Container, bool) {
	for id, c := range s.containers {
		if prefix != "" && strings.HasPrefix(id, prefix) {
			return c, true
		}
	}
	return Container{}, false
}

// name says which image a container was made from, as the runtime does.
func (s *Server) name(to *runtimev1.ContainerStatus, c Container) {
	i := s.images[c.Image] // none if it was removed
	to.Image, to.ImageRef = &runtimev1.ImageSpec{Image: c.Spec}, s.id(c.Image)
	if len(i.Digests) > 0 && s.options.Runtime != CRIOWithoutNames {
		to.ImageRef = i.Digests[0]
	}
	if len(i.Tags) > 0 && s.options.Runtime < CRIO {
		to.Image.Image = i.Tags[0]
	}
	if s.options.Runtime == ContainerdWithID || s.options.Runtime == CRIO {
		to.ImageId = s.id(c.Image)
	}
}

// info is what runtimes add for people who debug.
func info(c Container) string {
	type process struct {
		Env []string `json:"env"`
	}
	b, err := json.Marshal(struct {
		SandboxID   string         `json:"sandboxID"`
		Pid         int            `json:"pid"`
		RuntimeSpec map[string]any `json:"runtimeSpec"`
	}{sandboxID(c.PodUID), 4711, map[string]any{"process": process{c.Environment}, "sandboxID": "of the specification"}})
	if err != nil {
		panic(fmt.Sprintf("a container that can't be encoded: %v", err)) // it never is
	}
	return string(b)
}

// PodSandboxStatus describes a pod's sandbox.
func (s *Server) PodSandboxStatus(ctx context.Context, r *runtimev1.PodSandboxStatusRequest) (*runtimev1.PodSandboxStatusResponse, error) {
	f, err := s.before(ctx, func(x *Stats) { x.Sandboxes++ })
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if sandboxID(c.PodUID) != r.PodSandboxId {
			continue
		}
		answer := &runtimev1.PodSandboxStatusResponse{Status: &runtimev1.PodSandboxStatus{
			Id:       r.PodSandboxId,
			Metadata: &runtimev1.PodSandboxMetadata{Name: c.PodName, Namespace: c.Namespace, Uid: c.PodUID},
			// What the pod's author wrote.
			Labels: map[string]string{"app": "web", "io.kubernetes.pod.uid": c.PodUID},
		}}
		if f.Sandbox != nil {
			f.Sandbox(answer)
		}
		return answer, nil
	}
	return nil, status.Errorf(codes.NotFound, "an error occurred when try to find sandbox: not found")
}

// ImageStatus describes an image, named by its ID or one of its names: none if
// there is no such image.
func (s *Server) ImageStatus(ctx context.Context, r *runtimev1.ImageStatusRequest) (*runtimev1.ImageStatusResponse, error) {
	f, err := s.before(ctx, func(x *Stats) {
		x.Images++
		x.Asked = append(x.Asked, r.Image.GetImage())
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &runtimev1.ImageStatusResponse{}
	for config, i := range s.images {
		asked := r.Image.GetImage()
		if asked == config || asked == strings.TrimPrefix(config, "sha256:") || slices.Contains(i.Tags, asked) || slices.Contains(i.Digests, asked) {
			answer.Image = &runtimev1.Image{Id: s.id(config), RepoTags: i.Tags, RepoDigests: i.Digests, Size: 1}
		}
	}
	if f.Image != nil {
		f.Image(answer)
	}
	return answer, nil
}
