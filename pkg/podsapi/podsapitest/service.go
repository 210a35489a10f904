package podsapitest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// GetPod returns a pod, or NotFound.
func (s *Server) GetPod(_ context.Context, r *podsv1alpha1.GetPodRequest) (*podsv1alpha1.GetPodResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.GetPod++
	if !s.faults.Hidden {
		if b, ok := s.raw[r.PodUID]; ok {
			return &podsv1alpha1.GetPodResponse{Pod: b}, nil
		}
		if p, ok := s.pods[r.PodUID]; ok {
			return &podsv1alpha1.GetPodResponse{Pod: marshal(p)}, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "pod with UID %s not found", r.PodUID)
}

// ListPods returns all pods.
func (s *Server) ListPods(context.Context, *podsv1alpha1.ListPodsRequest) (*podsv1alpha1.ListPodsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.ListPods++
	return &podsv1alpha1.ListPodsResponse{Pods: s.descriptions()}, nil
}

// WatchPods sends all pods, then what changes.
func (s *Server) WatchPods(_ *podsv1alpha1.WatchPodsRequest, stream grpc.ServerStreamingServer[podsv1alpha1.WatchPodsEvent]) error {
	w := &watcher{events: make(chan *podsv1alpha1.WatchPodsEvent, room)}
	s.mu.Lock()
	s.stats.WatchPods++
	faults := s.faults
	if !faults.Starting && !faults.NoWatch {
		s.watchers[w] = struct{}{}
	}
	all := s.descriptions()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(w)
	}()

	switch {
	case faults.Starting:
		return errStarting
	case faults.NoWatch:
		return status.Error(codes.Internal, "error marshalling initial watch event pod")
	case faults.Mute:
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	for _, b := range all {
		if err := stream.Send(&podsv1alpha1.WatchPodsEvent{Type: podsv1alpha1.EventType_ADDED, Pod: b}); err != nil {
			return err
		}
	}
	if err := stream.Send(&podsv1alpha1.WatchPodsEvent{Type: podsv1alpha1.EventType_INITIAL_SYNC_COMPLETE}); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case event, ok := <-w.events:
			if !ok {
				return status.Error(codes.ResourceExhausted, "watch client channel closed")
			}
			if err := stream.Send(event); err != nil {
				return err
			}
		}
	}
}

// EventType is what an event says, whether the Pods API has such events or not.
type EventType = podsv1alpha1.EventType
