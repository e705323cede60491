// Package realtool finds the real programs, files and npm packages that tests run, where
// scripts/tools has installed them.
package realtool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Path finds a program: NAME as the shell does, and in the folders of system administration, which
// are not on the PATH of a normal user on Debian; NAME@VERSION if scripts/tools has built it from
// its Go module. If it is missing, the test is skipped with one line, also on the terminal if
// there is one: plain `go test` hides the output of a passing package. Under `make test`
// (TEST_TOOLS=required) it is a failure, so that a skip is not overlooked.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := find(name)
	if path == "" {
		absent(t, name)
	}
	return path
}

// File finds the first file, by name, that matches an absolute pattern of filepath.Match: a file
// of a Debian package. A missing file is handled as in Path.
func File(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		absent(t, pattern)
	}
	return found[0]
}

// NPM finds the folder of the npm package NAME@VERSION, whose dependencies are beside it:
// filepath.Dir of it (of a name without a scope) is a NODE_PATH. A missing package is handled as
// in Path.
func NPM(t testing.TB, name string) string {
	t.Helper()
	path := npmFolder(name)
	if _, err := os.Stat(filepath.Join(path, "package.json")); err != nil {
		absent(t, "npm's "+name)
	}
	return path
}

func absent(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("TEST_TOOLS") == "required" {
		t.Fatalf("%s is not installed: run `make tools`", name)
	}
	text := fmt.Sprintf("SKIPPED: %s is not installed; `make test` installs it", name)
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(tty, "%s: %s\n", t.Name(), text)
		tty.Close()
	}
	t.Skip(text)
}

// find is the path of a program, "" if there is none.
func find(name string) string {
	candidates := []string{name, "/usr/local/sbin/" + name, "/usr/sbin/" + name, "/sbin/" + name}
	if program, _, built := strings.Cut(name, "@"); built {
		candidates = []string{filepath.Join(cache(), name, program)}
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

func npmFolder(name string) string {
	pkg := name
	if at := strings.LastIndex(name, "@"); at > 0 { // @scope/name@version
		pkg = name[:at]
	}
	return filepath.Join(cache(), "npm", filepath.FromSlash(name), "node_modules", filepath.FromSlash(pkg))
}

// cache is the folder of scripts/tools, which os.UserCacheDir is not on macOS.
func cache() string {
	dir := os.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "dinggate-tools")
}
