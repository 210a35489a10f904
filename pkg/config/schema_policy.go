package config

var imagePolicyKey = key{
	name: "image_policy", kind: namedKind, byDefault: "none", added: true,
	meaning: "A policy for images: `image_policy \"NAME\" { ... }`. Selectors from it carry its name. Names are of lower-case letters, digits, `.` and `-`.",
	errors:  []string{"image_policy[...]: ... is not a name: " + nameForm},
	keys: []key{
		{
			name: "match", kind: blockKind,
			meaning: "Which containers it applies to: all keys that are given must hold, of each one entry. Without the block, and without a key, any. In an entry `*` stands for any characters but a slash.",
			keys: []key{
				{
					name: "namespaces", kind: listKind, byDefault: "any",
					meaning: "Namespaces, such as `pay-*`.",
					errors:  []string{"image_policy[...].match.namespaces: the list is empty, ...", "image_policy[...].match.namespaces: ...: <what is wrong with it>"},
				},
				{
					name: "service_accounts", kind: listKind, byDefault: "any",
					meaning: "Service accounts with their namespaces, such as `pay/api` or `*/deployer`.",
					errors:  []string{"image_policy[...].match.service_accounts: the list is empty, ...", "image_policy[...].match.service_accounts: ...: <what is wrong with it>"},
				},
				{
					name: "images", kind: listKind, byDefault: "any",
					meaning: "Repositories with their registry, without tag and digest, such as `registry.example.org/pay/**`: `**` stands for any characters, slashes too. It is matched with every name that is known of an image. Alone it is no gate, since a pod's author chooses the name.",
					errors:  []string{"image_policy[...].match.images: the list is empty, ...", "image_policy[...].match.images: ...: <what is wrong with it>"},
				},
			},
		},
		{
			name: "mode", kind: stringKind, byDefault: "fail",
			meaning: "What follows where the policy does not hold. `fail`: the workload gets no selectors at all. `withhold`: only this policy's selectors are missing, and the workload gets all others. `audit`: the same, and the log calls it an audit: for a policy that is tried before it is switched on. Where the policy holds its selectors are given in every mode.",
			errors:  []string{"image_policy[...].mode: unsupported value ...; must be one of [fail, withhold, audit]"},
		},
		{
			name: "on_unavailable", kind: stringKind, byDefault: "fail",
			meaning: "What follows where it is not known whether the policy holds, because a registry with a `registry` block, or the log at `rekor_url`, did not answer. `fail`: what `mode` says. `withhold`: only this policy's selectors are missing. `stale`: evidence that was stored at most `cache.stale_ttl` ago is judged again, now; where there is none, or it is not accepted, what `mode` says; without `cache.dir` it does not survive a restart of the agent. " +
				"Only for what did not answer: a bound that is hit, an answer that makes no sense, a registry without a block, a trust root that is missing and a container runtime that is away are always what `mode` says.",
			errors: []string{"image_policy[...].on_unavailable: unsupported value ...; must be one of [fail, withhold, stale]"},
		},
		{
			name: "online_rekor", kind: boolKind, byDefault: "false",
			meaning: "Whether `rekor_url` is asked for the log entry of a signature that comes without it. Without, such a signature is refused where an entry is needed.",
			errors:  []string{"image_policy[...].online_rekor: rekor_url is required with it, here or in sigstore"},
		},
		{
			name: "rekor_url", kind: stringKind, byDefault: "the one that `sigstore` is given",
			meaning: "Rekor server (https or http), asked with `online_rekor = true` only. What it answers counts where the keys of the authority's trust root say so.",
			errors:  []string{"image_policy[...].rekor_url: ... is not the URL of a server", "image_policy[...].rekor_url: no user and no password may be in it: they would not be used"},
		},
		authorityKey,
	},
}

var authorityKey = key{
	name: "authority", kind: namedKind, byDefault: "none, at least one must be given",
	meaning: "Who may sign: `authority \"NAME\" { ... }`. One of the authorities must accept a signature of the image. Each is of one kind: keyless (`issuer` and `subject`), keys (`key_path`, `key_pem` or `key_dir`), a private PKI (`ca_path`) or `static`.",
	errors: []string{
		"image_policy[...].authority: at least one is required",
		"image_policy[...].authority[...]: ... is not a name: " + nameForm,
		"image_policy[...].authority[...]: it must say who may sign: ...",
		"image_policy[...].authority[...].<key>: cannot be used with ...",
	},
	keys: []key{
		{
			name: "issuer", kind: stringKind, byDefault: "none",
			meaning: "Issuer of the signer's identity, exactly. It, or `issuer_regexp`, is required with `subject`.",
			errors:  []string{"image_policy[...].authority[...].issuer: must be specified, or issuer_regexp"},
		},
		{
			name: "issuer_regexp", kind: stringKind, byDefault: "none",
			meaning: "The same as a regular expression, which must match from beginning to end.",
			errors: []string{
				"image_policy[...].authority[...].issuer_regexp: ... is not a pattern that can be read: ...",
				"image_policy[...].authority[...].issuer_regexp: ... matches anything; say allow_any = true if that is meant",
			},
		},
		{
			name: "subject", kind: stringKind, byDefault: "none",
			meaning: "The signer: the subject alternative name of the certificate, exactly. It, or `subject_regexp`, is required with `issuer` and with `ca_path`.",
			errors:  []string{"image_policy[...].authority[...].subject: must be specified, or subject_regexp"},
		},
		{
			name: "subject_regexp", kind: stringKind, byDefault: "none",
			meaning: "The same as a regular expression, which must match from beginning to end.",
			errors: []string{
				"image_policy[...].authority[...].subject_regexp: ... is not a pattern that can be read: ...",
				"image_policy[...].authority[...].subject_regexp: ... matches anything; say allow_any = true if that is meant",
			},
		},
		{
			name: "subject_type", kind: stringKind, byDefault: "any",
			meaning: "Type of name that the subject must be: `email`, `uri`, `dns`, `ip` or `othername`. Without it a name still has to look like its type.",
			errors:  []string{"image_policy[...].authority[...].subject_type: unsupported value ...; must be one of [email, uri, dns, ip, othername]"},
		},
		{
			name: "allow_any", kind: boolKind, byDefault: "false",
			meaning: "Weakens: allows a pattern that matches anything.",
		},
		{name: "source_repository", kind: stringKind, byDefault: "any", meaning: "Keyless: the repository that was built, as Fulcio certifies it, exactly."},
		{name: "source_ref", kind: stringKind, byDefault: "any", meaning: "Keyless: the branch or tag that was built, exactly."},
		{name: "source_digest", kind: stringKind, byDefault: "any", meaning: "Keyless: the commit that was built, exactly."},
		{name: "build_signer", kind: stringKind, byDefault: "any", meaning: "Keyless: the workflow that signed, exactly."},
		{name: "build_trigger", kind: stringKind, byDefault: "any", meaning: "Keyless: the event that started the build, exactly."},
		{name: "runner_environment", kind: stringKind, byDefault: "any", meaning: "Keyless: whose machine built, exactly."},
		{
			name: "key_path", kind: stringKind, byDefault: "none",
			meaning: "PEM file with the public key (ECDSA, RSA or Ed25519). " + notRead,
			errors:  []string{"image_policy[...].authority[...].key_path: ... is not an absolute, clean path"},
		},
		{
			name: "key_pem", kind: linesKind, byDefault: "none",
			meaning: "The public key itself, in PEM, with `\\n` for line breaks. It is read when the plugin is configured, not by `validate`.",
		},
		{
			name: "key_dir", kind: stringKind, byDefault: "none",
			meaning: "Directory with public keys in PEM files, each of which may have signed. " + notRead,
			errors:  []string{"image_policy[...].authority[...].key_dir: ... is not an absolute, clean path"},
		},
		{
			name: "require_tlog", kind: boolKind, byDefault: "false",
			meaning: "Keys and private PKI: signatures must be in a transparency log of the trust root. Keyless ones must always be.",
		},
		{
			name: "valid_from", kind: timeKind, byDefault: "none",
			meaning: "Keys: signatures made before do not count, by the time of a log or timestamp authority of the trust root, else now. RFC 3339, such as `2026-01-31T00:00:00Z`.",
			errors:  []string{"image_policy[...].authority[...].valid_from: ... is not a time, such as 2026-01-31T00:00:00Z"},
		},
		{
			name: "valid_until", kind: timeKind, byDefault: "none",
			meaning: "Keys: signatures made later do not count.",
			errors:  []string{"image_policy[...].authority[...].valid_until: ... is not a time, such as 2026-01-31T00:00:00Z", "image_policy[...].authority[...].valid_until: it is before valid_from"},
		},
		{
			name: "ca_path", kind: stringKind, byDefault: "none",
			meaning: "PEM file with the certificates of a private authority, which signers have theirs from; `subject` or `subject_regexp` is required with it. " + notRead,
			errors:  []string{"image_policy[...].authority[...].ca_path: ... is not an absolute, clean path"},
		},
		{
			name: "static", kind: stringKind, byDefault: "none",
			meaning: "`allow`: every image is accepted, which weakens. `deny`: none is.",
			errors:  []string{"image_policy[...].authority[...].static: unsupported value ...; must be one of [allow, deny]"},
		},
		{
			name: "trust_root", kind: stringKind, byDefault: "the public-good instance's, through TUF",
			meaning: "Name of the `trust_root` block with the authorities and logs that count.",
			errors:  []string{"image_policy[...].authority[...].trust_root: there is no trust_root ..."},
		},
		{
			name: "annotations", kind: stringMapKind, byDefault: "none",
			meaning: "What must be in the signed payload besides, each value exactly.",
			errors:  []string{"image_policy[...].authority[...].annotations: at least one is required where it is given"},
		},
	},
}
