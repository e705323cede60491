package server_test

import (
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"dinggate/cmd/dinggate/internal/servertest"
)

// fillDisk makes every write to a file fail, as a full disk does, until mend is called.
// Sockets and pipes are not affected.
func fillDisk(p *servertest.Program, t *testing.T) { t.Helper(); limitFiles(p, t, 1) }
func freeDisk(p *servertest.Program, t *testing.T) { t.Helper(); limitFiles(p, t, math.MaxUint64) }

func limitFiles(p *servertest.Program, t *testing.T, size uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: math.MaxUint64}
	const fileSize = syscall.RLIMIT_FSIZE
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Cmd.Process.Pid), fileSize,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Skipf("SKIPPED: limiting the files of a process: %v", errno)
	}
}

// TestFullDisk tests threats V29. Log, audit file and state_dir cannot be written.
// Sessions remain valid, sign-outs succeed and last, lost records are counted, and nothing
// crashes. When there is space again, everything is written again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	audit := filepath.Join(dir, "audit.jsonl")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	f := servertest.NewFleet(t, "DINGGATE_STATE_DIR="+filepath.Join(dir, "state"), "DINGGATE_AUDIT_FILE="+audit)
	start := func() *servertest.Program {
		cmd := exec.Command(servertest.Binary(t), "serve")
		cmd.Env = append(append(os.Environ(), servertest.Environ...), f.Environ...)
		cmd.Stderr = log
		return servertest.StartOn(t, cmd)
	}
	p := start()
	stays, leaves := f.NewClient(p), f.NewClient(p)
	stays.SignInAt(p, "zhangsan")
	leaves.SignInAt(p, "lisi")
	thief := f.Copy(leaves)
	logged, audited := size(t, log.Name()), size(t, audit)

	fillDisk(p, t)
	for range 200 {
		if a := stays.Page(p); a.StatusCode != 200 {
			t.Fatalf("the page of a signed-in user = %d with a full disk", a.StatusCode)
		}
	}
	leaves.To = p
	written := func() bool { // only sign-outs are written there
		_, metrics := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
		return strings.Contains(metrics, `dinggate_store_requests_total{op="put",result="ok"}`)
	}
	if a := leaves.Do("POST", servertest.FleetURL+"/oauth2/sign_out", "",
		"Sec-Fetch-Site: same-origin"); a.StatusCode != http.StatusServiceUnavailable || written() {
		t.Errorf("a sign-out that cannot be written down = %d, want 503: it may be forgotten with the process",
			a.StatusCode)
	}
	if a := thief.Page(p); a.StatusCode != 302 {
		t.Errorf("a copy of the cookie of a user who signed out = %d, want a sign-in", a.StatusCode)
	}
	newcomer := f.NewClient(p)
	refused := newcomer.SignIn(servertest.FleetURL+"/", "wangwu")
	if refused.StatusCode != http.StatusServiceUnavailable || newcomer.Page(p).StatusCode != 302 {
		t.Errorf("a sign-in that cannot be noted as used = %d, want 503 and no session", refused.StatusCode)
	}
	for _, at := range []string{"/livez", "/ready", "/status"} {
		if status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+at); status != 200 {
			t.Errorf("%s = %d %.60s", at, status, body)
		}
	}
	servertest.Eventually(t,
		"lost records are counted", func() bool { return p.Metric(t, "dinggate_log_records_dropped_total") > "0" })
	if got := size(t, log.Name()); got > logged+64<<10 {
		t.Errorf("the log has grown from %d to %d bytes: the disk was not full", logged, got)
	}
	_, metrics := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
	if !strings.Contains(metrics, `dinggate_audit_records_total{result="failed"}`) {
		t.Error("the metrics do not show audit records that are lost")
	}

	freeDisk(p, t)
	servertest.Eventually(t, "there is room again: a sign-in", func() bool {
		return f.NewClient(p).SignIn(servertest.FleetURL+"/", "wangwu").Header.Get("Location") == "/"
	})
	servertest.Eventually(t, "the log is written again", func() bool { return size(t, log.Name()) > logged })
	servertest.Eventually(t, "the audit file is written again", func() bool { return size(t, audit) > audited })
	auditRecords(t, audit) // complete lines
	servertest.Eventually(t, "the sign-out is written down", func() bool { return written() })
	p.Kill()
	p = start()
	if a := thief.Page(p); a.StatusCode != 302 {
		t.Errorf("after a restart a copy of the cookie of a user who signed out = %d, want a sign-in", a.StatusCode)
	}
	if a := stays.Page(p); a.StatusCode != 200 {
		t.Errorf("after a restart the user who stayed = %d", a.StatusCode)
	}
	p.Stop(t)
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestClosedOutputs tests threats V29. A process whose stdout and stderr are closed from
// the start serves, and no file that it opens gets their descriptors.
func TestClosedOutputs(t *testing.T) {
	dir := t.TempDir()
	public, admin := filepath.Join(dir, "gate"), filepath.Join(dir, "admin")
	cmd := exec.Command("/bin/sh", "-c", `exec "$0" serve >&- 2>&-`, servertest.Binary(t))
	cmd.Env = append(append(os.Environ(), servertest.Environ...), "DINGGATE_LISTEN=unix:"+public,
		"DINGGATE_ADMIN_LISTEN=unix:"+admin, "DINGGATE_TRUSTED_PROXIES=unix",
		"DINGGATE_STATE_DIR="+filepath.Join(dir, "state"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	client := func(socket string) *http.Client {
		return &http.Client{
			Timeout: time.Minute,
			Transport: &http.Transport{Dial: func(string, string) (net.Conn, error) {
				return net.Dial("unix", socket)
			}},
		}
	}
	servertest.Eventually(t, "ready", func() bool {
		res, err := client(admin).Get("http://admin/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	open := client(public)
	for i := range 500 {
		if status, _ := servertest.Fetch(t, open, "http://gate/oauth2/auth"); status != 401 {
			t.Fatalf("request %d = %d, want 401", i, status)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "state", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("state_dir has %v, %v", files, err)
	}
	for _, file := range files {
		if filepath.Ext(file) == ".sock" {
			continue
		}
		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), `"msg"`) ||
			strings.Contains(string(text), "listening") {
			t.Errorf("%s holds what was meant for the log, or %v", file, err)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v, want exit code 0", err)
	}
}
