package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

func TestServe(t *testing.T) {
	p := servertest.Serve(t)
	for path, want := range map[string]string{"/livez": "ok", "/ready": "ready", "/metrics": "dinggate_build_info"} {
		if status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s on the admin listener = %d %.100q, want %q", path, status, body, want)
		}
		if status, _ := servertest.Fetch(t, http.DefaultClient, p.Public+path); status == 200 { // threats L10
			t.Errorf("%s on the public listener = %d", path, status)
		}
	}
	if status, _ := servertest.Fetch(t, http.DefaultClient, p.Public+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth without a session = %d, want 401 while DingTalk is away", status)
	}
	check := exec.Command(servertest.Binary(t), "healthcheck")
	check.Env = append(os.Environ(), "DINGGATE_ADMIN_LISTEN="+strings.TrimPrefix(p.Admin, "http://"))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("healthcheck = %v: %s", err, out)
	}
	p.Cmd.Process.Signal(syscall.SIGTERM)
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM serve ends with %v, want exit code 0:\n%s", err, p.Log)
	}
	for line := range strings.Lines(p.Log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log line %q is no JSON", line)
		}
	}
	if strings.Contains(p.Log.String(), servertest.Canary) {
		t.Error("the log holds the app secret")
	}
}

func TestServeOnSockets(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "gate.sock")
	stale, err := net.Listen("unix", socket) // the remains of a killed process
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	p := servertest.Serve(t, "DINGGATE_LISTEN=unix:"+socket, "DINGGATE_TRUSTED_PROXIES=unix")
	if p.Public != "unix:"+socket {
		t.Errorf("serve prints %q, want the socket", p.Public)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	}}}
	if status, _ := servertest.Fetch(t, client, "http://gate/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth over the socket = %d, want 401", status)
	}
	second := exec.Command(servertest.Binary(t), "serve")
	second.Env = append(append(os.Environ(), servertest.Environ...), "DINGGATE_LISTEN=unix:"+socket)
	if out, err := second.CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "is in use: another program") || strings.Contains(string(out), "ss -ltnp") {
		t.Errorf("a second process on the same socket = %v %s, want refused", err, out)
	}
}
