package config_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/config"
)

const (
	ci   = "image_policy[release].authority[ci]"
	pays = "image_policy[release].match"
)

func matchOf(text string) string {
	return policyOf("match {\n" + text + "\n}\nauthority \"ci\" {\nstatic = \"deny\"\n}")
}

func registryOf(text string) string { return "registry \"r.example.org\" {\n" + text + "\n}\n" }

// imageProblemCases has every message about images. Those of patterns are
// ADVERSARIAL.md's row 8, of image IDs row 20 and of registries rows 24 and 25.
var imageProblemCases = []problemCase{
	{"both sigstore blocks", "sigstore {}\nexperimental {\nsigstore {\nrekor_url = \"https://r.example.org\"\n}\n}",
		[]string{"sigstore cannot be used with experimental.sigstore"}},
	{"an unknown key of sigstore", "sigstore {\nallowed_identites = {}\n}",
		[]string{"unknown configurations detected: sigstore.allowed_identites"}},
	{"an unknown key of credentials", "sigstore {\nregistry_credentials \"r.example.org\" {\nuser = \"u\"\n}\n}",
		[]string{"unknown configurations detected: sigstore.registry_credentials[r.example.org].user"}},
	{"a pattern that can't be read", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"*@example.org\"]\n\"(\" = [\"b\"]\n}\n}", []string{
		"sigstore.allowed_identities[https://a]: \"*@example.org\" is not a pattern that can be read: error parsing regexp: missing argument to repetition operator: `*`",
		"sigstore.allowed_identities[(]: \"(\" is not a pattern that can be read: error parsing regexp: missing closing ): `(`",
	}},
	{"a pattern that would leave its anchors", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"a)|(?:b\"]\n}\n}",
		[]string{"sigstore.allowed_identities[https://a]: \"a)|(?:b\" is not a pattern that can be read: error parsing regexp: unexpected ): `a)|(?:b`"}},
	{"a pattern that is too long", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"" + strings.Repeat("a", 1<<12) + "+\"]\n}\n}",
		[]string{`sigstore.allowed_identities[https://a]: "` + strings.Repeat("a", 2048-40) + `... (cut)`}},
	{"identities that are empty", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"\"]\n\"\" = [\"b\"]\n}\n}", []string{
		"sigstore.allowed_identities[https://a]: an empty string is nobody's identity",
		`sigstore.allowed_identities[""]: an empty string is nobody's identity`,
	}},
	{"an issuer twice", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"b\"]\n\"https://a\" = [\"c\"]\n}\n}",
		[]string{"sigstore.allowed_identities[https://a]: given more than once, at L:C and L:C"}},
	{"an issuer three times, in two blocks", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"b\"]\n\"https://a\" = [\"c\"]\n}\n}\nsigstore {\nallowed_identities = {\n\"https://a\" = [\"d\"]\n}\n}",
		[]string{"sigstore.allowed_identities[https://a]: given more than once, at L:C and L:C and L:C"}},
	{"a list of identities", "sigstore {\nallowed_identities = [\"a\"]\n}",
		[]string{"unable to decode configuration: sigstore.allowed_identities: a map of lists of strings is needed, found a list"}},
	{"subjects that are a block", "sigstore {\nallowed_identities = {\n\"https://a\" = {\nb = [\"c\"]\n}\n}\n}",
		[]string{"unable to decode configuration: sigstore.allowed_identities[https://a]: a list of strings is needed, found a block"}},
	{"subjects that are no strings", "sigstore {\nallowed_identities = {\n\"https://a\" = [\"b\", 1.5]\n}\n}",
		[]string{"unable to decode configuration: sigstore.allowed_identities[https://a]: a list of strings is needed, found a list"}},
	{"a list twice", "sigstore {\nskipped_images = []\nskipped_images = []\n}",
		[]string{"sigstore.skipped_images: given more than once, at L:C and L:C"}},
	{"images that are no image IDs", "sigstore {\nskipped_images = [\"nginx\", \"r.example.org/a@sha256:ABC\", \"\"]\n}", []string{
		`sigstore.skipped_images: image ID: image "nginx": it has no digest, and a tag can mean another image tomorrow`,
		`sigstore.skipped_images: image ID: image "r.example.org/a@sha256:ABC": digest "sha256:ABC" is not "sha256:" and 64 lower-case hexadecimal digits`,
		`sigstore.skipped_images: image ID "": there is none`,
	}},
	{"a Rekor that is none", "sigstore {\nrekor_url = \"rekor.example.org\"\n}",
		[]string{`sigstore.rekor_url: "rekor.example.org" is not the URL of a server`}},
	{"a trust root that is not there", "sigstore {\ntrust_root = \"airgap\"\n}",
		[]string{`sigstore.trust_root: there is no trust_root "airgap"`}},
	{"credentials for no registry", "sigstore {\nregistry_credentials \"https://r.example.org/v2\" {}\n}",
		[]string{`sigstore.registry_credentials[https://r.example.org/v2]: "https://r.example.org/v2" is not a registry's host, with or without a port`}},
	{"credentials for one registry under two names", "sigstore {\nregistry_credentials \"docker.io\" {}\nregistry_credentials \"index.docker.io\" {}\n}",
		[]string{"sigstore.registry_credentials[index.docker.io]: sigstore.registry_credentials[docker.io] has credentials too"}},
	{"credentials twice", "sigstore {\nregistry_credentials \"r.example.org\" {\nusername = \"u\"\npassword = \"p\"\n}\n}\n" + registryOf("docker_config_path = \"/config.json\""),
		[]string{"sigstore.registry_credentials[r.example.org]: registry[r.example.org] has credentials too"}},
	{"a password that was not expanded", "sigstore {\nregistry_credentials \"r.example.org\" {\nusername = \"u\"\npassword = \"hunter2${X}\"\n}\n}\n" + registryOf("proxy_url = \"http://u:hunter2${X}@p.example.org\""), []string{
		"unable to decode configuration: sigstore.registry_credentials[r.example.org].password: a string without control characters and ${ is needed; what was found is not shown",
		"unable to decode configuration: registry[r.example.org].proxy_url: a string without control characters and ${ is needed; what was found is not shown",
	}},
	{"credentials without a registry", "sigstore {\nregistry_credentials {\nusername = \"u\"\n}\n}",
		[]string{`sigstore.registry_credentials: a name is needed: registry_credentials "NAME" { ... }`}},

	{"the older block without Rekor", "experimental {\nsigstore {}\n}",
		[]string{"missing Rekor URL"}},
	{"the older block with an empty Rekor", "experimental {\nsigstore {\nrekor_url = \"\"\n}\n}",
		[]string{"failed to set Rekor URL: rekor URL is empty"}},
	{"the older block with Rekor without a host", "experimental {\nsigstore {\nrekor_url = \"rekor.example.org\"\n}\n}",
		[]string{"failed to set Rekor URL: host is required on rekor URL"}},
	{"the older block with Rekor over HTTP", "experimental {\nsigstore {\nrekor_url = \"http://rekor.example.org\"\n}\n}",
		[]string{`failed to set Rekor URL: invalid rekor URL Scheme "http"`}},
	{"the older block with no URL", "experimental {\nsigstore {\nrekor_url = \"https://%zz\"\n}\n}",
		[]string{`failed to set Rekor URL: failed parsing rekor URI: parse "https://%zz": invalid URL escape "%zz"`}},
	{"the older block with what is in its lists", "experimental {\nsigstore {\nrekor_url = \"https://r.example.org\"\nallowed_subjects_list = {\n\"https://a\" = [\"\"]\n}\nskip_signature_verification_image_list = [\"nginx:1\"]\n}\n}", []string{
		`experimental.sigstore.skip_signature_verification_image_list: image ID: image "nginx:1": it has no digest, and a tag can mean another image tomorrow`,
		"experimental.sigstore.allowed_subjects_list[https://a]: an empty string is nobody's identity",
	}},
	{"a key of the other block", "experimental {\nsigstore {\nrekor_url = \"https://r.example.org\"\nallowed_identities = {}\n}\n}",
		[]string{"unknown configurations detected: experimental.sigstore.allowed_identities"}},

	{"a trust root without a name", "trust_root {\ntrusted_root_path = \"/a\"\n}",
		[]string{`trust_root: a name is needed: trust_root "NAME" { ... }`}},
	{"a trust root with nothing at all", "trust_root {}",
		[]string{`trust_root: a name is needed: trust_root "NAME" { ... }`}},
	{"a trust root without a file", `trust_root "a" {}`,
		[]string{"trust_root[a].trusted_root_path: must be specified, or tuf"}},
	{"a trust root with a relative file", "trust_root \"a\" {\ntrusted_root_path = \"root.json\"\n}",
		[]string{`trust_root[a].trusted_root_path: "root.json" is not an absolute, clean path`}},
	{"names that selectors can't carry", "trust_root \"A\" {\ntrusted_root_path = \"/a\"\n}\nimage_policy \"a:b\" {\nauthority \"-c\" {\nstatic = \"deny\"\n}\n}", []string{
		`trust_root[A]: "A" is not a name: ` + nameForm,
		`image_policy[a:b]: "a:b" is not a name: ` + nameForm,
		`image_policy[a:b].authority[-c]: "-c" is not a name: ` + nameForm,
	}},
	{"a name that is too long", "trust_root \"" + strings.Repeat("a", 64) + "\" {\ntrusted_root_path = \"/a\"\n}",
		[]string{"trust_root[" + strings.Repeat("a", 64) + "]: \"" + strings.Repeat("a", 64) + "\" is not a name: " + nameForm}},
	{"a name with a line break", "trust_root \"a\\nb\" {\ntrusted_root_path = \"/a\"\n}",
		[]string{`unable to decode configuration: trust_root["a\nb"]: "a\nb" has control characters`}},
	{"a name twice", "trust_root \"a\" {\ntrusted_root_path = \"/a\"\n}\ntrust_root \"a\" {\n}\n",
		[]string{"trust_root[a]: given more than once, at L:C and L:C"}},
	{"a scalar for a block with a name", `trust_root = "a"`,
		[]string{`unable to decode configuration: trust_root: a block with a name is needed, found "a"`}},

	{"other registries", `registries = "all"`,
		[]string{`registries: unsupported value "all"; must be one of [configured, any]`}},
	{"a registry that is none", "registry \"r.example.org/pay\" {}",
		[]string{`registry[r.example.org/pay]: "r.example.org/pay" is not a registry's host, with or without a port`}},
	{"a registry under two names", "registry \"docker.io\" {}\nregistry \"registry-1.docker.io\" {}",
		[]string{"registry[registry-1.docker.io]: the same registry as registry[docker.io]"}},
	{"a registry with what can't be together", registryOf("insecure = true\nca_path = \"/ca.pem\"\nusername = \"u\"\npassword_path = \"/p\"\ndocker_config_path = \"/config.json\""), []string{
		"registry[r.example.org].docker_config_path: cannot be used with username",
		"registry[r.example.org].ca_path: cannot be used with insecure",
	}},
	{"half of a registry's credentials", registryOf(`username = "u"`),
		[]string{"registry[r.example.org].username: password_path is required with it"}},
	{"the other half", registryOf(`password_path = "/p"`),
		[]string{"registry[r.example.org].password_path: username is required with it"}},
	{"relative files of a registry", registryOf("ca_path = \"ca.pem\"\nusername = \"u\"\npassword_path = \"./p\""), []string{
		`registry[r.example.org].ca_path: "ca.pem" is not an absolute, clean path`,
		`registry[r.example.org].password_path: "./p" is not an absolute, clean path`,
	}},
	{"a relative docker configuration", registryOf(`docker_config_path = "~/.docker/config.json"`),
		[]string{`registry[r.example.org].docker_config_path: "~/.docker/config.json" is not an absolute, clean path`}},
	{"a mirror that is none", registryOf(`mirror = "https://m.example.org"`),
		[]string{`registry[r.example.org].mirror: "https://m.example.org" is not host[:port][/prefix]`}},
	{"a mirror with a prefix that is none", registryOf(`mirror = "m.example.org/a:b"`),
		[]string{`registry[r.example.org].mirror: "m.example.org/a:b" is not host[:port][/prefix]`}},
	{"a proxy that is none", registryOf(`proxy_url = "u:secret@proxy.example.org:3128"`),
		[]string{"registry[r.example.org].proxy_url: not the URL of a proxy: http://host:port, https:// or socks5://"}},
	{"hosts that give tokens and are none", registryOf(`token_hosts = ["https://auth.example.org/token"]`),
		[]string{`registry[r.example.org].token_hosts: "https://auth.example.org/token" is not a host, with or without a port`}},
	{"no hosts that give tokens", registryOf("token_hosts = []"),
		[]string{"registry[r.example.org].token_hosts: at least one is required where it is given"}},
	{"no repositories", registryOf("username = \"u\"\npassword_path = \"/p\"\nrepositories = []"),
		[]string{"registry[r.example.org].repositories: at least one is required where it is given"}},
	{"repositories that are none", registryOf("username = \"u\"\npassword_path = \"/p\"\nrepositories = [\"/pay\", \"Pay/\", \"pay/*\"]"), []string{
		`registry[r.example.org].repositories: "/pay" is not the beginning of a repository's path`,
		`registry[r.example.org].repositories: "Pay/" is not the beginning of a repository's path`,
		`registry[r.example.org].repositories: "pay/*" is not the beginning of a repository's path`,
	}},

	{"limits that are none", "limits {\nimage_budget = \"0s\"\nmax_signatures = 0\nmax_referrers = -1\nmax_manifest = \"0\"\nmax_bundle = \"big\"\n}", []string{
		"limits.image_budget: 0s is not more than nothing and at most 10s",
		"limits.max_signatures: 0 is not 1 to 32",
		"limits.max_referrers: -1 is not 1 to 64",
		`limits.max_manifest: "0" is not a size of 1 to 4MiB`,
		`limits.max_bundle: "big" is not a size of 1 to 8MiB`,
	}},
	{"limits that are more than there is", "limits {\nimage_budget = \"11s\"\nmax_signatures = 33\nmax_referrers = 65\nmax_manifest = \"4194305\"\nmax_bundle = \"99999999999999999999MiB\"\n}", []string{
		"limits.image_budget: 11s is not more than nothing and at most 10s",
		"limits.max_signatures: 33 is not 1 to 32",
		"limits.max_referrers: 65 is not 1 to 64",
		`limits.max_manifest: "4194305" is not a size of 1 to 4MiB`,
		`limits.max_bundle: "99999999999999999999MiB" is not a size of 1 to 8MiB`,
	}},
	{"a budget that is no duration", "limits {\nimage_budget = \"soon\"\n}",
		[]string{`limits.image_budget: time: invalid duration "soon"`}},

	{"a relative socket", `cri_socket = "containerd.sock"`,
		[]string{`cri_socket: "containerd.sock" is not an absolute, clean path`}},
	{"another source of statuses", `image_status_source = "docker"`,
		[]string{`image_status_source: unsupported value "docker"; must be one of [auto, pods_api, cri, kubelet]`}},
	{"the runtime without its socket", `image_status_source = "cri"`,
		[]string{"image_status_source: cri needs cri_socket"}},
	{"the Pods API without it", "image_status_source = \"pods_api\"\npod_source = \"kubelet\"",
		[]string{`image_status_source: pods_api cannot be used with pod_source = "kubelet"`}},
	{"the kubelet's port without it", "image_status_source = \"kubelet\"\npod_source = \"pods_api\"",
		[]string{`image_status_source: kubelet cannot be used with pod_source = "pods_api"`}},

	{"a policy without a name", "image_policy {\nmatch {\nnamespaces = [\"pay\"]\n}\nauthority \"ci\" {\nstatic = \"deny\"\n}\n}",
		[]string{`image_policy: a name is needed: image_policy "NAME" { ... }`}},
	{"a policy twice", policyOf(`mode = "fail"`) + policyOf("authority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{"image_policy[release]: given more than once, at L:C and L:C"}},
	{"a policy without an authority", policyOf(""),
		[]string{"image_policy[release].authority: at least one is required"}},
	{"other modes", policyOf("mode = \"warn\"\non_unavailable = \"audit\"\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{
			`image_policy[release].mode: unsupported value "warn"; must be one of [fail, withhold, audit]`,
			`image_policy[release].on_unavailable: unsupported value "audit"; must be one of [fail, withhold, stale]`,
		}},
	{"keys of policies that are not built", policyOf("threshold = 1\nrequired = [\"ci\"]\nscope = \"cluster\"\nauthority \"ci\" {\nstatic = \"deny\"\n}\nattestation \"sbom\" {}"),
		[]string{"unknown configurations detected: image_policy[release].attestation,image_policy[release].required,image_policy[release].scope,image_policy[release].threshold"}},
	{"empty lists", matchOf("namespaces = []\nservice_accounts = []\nimages = []"), []string{
		pays + ".namespaces: the list is empty, so that the policy would be for nothing; leave it out for any",
		pays + ".service_accounts: the list is empty, so that the policy would be for nothing; leave it out for any",
		pays + ".images: the list is empty, so that the policy would be for nothing; leave it out for any",
	}},
	{"patterns for nothing", matchOf("namespaces = [\"Pay\"]\nservice_accounts = [\"api\"]\nimages = [\"nginx:1\"]"), []string{
		pays + `.namespaces: "Pay": the character 'P' is in no such name (no tags, no digests), and the only wildcards are * and **`,
		pays + `.service_accounts: "api": a service account is written namespace/name, with * in either`,
		pays + `.images: "nginx:1": a repository is written with its registry, as docker.io/library/name, or as ** for all`,
	}},
	{"an authority without a name", policyOf("authority {\nkey_path = \"/ci.pub\"\n}"),
		[]string{`image_policy[release].authority: a name is needed: authority "NAME" { ... }`}},
	{"an authority twice", policyOf("authority \"ci\" {\nstatic = \"deny\"\n}\nauthority \"ci\" {\nkey_path = \"/ci.pub\"\n}"),
		[]string{ci + ": given more than once, at L:C and L:C"}},
	{"an authority of no kind", authorityOf(`trust_root = ""`),
		[]string{ci + ": it must say who may sign: issuer and subject, a key, ca_path or static"}},
	{"an authority of every kind", authorityOf("issuer = \"https://a\"\nsubject = \"b\"\nkey_path = \"/k\"\nca_path = \"/c\"\nstatic = \"deny\"\nsource_ref = \"r\""), []string{
		ci + ".issuer: cannot be used with static: an authority is of one kind",
		ci + ".subject: cannot be used with static: an authority is of one kind",
		ci + ".source_ref: cannot be used with static: an authority is of one kind",
		ci + ".key_path: cannot be used with static: an authority is of one kind",
		ci + ".ca_path: cannot be used with static: an authority is of one kind",
	}},
	{"a key and an identity", authorityOf("issuer = \"https://a\"\nkey_path = \"/k\""),
		[]string{ci + ".issuer: cannot be used with key_path: an authority is of one kind"}},
	{"keys of every kind", authorityOf("key_path = \"/k\"\nkey_pem = \"k\"\nkey_dir = \"/d\""), []string{
		ci + ".key_pem: cannot be used with key_path: an authority is of one kind",
		ci + ".key_dir: cannot be used with key_path: an authority is of one kind",
	}},
	// ADVERSARIAL.md row 40.
	{"a private PKI with what Fulcio certifies", authorityOf("ca_path = \"/c\"\nsubject = \"b\"\nsource_repository = \"r\""),
		[]string{ci + ".source_repository: cannot be used with ca_path: an authority is of one kind"}},
	{"an identity with what is for keys", authorityOf("issuer = \"https://a\"\nsubject = \"b\"\nvalid_until = \"2026-01-31T00:00:00Z\""),
		[]string{ci + ".valid_until: cannot be used with issuer: an authority is of one kind"}},
	{"what is empty", authorityOf(`key_path = ""`),
		[]string{ci + ".key_path: it is empty"}},
	{"a CA that is empty", authorityOf("ca_path = \"\"\nsubject = \"b\""),
		[]string{ci + ".ca_path: it is empty"}},
	{"another static", authorityOf(`static = "warn"`),
		[]string{ci + `.static: unsupported value "warn"; must be one of [allow, deny]`}},
	{"half of an identity", authorityOf(`issuer = "https://a"`),
		[]string{ci + ".subject: must be specified, or subject_regexp"}},
	{"the other half of an identity", authorityOf("subject_regexp = \"b+\"\nissuer = \"\""),
		[]string{ci + ".issuer: must be specified, or issuer_regexp"}},
	{"a PKI for everybody", authorityOf(`ca_path = "/c"`),
		[]string{ci + ".subject: must be specified, or subject_regexp"}},
	{"a string and a pattern", authorityOf("issuer = \"https://a\"\nissuer_regexp = \"https://b\"\nsubject = \"c\""),
		[]string{ci + ".issuer_regexp: cannot be used with issuer"}},
	{"patterns of an authority that can't be read", authorityOf("issuer_regexp = \"[\"\nsubject_regexp = \"*\""), []string{
		ci + ".issuer_regexp: \"[\" is not a pattern that can be read: error parsing regexp: missing closing ]: `[`",
		ci + ".subject_regexp: \"*\" is not a pattern that can be read: error parsing regexp: missing argument to repetition operator: `*`",
	}},
	{"patterns that match anything", authorityOf("issuer_regexp = \"https?://.*\"\nsubject_regexp = \"(?s).+\""), []string{
		ci + `.issuer_regexp: "https?://.*" matches anything; say allow_any = true if that is meant`,
		ci + `.subject_regexp: "(?s).+" matches anything; say allow_any = true if that is meant`,
	}},
	{"relative files of authorities", "image_policy \"release\" {\nauthority \"a\" {\nkey_path = \"k\"\n}\nauthority \"b\" {\nkey_dir = \"/d/../e\"\n}\nauthority \"c\" {\nca_path = \"c/\"\nsubject = \"x\"\n}\n}", []string{
		`image_policy[release].authority[a].key_path: "k" is not an absolute, clean path`,
		`image_policy[release].authority[b].key_dir: "/d/../e" is not an absolute, clean path`,
		`image_policy[release].authority[c].ca_path: "c/" is not an absolute, clean path`,
	}},
	{"times that are none", authorityOf("key_path = \"/k\"\nvalid_from = \"2026-01-31\"\nvalid_until = \"tomorrow\""), []string{
		ci + `.valid_from: "2026-01-31" is not a time, such as 2026-01-31T00:00:00Z`,
		ci + `.valid_until: "tomorrow" is not a time, such as 2026-01-31T00:00:00Z`,
	}},
	{"a window that is none", authorityOf("key_path = \"/k\"\nvalid_from = \"2026-01-31T00:00:00Z\"\nvalid_until = \"2026-01-31T00:59:59+01:00\""),
		[]string{ci + ".valid_until: it is before valid_from"}},
	{"a claim that is empty", authorityOf("issuer = \"https://a\"\nsubject = \"b\"\nsource_ref = \"\""),
		[]string{ci + ".source_ref: it is empty"}},
	{"another type of subject", authorityOf("issuer = \"https://a\"\nsubject = \"b\"\nsubject_type = \"name\""),
		[]string{ci + `.subject_type: unsupported value "name"; must be one of [email, uri, dns, ip, othername]`}},
	{"an authority's trust root that is not there", authorityOf("key_path = \"/k\"\ntrust_root = \"airgap\""),
		[]string{ci + `.trust_root: there is no trust_root "airgap"`}},
	{"no annotations", authorityOf("key_path = \"/k\"\nannotations = {}"),
		[]string{ci + ".annotations: at least one is required where it is given"}},
	{"an annotation twice", authorityOf("key_path = \"/k\"\nannotations = {\na = \"b\"\na = \"c\"\n}"),
		[]string{ci + ".annotations[a]: given more than once, at L:C and L:C"}},
	{"annotations that are no strings", authorityOf("key_path = \"/k\"\nannotations = {\na = [\"b\"]\n}"),
		[]string{"unable to decode configuration: " + ci + ".annotations[a]: a string is needed, found a list"}},
	{"a key with control characters", authorityOf(`key_pem = "a\x1b[31m"`),
		[]string{"unable to decode configuration: " + ci + `.key_pem: "a\x1b[31m" has control characters`}},
	{"numbers and bools for other things", "registries = true\nsigstore {\nskipped_images = true\nignore_tlog = 1\n}\nlimits {\nmax_manifest = 1.5\nmax_bundle = []\n}\n" + authorityOf("valid_from = false\nkey_pem = 1"), []string{
		"unable to decode configuration: sigstore.skipped_images: a list of strings is needed, found true",
		"unable to decode configuration: sigstore.ignore_tlog: true or false is needed, found 1",
		"unable to decode configuration: registries: a string is needed, found true",
		`unable to decode configuration: limits.max_manifest: a size, such as "4MiB", is needed, found 1.5`,
		`unable to decode configuration: limits.max_bundle: a size, such as "4MiB", is needed, found a list`,
		"unable to decode configuration: " + ci + ".key_pem: a string is needed, found 1",
		`unable to decode configuration: ` + ci + `.valid_from: a time, such as "2026-01-31T00:00:00Z", is needed, found false`,
	}},
}

const nameForm = "1 to 63 lower-case letters, digits, '.' and '-', the first no '.' or '-'"

func TestAProblemOfAnImagePolicySaysWhereItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		key  string
		pos  config.Pos
	}{
		{"image_policy \"release\" {\n  authority \"ci\" {\n    key_path = \"k\"\n  }\n}", ci + ".key_path", config.Pos{Line: 3, Column: 5}},
		{"image_policy \"release\" {\n  authority \"ci\" {\n    issuer = \"https://a\"\n  }\n}", ci + ".subject", config.Pos{Line: 2, Column: 13}},
		{"image_policy \"release\" {\n}", "image_policy[release].authority", config.Pos{Line: 1, Column: 14}},
		{"sigstore {\n  skipped_images = [\n    \"sha256:" + hexA + "\",\n    \"nginx\"\n  ]\n}", "sigstore.skipped_images", config.Pos{Line: 4, Column: 5}},
		{"sigstore {\n  allowed_identities = {\n    \"https://a\" = [\n      \"(\"\n    ]\n  }\n}", "sigstore.allowed_identities[https://a]", config.Pos{Line: 4, Column: 7}},
		{"trust_root \"a\" {\n  tuf {\n    mirror = \"https://tuf.example.org\"\n  }\n}", "trust_root[a].tuf.root_path", config.Pos{Line: 2, Column: 3}},
		{"cache {\n  ttl = \"2h\"\n  stale_ttl = \"1h\"\n}", "cache.stale_ttl", config.Pos{Line: 3, Column: 3}},
		{"{\"limits\": {\n  \"max_referrers\": 65}}", "limits.max_referrers", config.Pos{Line: 2, Column: 3}},
	} {
		problems := config.Parse(c.text, environment(nil)).Problems
		if len(problems) != 1 || problems[0].Key != c.key || problems[0].Pos != c.pos {
			t.Errorf("%+v, want one problem of %s at %v, of:\n%s", problems, c.key, c.pos, c.text)
		}
	}
}
