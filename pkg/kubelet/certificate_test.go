package kubelet_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// Which certificate is accepted for which configuration.
func TestTheKubeletsCertificate(t *testing.T) {
	t.Parallel()
	const request = "unable to perform request: "
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprintf("name-%03d.example", i)
	}
	for name, c := range map[string]struct {
		serving kubelettest.Leaf
		change  func(t *testing.T, n *node)
		refused []string // nil: accepted
	}{
		"any name without a node name":      {serving: kubelettest.Leaf{Names: []string{"other.example"}}},
		"no name without a node name":       {serving: kubelettest.Leaf{Names: []string{}}},
		"the node's name":                   {serving: kubelettest.Leaf{Names: []string{"localhost"}}, change: nodeName("localhost")},
		"the node's address":                {serving: kubelettest.Leaf{Names: []string{"127.0.0.1"}}, change: nodeName("127.0.0.1")},
		"kubelet_server_name":               {serving: kubelettest.Leaf{Names: []string{"node-1.example"}}, change: serverName("", "node-1.example")},
		"kubelet_server_name and node name": {serving: kubelettest.Leaf{Names: []string{"node-1.example"}}, change: serverName("localhost", "node-1.example")},
		"pinned":                            {change: pinned},
		"pinned and self-signed":            {serving: kubelettest.Leaf{SelfSigned: true}, change: pinned},
		"pinned, with its name":             {serving: kubelettest.Leaf{SelfSigned: true, Names: []string{"localhost"}}, change: all(pinned, nodeName("localhost"))},
		"several CAs in the file":           {change: severalCAs},
		"unknown but unverified":            {change: all(otherCA, skipVerification)},
		"expired but unverified":            {serving: kubelettest.Leaf{NotAfter: time.Now().Add(-time.Minute)}, change: skipVerification},

		"another name": {serving: kubelettest.Leaf{Names: []string{"other.example", "10.0.0.1"}}, change: nodeName("localhost"),
			refused: []string{request, `"other.example", "10.0.0.1"`, `not "localhost"`, "kubelet_server_name", "node_name"}},
		"another name than kubelet_server_name": {change: serverName("", "node-1.example"), refused: []string{request, `not "node-1.example"`, "kubelet_server_name"}},
		"a name where an address is dialled":    {serving: kubelettest.Leaf{Names: []string{"localhost"}}, change: nodeName("127.0.0.1"), refused: []string{request, `not "127.0.0.1"`}},
		"no names at all":                       {serving: kubelettest.Leaf{Names: []string{}}, change: nodeName("localhost"), refused: []string{request, "the names (none)"}},
		"hostile names":                         {serving: kubelettest.Leaf{Names: long}, change: nodeName("localhost"), refused: []string{request, `"name-009.example", ...`}},
		"another CA":                            {change: otherCA, refused: []string{request, `issued by "CN=kubelettest serving CA`, "kubelet_ca_path", "ca.crt"}},
		"another CA, with the name":             {change: all(otherCA, nodeName("localhost")), refused: []string{request, "issued by", "kubelet_ca_path"}},
		"self-signed and not pinned":            {serving: kubelettest.Leaf{SelfSigned: true}, refused: []string{request, `issued by "CN=system:node:kubelettest"`, "the certificate itself"}},
		"expired": {serving: kubelettest.Leaf{NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)},
			refused: []string{request, "from 2020-01-01T00:00:00Z to 2021-02-03T04:05:06Z", "clock"}},
		"expired and pinned": {serving: kubelettest.Leaf{SelfSigned: true, NotAfter: time.Now().Add(-time.Minute)}, change: pinned, refused: []string{request, "is valid from"}},
		"not yet valid":      {serving: kubelettest.Leaf{NotBefore: time.Now().Add(time.Hour)}, refused: []string{request, "is valid from"}},
		"a client's":         {serving: kubelettest.Leaf{Client: true}, refused: []string{request, "not good for a server"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{Serving: c.serving})
			if c.change != nil {
				c.change(t, n)
			}
			client := n.client(t)
			// Twice: nothing may be remembered of the first connection that makes
			// the second one easier.
			for range 2 {
				_, err := client.Next(t.Context(), time.Time{})
				if c.refused == nil {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				expectation{kind: "RequestError", words: c.refused}.check(t, err)
				if _, ok := errors.AsType[*kubelet.CertificateError](err); !ok {
					t.Errorf("no CertificateError in %v", err)
				}
			}
			if got := n.Stats().Requests; c.refused != nil && got != 0 {
				t.Errorf("%d requests were sent, with the token, to who knows", got)
			}
		})
	}
}

func nodeName(name string) func(*testing.T, *node) { return serverName(name, "") }

func serverName(node_, server string) func(*testing.T, *node) {
	return func(_ *testing.T, n *node) { n.cfg.NodeName, n.cfg.ServerName = node_, server }
}

func pinned(_ *testing.T, n *node) { n.cfg.CAPath = n.files.Serving }

func skipVerification(_ *testing.T, n *node) {
	n.cfg.SkipVerification = true
	n.cfg.CAPath = "/nonexistent/ca.crt" // not read then
}

func otherCA(t *testing.T, n *node) {
	replace(t, n.files.CA, newCA(t))
}

func severalCAs(t *testing.T, n *node) {
	replace(t, n.files.CA, bytes.Join([][]byte{[]byte("# the old one\n"), newCA(t), []byte("# the new one\n"), n.CA(), []byte("end\n")}, nil))
}

func all(changes ...func(*testing.T, *node)) func(*testing.T, *node) {
	return func(t *testing.T, n *node) {
		for _, c := range changes {
			c(t, n)
		}
	}
}

func newCA(t *testing.T) []byte {
	t.Helper()
	ca, err := kubelettest.NewCA("another CA")
	if err != nil {
		t.Fatal(err)
	}
	return ca.PEM()
}
