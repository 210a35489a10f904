package config

import "strings"

// kubelet decides how the kubelet is reached. Settings that decision leaves without
// effect are dropped, with a warning where somebody may count on them.
func (b *builder) kubelet() {
	k := &b.config.Kubelet
	if b.config.PodSource == FromPodsAPI {
		*k = Kubelet{}
		b.unused("pod_source", "kubelet_read_only_port", "kubelet_secure_port", "kubelet_ca_path", "skip_kubelet_verification", "token_path",
			"certificate_path", "private_key_path", "use_anonymous_authentication", "node_name", "node_name_env", "reload_interval", "kubelet_server_name")
		return
	}
	readOnly, secure := b.s.number("kubelet_read_only_port"), b.s.number("kubelet_secure_port")
	if readOnly > 0 && secure > 0 {
		b.problem("kubelet_read_only_port", "cannot use both the read-only and secure port")
	}
	if readOnly > 0 {
		k.Port = readOnly
		b.warn("kubelet_read_only_port", "kubelet_read_only_port: plain HTTP: every process in the node's network namespace that gets hold of the port decides which selectors workloads get")
		b.unused("kubelet_read_only_port", "kubelet_ca_path", "skip_kubelet_verification", "token_path", "certificate_path", "private_key_path",
			"use_anonymous_authentication", "node_name", "node_name_env", "kubelet_server_name")
		return
	}
	k.Secure = true
	k.Port = secure
	if k.Port == 0 {
		k.Port = defaultSecurePort
	}
	k.NodeName = b.nodeName()
	b.kubeletVerification(k)
	if !b.s.flag("disable_kubelet_client") {
		b.kubeletCredentials(k)
	}
}

func (b *builder) kubeletVerification(k *Kubelet) {
	if b.s.flag("skip_kubelet_verification") {
		k.SkipVerification = true
		b.warn("skip_kubelet_verification", "skip_kubelet_verification: the kubelet's certificate is not verified: whoever answers in its place decides which selectors workloads get")
		b.unused("skip_kubelet_verification", "kubelet_ca_path", "kubelet_server_name")
		return
	}
	k.ServerName = b.s.text("kubelet_server_name")
	k.CAPath = b.s.text("kubelet_ca_path")
	if k.CAPath == "" {
		k.CAPath = defaultCAPath
	}
}

// kubeletCredentials has the built-in attestor's precedence: anonymous wins over the
// client certificate, which wins over the token.
func (b *builder) kubeletCredentials(k *Kubelet) {
	certificate, privateKey := b.s.text("certificate_path"), b.s.text("private_key_path")
	switch {
	case b.s.flag("use_anonymous_authentication"):
		k.Anonymous = true
		b.warn("use_anonymous_authentication", "use_anonymous_authentication: works only with a kubelet that shows its pods, and possibly more, to everybody")
		b.unused("use_anonymous_authentication", "token_path", "certificate_path", "private_key_path")
	case certificate != "" && privateKey != "":
		k.CertificatePath, k.PrivateKeyPath = certificate, privateKey
		b.unused("certificate_path", "token_path")
	case certificate != "":
		b.problem("certificate_path", "the private key path is required with the certificate path")
	case privateKey != "":
		b.problem("private_key_path", "the certificate path is required with the private key path")
	default:
		k.TokenPath = b.s.text("token_path")
		if k.TokenPath == "" {
			k.TokenPath = defaultTokenPath
		}
	}
}

// unused warns of settings that another one makes useless. The built-in attestor does
// not use them either, and does not say so.
func (b *builder) unused(because string, keys ...string) {
	var set []string
	builtIn := false
	for _, key := range keys {
		if v := b.s.value(key); v.text != "" || v.flag || v.number > 0 {
			set = append(set, key)
			k, _ := find(schema, key)
			builtIn = builtIn || !k.added
		}
	}
	if len(set) > 0 {
		b.warn(set[0], strings.Join(set, ", ")+": not used, because of "+because).BuiltInIgnores = builtIn
	}
}
