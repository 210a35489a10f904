package kubelettest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pod describes a pod in a few words; Build makes one of the usual size of it.
type Pod struct {
	Namespace, Name, UID string
	// ServiceAccount is "default" when empty.
	ServiceAccount string
	// NodeName is "node-1" when empty.
	NodeName   string
	Labels     map[string]string
	Owners     []metav1.OwnerReference
	Containers []Container
	// Phase is Running when empty.
	Phase corev1.PodPhase
}

// Kind is the list of a pod that a container is in.
type Kind int

// The kinds. A sidecar is an init container that goes on running.
const (
	Regular Kind = iota
	Init
	Sidecar
	Ephemeral
)

// State is what a container does.
type State int

// The states. A container that waits has no ID yet; one that is only in the
// spec has no status at all.
const (
	Running State = iota
	Waiting
	Terminated
	SpecOnly
)

// Container describes a container of a pod.
type Container struct {
	Name string
	Kind Kind
	// ID is the runtime's, 64 hexadecimal digits; LastID that of the run before.
	ID, LastID string
	// Image is what the spec and the status say, StatusImage what the status
	// says where it differs.
	Image, StatusImage string
	ImageID            string
	State              State
}

// ID makes a container ID that is the same for the same name.
func ID(name string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
}

// UID makes a pod UID that is the same for the same name.
func UID(name string) string {
	id := ID("uid:" + name)
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", id[:8], id[8:12], id[13:16], id[17:20], id[20:32])
}

// Build makes the pod as the API server would store it and a kubelet list it.
func (p Pod) Build() *corev1.Pod {
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:              p.Name,
			Namespace:         p.Namespace,
			UID:               types.UID(p.UID),
			ResourceVersion:   "81234567",
			CreationTimestamp: created,
			Labels:            p.Labels,
			OwnerReferences:   p.Owners,
			Annotations: map[string]string{
				"kubernetes.io/config.seen":   "2026-01-02T03:04:05.000000000Z",
				"kubernetes.io/config.source": "api",
				"kubectl.kubernetes.io/last-applied-configuration": `{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"` + p.Name +
					`","uid":"not-this-one"},"spec":{"containers":[{"command":["sh","-c","echo \"{[\\\"\""]}]}}` + "\n",
			},
		},
		Spec: corev1.PodSpec{
			NodeName:                      or(p.NodeName, "node-1"),
			ServiceAccountName:            or(p.ServiceAccount, "default"),
			DeprecatedServiceAccount:      or(p.ServiceAccount, "default"),
			RestartPolicy:                 corev1.RestartPolicyAlways,
			DNSPolicy:                     corev1.DNSClusterFirst,
			SchedulerName:                 "default-scheduler",
			TerminationGracePeriodSeconds: new(int64(30)),
			EnableServiceLinks:            new(true),
			Priority:                      new(int32(0)),
			PreemptionPolicy:              new(corev1.PreemptLowerPriority),
			SecurityContext:               &corev1.PodSecurityContext{RunAsNonRoot: new(true), FSGroup: new(int64(1000))},
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))},
				{Key: "node.kubernetes.io/unreachable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))},
			},
			Volumes: []corev1.Volume{apiAccess(), {Name: "config", VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: p.Name + "-config"}, DefaultMode: new(int32(0o644))}}}},
		},
		Status: corev1.PodStatus{
			Phase:     corev1.PodPhase(or(string(p.Phase), string(corev1.PodRunning))),
			HostIP:    "10.0.0.7",
			HostIPs:   []corev1.HostIP{{IP: "10.0.0.7"}},
			PodIP:     "10.244.1.23",
			PodIPs:    []corev1.PodIP{{IP: "10.244.1.23"}},
			StartTime: &created,
			QOSClass:  corev1.PodQOSBurstable,
		},
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: created, ObservedGeneration: 1})
	}
	for _, c := range p.Containers {
		c.addTo(out, created)
	}
	out.ManagedFields = managedFields(out, created)
	return out
}

func (c Container) addTo(p *corev1.Pod, created metav1.Time) {
	spec := corev1.Container{
		Name:            c.Name,
		Image:           c.Image,
		Args:            []string{"--config=/etc/config/config.yaml", "--verbose"},
		Ports:           []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		Env:             environment(),
		ImagePullPolicy: corev1.PullIfNotPresent,
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{"memory": resource.MustParse("256Mi")},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: "/etc/config", ReadOnly: true},
			{Name: "kube-api-access", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
		},
		LivenessProbe:            probe("/healthz"),
		ReadinessProbe:           probe("/readyz"),
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	status := c.status(created)
	switch c.Kind {
	case Regular:
		p.Spec.Containers = append(p.Spec.Containers, spec)
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, status...)
	case Init, Sidecar:
		if c.Kind == Sidecar {
			spec.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, spec)
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, status...)
	case Ephemeral:
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, Image: c.Image, Stdin: true, TTY: true},
		})
		p.Status.EphemeralContainerStatuses = append(p.Status.EphemeralContainerStatuses, status...)
	}
}

// status is none or one.
func (c Container) status(created metav1.Time) []corev1.ContainerStatus {
	if c.State == SpecOnly {
		return nil
	}
	s := corev1.ContainerStatus{
		Name:    c.Name,
		Image:   or(c.StatusImage, c.Image),
		ImageID: c.ImageID,
		Ready:   c.State == Running,
		Started: new(c.State == Running),
	}
	if c.ID != "" {
		s.ContainerID = "containerd://" + c.ID
	}
	switch c.State {
	case Running:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: created}
	case Waiting:
		s.ContainerID = ""
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	case Terminated:
		s.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: created, FinishedAt: created, ContainerID: s.ContainerID}
	}
	if c.LastID != "" {
		s.RestartCount = 1
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", ContainerID: "containerd://" + c.LastID}
	}
	return []corev1.ContainerStatus{s}
}

func environment() []corev1.EnvVar {
	env := []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}}}
	for i := range 8 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: fmt.Sprintf("some \"quoted\" value \\%d", i)})
	}
	return env
}

func probe(path string) *corev1.Probe {
	p := &corev1.Probe{PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}
	p.HTTPGet = &corev1.HTTPGetAction{Path: path, Scheme: corev1.URISchemeHTTP}
	p.HTTPGet.Port.StrVal, p.HTTPGet.Port.Type = "http", 1
	return p
}

func apiAccess() corev1.Volume {
	return corev1.Volume{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: new(int32(0o644)),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
		},
	}}}
}

// managedFields are about a third of a real pod.
func managedFields(p *corev1.Pod, at metav1.Time) []metav1.ManagedFieldsEntry {
	fields := func(names ...string) string {
		var b strings.Builder
		for i, n := range names {
			fmt.Fprintf(&b, "%s%q:{\".\":{},\"f:name\":{},\"f:value\":{},\"f:state\":{\"f:running\":{\".\":{},\"f:startedAt\":{}}}}", ","[:min(i, 1)], n)
		}
		return b.String()
	}
	var containers []string
	for _, c := range p.Spec.Containers {
		containers = append(containers, fmt.Sprintf("k:{\"name\":%q}", c.Name))
	}
	conditions := fields(`k:{"type":"ContainersReady"}`, `k:{"type":"Initialized"}`, `k:{"type":"PodReadyToStartContainers"}`, `k:{"type":"Ready"}`)
	entry := func(manager, subresource, raw string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &at,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(raw), Subresource: subresource}
	}
	return []metav1.ManagedFieldsEntry{
		entry("kube-controller-manager", "", `{"f:metadata":{"f:labels":{".":{}},"f:ownerReferences":{".":{}}},"f:spec":{"f:containers":{`+fields(containers...)+
			`},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{".":{},"f:fsGroup":{}},"f:terminationGracePeriodSeconds":{},"f:volumes":{`+
			fields(`k:{"name":"config"}`, `k:{"name":"kube-api-access"}`)+`}}}`),
		entry("kubelet", "status", `{"f:status":{"f:conditions":{`+conditions+`},"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.244.1.23\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}`),
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// item is a pod as it is listed. It is marshalled when it is set, so that the
// caller may go on changing its own copy.
type item struct {
	uid  string
	json []byte
}

func newItem(p *corev1.Pod) (*item, error) {
	if p.UID == "" {
		return nil, errors.New("a kubelet has no pod without a UID")
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return &item{string(p.UID), b}, nil
}
