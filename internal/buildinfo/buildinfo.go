// Package buildinfo is the version and the commit of this program.
package buildinfo

import (
	"runtime/debug"
)

// version is set by the linker (-ldflags "-X dinggate/internal/buildinfo.version=v1.2.3") if there
// is no repository to read it from; otherwise the build information has it.
var version string

// commit is set by the linker (-X dinggate/internal/buildinfo.commit=…) if the build has no
// repository, as for an image.
var commit string

// Version is the version, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Revision is the commit that was built, "unknown" without build information.
func Revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	found, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			found = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	return found + dirty
}
