package config

import (
	"path/filepath"
	"strings"
)

// ControlName is the name of the control socket within its directory.
const ControlName = "control.sock"

// ControlSocket returns the path of the control socket: admin.control, otherwise in
// state_dir, otherwise in the runtime directory that systemd or the login session
// provides. "" means none.
func ControlSocket(c *Config, environ []string) string {
	switch {
	case c.Admin.Control != "":
		return c.Admin.Control
	case c.StateDir != "":
		return filepath.Join(c.StateDir, ControlName)
	}
	for _, name := range []string{"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} {
		for _, variable := range environ {
			dir, ok := strings.CutPrefix(variable, name+"=")
			dir, _, _ = strings.Cut(dir, ":") // systemd may list several
			if ok && filepath.IsAbs(dir) && name == "XDG_RUNTIME_DIR" {
				return filepath.Join(dir, "dinggate-"+ControlName)
			} else if ok && filepath.IsAbs(dir) {
				return filepath.Join(dir, ControlName)
			}
		}
	}
	return ""
}
