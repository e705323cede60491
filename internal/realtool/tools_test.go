package realtool

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	root   = "../.."
	script = root + "/scripts/tools"
)

// table is the first words of a table in scripts/tools.
func table(t *testing.T, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+name+"='\n")
	if !ok {
		t.Fatalf("scripts/tools has no table %s", name)
	}
	rows, _, _ := strings.Cut(rest, "\n'\n")
	words := map[string]bool{}
	for row := range strings.Lines(rows) {
		words[strings.Fields(row)[0]] = true
	}
	return words
}

// TestToolsTables: each tool that a test uses has a row, so that `make tools` installs it.
func TestToolsTables(t *testing.T) {
	debian, modules, npm := table(t, "debian"), table(t, "modules"), table(t, "npm")
	traefik, err := os.ReadFile(root + "/scripts/traefik/go.mod") // scripts/traefik/build builds it
	if m := regexp.MustCompile(`traefik/v3 (v\S+)`).FindSubmatch(traefik); m != nil {
		modules["traefik@"+string(m[1])] = true
	} else {
		t.Errorf("scripts/traefik/go.mod names no version of Traefik: %v", err)
	}
	named := regexp.MustCompile(`realtool\.(Path|File|NPM)\(t, "([^"]+)"\)`)
	used := 0
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			used++
			if name := m[2]; m[1] == "NPM" && !npm[name] || m[1] != "NPM" && !debian[name] && !modules[name] {
				t.Errorf("%s uses %s, which scripts/tools does not install", path, name)
			}
		}
		return err
	})
	if err != nil || used == 0 {
		t.Fatalf("%d tools are used, %v", used, err)
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv("PATH", filepath.Join(home, "bin"))
	for _, file := range []string{"bin/tool", "dinggate-tools/tool@v1/tool",
		"dinggate-tools/npm/@a/b@2/node_modules/@a/b/package.json"} {
		write(t, filepath.Join(home, file), "#!/bin/sh\n")
	}
	for _, tt := range []struct{ name, want string }{
		{"tool", home + "/bin/tool"},
		{"tool@v1", home + "/dinggate-tools/tool@v1/tool"},
		{"tool@v2", ""},
		{"other", ""},
	} {
		if got := find(tt.name); got != tt.want {
			t.Errorf("find(%s) = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got, want := NPM(t, "@a/b@2"), home+"/dinggate-tools/npm/@a/b@2/node_modules/@a/b"; got != want {
		t.Errorf("NPM(@a/b@2) = %q, want %q", got, want)
	}
	if _, err := os.Stat("/usr/sbin/nginx"); err == nil { // not on the PATH of a normal user on Debian
		if got := find("nginx"); got != "/usr/sbin/nginx" {
			t.Errorf("find(nginx) without /usr/sbin on PATH = %q", got)
		}
	}
}

// TestToolsWithoutApt: without apt-get, as on macOS, the script names the missing packages, also
// with a POSIX shell.
func TestToolsWithoutApt(t *testing.T) {
	out, code := tools(t, t.TempDir(), "")
	if code != 1 || !strings.Contains(out, "Debian's packages: gcc ") || !strings.Contains(out, " chromium ") ||
		!strings.Contains(out, "go test ./...") {
		t.Errorf("scripts/tools without apt-get = %d:\n%s", code, out)
	}
}

// TestToolsInstall runs the script with an apt-get, a go and an npm that record their arguments:
// services stay off while packages are installed, and existing files are unchanged afterwards.
func TestToolsInstall(t *testing.T) {
	const theirs, ours = "#!/bin/sh\nexit 104\n",
		"#!/bin/sh\n# made by scripts/tools of dinggate, for the time of an installation\nexit 101\n"
	for _, tt := range []struct {
		name, before, saved, after string
		uid, apt                   string // sudo exists for uid 1000; apt's exit code
		code                       int
	}{
		{"nothing there", "", "", "", "0", "0", 0},
		{"by sudo", "", "", "", "1000", "0", 0},
		{"a policy of the machine's", theirs, "", theirs, "0", "0", 0},
		{"after a killed run", ours, "", "", "0", "0", 0},
		{"after a killed run, with a policy", ours, theirs, theirs, "0", "0", 0},
		{"apt-get fails", theirs, "", theirs, "0", "7", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			policy, bin := filepath.Join(dir, "policy-rc.d"), filepath.Join(dir, "bin")
			for file, text := range map[string]string{policy: tt.before, policy + ".before-dinggate": tt.saved} {
				if text != "" {
					write(t, file, text)
				}
			}
			log := filepath.Join(dir, "log")
			write(t, bin+"/apt-get",
				"#!/bin/sh\n"+policy+"\necho apt-get $1 with policy $? as ${ROOT:-root} >>"+log+"\nexit "+tt.apt+"\n")
			write(t, bin+"/sudo", "#!/bin/sh\nROOT=sudo exec \"$@\"\n")
			write(t, bin+"/id", "#!/bin/sh\necho "+tt.uid+"\n")
			write(t, bin+"/go", "#!/bin/sh\necho $GOBIN go $* >>"+log+"\n")
			write(t, bin+"/npm", "#!/bin/sh\necho npm $* >>"+log+"\n")
			for _, program := range []string{"env", "sh", "mv", "rm", "grep", "chmod", "mkdir"} {
				path, err := exec.LookPath(program)
				if err != nil || os.Symlink(path, filepath.Join(bin, program)) != nil {
					t.Fatal(program, err)
				}
			}
			out, code := tools(t, dir, bin)
			if code != tt.code {
				t.Errorf("scripts/tools = %d, want %d:\n%s", code, tt.code, out)
			}
			output, _ := os.ReadFile(log)
			as := map[string]string{"0": "root", "1000": "sudo"}[tt.uid]
			for _, want := range []string{"apt-get update with policy 101 as " + as + "\n",
				"apt-get install with policy 101 as " + as + "\n",
				dir + "/dinggate-tools/helm@v3.22.0 go install helm.sh/helm/v3/cmd/helm@v3.22.0\n",
				"--prefix " + dir + "/dinggate-tools/npm/axios@"} {
				if tt.code == 0 && !strings.Contains(string(output), want) {
					t.Errorf("the log has no %q:\n%s", want, output)
				}
			}
			for file, want := range map[string]string{policy: tt.after, policy + ".before-dinggate": ""} {
				if got, _ := os.ReadFile(file); string(got) != want {
					t.Errorf("afterwards %s is %q, want %q", filepath.Base(file), got, want)
				}
			}
		})
	}
}

// tools runs the script with only path on PATH, and dir as the cache.
func tools(t *testing.T, dir, path string) (string, int) {
	t.Helper()
	cmd := exec.Command("/bin/sh", script)
	cmd.Env = []string{"PATH=" + path, "HOME=" + dir, "XDG_CACHE_HOME=" + dir,
		"POLICY_RC_D=" + filepath.Join(dir, "policy-rc.d")}
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
