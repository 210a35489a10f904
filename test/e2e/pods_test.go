//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
)

// container runs a workload that asks every agent, in a pod with socketsVolume.
func container(namespace, pod, name string) corev1.Container {
	return corev1.Container{
		Name:         name,
		Image:        stack.WorkloadImage,
		Args:         append([]string{"-name", processName(namespace, pod, name)}, sockets...),
		VolumeMounts: []corev1.VolumeMount{{Name: "all-sockets", MountPath: stack.SocketsDir, ReadOnly: true}},
	}
}

// processName is what a workload is found by; see pidOf.
func processName(namespace, pod, container string) string {
	return namespace + "/" + pod + "/" + container
}

func socketsVolume() corev1.Volume {
	return corev1.Volume{Name: "all-sockets", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: stack.SocketsDir, Type: new(corev1.HostPathDirectory)},
	}}
}

// newPod is a pod of one workload, of the same name as the pod.
func newPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			SecurityContext:               &corev1.PodSecurityContext{RunAsUser: new(int64(1000))},
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers:                    []corev1.Container{container(namespace, name, name)},
			Volumes:                       []corev1.Volume{socketsVolume()},
		},
	}
}

// namespace makes a namespace of the test's, ready for pods.
func (w *world) namespace(t *testing.T, name string) {
	t.Helper()
	_, err := w.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.await(t, func(ctx context.Context) error {
		_, err := w.Client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// create gives the pod to the API server; it is deleted with the test.
func (w *world) create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := w.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := w.Client.CoreV1().Pods(pod.Namespace).Delete(context.WithoutCancel(t.Context()), pod.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// run creates the pod and waits until its containers run.
func (w *world) run(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	w.create(t, pod)
	return w.running(t, pod.Namespace, pod.Name)
}

// runStatic has the kubelet run the pod without the API server.
func (w *world) runStatic(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	if err := w.Node.RunStatic(pod); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Node.RemoveStatic(pod); err != nil {
			t.Error(err)
		}
	})
	return w.running(t, pod.Namespace, pod.Name+"-"+machine.HostName)
}

// running waits until the pod's regular containers run and returns the kubelet's
// record of it.
func (w *world) running(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	return w.awaitPod(t, namespace, name, func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) != len(p.Spec.Containers) {
			return fmt.Errorf("%s: %q", p.Status.Phase, p.Status.Message)
		}
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Running == nil {
				return fmt.Errorf("container %s: %+v", s.Name, s.State)
			}
		}
		return nil
	})
}

// awaitPod waits until the kubelet's record of the pod is as wanted.
func (w *world) awaitPod(t *testing.T, namespace, name string, wanted func(*corev1.Pod) error) (found *corev1.Pod) {
	t.Helper()
	w.await(t, func(ctx context.Context) error {
		pod, err := w.Node.Pod(ctx, namespace, name)
		if err != nil {
			return err
		}
		if pod == nil {
			return fmt.Errorf("the kubelet does not know pod %s/%s", namespace, name)
		}
		found = pod
		return wanted(pod)
	})
	return found
}

// await polls until done answers nil.
func (w *world) await(t *testing.T, done func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%v: %v", context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// pidOf is the process ID of the workload of that name, once it runs.
func (w *world) pidOf(t *testing.T, name string) (pid int) {
	t.Helper()
	w.await(t, func(context.Context) (err error) {
		pid, err = findProcess(name)
		return err
	})
	return pid
}

// findProcess looks at command lines and at nothing that an attestor looks at.
func findProcess(name string) (int, error) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range processes {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		program, args, _ := strings.Cut(string(text), "\x00")
		if filepath.Base(program) == "workload" && strings.Contains(args, "-name\x00"+name+"\x00") {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, errors.New("no process has the name " + name)
}
