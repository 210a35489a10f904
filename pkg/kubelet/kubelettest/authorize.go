package kubelettest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Permission is what a user may do at the kubelet's API.
type Permission int

// The permissions that RBAC rules on subresources of nodes give.
const (
	// NodesPods is `nodes/pods`: list the pods, and nothing else. Every user
	// who can prove who he is has it unless he was given another.
	NodesPods Permission = iota
	// NodesProxy is `nodes/proxy`: everything, running commands in containers
	// included.
	NodesProxy
	// Nothing is no permission.
	Nothing
)

// SetPermission gives a user another permission. Who is forbidden has none
// whatever he is given.
func (s *Server) SetPermission(user string, p Permission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permissions[user] = p
}

func (s *Server) permissionOf(user string) Permission {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.forbidden, user) {
		return Nothing
	}
	return s.permissions[user]
}

// subresources are those of which one lets a user ask for a path, in the order
// in which a kubelet tries and names them; none for a path that it does not
// know. "/pods" is for exactly that, the others for what lies below them too.
func subresources(path string) []string {
	for _, known := range []struct {
		path  string
		needs []string
	}{
		{"/pods", []string{"pods", "proxy"}},
		{"/runningpods", []string{"pods", "proxy"}},
		{"/healthz", []string{"healthz", "proxy"}},
		{"/configz", []string{"configz", "proxy"}},
		{"/stats", []string{"stats"}},
		{"/metrics", []string{"metrics"}},
		{"/logs", []string{"log"}},
		{"/checkpoint", []string{"checkpoint"}},
		{"/containerLogs", []string{"proxy"}},
		{"/run", []string{"proxy"}},
		{"/exec", []string{"proxy"}},
		{"/attach", []string{"proxy"}},
		{"/portForward", []string{"proxy"}},
		{"/debug", []string{"proxy"}},
	} {
		if path == known.path || known.path != "/pods" && strings.HasPrefix(path, known.path+"/") {
			return known.needs
		}
	}
	return nil
}

// admit lets a request in, or answers it with what a kubelet says to those whom
// it does not know or who may not.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, needs []string) bool {
	if s.options.Plain {
		return true // the read-only port asks nobody
	}
	user := s.authenticate(r)
	if user == "" {
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return false
	}
	allowed := false
	switch s.permissionOf(user) {
	case NodesPods:
		allowed = slices.Contains(needs, "pods")
	case NodesProxy:
		allowed = slices.Contains(needs, "proxy")
	}
	if !allowed {
		refuse(w, http.StatusForbidden, fmt.Sprintf("Forbidden (user=%s, verb=get, resource=nodes, subresource(s)=%v)\n", user, needs))
	}
	return allowed
}

// debug answers what is not /pods. Of all that a kubelet does there only the
// refusals are modelled, and the logs of containers, which are empty.
func (s *Server) debug(w http.ResponseWriter, r *http.Request) {
	if s.options.Plain && r.URL.Path != "/healthz" {
		refuse(w, http.StatusMethodNotAllowed, "Debug endpoints are disabled.\n")
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	accept := r.Header.Get("Accept")
	switch {
	case r.URL.Path == "/healthz":
		refuse(w, http.StatusOK, "ok")
	case parts[0] != "containerLogs" || len(parts) != 4:
		http.NotFound(w, r)
	case accept != "" && !strings.Contains(accept, "text/plain") && !strings.Contains(accept, "*/*"):
		refuse(w, http.StatusNotAcceptable, "406: Not Acceptable")
	default:
		containers, found := s.containersOf(parts[1], parts[2])
		switch {
		case !found:
			refuse(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", parts[2]))
		case !slices.Contains(containers, parts[3]):
			refuse(w, http.StatusNotFound, fmt.Sprintf("container %q not found in pod %q", parts[3], parts[2]))
		}
	}
}

func (s *Server) containersOf(namespace, name string) (containers []string, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.pods {
		var p struct {
			Metadata struct{ Namespace, Name string }
			Spec     struct{ Containers []struct{ Name string } }
		}
		if json.Unmarshal(i.json, &p) != nil || p.Metadata.Namespace != namespace || p.Metadata.Name != name {
			continue // AddRaw takes anything
		}
		for _, c := range p.Spec.Containers {
			containers = append(containers, c.Name)
		}
		return containers, true
	}
	return nil, false
}
