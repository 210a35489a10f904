package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/printable"
)

// wayStages are the checks of the way to the kubelet's port, in the order in which
// a request passes them.
var wayStages = []string{KubeletFiles, KubeletName, KubeletConnection, KubeletCertificate, KubeletServerName, KubeletAuthentication}

// way asks the kubelet once, for nothing in particular.
func (x *examination) way(ctx context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return x.noKubelet(because(Configuration))
	case x.Settings.PodSource == FromPodsAPI:
		return x.noKubelet("the kubelet's port is not used, since pod_source is \"pods_api\"")
	case x.Kubelet == nil && x.KubeletErr == nil:
		return x.noKubelet("not looked at, because podseal's parts could not be put together")
	}
	err := x.KubeletErr
	if err == nil {
		x.inspection, err = x.Kubelet.Inspect(ctx)
		if d, ok := diagnosis.Of(err); ok && replaced(d.Reason) {
			x.inspection, err = x.Kubelet.Inspect(ctx) // with the new token or certificate
		}
	}
	checks, failedAt := judgeWay(wayFacts{x.Settings.Kubelet, x.inspection, err, time.Now()})
	x.noWay = failedAt
	return x.fallback(checks)
}

func replaced(r diagnosis.Reason) bool {
	return r == kubelet.ReasonTokenReplaced || r == kubelet.ReasonCertificateReplaced
}

func (x *examination) noKubelet(why string) []Check {
	x.noWay = why
	var checks []Check
	for _, name := range wayStages {
		checks = append(checks, skipped(name, why))
	}
	return checks
}

// wayFacts is what one request met.
type wayFacts struct {
	cfg kubelet.Config
	// inspection is nil where the client could not even be made.
	inspection *kubelet.Inspection
	err        error
	now        time.Time
}

// judgeWay returns the checks of wayStages, and why later ones can't be made, ""
// where they can.
func judgeWay(f wayFacts) (checks []Check, noWay string) {
	d, stage := f.failure()
	for _, name := range wayStages {
		switch {
		case noWay != "":
			checks = append(checks, skipped(name, noWay))
		case name == stage:
			checks = append(checks, failed(name, d.Cause, d.Remedy, f.details(name)...))
			noWay = because(name)
		default:
			checks = append(checks, f.passed(name))
		}
	}
	return checks, noWay
}

// failure is what went wrong and the check that it belongs to, "" for nothing.
func (f wayFacts) failure() (diagnosis.Diagnosis, string) {
	if f.err == nil {
		return diagnosis.Diagnosis{}, ""
	}
	d, ok := diagnosis.Of(f.err)
	if !ok {
		return diagnosis.Diagnosis{Cause: f.err.Error(), Remedy: "change the setting that is named, or look at podseal's log"}, KubeletConnection
	}
	switch d.Reason {
	case kubelet.ReasonFile:
		return d, KubeletFiles
	case kubelet.ReasonUnresolved:
		return d, KubeletName
	case kubelet.ReasonNoCertificate, kubelet.ReasonIssuer, kubelet.ReasonExpired, kubelet.ReasonNotYetValid, kubelet.ReasonCertificate:
		return d, KubeletCertificate
	case kubelet.ReasonServerName:
		return d, KubeletServerName
	case kubelet.ReasonAnonymous, kubelet.ReasonNoToken, kubelet.ReasonTokenExpired, kubelet.ReasonTokenRefused, kubelet.ReasonTokenReplaced,
		kubelet.ReasonCertificateExpired, kubelet.ReasonCertificateRefused, kubelet.ReasonCertificateReplaced:
		return d, KubeletAuthentication
	case kubelet.ReasonAlert:
		// Once the kubelet has shown its certificate, it is ours that it minds.
		if f.inspection != nil && f.inspection.Certificate != nil {
			return d, KubeletAuthentication
		}
	}
	return d, KubeletConnection
}

// passed is a check that the request got past.
func (f wayFacts) passed(name string) Check {
	if !f.cfg.Secure && name != KubeletConnection {
		return skipped(name, "the read-only port has no names, certificates and credentials")
	}
	switch name {
	case KubeletFiles:
		return ok(name, "the files can be read", f.details(name)...)
	case KubeletName:
		return f.passedName()
	case KubeletConnection:
		return f.passedConnection()
	case KubeletCertificate:
		return f.passedCertificate()
	case KubeletServerName:
		return f.passedServerName()
	}
	return f.passedAuthentication()
}

func (f wayFacts) passedName() Check {
	switch {
	case f.cfg.NodeName == "":
		return ok(KubeletName, "there is no node name: 127.0.0.1 is dialled")
	case f.inspection == nil || len(f.inspection.Resolved) == 0:
		return ok(KubeletName, fmt.Sprintf("node_name %q is dialled", f.cfg.NodeName))
	}
	return ok(KubeletName, fmt.Sprintf("node_name %q has the address %s", f.cfg.NodeName, addresses(f.inspection.Resolved)))
}

func addresses(all []netip.Addr) string {
	var words []string
	for _, a := range all[:min(len(all), 10)] {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

func (f wayFacts) passedConnection() Check {
	at := f.inspection.Address
	if !f.cfg.Secure {
		return warning(KubeletConnection, fmt.Sprintf("kubelet_read_only_port: %s answers plain HTTP: "+
			"every process in the node's network namespace that gets hold of the port, for example while the kubelet restarts, decides which selectors workloads get", at),
			"use kubelet_secure_port (10250 by default) with a token or a client certificate in place of kubelet_read_only_port")
	}
	return ok(KubeletConnection, at+" speaks TLS", f.details(KubeletConnection)...)
}

func (f wayFacts) passedCertificate() Check {
	if f.cfg.SkipVerification {
		return warning(KubeletCertificate, fmt.Sprintf("skip_kubelet_verification: the kubelet's certificate is not verified: whoever answers at %s in its place decides which selectors workloads get", f.inspection.Address),
			"remove skip_kubelet_verification, and set kubelet_ca_path to the CA of the kubelet's serving certificate, or to that certificate itself", f.details(KubeletCertificate)...)
	}
	finding := fmt.Sprintf("the kubelet's serving certificate holds against %q (kubelet_ca_path)", f.cfg.CAPath)
	if c := f.inspection.Certificate; c != nil {
		finding += f.expires(c.NotAfter)
	}
	return ok(KubeletCertificate, finding, f.details(KubeletCertificate)...)
}

func (f wayFacts) passedServerName() Check {
	const fromNode = "set the variable MY_NODE_NAME of the agent's container from spec.nodeName (or node_name), or kubelet_server_name to a name that the certificate has"
	switch {
	case f.cfg.SkipVerification:
		return skipped(KubeletServerName, "skip_kubelet_verification: nothing of the certificate is verified")
	case f.inspection.VerifiedName == "":
		return warning(KubeletServerName, fmt.Sprintf("there is no node name, so the name in the kubelet's certificate is not verified: "+
			"whoever can bind port %d of 127.0.0.1 while the kubelet restarts, and has any certificate of a CA in %q, decides which selectors workloads get", f.cfg.Port, f.cfg.CAPath),
			fromNode, f.details(KubeletServerName)...)
	}
	key := "node_name"
	if f.cfg.ServerName != "" {
		key = "kubelet_server_name"
	}
	return ok(KubeletServerName, fmt.Sprintf("the kubelet's serving certificate has the name %q (%s)", f.inspection.VerifiedName, key))
}

func (f wayFacts) passedAuthentication() Check {
	i := f.inspection
	switch {
	case f.cfg.Anonymous:
		return warning(KubeletAuthentication, "use_anonymous_authentication: no credentials are sent: what the kubelet shows to podseal then, it shows to everybody who can connect to it",
			"set token_path, or certificate_path and private_key_path, in place of use_anonymous_authentication, and authentication.anonymous.enabled to false in the kubelet's configuration")
	case i.ClientCertificate != nil:
		return ok(KubeletAuthentication, fmt.Sprintf("the kubelet accepts the client certificate in %q (certificate_path) of %q%s", f.cfg.CertificatePath, i.ClientCertificate.Subject, f.expires(i.ClientCertificate.NotAfter)))
	case i.Token == nil:
		return warning(KubeletAuthentication, fmt.Sprintf("there is no token in %q (token_path), and the kubelet answers all the same: what it shows to podseal then, it shows to everybody who can connect to it", f.cfg.TokenPath),
			"put a service account's token there, and set authentication.anonymous.enabled to false in the kubelet's configuration")
	}
	finding := fmt.Sprintf("the kubelet accepts the token in %q (token_path)%s", f.cfg.TokenPath, f.expires(i.Token.Expires))
	return ok(KubeletAuthentication, finding, f.details(KubeletAuthentication)...)
}

// expires says when something ends, "" where that is not known.
func (f wayFacts) expires(at time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case at.Before(f.now):
		return fmt.Sprintf(", which expired %s ago", printable.Span(f.now.Sub(at)))
	}
	return fmt.Sprintf(", which expires in %s", printable.Span(at.Sub(f.now)))
}

// details are the facts about a check, whether it passed or failed.
func (f wayFacts) details(name string) (facts []string) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, name+": "+value)
		}
	}
	i := cmp.Or(f.inspection, &kubelet.Inspection{})
	switch name {
	case KubeletFiles:
		if !f.cfg.SkipVerification {
			add("kubelet_ca_path", f.cfg.CAPath)
		}
		switch {
		case f.cfg.Anonymous:
		case f.cfg.CertificatePath != "":
			add("certificate_path", f.cfg.CertificatePath)
			add("private_key_path", f.cfg.PrivateKeyPath)
		default:
			add("token_path", f.cfg.TokenPath)
		}
	case KubeletConnection:
		add("address", i.Address)
		add("resolved to", addresses(i.Resolved))
		add("connected to", i.Peer)
	case KubeletCertificate, KubeletServerName:
		if c := i.Certificate; c != nil {
			add("subject", c.Subject)
			add("issuer", c.Issuer)
			add("names", strings.Join(slices.Sorted(slices.Values(c.Names)), ", "))
			add("valid", stamp(c.NotBefore)+" to "+stamp(c.NotAfter))
		}
	case KubeletAuthentication:
		if t := i.Token; t != nil {
			add("the token's subject", t.Subject)
			add("the token's audience", strings.Join(t.Audience, ", "))
			if t.Expires.IsZero() {
				add("the token's expiry", "none that can be read")
			} else {
				add("the token's expiry", stamp(t.Expires))
			}
		}
		if c := i.ClientCertificate; c != nil {
			add("the client certificate's subject", c.Subject)
			add("the client certificate's issuer", c.Issuer)
			add("the client certificate's expiry", stamp(c.NotAfter))
		}
	}
	return facts
}
