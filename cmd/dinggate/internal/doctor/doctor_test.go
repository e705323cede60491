package doctor_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/i18n"
)

// TestDoctorHealthy checks that there is no false alarm in three kinds of set-up.
func TestDoctorHealthy(t *testing.T) {
	for name, change := range map[string]func(*env){
		"everything":           func(*env) {},
		"no user named":        func(c *env) { c.user = "" },
		"own certificate":      func(c *env) { c.own(valid("127.0.0.1", 90*24*time.Hour)) },
		"someone by e-mail":    func(c *env) { c.cfg.DingTalk.Username = "email" },
		"a dinggate for nginx": func(c *env) { c.cfg.Routes, c.cfg.Upstream = nil, "" },
		"not yet running": func(c *env) {
			c.cfg.PublicURL, c.cfg.Admin.Listen = "http://"+servertest.ClosedAddress(t), servertest.ClosedAddress(t)
		},
		"an external contact": func(c *env) {
			c.h.Kit.UntrustedForwarders.Note(netip.MustParseAddr("198.51.100.7"), time.Now())
		},
		"sessions in cookie":     func(c *env) { c.cfg.Session.Store, c.cfg.StateDir = "cookie", "" },
		"before the first start": func(c *env) { c.cfg.StateDir = filepath.Join(c.cfg.StateDir, "new") },
		"a strict cookie":        func(c *env) { c.cfg.Cookie.SameSite = "strict" },
		"without events":         func(c *env) { c.cfg.DingTalk.Events = false },
	} {
		t.Run(name, func(t *testing.T) {
			c := newEnv(t)
			change(c)
			found, order := c.examine()
			for _, check := range order {
				if f := found[check]; f.Severity != doctor.Fine && f.Severity != doctor.Note {
					t.Errorf("%s: %s %q (%s)", check, doctor.SeverityNames[f.Severity].Name, f.Text[i18n.English],
						f.Detail)
				}
			}
			if len(order) < 15 {
				t.Errorf("only %d checks", len(order))
			}
			if n := c.platform.Streams(); n > 1 { // dinggate's own
				t.Errorf("%d event streams, want dinggate's alone: doctor must not swallow an event", n)
			}
		})
	}
}

// TestDoctorCommand checks output and exit code of the command.
func TestDoctorCommand(t *testing.T) {
	h := servertest.New(t, nil)
	dingtalk := httptest.NewServer(h.Platform)
	t.Cleanup(dingtalk.Close)
	env := []string{"DINGGATE_PUBLIC_URL=" + h.URL, "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + servertest.Canary + "-app-secret",
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
		"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL, "DINGGATE_COOKIE_SECRETS=" + config.NewSecret(),
		"DINGGATE_TRUSTED_PROXIES=127.0.0.1/32"}
	var out, stderr strings.Builder
	doctor := func(args ...string) int {
		out.Reset()
		stderr.Reset()
		return servertest.RunCommand(doctor.Command, append([]string{"doctor"}, args...), env, &out, &stderr)
	}
	if code := doctor("--user", "zhangsan"); code != 0 || !strings.Contains(out.String(), "errors: 0, warnings: 0") ||
		stderr.Len() > 0 {
		t.Errorf("doctor = %d\n%s%s", code, &out, &stderr)
	}
	var report struct {
		OK     bool
		Checks []struct{ Check, Severity, Text, Cure string }
	}
	if code := doctor("--json", "--dingtalk.corp_id", "dingother"); code != 1 ||
		json.Unmarshal([]byte(out.String()), &report) != nil || report.OK || len(report.Checks) < 15 {
		t.Errorf("doctor --json = %d\n%s", code, &out)
	}
	for _, row := range report.Checks {
		if wrong := row.Check == "dingtalk.corp_id"; wrong != (row.Severity == "error") {
			t.Errorf("%s is %s %q", row.Check, row.Severity, row.Text)
		}
	}
	env = append(env, "LANG=zh_CN.UTF-8")
	if code := doctor(); code != 0 || !strings.Contains(out.String(), "钉钉登录页") ||
		!strings.Contains(out.String(), "0 项错误") {
		t.Errorf("doctor in Chinese = %d\n%s", code, &out)
	}
	if code := doctor("--user"); code != 2 {
		t.Errorf("doctor --user = %d, want 2", code)
	}
	if code := doctor("--listen", "nowhere"); code != 1 || !strings.Contains(stderr.String(), "listen") ||
		out.Len() > 0 {
		t.Errorf("doctor with a mistake = %d, want 1: %s%s", code, &out, &stderr)
	}
}
