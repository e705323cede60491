package main

import (
	"fmt"
	"regexp"
	"strings"
)

// version is the output of `git describe --tags --always --dirty`.
type version struct {
	text    string // as described: v1.0.0, v1.0.0-rc.1-5-g0123abc, 0123abc
	number  string // 1.0.0; 0.0.0 without a tag
	pre     string // rc.1; empty for a release proper
	commits string // 5: how many commits the checkout is after the tag
	commit  string // g0123abc
	dirty   bool
}

var (
	tagged   = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([0-9A-Za-z.]+))??(?:-(\d+)-(g[0-9a-f]+))?(-dirty)?$`)
	untagged = regexp.MustCompile(`^([0-9a-f]{7,40})(-dirty)?$`)
)

func parseVersion(text string) (version, error) {
	if m := tagged.FindStringSubmatch(text); m != nil {
		return version{text: text, number: m[1], pre: m[2], commits: m[3], commit: m[4], dirty: m[5] != ""}, nil
	}
	if m := untagged.FindStringSubmatch(text); m != nil {
		return version{text: text, number: "0.0.0", commits: "0", commit: "g" + m[1], dirty: m[2] != ""}, nil
	}
	return version{},
		fmt.Errorf("version %q is neither a tag such as v1.0.0 or v1.0.0-rc.1, nor what git describe makes of one",
			text)
}

// plain is the version in names of files: 1.0.0, 1.0.0-rc.1, 1.0.0-5-g0123abc.
func (v version) plain() string {
	if v.number == "0.0.0" {
		return "0.0.0-" + v.text
	}
	return strings.TrimPrefix(v.text, "v")
}

// packaged is the version as dpkg and rpm order it: 1.0.0~rc.1 is older than
// 1.0.0, and 1.0.0+5.g0123abc is newer.
func (v version) packaged() string {
	out := v.number
	if v.pre != "" {
		out += "~" + v.pre
	}
	if v.commit != "" {
		out += "+" + v.commits + "." + v.commit
	}
	if v.dirty && v.commit == "" {
		out += "+dirty"
	} else if v.dirty {
		out += ".dirty"
	}
	return out
}
