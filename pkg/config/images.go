package config

import (
	"path"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/image"
)

// Images is what is asked of the images that run. It opens no file: what a path
// names is read, and refused where it is no good, by who uses it, with the key
// that the path came from.
type Images struct {
	// Sigstore is the one policy of the built-in attestor's block; nil without it.
	Sigstore *Sigstore
	// Policies are the image_policy blocks, sorted by name.
	Policies []ImagePolicy
	// TrustRoots are sorted by name.
	TrustRoots []TrustRoot
	// TrustEnvironment changes the public-good trust root.
	TrustEnvironment TrustEnvironment
	// Registries are sorted by host. One that is here may be asked, and may have a
	// private address.
	Registries []Registry
	// AnyRegistry allows registries that are not in Registries to be asked.
	AnyRegistry bool
	// DockerConfigPath is the docker configuration of the agent's environment, whose
	// auths are for registries without credentials of their own. It may be missing;
	// "" where the environment names none.
	DockerConfigPath string
	Limits           ImageLimits
	Cache            Cache
	// CRISocket is the runtime's socket: absolute and clean, or "" for none.
	CRISocket string
	// StatusSource is whose word on what runs is taken.
	StatusSource StatusSource
}

// Wanted is whether anything is asked of images at all.
func (i *Images) Wanted() bool { return i.Sigstore != nil || len(i.Policies) > 0 }

// Names is whether there is a block for the registry, by its canonical name.
func (i *Images) Names(registry string) bool {
	return slices.ContainsFunc(i.Registries, func(r Registry) bool { return r.Host == registry })
}

// StatusSource is a value of image_status_source.
type StatusSource string

// The sources. "auto" is one of these once the configuration is read.
const (
	StatusFromPodsAPI StatusSource = "pods_api"
	StatusFromCRI     StatusSource = "cri"
	// StatusFromKubelet is the status as the source of pods gives it, which through
	// the kubelet's port is the API server's copy.
	StatusFromKubelet StatusSource = "kubelet"
)

// Sigstore is SPIRE's block. A signature is accepted when its certificate is of an
// allowed identity; one is needed unless the image is skipped.
type Sigstore struct {
	// Path is the block's key: "sigstore", or "experimental.sigstore".
	Path string
	// Older is the dialect of experimental.sigstore, with the selectors and answers
	// of that.
	Older bool
	// AnyIdentity accepts whoever has a certificate of the trust root.
	AnyIdentity bool
	// Identities are who is accepted without AnyIdentity, sorted; none is nobody.
	Identities []Identity
	// Skipped are images that need no signature, sorted, each once. One without a
	// repository is an image ID without one.
	Skipped []image.ID
	// IgnoreTlog needs no entry of a transparency log, IgnoreSCT no proof that a
	// certificate was logged.
	IgnoreTlog, IgnoreSCT bool
	// IgnoreAttestations does not look for attestations.
	IgnoreAttestations bool
	// RekorURL is the log that is asked for the entry of a signature that comes
	// without it; "" for none.
	RekorURL string
	// TrustRoot is the name of one of TrustRoots, or "" for the public-good one.
	TrustRoot string
}

// Identity is who signs: both must hold.
type Identity struct {
	Issuer, Subject Pattern
}

// Pattern is what a string must be: Text itself, or what it matches from beginning to
// end. The zero Pattern is not given.
type Pattern struct {
	Text   string
	Regexp bool
}

// ImagePolicy is an image_policy. It applies to what matches, and holds when one of
// its authorities accepts a signature of the image.
type ImagePolicy struct {
	Name  string
	Match Match
	// Mode says what follows where it does not hold: "fail", "withhold" or "audit".
	Mode string
	// OnUnavailable says what follows where that is not known, because a registry
	// with a block, or the log, did not answer: "fail" (what Mode says), "withhold"
	// or "stale".
	OnUnavailable string
	// RekorURL is the log that is asked for the entry of a signature that comes
	// without it; "" for none.
	RekorURL string
	// Authorities are sorted by name; there is at least one.
	Authorities []Authority
}

// Match has what policy.NewMatch takes; nil is any.
type Match struct {
	Namespaces, ServiceAccounts, Images []string
}

// Authority is who may sign. Exactly one of Keyless, Keys, PKI and Static is set.
type Authority struct {
	Name string
	// Path is the block's key, such as image_policy[release].authority[ci].
	Path string

	Keyless *Keyless
	Keys    *Keys
	PKI     *PKI
	Static  Static

	// TrustRoot is the name of one of TrustRoots, or "" for the public-good one.
	TrustRoot string
	// Annotations must be in what was signed; nil for none.
	Annotations map[string]string
}

// Static is an authority that looks at nothing; "" for none.
type Static string

// The static authorities.
const (
	// StaticAllow accepts every image.
	StaticAllow Static = "allow"
	// StaticDeny accepts none.
	StaticDeny Static = "deny"
)

// Keyless are signers with a certificate for an identity, from an authority of the
// trust root.
type Keyless struct {
	Identity
	// SubjectType is the type of name that the subject must be, "" for any.
	SubjectType string
	// Claims must all be in the certificate, by their names in selectors, such as
	// source-repository; nil for none.
	Claims map[string]string
}

// Keys are public keys, of which any may have signed. Exactly one of Path, Dir and
// PEM is set.
type Keys struct {
	// Path is a PEM file and Dir a directory of such, PEM the text itself; paths are
	// absolute and clean.
	Path, Dir, PEM string
	// RequireTlog needs an entry of a transparency log of the trust root.
	RequireTlog bool
	// ValidFrom and ValidUntil are when a signature may have been made, both included;
	// zero for no bound.
	ValidFrom, ValidUntil time.Time
}

// PKI are signers with a certificate of a private authority.
type PKI struct {
	// CAPath is a PEM file with the authority's certificates: absolute and clean.
	CAPath string
	// Identity is the leaf's; its Issuer may be zero.
	Identity
	// SubjectType is the type of name that the subject must be, "" for any.
	SubjectType string
	// RequireTlog needs an entry of a transparency log of the trust root.
	RequireTlog bool
}

// TrustRoot is a trust_root: a file, or a TUF repository.
type TrustRoot struct {
	Name string
	// Key and TrustedRootPath are the key of the file, and the file: a
	// trusted_root.json, absolute and clean. Both are "" with TUF.
	Key, TrustedRootPath string
	// TUF is nil with TrustedRootPath.
	TUF *TUF
}

// TUF is a TUF repository that has a trusted_root.json.
type TUF struct {
	// Key is the block's, such as trust_root[public].tuf.
	Key string
	// Mirror is its URL, https or http.
	Mirror string
	// RootPath is the root.json that trust begins with: absolute and clean, or "" for
	// the one of Sigstore's own repository.
	RootPath string
	// CacheDir is where what was fetched is kept over restarts: absolute and clean, or
	// "" for nowhere.
	CacheDir string
	// Refresh is how often it is asked; at least a minute.
	Refresh time.Duration
}

// TrustEnvironment is what the environment says of the public-good trust root, with
// the fields of trustroot.Environment, in its order: paths, "" for none.
type TrustEnvironment struct {
	RootFile, RekorKey, CTLogKey, TUFRoot, Home string
}

// Registry is how a registry is asked.
type Registry struct {
	// Host is host[:port] in its canonical form.
	Host string
	// Path is the block's key: registry[...], or sigstore.registry_credentials[...]
	// where there is no other.
	Path string
	// CAPath is a PEM file to verify the registry's certificate with in place of the
	// system's authorities; "" for those.
	CAPath string
	// Mirror is host[:port][/prefix] that is asked in place of Host, or "".
	Mirror string
	// Insecure is plain HTTP.
	Insecure bool
	// Username goes with Password or PasswordPath, of which one is set.
	Username     string
	Password     Secret
	PasswordPath string
	// DockerConfigPath is a file in the form of docker's config.json, or "".
	DockerConfigPath string
	// Repositories are prefixes of the paths that the credentials are for; nil for all.
	Repositories []string
	// TokenHosts are host[:port] that may be sent the credentials too when the
	// registry says that tokens are given there; nil for none.
	TokenHosts []string
	// ProxyURL is an http, https or socks5 URL, or "". It may hold a password.
	ProxyURL Secret
}

// Secret is a string that is not printed.
type Secret string

// String hides it.
func (s Secret) String() string { return "(secret)" }

// GoString hides it too.
func (s Secret) GoString() string { return s.String() }

// ImageLimits bound the work on one image. All are positive.
type ImageLimits struct {
	// Budget is the time that one image may take in all.
	Budget time.Duration
	// MaxSignatures and MaxReferrers are how many of each are looked at.
	MaxSignatures, MaxReferrers int
	// MaxManifest and MaxBundle are in bytes.
	MaxManifest, MaxBundle int64
}

// Cache is for how long what was found out about an image is used. All but Dir are
// positive, and NegativeTTL <= TTL <= StaleTTL.
type Cache struct {
	// TTL is how old the list of an image's signatures may be.
	TTL time.Duration
	// StaleTTL is how old evidence may be that is judged while a registry is away.
	StaleTTL time.Duration
	// NegativeTTL is how old a refusal may be.
	NegativeTTL time.Duration
	// MaxEntries is how many images are remembered.
	MaxEntries int
	// Dir is where evidence is kept over restarts: absolute and clean, or "" for
	// nowhere.
	Dir string
}

// TUFDir is where the trust root of that name keeps what it fetched, "" being the name
// of the public-good one; "" without Dir.
func (c Cache) TUFDir(name string) string {
	if c.Dir == "" {
		return ""
	}
	return path.Join(c.Dir, "tuf", name)
}
