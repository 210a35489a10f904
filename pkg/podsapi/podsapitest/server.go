// Package podsapitest is a stand-in for the kubelet's Pods API: the real gRPC
// service, of the real generated code, on a Unix socket. It answers, refuses,
// drops, delays and restarts as kubelets do. It is for tests and measurements,
// so it needs no testing.T.
package podsapitest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// Options say what kind of kubelet it is.
type Options struct {
	// Socket is the path to listen on.
	Socket string
	// Listen is used in place of Socket where it is set, at each start.
	Listen func() (net.Listener, error)
	// Unlimited switches the kubelet's limiter off: 100 calls a second, 10 at
	// once, of all clients together.
	Unlimited bool
}

// Server is a running stand-in. All methods are safe for concurrent use.
type Server struct {
	podsv1alpha1.UnimplementedPodsServer
	options Options

	mu sync.Mutex
	// All below is guarded by mu.
	grpc     *grpc.Server // nil while stopped
	served   chan struct{}
	pods     map[string]*corev1.Pod
	raw      map[string][]byte // descriptions as they are, in place of pods'
	watchers map[*watcher]struct{}
	bucket   bucket
	faults   Faults
	stats    Stats
}

// Faults are the ways in which kubelets fail. They hold until they are replaced.
type Faults struct {
	// Starting answers everything with FailedPrecondition.
	Starting bool
	// Hidden shows no pod: not in lists, not to GetPod. So it is for a moment
	// after a kubelet's start.
	Hidden bool
	// Unlisted shows no pods in lists alone.
	Unlisted bool
	// DropEvents loses every event.
	DropEvents bool
	// DelayEvents sends events so much later.
	DelayEvents time.Duration
	// DelayCalls answers GetPod and ListPods so much later.
	DelayCalls time.Duration
	// Refuse answers so many calls of GetPod and ListPods with ResourceExhausted,
	// whatever the limiter says.
	Refuse int
	// NoWatch ends every watch at once with Internal.
	NoWatch bool
	// Mute never sends a watch's first event.
	Mute bool
}

// Stats is what a server has seen since it was made.
type Stats struct {
	GetPod, ListPods, WatchPods int
	// Refused counts those of GetPod and ListPods that the limiter refused.
	Refused int
	// Dropped counts the watches that were closed because they read too slowly.
	Dropped int
	// Watching is how many watches there are now.
	Watching int
}

// watcher is one watch. The kubelet gives it room for 100 events.
type watcher struct {
	events chan *podsv1alpha1.WatchPodsEvent
}

const room = 100

// Start starts a kubelet without pods.
func Start(o Options) (*Server, error) {
	s := &Server{
		options:  o,
		pods:     make(map[string]*corev1.Pod),
		raw:      make(map[string][]byte),
		watchers: make(map[*watcher]struct{}),
	}
	return s, s.Resume()
}

// Resume starts the server again after Stop, with all its pods, on a new socket.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		return errors.New("the server is running")
	}
	listener, err := s.listen()
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.limit))
	podsv1alpha1.RegisterPodsServer(server, s)
	s.grpc, s.served = server, make(chan struct{})
	served := s.served
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until Stop
	}()
	return nil
}

func (s *Server) listen() (net.Listener, error) {
	if s.options.Listen != nil {
		return s.options.Listen()
	}
	if err := os.Remove(s.options.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", s.options.Socket)
	if err != nil {
		return nil, err
	}
	// A kubelet that is killed leaves its socket behind.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

// Stop cuts all connections, as when the kubelet is killed.
func (s *Server) Stop() {
	s.mu.Lock()
	server, served := s.grpc, s.served
	s.grpc = nil
	s.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served
	}
}

// Close ends the server. It may be called again.
func (s *Server) Close() { s.Stop() }

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Stats returns what the server has seen.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Watching = len(s.watchers)
	return stats
}

// SetPods replaces all pods without an event.
func (s *Server) SetPods(pods ...*corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.pods)
	for _, p := range pods {
		s.pods[string(p.UID)] = p.DeepCopy()
	}
}

// AddPod adds or replaces a pod and tells the watchers.
func (s *Server) AddPod(p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := podsv1alpha1.EventType_MODIFIED
	if _, known := s.pods[string(p.UID)]; !known {
		t = podsv1alpha1.EventType_ADDED
	}
	s.pods[string(p.UID)] = p.DeepCopy()
	s.broadcast(t, marshal(p))
}

// AddSilently adds or replaces a pod without an event, which is what becomes of
// a change of its labels.
func (s *Server) AddSilently(p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[string(p.UID)] = p.DeepCopy()
}

// AddRaw answers with these bytes for that UID.
func (s *Server) AddRaw(uid string, description []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw[uid] = slices.Clone(description)
}

// RemovePod removes the pod with that UID, if it is there, and tells the
// watchers its name, namespace and UID.
func (s *Server) RemovePod(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.raw, uid)
	if p, ok := s.pods[uid]; ok {
		delete(s.pods, uid)
		s.broadcast(podsv1alpha1.EventType_DELETED, marshal(minimal(p)))
	}
}

// Send sends an event, whether it is true or not. A deletion's pod is cut down
// as the kubelet does.
func (s *Server) Send(t podsv1alpha1.EventType, p *corev1.Pod) {
	if t == podsv1alpha1.EventType_DELETED {
		p = minimal(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broadcast(t, marshal(p))
}

// Flood sends so many events about a pod at once, more than who watches reads in
// that time.
func (s *Server) Flood(p *corev1.Pod, events int) {
	b := marshal(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	for range events {
		s.broadcast(podsv1alpha1.EventType_MODIFIED, b)
	}
}

// CloseWatches ends all watches, as the kubelet does with slow readers.
func (s *Server) CloseWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		s.drop(w)
	}
}

func minimal(p *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: p.UID}}
}

func marshal(p *corev1.Pod) []byte {
	b, err := p.Marshal()
	if err != nil {
		panic(fmt.Sprintf("a pod that can't be encoded: %v", err)) // it never is
	}
	return b
}

// broadcast is for events. Only with mu.
func (s *Server) broadcast(t podsv1alpha1.EventType, pod []byte) {
	event := &podsv1alpha1.WatchPodsEvent{Type: t, Pod: pod}
	if s.faults.DropEvents {
		return
	}
	if s.faults.DelayEvents > 0 {
		time.AfterFunc(s.faults.DelayEvents, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.send(event)
		})
		return
	}
	s.send(event)
}

func (s *Server) send(event *podsv1alpha1.WatchPodsEvent) {
	for w := range s.watchers {
		select {
		case w.events <- event:
		default:
			s.stats.Dropped++
			s.drop(w)
		}
	}
}

func (s *Server) drop(w *watcher) {
	if _, ok := s.watchers[w]; ok {
		delete(s.watchers, w)
		close(w.events)
	}
}

// descriptions are all pods' by UID, as a list has them now. Only with mu.
func (s *Server) descriptions() [][]byte {
	if s.faults.Hidden || s.faults.Unlisted {
		return nil
	}
	var all [][]byte
	for _, uid := range slices.Sorted(maps.Keys(s.pods)) {
		if _, ok := s.raw[uid]; !ok {
			all = append(all, marshal(s.pods[uid]))
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(s.raw)) {
		all = append(all, s.raw[uid])
	}
	return all
}

// limit is the kubelet's interceptor.
func (s *Server) limit(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.mu.Lock()
	refused := !s.bucket.allow(time.Now()) && !s.options.Unlimited
	if s.faults.Refuse > 0 {
		s.faults.Refuse--
		refused = true
	}
	if refused {
		s.stats.Refused++
	}
	starting, delay := s.faults.Starting, s.faults.DelayCalls
	s.mu.Unlock()
	if refused {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if starting {
		return nil, errStarting
	}
	return next(ctx, req)
}

var errStarting = status.Error(codes.FailedPrecondition, "the kubelet has not synced its pods yet")

// bucket is a token bucket of 100 a second and 10 at once.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) allow(now time.Time) bool {
	const rate, burst = 100, 10
	if b.at.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*rate)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
