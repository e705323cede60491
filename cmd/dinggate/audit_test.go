package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/session"
)

// auditRecords are the records of a file, oldest first.
func auditRecords(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var one map[string]any
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
	agent := "Mozilla/5.0 \u202e\u009b(钉钉)\t\xff" + strings.Repeat("é", 5000)
	wantAgent := "Mozilla/5.0 (钉钉)" + strings.Repeat("é", 118) // 256 bytes at most
	h := newTestEnv(t, func(c *config.Config) {
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
		c.DingTalk.Events = false
	})
	zhao := h.visitor()
	zhao.signIn(h.base+"/", "zhaoliu")
	for range 3 {
		if got := zhao.get(h.base+"/admin/x", "User-Agent: "+agent).StatusCode; got != http.StatusForbidden {
			t.Fatalf("zhaoliu at /admin/ = %d, want 403", got)
		}
	}
	zhao.get(h.base+"/oauth2/auth", "X-Original-Url: "+h.base+"/admin/", "X-Original-Method: GET")
	h.visitor().signIn(h.base+"/", "zhouba")
	zhao.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	li := h.visitor()
	li.signIn(h.base+"/", "lisi")
	if err := h.gate.Sessions.RevokeUser(t.Context(), session.Person{UserID: "lisi"}, "left"); err != nil {
		t.Fatal(err)
	}
	li.get(h.base + "/")
	var kinds []string
	for _, r := range auditRecords(t, path) {
		kinds = append(kinds, fmt.Sprint(r["audit"]))
		if r["at"] == "" || r["audit"] != "session_ended" && (r["req"] == "" || r["client"] != "127.0.0.1") {
			t.Errorf("%v lacks when, which request or from where", r)
		}
		if host := strings.TrimPrefix(h.base, "http://"); r["audit"] != "session_ended" && r["host"] != host ||
			r["audit"] == "denied" && r["user_agent"] != wantAgent {
			t.Errorf("%v lacks the application's host %s or the user agent", r, host)
		}
		switch r["audit"] {
		case "denied":
			if r["user"] != "zhaoliu" || r["route"] != "/admin/" || r["rule"] != "departments 42" ||
				r["code"] != "not_allowed" {
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
	if want := []string{"sign_in", "denied", "refused", "sign_out", "sign_in", "session_ended"}; !slices.Equal(kinds,
		want) {
		t.Errorf("the file has %v, want %v", kinds, want)
	}
	for _, line := range []string{`dinggate_sessions_ended_total{reason="sign_out"} 1`,
		`dinggate_sessions_ended_total{reason="left"} 1`, `dinggate_rechecks_total{result="refused"} 0`} {
		if !strings.Contains(h.scrape(), line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
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
	for _, onError := range []string{config.AuditDeny, config.AuditAllow} {
		h := newTestEnv(t, func(c *config.Config) { c.Audit = config.AuditConfig{File: "/dev/full", OnError: onError} })
		v := h.visitor()
		back := v.signIn(h.base+"/reports", "zhangsan")
		after := v.get(h.base + "/reports")
		if onError == config.AuditAllow {
			if back.StatusCode != http.StatusFound || after.StatusCode != http.StatusOK {
				t.Errorf("with allow the callback = %d, the page %d, want 302 and 200", back.StatusCode,
					after.StatusCode)
			}
			eventually(t,
				"the loss is counted", func() bool {
					return strings.Contains(h.scrape(), `dinggate_audit_records_total{result="failed"}`)
				})
			continue
		}
		if back.StatusCode != http.StatusServiceUnavailable || back.Header.Get("Retry-After") == "" ||
			sessionOf(back) != "" {
			t.Errorf("with deny the callback = %d with session %q, want 503 without one", back.StatusCode,
				sessionOf(back))
		}
		if after.StatusCode != http.StatusFound || h.app.count() != 0 {
			t.Errorf("with deny the page = %d, the application got %d requests, want a sign-in and none",
				after.StatusCode, h.app.count())
		}
		if n := h.gate.Sessions.Stats().Revoked; n != 1 {
			t.Errorf("%d sessions were taken back, want 1", n)
		}
		if !strings.Contains(h.scrape(), `dinggate_signins_total{method="browser",result="audit_unavailable"} 1`) ||
			strings.Contains(h.scrape(), `result="ok"} 1`+"\n"+`dinggate_signins`) {
			t.Error("the metrics do not tell of it")
		}
	}
}

// scrape is what Prometheus would read now.
func (h *testEnv) scrape() string {
	w := httptest.NewRecorder()
	h.kit.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// TestTraceparent: the header passes as it came, its trace stands in the record;
// one that is none passes too and stands nowhere.
func TestTraceparent(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	const good, bad = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-canary\"-x-01"
	for _, header := range []string{good, bad} {
		v.get(h.base+"/public/x", "Traceparent: "+header, "Tracestate: a=b")
		if got := h.app.last(t).Header; got.Get("Traceparent") != header || got.Get("Tracestate") != "a=b" {
			t.Errorf("the application got %q, %q", got.Get("Traceparent"), got.Get("Tracestate"))
		}
	}
	eventually(t,
		"the record is written", func() bool {
			return strings.Contains(h.log.String(), `"trace":"4bf92f3577b34da6a3ce929d0e0e4736"`)
		})
	if n := strings.Count(h.log.String(), `"trace"`); n != 1 {
		t.Errorf("%d records name a trace, want 1", n)
	}
}

// TestAuditTokens: with deny a third party gets neither code nor token that
// cannot be recorded; a sign-out happens all the same.
func TestAuditTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h, p := ssoTestEnv(t, func(c *config.Config) {
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
	})
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	code, state := v.codeFor(p)
	h.breakAudit(path)
	if status, body := p.token(code, state); status != http.StatusServiceUnavailable ||
		strings.Contains(body, "access_token") {
		t.Errorf("the token call = %d %s, want 503 without a token", status, body)
	}
	if a := v.get(p.authorize()); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Location") != "" {
		t.Errorf("authorize = %d to %q, want 503 without a code", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.do(http.MethodPost, h.base+"/oauth2/sign_out", "",
		"Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 || v.get(h.base+"/").StatusCode != http.StatusFound {
		t.Errorf("signing out = %d, want the sign-out to happen", a.StatusCode)
	}
}

// breakAudit has the sink refuse every record, until path is removed.
func (h *testEnv) breakAudit(path string) {
	h.t.Helper()
	if err := os.Rename(path, path+".moved"); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be made there again
		h.t.Fatal(err)
	}
	eventually(h.t, "the sink is found broken", func() bool { // it looks once a second
		return h.kit.Audits.Write(time.Now(), "audit", "test") != nil
	})
}

// TestAuditBindings: with deny nobody is bound or unbound without a record, by
// whatever way; when the sink is well again it happens, and stands there.
func TestAuditBindings(t *testing.T) {
	dir := t.TempDir()
	path, accounts := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "htpasswd")
	htpasswd(t, accounts, "zs", "ls")
	h := newTestEnv(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding, c.LoginAPI = accounts, account.Required, true
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
	})
	desk := &admin.Control{
		Bindings: &admin.BindingStore{Bindings: h.stores.Bindings, Note: h.kit.Note},
		Sessions: func() *session.Manager { return h.gate.Sessions },
		Log:      h.kit.Log,
	}
	ask := func(method, query, body string) int {
		w := httptest.NewRecorder()
		desk.ServeHTTP(w, httptest.NewRequest(method, "/bindings"+query, strings.NewReader(body)))
		return w.Code
	}
	bound := func(want string) {
		t.Helper()
		all, err := h.stores.Bindings.List(t.Context())
		if got := strings.TrimPrefix(string(account.FormatCSV(all)), "unionid,username\n"); err != nil || got != want {
			t.Errorf("bound are %q, %v, want %q", got, err, want)
		}
	}
	link := func(v *visitor) string {
		t.Helper()
		m := linkAddress.FindStringSubmatch(v.signIn(h.base+"/oauth2/start?rd=%2Fdeep", "zhangsan").body)
		if m == nil {
			t.Fatal("zhangsan, who is not bound, gets no link")
		}
		return h.base + m[1]
	}
	byLink, byPage := h.visitor(), h.visitor()
	byPage.header = http.Header{}
	if a := byPage.password(h.base+"/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the form = %d", a.StatusCode)
	}
	page := func() answer {
		t.Helper()
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
		}
		a := byPage.get(h.base+"/oauth2/start?type=1&page=/public/scan", "Accept: application/json")
		if err := json.Unmarshal([]byte(a.body), &start); err != nil {
			t.Fatal(err, a.body)
		}
		q := mustURL(t, byPage.choose(start.AuthorizeURL, "lisi")).Query()
		return byPage.get(h.base + "/dingtalk/login/callback?type=1&" +
			url.Values{"code": {q.Get("authCode") + q.Get("code")}, "state": {q.Get("state")}}.Encode())
	}
	if got := ask("POST", "", "unionid,username\nU1,one\n"); got != 200 {
		t.Fatalf("an import = %d", got)
	}
	at := link(byLink)

	h.breakAudit(path)
	if a := byLink.password(at, "zs", "pw-zs"); a.StatusCode != http.StatusServiceUnavailable || sessionOf(a) != "" {
		t.Errorf("the form that binds = %d with session %q, want 503 without one", a.StatusCode, sessionOf(a))
	}
	if a := page(); a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.body, `"success":false`) {
		t.Errorf("type=1 = %d %s, want the envelope's refusal", a.StatusCode, a.body)
	}
	if a, b := ask("POST", "", "unionid,username\nU2,two\n"), ask("DELETE", "?name=one", ""); a != 500 || b != 500 {
		t.Errorf("an import = %d, a removal = %d, want 500 and 500", a, b)
	}
	bound("U1,one\n")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a := byLink.password(link(byLink), "zs", "pw-zs"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("with a sink the form that binds = %d: %s", a.StatusCode, a.body)
	}
	if a := page(); a.StatusCode != http.StatusOK {
		t.Errorf("with a sink type=1 = %d %s", a.StatusCode, a.body)
	}
	if a, b := ask("POST", "", "unionid,username\nU2,one\n"), ask("DELETE", "?name=one", ""); a != 200 || b != 200 {
		t.Errorf("an import of somebody bound = %d, a removal = %d, want 200 with what is wrong, and 200", a, b)
	}
	if all, err := h.stores.Bindings.List(t.Context()); err != nil || len(all) != 2 || all[0].Username != "ls" ||
		all[1].Username != "zs" {
		t.Errorf("bound are %v, %v, want ls and zs", all, err)
	}
	var kinds []string
	for _, r := range auditRecords(t, path) {
		kinds = append(kinds, fmt.Sprint(r["audit"]))
	}
	if want := []string{"refused", "bound", "sign_in", "bound", "bindings_imported", "undone",
		"unbound"}; !slices.Equal(kinds, want) {
		t.Errorf("the file has %v, want %v", kinds, want)
	}
}

// TestAuditOfCommand: what the command changes without a process that serves has
// its record too.
func TestAuditOfCommand(t *testing.T) {
	dir := t.TempDir()
	run := func(file, in string, args ...string) (string, error) {
		t.Setenv("DINGGATE_AUDIT_FILE", file)
		t.Setenv("DINGGATE_AUDIT_ON_ERROR", config.AuditDeny)
		return bindingsCommand(t, dir, in, args...)
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	const csv = "unionid,username\nU1,zs\n"
	if out, err := run(filepath.Join(path, "no", "such"), csv, "import", "-"); err == nil ||
		!strings.Contains(out, "nothing was changed") {
		t.Errorf("an import without a sink = %q, %v", out, err)
	}
	if out, err := run(path, "", "list"); err != nil || out != "unionid,username\n" {
		t.Errorf("list = %q, %v", out, err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a list has made the audit file")
	}
	if out, err := run(path, csv, "import", "-"); err != nil {
		t.Errorf("an import = %q, %v", out, err)
	}
	if out, err := run(path, "", "remove", "U1"); err != nil || !strings.Contains(out, "U1 is no longer bound to zs") {
		t.Errorf("a removal = %q, %v", out, err)
	}
	records := auditRecords(t, path)
	if len(records) != 2 || records[0]["audit"] != "bindings_imported" || records[0]["count"] != 1.0 ||
		records[1]["audit"] != "unbound" || records[1]["unionid"] != "U1" || records[1]["by"] != "dinggate bindings" {
		t.Errorf("the file has %v", records)
	}
}
