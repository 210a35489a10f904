package kubelet

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
)

// The reasons that a Diagnosis can have.
const (
	// On the way to the kubelet.
	ReasonFile       diagnosis.Reason = "file"       // a file of ours can't be read or used
	ReasonUnresolved diagnosis.Reason = "unresolved" // the node's name has no address
	ReasonRefused    diagnosis.Reason = "refused"    // nothing listens on the port
	ReasonNoRoute    diagnosis.Reason = "no-route"   // there is no way to the address
	ReasonTimeout    diagnosis.Reason = "timeout"    // no answer, or half of one, in time
	ReasonHungUp     diagnosis.Reason = "hung-up"    // the connection was closed in the middle
	ReasonProtocol   diagnosis.Reason = "protocol"   // TLS where HTTP is spoken, or the reverse
	ReasonAlert      diagnosis.Reason = "alert"      // the kubelet ended the TLS handshake
	ReasonRequest    diagnosis.Reason = "request"    // any other request that got no answer

	// About the kubelet's certificate.
	ReasonNoCertificate diagnosis.Reason = "no-certificate" // none was shown
	ReasonIssuer        diagnosis.Reason = "issuer"         // its issuer is not in kubelet_ca_path
	ReasonServerName    diagnosis.Reason = "server-name"    // it is for other names
	ReasonExpired       diagnosis.Reason = "expired"        // it is not valid any more
	ReasonNotYetValid   diagnosis.Reason = "not-yet-valid"  // it is not valid yet: a clock is wrong
	ReasonCertificate   diagnosis.Reason = "certificate"    // it is not accepted for another reason

	// About the credentials, with a 401.
	ReasonAnonymous           diagnosis.Reason = "anonymous"            // none were sent, and some are wanted
	ReasonNoToken             diagnosis.Reason = "no-token"             // the token's file is empty
	ReasonTokenExpired        diagnosis.Reason = "token-expired"        // by its own words
	ReasonTokenRefused        diagnosis.Reason = "token-refused"        // or the kubelet can't check it
	ReasonTokenReplaced       diagnosis.Reason = "token-replaced"       // there is a new one by now
	ReasonCertificateExpired  diagnosis.Reason = "certificate-expired"  // the client's
	ReasonCertificateRefused  diagnosis.Reason = "certificate-refused"  // the client's
	ReasonCertificateReplaced diagnosis.Reason = "certificate-replaced" // the client's: there is a new one by now

	// About the answer.
	ReasonForbidden  diagnosis.Reason = "forbidden"   // 403
	ReasonNotKubelet diagnosis.Reason = "not-kubelet" // what answers does not answer as kubelets do
	ReasonStatus     diagnosis.Reason = "status"      // any other status
	ReasonLimit      diagnosis.Reason = "limit"       // the answer is beyond one of our bounds
)

// finding is what there is to say of a failure.
type finding struct {
	diagnosis diagnosis.Diagnosis
	// said is how an error's text ends with it, perhaps in fewer words.
	said string
}

// found is a finding whose diagnosis is said in full.
func found(reason diagnosis.Reason, cause, remedy string) finding {
	return finding{diagnosis.New(reason, cause, remedy), cause + ": " + remedy}
}

// Diagnosis says what to do about the file.
func (e *FileError) Diagnosis() diagnosis.Diagnosis {
	d := diagnosis.Diagnosis{Reason: ReasonFile, Cause: printable.Line(e.Error(), 2<<10)}
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
func (e *RequestError) Diagnosis() diagnosis.Diagnosis { return e.finding.diagnosis }

// Diagnosis says what the status means.
func (e *StatusError) Diagnosis() diagnosis.Diagnosis { return e.finding.diagnosis }

// Diagnosis says that it is no list of pods.
func (e *ResponseError) Diagnosis() diagnosis.Diagnosis {
	d := diagnosis.Diagnosis{Reason: ReasonNotKubelet, Cause: fmt.Sprintf("what answers at %s gives no list of pods: %v", e.address, e)}
	if errors.Is(e.Err, ErrLimit) {
		d.Reason = ReasonLimit
	}
	d.Remedy = fmt.Sprintf("look whether it is the kubelet that listens there, and set %s to the kubelet's port", e.portKey)
	return d
}
