package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/servertest"
)

// smallDisk is a separate file system in memory.
type smallDisk struct {
	t   *testing.T
	dir string
}

// newSmallDisk mounts one, which requires root. Without root a full disk has to be
// simulated, see TestFullDisk.
func newSmallDisk(t *testing.T, size string) smallDisk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		t.Skipf("SKIPPED: mounting a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return smallDisk{t, dir}
}

func (d smallDisk) path(name string) string { return filepath.Join(d.dir, name) }

// fill writes until there is no space left, to the byte.
func (d smallDisk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.path("ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			if !strings.Contains(err.Error(), "no space left on device") {
				d.t.Fatal(err)
			}
			block = block[:len(block)/2]
		}
	}
}

func (d smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(d.path("ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// TestFullDiskReal: state_dir and audit.file are on a file system that is really full.
// Sessions remain valid, also after a restart of the process, sign-ins fail, and log,
// /ready, /status and metrics report the cause. With space again everything works as
// before.
func TestFullDiskReal(t *testing.T) {
	for _, tt := range []struct {
		name          string
		state         bool // is on the full disk too; otherwise there is none
		onError       string
		signIn        int    // while the disk is full
		ready, logged string // in /ready and in the log
	}{
		{"state_dir and the audit file", true, "allow", 503, "store: takes no writes, sign-ins are refused", "refuses writes"},
		{"the audit file, deny", false, "deny", 503, "audit: records cannot be written, sign-ins are refused", "audit record lost"},
		{"the audit file, allow", false, "allow", 303, "audit: records are lost", "audit record lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := newSmallDisk(t, "2m")
			audit := disk.path("audit.jsonl")
			env := []string{"DINGGATE_AUDIT_FILE=" + audit, "DINGGATE_AUDIT_ON_ERROR=" + tt.onError}
			if tt.state {
				env = append(env, "DINGGATE_STATE_DIR="+disk.path("state"))
			}
			f := servertest.NewFleet(t, env...)
			p := f.Replica()
			stays, leaves := f.NewClient(p), f.NewClient(p)
			stays.SignInAt(p, "zhangsan")
			leaves.SignInAt(p, "lisi")
			thief := f.Copy(leaves)

			disk.fill()
			// The file of state_dir and the last block of the audit file have some space
			// left, which a smaller write may find after a larger one failed.
			let := 0
			for row := 0; row < 50 && let < 1000; {
				a := f.NewClient(p).SignIn(servertest.FleetURL+"/", "wangwu")
				if full := a.StatusCode == 503 || tt.signIn != 503 && p.Metric(t, `dinggate_audit_records_total{result="failed"}`) > "0"; full {
					row++
				} else {
					row = 0
					let++
				}
			}
			t.Logf("%d sign-ins found room on the full disk", let)
			newcomer := f.NewClient(p)
			if a := newcomer.SignIn(servertest.FleetURL+"/", "wangwu"); a.StatusCode/100 != tt.signIn/100 {
				t.Errorf("a sign-in with the disk full = %d, want %d", a.StatusCode, tt.signIn)
			}
			if got, want := newcomer.Page(p).StatusCode == 200, tt.signIn != 503; got != want {
				t.Errorf("the page after it is served: %v, want %v", got, want)
			}
			for range 50 {
				if a := stays.Page(p); a.StatusCode != 200 {
					t.Fatalf("a page of a signed-in user = %d with a full disk", a.StatusCode)
				}
			}
			leaves.To = p
			out := leaves.Do("POST", servertest.FleetURL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
			t.Logf("a sign-out with the disk full = %d", out.StatusCode)
			if out.StatusCode/100 == 5 && !tt.state {
				t.Errorf("a sign-out = %d: what takes rights away is done without a record", out.StatusCode)
			}
			if a := thief.Page(p); a.StatusCode != 302 {
				t.Errorf("a copy of the cookie of a user who signed out = %d, want a sign-in", a.StatusCode)
			}
			servertest.Eventually(t, "/ready says it", func() bool {
				status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready")
				return status == 200 && strings.HasPrefix(body, "ready\n") && strings.Contains(body, tt.ready+"\n")
			})
			status := statusOf(t, p)
			if status.Audit == nil || status.Audit.Up && !tt.state || status.Audit.Denies != (tt.onError == "deny") {
				t.Errorf("/status says of the audit file %+v", status.Audit)
			}
			if status.Store.Up == tt.state {
				t.Errorf("/status says of the store %+v", status.Store)
			}
			if tt.state && p.Metric(t, "dinggate_store_up") != "0" {
				t.Errorf("dinggate_store_up = %s, want 0", p.Metric(t, "dinggate_store_up"))
			}
			servertest.Eventually(t, "the log says it, with the reason", func() bool {
				for line := range strings.Lines(p.Log.String()) {
					if strings.Contains(line, tt.logged) && strings.Contains(line, "no space left on device") {
						return true
					}
				}
				return false
			})

			disk.empty()
			servertest.Eventually(t, "with room again: a sign-in", func() bool {
				return f.NewClient(p).SignIn(servertest.FleetURL+"/", "wangwu").Header.Get("Location") == "/"
			})
			servertest.Eventually(t, "/ready says nothing more", func() bool {
				_, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready")
				return body == "ready\n"
			})
			if status := statusOf(t, p); !status.Audit.Up || !status.Store.Up {
				t.Errorf("/status with room again: audit %+v, store %+v", status.Audit, status.Store)
			}
			auditRecords(t, audit) // complete lines
			p.Stop(t)
			if !tt.state {
				return
			}
			disk.fill()
			p = f.Replica() // a start needs no disk space
			if a := thief.Page(p); a.StatusCode != 302 {
				t.Errorf("after a restart on a full disk a copy of the cookie of a user who signed out = %d, want a sign-in", a.StatusCode)
			}
			if a := stays.Page(p); a.StatusCode != 200 {
				t.Errorf("after a restart on a full disk a page of a signed-in user = %d", a.StatusCode)
			}
			p.Stop(t)
		})
	}
}

func statusOf(t *testing.T, p *servertest.Program) (r admin.StatusReport) {
	t.Helper()
	_, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/status")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatal(err)
	}
	return r
}
