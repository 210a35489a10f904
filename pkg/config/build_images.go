package config

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nameForm says what a name is that selectors carry: one that nobody mistakes for
// another, or for two.
const nameForm = "1 to 63 lower-case letters, digits, '.' and '-', the first no '.' or '-'"

var nameRegexp = regexp.MustCompile(`\A[a-z0-9][a-z0-9.-]{0,62}\z`)

// images decides what is asked of images.
func (b *builder) images() {
	b.config.Images.StatusSource = StatusFromKubelet
	b.cache(b.s.block("cache"))
	b.trustRoots()
	b.registries()
	b.sigstore(b.s.block("sigstore"))
	b.olderSigstore(b.s.block("experimental").block("sigstore"))
	for _, s := range b.s.all("image_policy") {
		b.imagePolicy(s)
	}
	b.sortImages()
	b.unusedTrustRoots()
	b.whichRegistries()
	b.onUnavailable()
	b.limits(b.s.block("limits"))
	b.statusSource()
	b.config.Images.DockerConfigPath = b.dockerConfig()
	b.config.Images.TrustEnvironment = b.trustEnvironment()
	b.notUsedForImages()
}

// refuse reports a problem with a section's key, or with the section where the key is
// not given or "".
func (b *builder) refuse(s *section, key, format string, args ...any) {
	path, pos := s.place(key)
	b.problems.add(path, pos, "%s: %s", path, fmt.Sprintf(format, args...))
}

// warnAt warns of a section's key.
func (b *builder) warnAt(s *section, key, format string, args ...any) *Problem {
	path, pos := s.place(key)
	b.warnings.add(path, pos, "%s: %s", path, fmt.Sprintf(format, args...))
	return &b.warnings[len(b.warnings)-1]
}

func (s *section) place(key string) (string, Pos) {
	if key == "" {
		return s.path, s.pos
	}
	pos := s.pos
	if s.given(key) {
		pos = s.at(key)
	}
	return s.key(key), pos
}

// file is the path that a key has, which must be absolute and clean; "" where it is
// not given.
func (b *builder) file(s *section, key string) string {
	name := s.text(key)
	if name != "" && !isAbsolute(name) {
		b.refuse(s, key, "%q is not an absolute, clean path", name)
	}
	return name
}

// named reports a name that no selector can have.
func (b *builder) named(s *section) {
	if !nameRegexp.MatchString(s.name) {
		b.refuse(s, "", "%q is not a name: %s", s.name, nameForm)
	}
}

func (b *builder) sortImages() {
	i := &b.config.Images
	slices.SortFunc(i.TrustRoots, func(x, y TrustRoot) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(i.Registries, func(x, y Registry) int { return cmp.Compare(x.Host, y.Host) })
	slices.SortFunc(i.Policies, func(x, y ImagePolicy) int { return cmp.Compare(x.Name, y.Name) })
}

// whichRegistries decides whether a pod's author may send us to any registry.
func (b *builder) whichRegistries() {
	const key, configured, all = "registries", "configured", "any"
	i := &b.config.Images
	switch text := b.s.text(key); text {
	case "":
		i.AnyRegistry = i.Sigstore != nil && len(i.Policies) == 0
	case configured:
	case all:
		i.AnyRegistry = true
		b.warn(key, key+": any: whoever creates a pod decides which registries are asked")
	default:
		b.problem(key, "%s: unsupported value %q; must be one of [%s, %s]", key, text, configured, all)
		return
	}
	if i.Wanted() && !i.AnyRegistry && len(i.Registries) == 0 && !b.partial {
		at := cmp.Or(b.s.at(key), b.imagesAt())
		b.warnings.add(key, at, "%s: %q, and there is no registry block: no registry may be asked, so that no signature is found", key, configured)
	}
}

// dockerConfig is the file that docker, and the built-in attestor, would read.
func (b *builder) dockerConfig() string {
	dir := b.env("DOCKER_CONFIG")
	if home := b.env("HOME"); dir == "" && home != "" {
		dir = path.Join(home, ".docker")
	}
	if !path.IsAbs(dir) {
		return ""
	}
	return path.Join(dir, "config.json")
}

// imagesAt is where the first block is that something is asked of images by.
func (b *builder) imagesAt() Pos {
	return cmp.Or(b.s.at("sigstore"), b.s.block("experimental").at("sigstore"), b.s.at("image_policy"))
}

// The most that limits can be.
const (
	maxImageBudget = 10 * time.Second
	maxSignatures  = 32
	maxReferrers   = 64
	maxManifest    = 4 << 20
	maxBundle      = 8 << 20
)

func (b *builder) limits(s *section) {
	b.config.Images.Limits = ImageLimits{
		Budget:        b.budget(s),
		MaxSignatures: b.count(s, "max_signatures", maxSignatures),
		MaxReferrers:  b.count(s, "max_referrers", maxReferrers),
		MaxManifest:   b.size(s, "max_manifest", maxManifest),
		MaxBundle:     b.size(s, "max_bundle", maxBundle),
	}
}

func (b *builder) budget(s *section) time.Duration {
	const key = "image_budget"
	text := s.text(key)
	if text == "" {
		return maxImageBudget
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		b.refuse(s, key, "%v", err)
	case d <= 0 || d > maxImageBudget:
		b.refuse(s, key, "%s is not more than nothing and at most %v", text, maxImageBudget)
	}
	return d
}

// count is a number, most where it is not given.
func (b *builder) count(s *section, key string, most int) int {
	return b.number(s, key, most, 1, most)
}

// number is one from least to most, and the default where it is not given.
func (b *builder) number(s *section, key string, byDefault, least, most int) int {
	if s == nil || !s.given(key) {
		return byDefault
	}
	n := s.number(key)
	if n < least || n > most {
		b.refuse(s, key, "%d is not %d to %d", n, least, most)
	}
	return n
}

func (b *builder) size(s *section, key string, most int64) int64 {
	text := s.text(key)
	if text == "" {
		return most
	}
	n, ok := parseSize(text)
	if !ok || n < 1 || n > most {
		b.refuse(s, key, "%q is not a size of 1 to %dMiB", text, most>>20)
	}
	return n
}

// parseSize reads a number of bytes, KiB or MiB.
func parseSize(text string) (int64, bool) {
	unit := int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = number, bytes
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int64(n) * unit, err == nil // #nosec G115 -- 31 bits
}

// statusSource decides whose word on what runs is taken. What is not there when it is
// needed is not replaced by something weaker.
func (b *builder) statusSource() {
	const key = "image_status_source"
	i := &b.config.Images
	i.CRISocket = b.file(b.s, "cri_socket")
	source := b.config.PodSource
	switch text := b.s.text(key); StatusSource(text) {
	case "", "auto":
		i.StatusSource = b.bestStatusSource()
		return
	case StatusFromCRI:
		i.StatusSource = StatusFromCRI
		if i.CRISocket == "" {
			b.problem(key, "%s: %s needs cri_socket", key, text)
		}
	case StatusFromPodsAPI:
		i.StatusSource = StatusFromPodsAPI
		if source == KubeletPort {
			b.problem(key, "%s: %s cannot be used with pod_source = %q", key, text, source)
		}
	case StatusFromKubelet:
		if source == FromPodsAPI {
			b.problem(key, "%s: %s cannot be used with pod_source = %q", key, text, source)
		}
		if i.Wanted() {
			b.warn(key, key+": "+believesTheCopy)
		}
	default:
		b.problem(key, "%s: unsupported value %q; must be one of [auto, %s, %s, %s]", key, text, StatusFromPodsAPI, StatusFromCRI, StatusFromKubelet)
	}
}

const believesTheCopy = "kubelet: what runs is believed from a status that everybody with rights on pods/status can write: an unsigned image can pass for a signed one"

func (b *builder) bestStatusSource() StatusSource {
	i := &b.config.Images
	switch {
	case i.CRISocket != "":
		return StatusFromCRI
	case b.config.PodSource == FromPodsAPI:
		return StatusFromPodsAPI
	}
	if i.Wanted() && !b.partial {
		at := cmp.Or(b.s.at("image_status_source"), b.imagesAt())
		b.warnings.add("image_status_source", at, "image_status_source: %s; set cri_socket, or pod_source = %q", believesTheCopy, FromPodsAPI)
	}
	return StatusFromKubelet
}

// notUsedForImages warns of settings without effect.
func (b *builder) notUsedForImages() {
	if b.config.Images.Wanted() {
		return
	}
	var set []string
	for _, key := range []string{"cri_socket", "image_status_source", "trust_root", "registries", "registry", "limits", "cache"} {
		if b.s.given(key) {
			set = append(set, key)
		}
	}
	if len(set) > 0 {
		b.warn(set[0], strings.Join(set, ", ")+": not used, since there is neither sigstore nor image_policy")
	}
}
