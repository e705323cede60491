package servertest

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Ready is the first line of /ready; a second line names a problem that does not affect
// readiness.
func (p *Program) Ready(t *testing.T) string {
	t.Helper()
	status, body := Fetch(t, http.DefaultClient, p.Admin+"/ready")
	word, _, _ := strings.Cut(body, "\n")
	if (status == 200) != (word == "ready") {
		t.Errorf("/ready = %d %q", status, body)
	}
	return word
}

// Kill ends the process without a signal that it can handle.
func (p *Program) Kill() {
	p.Cmd.Process.Kill()
	p.Cmd.Wait()
}

// Stop sends SIGTERM and waits for the end of the process.
func (p *Program) Stop(t *testing.T) {
	t.Helper()
	p.Cmd.Process.Signal(syscall.SIGTERM)
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM serve ends with %v:\n%s", err, p.Log)
	}
}

// build compiles the program as it is shipped, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dinggate-build")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "dinggate")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags",
		"-s -w -X dinggate/internal/buildinfo.version=v0.0.0-test", "-o", path, "dinggate/cmd/dinggate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	os.Setenv("LC_ALL", "C") // the tests read English messages, in whatever language a developer works
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

// Binary returns the path of the program as it is shipped, compiled once for a package of
// tests.
func Binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Metric reads one metric without labels, as the exposition format writes it.
func (p *Program) Metric(t *testing.T, name string) string {
	t.Helper()
	_, body := Fetch(t, http.DefaultClient, p.Admin+"/metrics")
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return m[1]
}

// Program is a process of the real program that serves.
type Program struct {
	Cmd           *exec.Cmd
	Public, Admin string // the address of its listener
	Log           *LogBuffer
}

// Environ configures a program without a reachable DingTalk.
var Environ = []string{
	"DINGGATE_LISTEN=127.0.0.1:0", "DINGGATE_ADMIN_LISTEN=127.0.0.1:0", "DINGGATE_PUBLIC_URL=http://127.0.0.1:4180",
	"DINGGATE_DINGTALK_CLIENT_ID=dingtest", "DINGGATE_DINGTALK_CLIENT_SECRET=" + Canary,
	"DINGGATE_DINGTALK_CORP_ID=dingcorp", "DINGGATE_COOKIE_SECRETS=bXkgdmVyeSBvd24gMzIgYnl0ZSBzZWNyZXQga2V5ISE=",
	"DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
	// unreachable (threats V6)
	"DINGGATE_DINGTALK_API_URL=http://127.0.0.1:1", "DINGGATE_DINGTALK_OAPI_URL=http://127.0.0.1:1",
}

// Serve starts the binary from its environment alone and waits for both lines.
func Serve(t *testing.T, env ...string) *Program {
	cmd := exec.Command(Binary(t), "serve")
	cmd.Env = append(append(os.Environ(), Environ...), env...)
	return Start(t, cmd)
}

// ServeFile starts the binary from a file alone.
func ServeFile(t *testing.T, file string) *Program {
	return Start(t, exec.Command(Binary(t), "serve", "--config", file))
}

// Start starts a command that serves, collects its log and waits for both lines.
func Start(t *testing.T, cmd *exec.Cmd) *Program {
	log := &LogBuffer{}
	cmd.Stderr = log
	p := StartOn(t, cmd)
	p.Log = log
	return p
}

// StartOn is Start for a command whose stderr is set already.
func StartOn(t *testing.T, cmd *exec.Cmd) *Program {
	p := &Program{Cmd: cmd, Log: &LogBuffer{}}
	cmd.Env = append(cmd.Environ(), "LC_ALL=C") // the lines below are English
	out, err := p.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Cmd.Process.Kill(); p.Cmd.Wait() })
	line := regexp.MustCompile(`^(dinggate|admin) listening on (\S+)$`)
	for lines := bufio.NewScanner(out); (p.Public == "" || p.Admin == "") && lines.Scan(); {
		if m := line.FindStringSubmatch(lines.Text()); m != nil && m[1] == "dinggate" {
			p.Public = m[2]
		} else if m != nil {
			p.Admin = m[2]
		}
	}
	if p.Public == "" || p.Admin == "" {
		t.Fatalf("serve named no address:\n%s", p.Log)
	}
	return p
}

// Fetch loads an address.
func Fetch(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	res, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
