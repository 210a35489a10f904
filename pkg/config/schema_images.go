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
			name: "rekor_url", kind: stringKind, byDefault: "`" + defaultRekorURL + "`; none with `trust_root`",
			meaning: "Rekor server (https or http) that is asked for the log entry of a signature that comes without it. What it answers counts where the keys of the trust root say so.",
			errors:  []string{"sigstore.rekor_url: ... is not the URL of a server", "sigstore.rekor_url: no user and no password may be in it: they would not be used"},
		},
		{
			name: "online_rekor", kind: boolKind, byDefault: "true", added: true,
			meaning: "Whether `rekor_url` is asked. With `false`, and with `ignore_tlog`, signatures are judged with what they bring.",
			errors:  []string{"sigstore.online_rekor: rekor_url is required with it where trust_root is given"},
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
			name: "trust_root", kind: stringKind, byDefault: "the public-good instance's, through TUF", added: true,
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
			meaning: "As `sigstore.rekor_url`; https only. It is always asked.",
			errors:  []string{"missing Rekor URL", "failed to set Rekor URL: ...", "experimental.sigstore.rekor_url: ... is not the URL of a server", "experimental.sigstore.rekor_url: no user and no password may be in it: they would not be used"},
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
	meaning: "Authorities and logs to trust in place of Sigstore's public-good instance: `trust_root \"NAME\" { ... }`, with one of `trusted_root_path` and `tuf`. Names are of lower-case letters, digits, `.` and `-`.",
	errors:  []string{"trust_root[...]: ... is not a name: " + nameForm},
	keys: []key{
		{
			name: "trusted_root_path", kind: stringKind, byDefault: "none",
			meaning: "File with a `trusted_root.json`, as `cosign trusted-root create` writes it, read again when it changes. " + notRead,
			errors:  []string{"trust_root[...].trusted_root_path: must be specified, or tuf", "trust_root[...].trusted_root_path: ... is not an absolute, clean path"},
		},
		tufKey,
	},
}

var tufKey = key{
	name: "tuf", kind: blockKind, added: true,
	meaning: "TUF repository with a target `trusted_root.json`. It is asked in the background: while it is away, or has nothing that can be used, what was fetched last stays in use, and the log says so.",
	errors:  []string{"trust_root[...].tuf: cannot be used with trusted_root_path"},
	keys: []key{
		{
			name: "mirror", kind: stringKind, byDefault: "none, it must be given",
			meaning: "URL of the repository, https or http.",
			errors: []string{
				"trust_root[...].tuf.mirror: must be specified",
				"trust_root[...].tuf.mirror: ... is not the URL of a server",
				"trust_root[...].tuf.mirror: no user and no password may be in it: they would not be used",
			},
		},
		{
			name: "root_path", kind: stringKind, byDefault: "none, it must be given; of Sigstore's own repository the one that is built in",
			meaning: "File with the `root.json` that trust in the repository begins with, read again when it changes. " + notRead,
			errors:  []string{"trust_root[...].tuf.root_path: must be specified: trust in a mirror begins with it", "trust_root[...].tuf.root_path: ... is not an absolute, clean path"},
		},
		{
			name: "cache_dir", kind: stringKind, byDefault: "`tuf/NAME` in `cache.dir`, or none",
			meaning: "Directory where what was fetched is kept over restarts. It is made, and must be the agent's user's alone. Without one the repository must answer after each start.",
			errors:  []string{"trust_root[...].tuf.cache_dir: ... is not an absolute, clean path"},
		},
		{
			name: "refresh", kind: durationKind, byDefault: "24h",
			meaning: "How often the repository is asked, `1m` to `168h`: a new key or authority counts, and one that was withdrawn no longer does, after that time.",
			errors:  []string{"trust_root[...].tuf.refresh: ... is not 1m to 168h", "trust_root[...].tuf.refresh: <what is wrong with it>"},
		},
	},
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

var cacheKey = key{
	name: "cache", kind: blockKind, added: true,
	meaning: "For how long what was found out about an image is used, and where evidence is kept. A change of policies, trust roots, keys or credentials ends it at once, and so does the end of anything's validity.",
	keys: []key{
		{
			name: "ttl", kind: durationKind, byDefault: "1h",
			meaning: "How old the list of an image's signatures may be, `1m` to `24h`: a signature that was removed from the registry counts for at most this time. Less asks the registry more often.",
			errors:  []string{"cache.ttl: ... is not 1m to 24h", "cache.ttl: <what is wrong with it>"},
		},
		{
			name: "stale_ttl", kind: durationKind, byDefault: "24h",
			meaning: "For policies with `on_unavailable = \"stale\"`: how old evidence may be that is judged again while the registry does not answer, `ttl` to `168h`. Whoever keeps the registry away makes a removed signature count for this time.",
			errors:  []string{"cache.stale_ttl: ... is not ... to 168h", "cache.stale_ttl: <what is wrong with it>"},
		},
		{
			name: "negative_ttl", kind: durationKind, byDefault: "30s",
			meaning: "After which time an image that was refused is looked at again, `1s` to `ttl`: so long a new signature may take to count.",
			errors:  []string{"cache.negative_ttl: ... is not 1s to ...", "cache.negative_ttl: <what is wrong with it>"},
		},
		{
			name: "max_entries", kind: intKind, byDefault: "2048",
			meaning: "How many verdicts are remembered, 16 to 65536. Those about containers that run on the node are not dropped for others.",
			errors:  []string{"cache.max_entries: ... is not 16 to 65536"},
		},
		{
			name: "dir", kind: stringKind, byDefault: "none: in memory",
			meaning: "Directory where evidence is kept over restarts, and below it what was fetched of trust roots. It is made, and must be the agent's user's alone: what is read there is judged again. Without one an agent that starts has to ask the registry and the TUF repository about everything.",
			errors:  []string{"cache.dir: ... is not an absolute, clean path"},
		},
	},
}
