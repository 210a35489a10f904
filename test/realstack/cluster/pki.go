package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// server is who listens for others, and by which names.
var servers = map[string][]string{
	"apiserver": {"127.0.0.1", "localhost", "kubernetes.default.svc"},
	"kubelet":   nil, // the node's name and address
	"etcd":      {"127.0.0.1"},
}

// clients are the users of the API server and of the kubelet.
var clients = map[string]kubelettest.Leaf{
	"admin":              {CommonName: "admin", Organizations: []string{"system:masters"}},
	"apiserver-kubelet":  {CommonName: "apiserver", Organizations: []string{"system:masters"}},
	"controller-manager": {CommonName: "system:kube-controller-manager"},
	"scheduler":          {CommonName: "system:kube-scheduler"},
	"node":               {Organizations: []string{"system:nodes"}}, // and its name
}

// pki is a folder of certificates from one CA: ca.crt, and for each name a .crt
// and a .key; for clients a .kubeconfig too.
type pki struct {
	dir string
	api string // the API server's host and port
}

func (p pki) path(name string) string { return filepath.Join(p.dir, name) }

// make makes all of it, for a node of that name and address.
func (p pki) make(nodeName, address string) error {
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return err
	}
	ca, err := kubelettest.NewCA("podseal-test-ca")
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path("ca.crt"), ca.PEM(), 0o600); err != nil {
		return err
	}
	for name, names := range servers {
		if name == "kubelet" {
			names = []string{address, nodeName}
		}
		// etcd's members are clients of each other with their server's certificate.
		if err := p.issue(ca, name, kubelettest.Leaf{CommonName: names[len(names)-1], Names: names}); err != nil {
			return err
		}
	}
	for name, leaf := range clients {
		leaf.Client = true
		if name == "node" {
			leaf.CommonName = "system:node:" + nodeName
		}
		if err := errors.Join(p.issue(ca, name, leaf), p.kubeconfig(name, "https://"+p.api)); err != nil {
			return err
		}
	}
	return p.signingKey()
}

func (p pki) issue(ca *kubelettest.CA, name string, leaf kubelettest.Leaf) error {
	pair, err := ca.Issue(leaf)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	return errors.Join(
		os.WriteFile(p.path(name+".crt"), pair.Certificate, 0o600),
		os.WriteFile(p.path(name+".key"), pair.Key, 0o600),
	)
}

// signingKey makes the key that signs service accounts' tokens.
func (p pki) signingKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(p.path("service-accounts.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// kubeconfig writes the file with which a client finds the API server at url. It
// holds all it needs.
func (p pki) kubeconfig(client, url string) error {
	config, err := p.kubeconfigFor(client, url)
	if err != nil {
		return err
	}
	return clientcmd.WriteToFile(config, p.path(client+".kubeconfig"))
}

func (p pki) kubeconfigFor(client, url string) (api.Config, error) {
	var read [3][]byte
	for i, name := range []string{"ca.crt", client + ".crt", client + ".key"} {
		text, err := os.ReadFile(p.path(name))
		if err != nil {
			return api.Config{}, err
		}
		read[i] = text
	}
	config := api.NewConfig()
	config.Clusters[clusterName] = &api.Cluster{Server: url, CertificateAuthorityData: read[0]}
	config.AuthInfos[client] = &api.AuthInfo{ClientCertificateData: read[1], ClientKeyData: read[2]}
	config.Contexts[clusterName] = &api.Context{Cluster: clusterName, AuthInfo: client}
	config.CurrentContext = clusterName
	return *config, nil
}
