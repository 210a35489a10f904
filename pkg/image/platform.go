package image

import (
	"runtime"
	"strings"
)

// Platform is what a manifest's programs run on, normalised: one spelling of each
// architecture, and no variant where it is what everybody has (amd64/v1, arm64/v8).
type Platform struct{ OS, Architecture, Variant string }

// NodePlatform is that of this node.
func NodePlatform() Platform { return normalise(runtime.GOOS, runtime.GOARCH, "") }

// String returns "linux/arm/v7".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// normalise treats names as containerd does, so that two entries of an index that
// it would take for one are one here.
func normalise(os, architecture, variant string) Platform {
	p := Platform{strings.ToLower(os), strings.ToLower(architecture), strings.ToLower(variant)}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Variant != "" && isDigit(p.Variant[0]) {
		p.Variant = "v" + p.Variant
	}
	p.Variant = strings.TrimSuffix(p.Variant, ".0")
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1", p.Architecture == "arm64" && p.Variant == "v8":
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// couldRun is whether programs for p could run on the node, in doubt yes: the
// question is whether something else than the one manifest that is known could.
// Which variants the processor has is not looked at, what is not said could be
// anything, and "unknown/unknown" is what build tools write for what is no program.
func (p Platform) couldRun(node Platform) bool {
	if p.OS != "" && p.OS != node.OS {
		return false
	}
	switch {
	case p.Architecture == "", p.Architecture == node.Architecture:
		return true
	case node.Architecture == "amd64":
		return p.Architecture == "386"
	case node.Architecture == "arm64":
		return p.Architecture == "arm"
	}
	return false
}
