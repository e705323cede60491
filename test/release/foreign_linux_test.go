package release_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// emulated are Linux's other processors, with the program that runs theirs here.
var emulated = map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static",
	"loong64": "qemu-loongarch64-static", "riscv64": "qemu-riscv64-static"}

// TestForeign runs the program of every archive for Linux on its processor, in
// emulation where it is not this machine's: it says its version, checks the
// example configuration, serves, and ends on SIGTERM. `make release` runs
// it on what it has built (FOREIGN_DIR), `make foreign` on a build of its own
// (FOREIGN=1): each processor compiles everything anew, minutes where Go's cache
// has nothing of it.
func TestForeign(t *testing.T) {
	dir := os.Getenv("FOREIGN_DIR")
	if os.Getenv("FOREIGN") == "" && dir == "" {
		t.Skip("SKIPPED: `make foreign` and `make release` run it; it builds for every processor, minutes each")
	}
	if dir == "" {
		dir = t.TempDir()
		if err := releaseIn(repository, dir, "v1.0.0", "archive", "linux/amd64 linux/arm64 linux/loong64 linux/riscv64",
			"off"); err != nil {
			t.Fatal(err)
		}
	}
	archives, err := filepath.Glob(filepath.Join(dir, "dinggate_*_linux_*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives for Linux in %s, %v", dir, err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
		arch := name[strings.LastIndex(name, "_")+1:]
		t.Run(arch, func(t *testing.T) {
			to := t.TempDir()
			output(t, "tar", "-x", "-z", "--strip-components=1", "-f", archive, "-C", to)
			command := []string{filepath.Join(to, "dinggate")}
			if arch != runtime.GOARCH {
				command = []string{realtool.Path(t, emulated[arch]), command[0]}
			}
			foreign{t, command, filepath.Join(to, "config.example.yaml")}.try(arch)
		})
	}
}

// foreign is a program for some processor, and the example configuration beside it.
type foreign struct {
	t       *testing.T
	command []string
	config  string
}

func (f foreign) run(args ...string) string {
	f.t.Helper()
	return output(f.t, f.command[0], append(f.command[1:], args...)...)
}

func (f foreign) try(arch string) {
	if printed := f.run("version"); !strings.HasPrefix(printed, "dinggate ") || !strings.HasSuffix(printed, "linux/"+arch) {
		f.t.Errorf("dinggate version = %q", printed)
	}
	secret := f.run("keygen")
	if len(secret) != 44 {
		f.t.Errorf("dinggate keygen = %q", secret)
	}
	// What the example leaves to all users.
	for key, value := range map[string]string{"PUBLIC_URL": "http://app.example.com", "UPSTREAM": "http://127.0.0.1:9",
		"DINGTALK_CLIENT_ID": "app", "DINGTALK_CLIENT_SECRET": "secret", "DINGTALK_CORP_ID": "corp",
		"DINGTALK_EVENTS": "false", "COOKIE_SECRETS": secret, "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0"} {
		f.t.Setenv("DINGGATE_"+key, value)
	}
	if printed := f.run("check", "--config", f.config); !strings.Contains(printed, "no mistakes") {
		f.t.Errorf("dinggate check = %q", printed)
	}
	f.serve()
}

// serve has the program answer an orchestrator and a browser, and end.
func (f foreign) serve() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.command[0], append(f.command[1:], "serve", "--config", f.config)...)
	cmd.Stderr = io.Discard
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	address := map[string]string{}
	lines := bufio.NewScanner(stdout)
	for len(address) < 2 && lines.Scan() {
		if name, where, ok := strings.Cut(lines.Text(), " listening on "); ok {
			address[name] = where
		}
	}
	if len(address) != 2 {
		f.t.Fatalf("dinggate serve listens on %v", address)
	}
	f.answers(address["admin"]+"/livez", http.StatusOK, "")
	f.answers(address["dinggate"]+"/page", http.StatusFound, "https://login.dingtalk.com/oauth2/auth?")
	cmd.Process.Signal(syscall.SIGTERM)
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		f.t.Errorf("dinggate serve ended: %v", err)
	}
}

func (f foreign) answers(address string, status int, location string) {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if strings.HasSuffix(address, "/page") {
		r.Host = "app.example.com"
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		f.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != status || !strings.HasPrefix(res.Header.Get("Location"), location) {
		f.t.Errorf("GET %s = %s to %q, want %d to %q", address, res.Status, res.Header.Get("Location"), status, location)
	}
}
