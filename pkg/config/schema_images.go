package config

// The part of the schema that is about images: who signed what runs.

const (
	defaultRekorURL = "https://rekor.sigstore.dev"
	notRead         = "The file is read when the plugin is configured, not by `validate`."
)

var identityListErrors = []string{
	"sigstore.allowed_identities[...]: ... is not a pattern that can be read: ...",
	"sigstore.allowed_identities[...]: an empty string is nobody's identity",
}

var sigstoreKey = key{
	name: "sigstore", kind: blockKind, unchecked: true,
	meaning: "One policy for every container that asks: its image must have a Sigstore signature that is accepted, or the workload gets no selectors. Its keys are SPIRE's; unknown ones are errors here.",
	errors:  []string{"sigstore cannot be used with experimental.sigstore"},
	keys: []key{
		{
			name: "allowed_identities", kind: listMapKind, byDefault: "any identity",
			meaning: "Who may have signed: issuers, and of each the subjects. A string with one of `*+?^${}[]\\|()` is a regular expression, as in SPIRE, and must match from beginning to end; every other string is meant exactly. Without the key everybody with a certificate of the trust root is accepted, with a warning; where it is given and empty nobody is.",
			errors:  identityListErrors,
		},
		{
			name: "skipped_images", kind: listKind, byDefault: "none",
			meaning: "Images that need no signature, as the kubelet reports them in `imageID`: `registry.example.org/app@sha256:...`, or `sha256:...` for one without a repository. They get no selectors of this block. Other spellings of the same name count: `docker.io` is `index.docker.io`.",
			errors:  []string{"sigstore.skipped_images: image ID...: ..."},
		},
		{
			name: "rekor_url", kind: stringKind, byDefault: defaultRekorURL,
			meaning: "Rekor server for signatures that come without their log entry. Not asked yet: signatures are judged with what they bring, and one without its log entry is refused unless `ignore_tlog` is set.",
			errors:  []string{"sigstore.rekor_url: ... is not the URL of a server"},
		},
		{
			name: "ignore_tlog", kind: boolKind, byDefault: "false",
			meaning: "Weakens: signatures need no entry in a transparency log, so that those made in secret count too.",
		},
		{
			name: "ignore_sct", kind: boolKind, byDefault: "false",
			meaning: "Weakens: certificates need no proof that they were published in a certificate transparency log.",
		},
		{
			name: "ignore_attestations", kind: boolKind, byDefault: "false",
			meaning: "Attestations are not looked for. They are never required by this block: what there is of them gives a selector more.",
		},
		{
			name: "registry_credentials", kind: namedKind, byDefault: "none", unchecked: true, mayBeEmpty: true,
			meaning: "Credentials by registry, for exactly that host and port. A registry that is named here counts as configured: it may have a private address.",
			errors:  []string{"sigstore.registry_credentials[...]: ... is not a registry's host, with or without a port", "sigstore.registry_credentials[...]: registry[...] has credentials too"},
			keys: []key{
				{name: "username", kind: stringKind, byDefault: "none", meaning: "User name. Without a password it is not used, with a warning."},
				{name: "password", kind: stringKind, secret: true, byDefault: "none", meaning: "Password. Without a user name it is not used, with a warning. It stands in the agent's configuration: `password_path` of a `registry` block keeps it in a file."},
			},
		},
		{
			name: "trust_root", kind: stringKind, byDefault: "the public-good instance's", added: true,
			meaning: "Name of the `trust_root` block with the authorities and logs that count.",
			errors:  []string{"sigstore.trust_root: there is no trust_root ..."},
		},
	},
}

var olderSigstoreKey = key{
	name: "sigstore", kind: blockKind, added: true,
	meaning: "The block of SPIRE 1.10 and before, in place of `sigstore`, with that version's selectors (`<container ID>:image-signature-...`, `sigstore-validation:passed`).",
	keys: []key{
		{
			name: "rekor_url", kind: stringKind, byDefault: "none, it must be given",
			meaning: "As `sigstore.rekor_url`; https only.",
			errors:  []string{"missing Rekor URL", "failed to set Rekor URL: ..."},
		},
		{
			name: "allowed_subjects_list", kind: listMapKind, byDefault: "nobody",
			meaning: "Who may have signed: issuers, and of each the subjects, all meant exactly.",
			errors:  []string{"experimental.sigstore.allowed_subjects_list[...]: an empty string is nobody's identity"},
		},
		{
			name: "skip_signature_verification_image_list", kind: listKind, byDefault: "none",
			meaning: "Images that need no signature, as in `sigstore.skipped_images`. They get `sigstore-validation:passed` all the same, as in that version.",
			errors:  []string{"experimental.sigstore.skip_signature_verification_image_list: image ID...: ..."},
		},
		{
			name: "enforce_sct", kind: boolKind, byDefault: "true",
			meaning: "`false` weakens, as `sigstore.ignore_sct`.",
		},
	},
}

var criSocketKey = key{
	name: "cri_socket", kind: stringKind, byDefault: "none", added: true,
	meaning: "Socket of the container runtime (CRI), such as `/run/containerd/containerd.sock`: what it says of a container and its image is what runs. It is asked about images only, and only where image trust is configured.",
	errors:  []string{"cri_socket: ... is not an absolute, clean path"},
}

var statusSourceKey = key{
	name: "image_status_source", kind: stringKind, byDefault: "auto", added: true,
	meaning: "Whose word on the image that runs is taken. `cri`: the runtime's, at `cri_socket`. `pods_api`: the kubelet's, through its Pods API. `kubelet`: the status as `pod_source` has it, which weakens, since through the kubelet's port it is a copy that everybody with rights on `pods/status` can write. `auto`: `cri` where `cri_socket` is set, else `pods_api` where `pod_source` is that, else `kubelet`, with a warning. A source that is away is not replaced by another.",
	errors: []string{
		"image_status_source: unsupported value ...; must be one of [auto, pods_api, cri, kubelet]",
		"image_status_source: cri needs cri_socket",
		"image_status_source: ... cannot be used with pod_source = ...",
	},
}

var trustRootKey = key{
	name: "trust_root", kind: namedKind, byDefault: "none", added: true,
	meaning: "Authorities and logs to trust in place of Sigstore's public-good instance: `trust_root \"NAME\" { ... }`. Names are of lower-case letters, digits, `.` and `-`.",
	errors:  []string{"trust_root[...]: ... is not a name: " + nameForm},
	keys: []key{{
		name: "trusted_root_path", kind: stringKind, byDefault: "none, it must be given",
		meaning: "File with a `trusted_root.json`, as `cosign trusted-root create` writes it. " + notRead,
		errors:  []string{"trust_root[...].trusted_root_path: must be specified", "trust_root[...].trusted_root_path: ... is not an absolute, clean path"},
	}},
}

var registriesKey = key{
	name: "registries", kind: stringKind, byDefault: "`any` where `sigstore` is used and no `image_policy`, else `configured`", added: true,
	meaning: "Which registries may be asked about an image. `configured`: those with a `registry` block. `any`: every one that a pod names, at public addresses.",
	errors:  []string{"registries: unsupported value ...; must be one of [configured, any]"},
}

var registryKey = key{
	name: "registry", kind: namedKind, byDefault: "none", added: true,
	meaning: "A registry that may be asked, at private addresses too: `registry \"HOST[:PORT]\" { ... }`, as images name it. `docker.io` and `index.docker.io` are one.",
	errors: []string{
		"registry[...]: ... is not a registry's host, with or without a port",
		"registry[...]: the same registry as registry[...]",
	},
	keys: []key{
		{
			name: "ca_path", kind: stringKind, byDefault: "the system's authorities",
			meaning: "PEM file that the registry's certificate is verified with. " + notRead,
			errors:  []string{"registry[...].ca_path: ... is not an absolute, clean path", "registry[...].ca_path: cannot be used with insecure"},
		},
		{
			name: "mirror", kind: stringKind, byDefault: "none",
			meaning: "`HOST[:PORT][/PREFIX]` that is asked in place of the registry; the other keys are about it then.",
			errors:  []string{"registry[...].mirror: ... is not host[:port][/prefix]"},
		},
		{
			name: "insecure", kind: boolKind, byDefault: "false",
			meaning: "Weakens: plain HTTP. Whoever is on the way can hide signatures, and reads the credentials.",
		},
		{
			name: "username", kind: stringKind, byDefault: "none",
			meaning: "User name, together with `password_path`.",
			errors:  []string{"registry[...].username: password_path is required with it"},
		},
		{
			name: "password_path", kind: stringKind, byDefault: "none",
			meaning: "File with the password, read again when it changes. " + notRead,
			errors:  []string{"registry[...].password_path: username is required with it", "registry[...].password_path: ... is not an absolute, clean path"},
		},
		{
			name: "docker_config_path", kind: stringKind, byDefault: "none",
			meaning: "File in the form of docker's `config.json`, of which the `auths` for exactly this registry are used, and no credential helper; read again when it changes. " + notRead,
			errors:  []string{"registry[...].docker_config_path: cannot be used with username", "registry[...].docker_config_path: ... is not an absolute, clean path"},
		},
		{
			name: "repositories", kind: listKind, byDefault: "all",
			meaning: "Which repositories credentials are sent for, wherever they are from: `pay/` for all below it, `pay` for that one too.",
			errors:  []string{"registry[...].repositories: at least one is required where it is given", "registry[...].repositories: ... is not the beginning of a repository's path"},
		},
		{
			name: "token_hosts", kind: listKind, byDefault: "none",
			meaning: "Other hosts that may be sent the credentials when the registry says that tokens are given there, such as `gitlab.example.org`.",
			errors:  []string{"registry[...].token_hosts: at least one is required where it is given", "registry[...].token_hosts: ... is not a host, with or without a port"},
		},
		{
			name: "proxy_url", kind: stringKind, secret: true, byDefault: "none",
			meaning: "Proxy for this registry. Those of the environment are not used.",
			errors:  []string{"registry[...].proxy_url: not the URL of a proxy: http://host:port, https:// or socks5://"},
		},
	},
}

var limitsKey = key{
	name: "limits", kind: blockKind, added: true,
	meaning: "Bounds on the work that one image may make; the defaults are the most there is. A bound that is hit is a failure that says so.",
	keys: []key{
		{name: "image_budget", kind: durationKind, byDefault: "10s", meaning: "Time for one image in all.", errors: []string{"limits.image_budget: ... is not more than nothing and at most 10s", "limits.image_budget: <what is wrong with it>"}},
		{name: "max_signatures", kind: intKind, byDefault: "32", meaning: "Signatures and attestations of cosign's tags.", errors: []string{"limits.max_signatures: ... is not 1 to 32"}},
		{name: "max_referrers", kind: intKind, byDefault: "64", meaning: "Bundles that refer to the image.", errors: []string{"limits.max_referrers: ... is not 1 to 64"}},
		{name: "max_manifest", kind: sizeKind, byDefault: "4MiB", meaning: "Size of a manifest or an index.", errors: []string{"limits.max_manifest: ... is not a size of 1 to 4MiB"}},
		{name: "max_bundle", kind: sizeKind, byDefault: "8MiB", meaning: "Size of a bundle or an attestation.", errors: []string{"limits.max_bundle: ... is not a size of 1 to 8MiB"}},
	},
}
