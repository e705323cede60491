package server_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestAddressInUse checks that the program that uses the address is not ended, and that
// the message contains the address, the key and the way to find the other program, in both
// languages.
func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	socket := filepath.Join(t.TempDir(), "gate.sock")
	u, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, tt := range []struct {
		name      string
		args, env []string
		want      []string
	}{
		{"gate", []string{"serve"}, []string{"DINGGATE_LISTEN=" + taken},
			[]string{taken + " is in use", "lsof -i :" + port, "listen (DINGGATE_LISTEN, --listen)"}},
		{"admin", []string{"serve"}, []string{"DINGGATE_ADMIN_LISTEN=" + taken},
			[]string{taken + " is in use", "admin.listen (DINGGATE_ADMIN_LISTEN, --admin.listen)"}},
		{"Chinese", []string{"serve", "--lang", "zh"}, []string{"DINGGATE_LISTEN=" + taken},
			[]string{taken + " 已被占用", "lsof -i :" + port, "listen（DINGGATE_LISTEN、--listen）"}},
		{"socket", []string{"serve"}, []string{"DINGGATE_LISTEN=unix:" + socket},
			[]string{"unix:" + socket + " is in use", "listen (DINGGATE_LISTEN, --listen)"}},
		{"simulate", []string{"simulate", "--listen", taken}, nil,
			[]string{taken + " is in use", "another one by --listen"}},
	} {
		cmd := exec.Command(servertest.Binary(t), tt.args...)
		cmd.Env = append(append(os.Environ(), "LC_ALL=C"), append(servertest.Environ, tt.env...)...)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%s: exit code %d (%v), want 1:\n%s", tt.name, code, err, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in:\n%s", tt.name, want, out)
			}
		}
	}
}

// TestDefaultStart checks that settings of every installation cause no warning.
func TestDefaultStart(t *testing.T) {
	for name, env := range map[string][]string{
		"alone": nil, "with a file": {"DINGGATE_STATE_DIR=" + t.TempDir()},
		"in a pod": {"KUBERNETES_SERVICE_HOST=10.0.0.1", "DINGGATE_ADMIN_LISTEN=0.0.0.0:0"},
	} {
		p := servertest.Serve(t, append(env, "DINGGATE_DINGTALK_EVENTS=false", "DINGGATE_UPSTREAM=http://127.0.0.1:1")...)
		p.Cmd.Process.Signal(syscall.SIGTERM)
		if err := p.Cmd.Wait(); err != nil { // the log is complete then
			t.Errorf("%s: serve ends with %v", name, err)
		}
		if log := p.Log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "warning") {
			t.Errorf("%s: a start with the defaults warns:\n%s", name, log)
		}
		if log := p.Log.String(); name != "in a pod" && !strings.Contains(log, "a sign-out takes effect") {
			t.Errorf("%s: the log does not say how far a sign-out reaches:\n%s", name, log)
		}
	}
}
