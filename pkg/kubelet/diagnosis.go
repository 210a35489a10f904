package kubelet

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/podseal/podseal/pkg/printable"
)

// Reason is a kind of failure, for those who branch on it.
type Reason string

// The reasons that a Diagnosis can have.
const (
	// On the way to the kubelet.
	ReasonFile       Reason = "file"       // a file of ours can't be read or used
	ReasonUnresolved Reason = "unresolved" // the node's name has no address
	ReasonRefused    Reason = "refused"    // nothing listens on the port
	ReasonNoRoute    Reason = "no-route"   // there is no way to the address
	ReasonTimeout    Reason = "timeout"    // no answer, or half of one, in time
	ReasonHungUp     Reason = "hung-up"    // the connection was closed in the middle
	ReasonProtocol   Reason = "protocol"   // TLS where HTTP is spoken, or the reverse
	ReasonAlert      Reason = "alert"      // the kubelet ended the TLS handshake
	ReasonRequest    Reason = "request"    // any other request that got no answer

	// About the kubelet's certificate.
	ReasonNoCertificate Reason = "no-certificate" // none was shown
	ReasonIssuer        Reason = "issuer"         // its issuer is not in kubelet_ca_path
	ReasonServerName    Reason = "server-name"    // it is for other names
	ReasonExpired       Reason = "expired"        // it is not valid any more
	ReasonNotYetValid   Reason = "not-yet-valid"  // it is not valid yet: a clock is wrong
	ReasonCertificate   Reason = "certificate"    // it is not accepted for another reason

	// About the credentials, with a 401.
	ReasonAnonymous           Reason = "anonymous"            // none were sent, and some are wanted
	ReasonNoToken             Reason = "no-token"             // the token's file is empty
	ReasonTokenExpired        Reason = "token-expired"        // by its own words
	ReasonTokenRefused        Reason = "token-refused"        // or the kubelet can't check it
	ReasonTokenReplaced       Reason = "token-replaced"       // there is a new one by now
	ReasonCertificateExpired  Reason = "certificate-expired"  // the client's
	ReasonCertificateRefused  Reason = "certificate-refused"  // the client's
	ReasonCertificateReplaced Reason = "certificate-replaced" // the client's: there is a new one by now

	// About the answer.
	ReasonForbidden  Reason = "forbidden"   // 403
	ReasonNotKubelet Reason = "not-kubelet" // what answers does not answer as kubelets do
	ReasonStatus     Reason = "status"      // any other status
	ReasonLimit      Reason = "limit"       // the answer is beyond one of our bounds
)

// Diagnosis is a failure for people: what is wrong, and what to do about it. Both
// are one line each, fit for printing, and name the key, file, host or name that
// they are about. Neither is empty.
type Diagnosis struct {
	Reason Reason
	Cause  string
	Remedy string
}

// Diagnose returns the diagnosis of an error of this package; false for others.
func Diagnose(err error) (Diagnosis, bool) {
	e, ok := errors.AsType[interface {
		error
		Diagnosis() Diagnosis
	}](err)
	if !ok {
		return Diagnosis{}, false
	}
	return e.Diagnosis(), true
}

// finding is what there is to say of a failure.
type finding struct {
	diagnosis Diagnosis
	// said is how an error's text ends with it, perhaps in fewer words.
	said string
}

// found is a finding whose diagnosis is said in full.
func found(reason Reason, cause, remedy string) finding {
	return finding{Diagnosis{reason, cause, remedy}, cause + ": " + remedy}
}

// Diagnosis says what to do about the file.
func (e *FileError) Diagnosis() Diagnosis {
	d := Diagnosis{Reason: ReasonFile, Cause: printable.Line(e.Error(), 2<<10)}
	who := ""
	if errors.Is(e.Err, fs.ErrPermission) {
		who = ", and let this user read it"
	}
	switch e.Key {
	case "kubelet_ca_path":
		d.Remedy = fmt.Sprintf("put the CA of the kubelet's serving certificate, or that certificate itself, into %q as PEM, or set kubelet_ca_path to the file that has it%s", e.Path, who)
	case "token_path":
		d.Remedy = fmt.Sprintf("put a service account's token into %q, or set token_path to the file that has it%s; "+
			"in a pod Kubernetes mounts one unless automountServiceAccountToken is false", e.Path, who)
	default:
		d.Remedy = fmt.Sprintf("put the PEM files of a client certificate and of its private key where certificate_path and private_key_path say, "+
			"or set these keys to the files that have them%s: this one is %q", who, e.Path)
	}
	return d
}

// Diagnosis says why there was no answer.
func (e *RequestError) Diagnosis() Diagnosis { return e.finding.diagnosis }

// Diagnosis says what the status means.
func (e *StatusError) Diagnosis() Diagnosis { return e.finding.diagnosis }

// Diagnosis says that it is no list of pods.
func (e *ResponseError) Diagnosis() Diagnosis {
	d := Diagnosis{Reason: ReasonNotKubelet, Cause: fmt.Sprintf("what answers at %s gives no list of pods: %v", e.address, e)}
	if errors.Is(e.Err, ErrLimit) {
		d.Reason = ReasonLimit
	}
	d.Remedy = fmt.Sprintf("look whether it is the kubelet that listens there, and set %s to the kubelet's port", e.portKey)
	return d
}
