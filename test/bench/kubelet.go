package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// kubelet is the stand-in that all sides ask: its port and its Pods API, with the
// same pods.
type kubelet struct {
	server *kubelettest.Server
	api    *podsapitest.Server
	socket string // of the Pods API
	files  kubelettest.Files
	dir    string
	pods   []kubelettest.Pod
}

// startKubelet starts a kubelet with that many pods. Its socket is made by listen.
func startKubelet(pods int, listen func(path string) (net.Listener, error)) (_ *kubelet, err error) {
	k := new(kubelet)
	if k.dir, err = os.MkdirTemp("", "podseal-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.server, err = kubelettest.Start(kubelettest.Options{}); err != nil {
		return nil, err
	}
	if k.files, err = k.server.WriteFiles(k.dir); err != nil {
		return nil, err
	}
	k.socket = filepath.Join(k.dir, "pods-api.sock")
	// With the kubelet's limiter.
	k.api, err = podsapitest.Start(podsapitest.Options{Listen: func() (net.Listener, error) { return listen(k.socket) }})
	if err != nil {
		return nil, err
	}
	for i := range pods {
		k.pods = append(k.pods, pod(i))
		described := k.pods[i].Build()
		if err := k.server.AddPod(described); err != nil {
			return nil, err
		}
		k.api.AddPod(described)
	}
	return k, nil
}

func (k *kubelet) close() error {
	if k.server != nil {
		k.server.Close()
	}
	if k.api != nil {
		k.api.Close()
	}
	return os.RemoveAll(k.dir)
}

// update replaces a pod that is there.
func (k *kubelet) update(p *corev1.Pod) error {
	k.api.AddPod(p)
	return k.server.UpdatePod(p)
}

// settings is the configuration of a side. An interval of 0 is the default.
func (k *kubelet) settings(side int, interval time.Duration) string {
	text := fmt.Sprintf("kubelet_secure_port = %d\nkubelet_ca_path = %q\ntoken_path = %q\n", k.server.Port(), k.files.CA, k.files.Token)
	switch side {
	case https:
		text += "pod_source = \"kubelet\"\n"
	case podsAPI:
		text = fmt.Sprintf("pod_source = \"pods_api\"\npods_api_socket = %q\n", k.socket)
	}
	if interval > 0 {
		text += fmt.Sprintf("poll_retry_interval = %q\n", interval)
	}
	return text
}

// requests counts the requests of a side so far: for the list of pods, or through
// the Pods API for a pod or all of them.
func (k *kubelet) requests(side int) int {
	if side != podsAPI {
		return k.server.Stats().Requests
	}
	stats := k.api.Stats()
	return stats.GetPod + stats.ListPods
}

// list says what the stand-in's list costs: that is in every figure with a
// request over HTTPS in it, the same on both sides, and nothing takes it out.
type list struct {
	pods, bytes int
	making      time.Duration
	getting     time.Duration
	// encoding is what a kubelet spends on each list and the stand-in does not,
	// which keeps its pods encoded.
	encoding time.Duration
	// apiBytes are those of the same list through the Pods API.
	apiBytes int
}

func (l list) String() string {
	ms := func(d time.Duration) string { return milliseconds.format(float64(d)) }
	return fmt.Sprintf("A list of %d pods has %.1f MB, %d bytes a pod. The stand-in makes it in %s, and a client that throws it away has it after %s.\n"+
		"Encoding it, which the stand-in does once and a kubelet each time, takes %s. Through the Pods API it has %.2f MB, %d bytes a pod.",
		l.pods, float64(l.bytes)/1e6, l.bytes/l.pods, ms(l.making), ms(l.getting),
		ms(l.encoding), float64(l.apiBytes)/1e6, l.apiBytes/l.pods)
}

// measure measures the list without any attestor: medians of 20.
func (k *kubelet) measure(ctx context.Context) (list, error) {
	ca, err := os.ReadFile(k.files.CA)
	if err != nil {
		return list{}, err
	}
	token, err := os.ReadFile(k.files.Token)
	if err != nil {
		return list{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableCompression: true}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/pods", k.server.Port()), nil)
	if err != nil {
		return list{}, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))

	l := list{pods: len(k.pods)}
	through, err := k.api.ListPods(ctx, nil)
	if err != nil {
		return list{}, err
	}
	for _, description := range through.Pods {
		l.apiBytes += len(description)
	}
	var all corev1.PodList
	for _, p := range k.pods {
		all.Items = append(all.Items, *p.Build())
	}
	var making, getting, encoding []float64
	for range 20 {
		begin := time.Now()
		l.bytes = len(k.server.List())
		making = append(making, float64(time.Since(begin)))

		begin = time.Now()
		got, err := get(client, request)
		if err != nil {
			return list{}, err
		}
		if got != int64(l.bytes) {
			return list{}, fmt.Errorf("the list has %d bytes, and then %d", l.bytes, got)
		}
		getting = append(getting, float64(time.Since(begin)))

		begin = time.Now()
		if _, err := json.Marshal(&all); err != nil {
			return list{}, err
		}
		encoding = append(encoding, float64(time.Since(begin)))
	}
	l.encoding = time.Duration(median(encoding))
	l.making, l.getting = time.Duration(median(making)), time.Duration(median(getting))
	return l, nil
}

func get(client *http.Client, request *http.Request) (int64, error) {
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, errors.New(answer.Status)
	}
	return io.Copy(io.Discard, answer.Body)
}
