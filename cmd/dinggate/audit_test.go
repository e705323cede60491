package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/session"
)

// audited are the records of a file, oldest first.
func audited(t *testing.T, path string) (all []map[string]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var one map[string]string
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// TestAuditFile: who came in, who did not and by which rule, who left, each once
// and in the file alone.
func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h := newHouse(t, func(c *Config) { c.Audit = AuditConfig{path, auditDeny}; c.DingTalk.Events = false })
	zhao := h.visitor()
	zhao.signIn(h.base+"/", "zhaoliu")
	for range 3 {
		if got := zhao.get(h.base + "/admin/x").StatusCode; got != http.StatusForbidden {
			t.Fatalf("zhaoliu at /admin/ = %d, want 403", got)
		}
	}
	zhao.get(h.base+"/oauth2/auth", "X-Original-Url: "+h.base+"/admin/", "X-Original-Method: GET")
	h.visitor().signIn(h.base+"/", "zhouba")
	zhao.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	li := h.visitor()
	li.signIn(h.base+"/", "lisi")
	if err := h.gate.sessions.RevokeUser(t.Context(), session.Person{UserID: "lisi"}, "left"); err != nil {
		t.Fatal(err)
	}
	li.get(h.base + "/")
	var kinds []string
	for _, r := range audited(t, path) {
		kinds = append(kinds, r["audit"])
		if r["at"] == "" || r["audit"] != "session_ended" && (r["req"] == "" || r["client"] != "127.0.0.1") {
			t.Errorf("%v lacks when, which request or from where", r)
		}
		switch r["audit"] {
		case "denied":
			if r["user"] != "zhaoliu" || r["route"] != "/admin/" || r["rule"] != "departments 42" || r["code"] != "not_allowed" {
				t.Errorf("the denial reads %v", r)
			}
		case "refused":
			if r["code"] != "external_contact" {
				t.Errorf("the refusal reads %v", r)
			}
		case "session_ended":
			if r["user"] != "lisi" || r["reason"] != "left" || r["session"] == "" {
				t.Errorf("the end reads %v", r)
			}
		case "sign_in":
			if r["user"] == "" || r["userid"] == "" || r["session"] == "" {
				t.Errorf("the sign-in reads %v", r)
			}
		}
	}
	if want := []string{"sign_in", "denied", "refused", "sign_out", "sign_in", "session_ended"}; !slices.Equal(kinds, want) {
		t.Errorf("the file has %v, want %v", kinds, want)
	}
	if strings.Contains(h.log.String(), `"audit"`) {
		t.Error("the log has audit records too")
	}
}

// TestAuditFull: with deny nobody signs in whose record cannot be written, and
// no session is left over; with allow people come in and the loss is counted.
func TestAuditFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	for _, onError := range []string{auditDeny, auditAllow} {
		h := newHouse(t, func(c *Config) { c.Audit = AuditConfig{"/dev/full", onError} })
		v := h.visitor()
		back := v.signIn(h.base+"/reports", "zhangsan")
		after := v.get(h.base + "/reports")
		if onError == auditAllow {
			if back.StatusCode != http.StatusFound || after.StatusCode != http.StatusOK {
				t.Errorf("with allow the callback = %d, the page %d, want 302 and 200", back.StatusCode, after.StatusCode)
			}
			eventually(t, "the loss is counted", func() bool { return strings.Contains(h.scrape(), `dinggate_audit_records_total{result="failed"}`) })
			continue
		}
		if back.StatusCode != http.StatusServiceUnavailable || back.Header.Get("Retry-After") == "" || sessionOf(back) != "" {
			t.Errorf("with deny the callback = %d with session %q, want 503 without one", back.StatusCode, sessionOf(back))
		}
		if after.StatusCode != http.StatusFound || h.app.count() != 0 {
			t.Errorf("with deny the page = %d, the application got %d requests, want a sign-in and none", after.StatusCode, h.app.count())
		}
		if n := h.gate.sessions.Stats().Revoked; n != 1 {
			t.Errorf("%d sessions were taken back, want 1", n)
		}
		if !strings.Contains(h.scrape(), `dinggate_signins_total{method="browser",result="audit_unavailable"} 1`) || strings.Contains(h.scrape(), `result="ok"} 1`+"\n"+`dinggate_signins`) {
			t.Error("the metrics do not tell of it")
		}
	}
}

// scrape is what Prometheus would read now.
func (h *house) scrape() string {
	w := httptest.NewRecorder()
	h.kit.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// TestTraceparent: the header passes as it came, its trace stands in the record;
// one that is none passes too and stands nowhere.
func TestTraceparent(t *testing.T) {
	h := newHouse(t, nil)
	v := h.visitor()
	const good, bad = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-canary\"-x-01"
	for _, header := range []string{good, bad} {
		v.get(h.base+"/public/x", "Traceparent: "+header, "Tracestate: a=b")
		if got := h.app.last(t).Header; got.Get("Traceparent") != header || got.Get("Tracestate") != "a=b" {
			t.Errorf("the application got %q, %q", got.Get("Traceparent"), got.Get("Tracestate"))
		}
	}
	eventually(t, "the record is written", func() bool { return strings.Contains(h.log.String(), `"trace":"4bf92f3577b34da6a3ce929d0e0e4736"`) })
	if n := strings.Count(h.log.String(), `"trace"`); n != 1 {
		t.Errorf("%d records name a trace, want 1", n)
	}
}

// TestAuditTokens: with deny a third party gets neither code nor token that
// cannot be recorded; a sign-out happens all the same.
func TestAuditTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h, p := ssoHouse(t, func(c *Config) { c.Audit = AuditConfig{path, auditDeny} })
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	code, state := v.codeFor(p)
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be made there again
		t.Fatal(err)
	}
	eventually(t, "the sink is found broken", func() bool { // it looks once a second
		h.kit.audits.Write(time.Now(), "audit", "test")
		return strings.Contains(h.scrape(), `dinggate_audit_records_total{result="failed"}`)
	})
	if status, body := p.token(code, state); status != http.StatusServiceUnavailable || strings.Contains(body, "access_token") {
		t.Errorf("the token call = %d %s, want 503 without a token", status, body)
	}
	if a := v.get(p.authorize()); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Location") != "" {
		t.Errorf("authorize = %d to %q, want 503 without a code", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 || v.get(h.base+"/").StatusCode != http.StatusFound {
		t.Errorf("signing out = %d, want the sign-out to happen", a.StatusCode)
	}
}
