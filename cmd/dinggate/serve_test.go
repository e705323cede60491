package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the shipped binary, serving.
type program struct {
	cmd         *exec.Cmd
	gate, admin string // where it listens
	log         *lockedBuffer
}

var environment = []string{
	"DINGGATE_LISTEN=127.0.0.1:0", "DINGGATE_ADMIN_LISTEN=127.0.0.1:0", "DINGGATE_PUBLIC_URL=http://127.0.0.1:4180",
	"DINGGATE_DINGTALK_CLIENT_ID=dingtest", "DINGGATE_DINGTALK_CLIENT_SECRET=" + canary,
	"DINGGATE_DINGTALK_CORP_ID=dingcorp", "DINGGATE_COOKIE_SECRETS=bXkgdmVyeSBvd24gMzIgYnl0ZSBzZWNyZXQga2V5ISE=",
	"DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
	// DingTalk is away (threats V6)
	"DINGGATE_DINGTALK_API_URL=http://127.0.0.1:1", "DINGGATE_DINGTALK_OAPI_URL=http://127.0.0.1:1",
}

// serve starts the binary from its environment alone and waits for both lines.
func serve(t *testing.T, env ...string) *program {
	cmd := exec.Command(binary(t), "serve")
	cmd.Env = append(append(os.Environ(), environment...), env...)
	return startProgram(t, cmd)
}

// serveFile starts the binary from a file alone.
func serveFile(t *testing.T, file string) *program {
	return startProgram(t, exec.Command(binary(t), "serve", "--config", file))
}

func startProgram(t *testing.T, cmd *exec.Cmd) *program {
	log := &lockedBuffer{}
	cmd.Stderr = log
	p := startOn(t, cmd)
	p.log = log
	return p
}

// startOn leaves the log where it goes.
func startOn(t *testing.T, cmd *exec.Cmd) *program {
	p := &program{cmd: cmd, log: &lockedBuffer{}}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	line := regexp.MustCompile(`^(gate|admin) listening on (\S+)$`)
	for lines := bufio.NewScanner(out); (p.gate == "" || p.admin == "") && lines.Scan(); {
		if m := line.FindStringSubmatch(lines.Text()); m != nil && m[1] == "gate" {
			p.gate = m[2]
		} else if m != nil {
			p.admin = m[2]
		}
	}
	if p.gate == "" || p.admin == "" {
		t.Fatalf("serve named no address:\n%s", p.log)
	}
	return p
}

func fetch(t *testing.T, client *http.Client, address string) (int, string) {
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

func TestServe(t *testing.T) {
	p := serve(t)
	for path, want := range map[string]string{"/livez": "ok", "/ready": "ready", "/metrics": "dinggate_build_info"} {
		if status, body := fetch(t, http.DefaultClient, p.admin+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s on the admin listener = %d %.100q, want %q", path, status, body, want)
		}
		if status, _ := fetch(t, http.DefaultClient, p.gate+path); status == 200 { // threats L10
			t.Errorf("%s on the public listener = %d", path, status)
		}
	}
	if status, _ := fetch(t, http.DefaultClient, p.gate+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth of nobody = %d, want 401 while DingTalk is away", status)
	}
	check := exec.Command(binary(t), "healthcheck")
	check.Env = append(os.Environ(), "DINGGATE_ADMIN_LISTEN="+strings.TrimPrefix(p.admin, "http://"))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("healthcheck = %v: %s", err, out)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM serve ends with %v, want exit code 0:\n%s", err, p.log)
	}
	for line := range strings.Lines(p.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log line %q is no JSON", line)
		}
	}
	if strings.Contains(p.log.String(), canary) {
		t.Error("the log holds the app secret")
	}
}

func TestServeOnSockets(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "gate.sock")
	stale, err := net.Listen("unix", socket) // what a killed process leaves behind
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	p := serve(t, "DINGGATE_LISTEN=unix:"+socket, "DINGGATE_TRUSTED_PROXIES=unix")
	if p.gate != "unix:"+socket {
		t.Errorf("serve prints %q, want the socket", p.gate)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	}}}
	if status, _ := fetch(t, client, "http://gate/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth over the socket = %d, want 401", status)
	}
	second := exec.Command(binary(t), "serve")
	second.Env = append(append(os.Environ(), environment...), "DINGGATE_LISTEN=unix:"+socket)
	if out, err := second.CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "is in use: another program") || strings.Contains(string(out), "ss -ltnp") {
		t.Errorf("a second process on the same socket = %v %s, want refused", err, out)
	}
}
