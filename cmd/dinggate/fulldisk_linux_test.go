package main

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
)

// fill makes every write to a file fail, as a full disk does, and mend ends it.
// Sockets and pipes are not concerned.
func (p *program) fill(t *testing.T) { t.Helper(); p.limitFiles(t, 1) }
func (p *program) mend(t *testing.T) { t.Helper(); p.limitFiles(t, math.MaxUint64) }

func (p *program) limitFiles(t *testing.T, size uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: math.MaxUint64}
	const fileSize = syscall.RLIMIT_FSIZE
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), fileSize,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Skipf("SKIPPED: limiting the files of a process: %v", errno)
	}
}

// TestFullDisk: threats V29. Log, audit file and state_dir can be written no
// more: who is signed in goes on, signs out and stays out, what is lost is
// counted, nothing crashes; and when there is room again all is written again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	audit := filepath.Join(dir, "audit.jsonl")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	f := newFleet(t, "DINGGATE_STATE_DIR="+filepath.Join(dir, "state"), "DINGGATE_AUDIT_FILE="+audit)
	start := func() *program {
		cmd := exec.Command(binary(t), "serve")
		cmd.Env = append(append(os.Environ(), environment...), f.env...)
		cmd.Stderr = log
		return startOn(t, cmd)
	}
	p := start()
	stays, leaves := f.caller(p), f.caller(p)
	stays.enters(p, "zhangsan")
	leaves.enters(p, "lisi")
	thief := f.copy(leaves)
	logged, audited := size(t, log.Name()), size(t, audit)

	p.fill(t)
	for range 200 {
		if a := stays.page(p); a.StatusCode != 200 {
			t.Fatalf("the page of somebody signed in = %d with a full disk", a.StatusCode)
		}
	}
	leaves.to = p
	written := func() bool { // sign-outs are all that is put there
		_, metrics := fetch(t, http.DefaultClient, p.admin+"/metrics")
		return strings.Contains(metrics, `dinggate_store_requests_total{op="put",result="ok"}`)
	}
	if a := leaves.do("POST", fleetURL+"/oauth2/sign_out", "",
		"Sec-Fetch-Site: same-origin"); a.StatusCode != http.StatusServiceUnavailable || written() {
		t.Errorf("a sign-out that cannot be written down = %d, want 503: it may be forgotten with the process",
			a.StatusCode)
	}
	if a := thief.page(p); a.StatusCode != 302 {
		t.Errorf("a copy of the cookie of who signed out = %d, want a sign-in", a.StatusCode)
	}
	newcomer := f.caller(p)
	refused := newcomer.signIn(fleetURL+"/", "wangwu")
	if refused.StatusCode != http.StatusServiceUnavailable || newcomer.page(p).StatusCode != 302 {
		t.Errorf("a sign-in that cannot be noted as used = %d, want 503 and nobody in", refused.StatusCode)
	}
	for _, at := range []string{"/livez", "/ready", "/status"} {
		if status, body := fetch(t, http.DefaultClient, p.admin+at); status != 200 {
			t.Errorf("%s = %d %.60s", at, status, body)
		}
	}
	eventually(t,
		"lost records are counted", func() bool { return p.metric(t, "dinggate_log_records_dropped_total") > "0" })
	if got := size(t, log.Name()); got > logged+64<<10 {
		t.Errorf("the log has grown from %d to %d bytes: the disk was not full", logged, got)
	}
	_, metrics := fetch(t, http.DefaultClient, p.admin+"/metrics")
	if !strings.Contains(metrics, `dinggate_audit_records_total{result="failed"}`) {
		t.Error("the metrics do not tell of audit records that are lost")
	}

	p.mend(t)
	eventually(t, "there is room again: a sign-in", func() bool {
		return f.caller(p).signIn(fleetURL+"/", "wangwu").Header.Get("Location") == "/"
	})
	eventually(t, "the log is written again", func() bool { return size(t, log.Name()) > logged })
	eventually(t, "the audit file is written again", func() bool { return size(t, audit) > audited })
	auditRecords(t, audit) // whole lines
	eventually(t, "the sign-out is written down", func() bool { return written() })
	p.kill()
	p = start()
	if a := thief.page(p); a.StatusCode != 302 {
		t.Errorf("after a restart a copy of the cookie of who signed out = %d, want a sign-in", a.StatusCode)
	}
	if a := stays.page(p); a.StatusCode != 200 {
		t.Errorf("after a restart who stayed = %d", a.StatusCode)
	}
	p.stop(t)
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestClosedOutputs: threats V29. A process whose stdout and stderr are closed
// from the start serves, and nothing that it opens takes their place.
func TestClosedOutputs(t *testing.T) {
	dir := t.TempDir()
	gate, admin := filepath.Join(dir, "gate"), filepath.Join(dir, "admin")
	cmd := exec.Command("/bin/sh", "-c", `exec "$0" serve >&- 2>&-`, binary(t))
	cmd.Env = append(append(os.Environ(), environment...), "DINGGATE_LISTEN=unix:"+gate,
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
	eventually(t, "ready", func() bool {
		res, err := client(admin).Get("http://admin/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	open := client(gate)
	for i := range 500 {
		if status, _ := fetch(t, open, "http://gate/oauth2/auth"); status != 401 {
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
