package server_test

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
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/session"
)

// auditRecords returns the records of a file, oldest first.
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

// TestAuditFile checks that sign-ins, refusals with their rule, and sign-outs are recorded
// once each, and in the file only.
func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	agent := "Mozilla/5.0 \u202e\u009b(钉钉)\t\xff" + strings.Repeat("é", 5000)
	wantAgent := "Mozilla/5.0 (钉钉)" + strings.Repeat("é", 118) // 256 bytes at most
	h := servertest.New(t, func(c *config.Config) {
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
		c.DingTalk.Events = false
	})
	zhao := h.NewClient()
	zhao.SignIn(h.URL+"/", "zhaoliu")
	for range 3 {
		if got := zhao.Get(h.URL+"/admin/x", "User-Agent: "+agent).StatusCode; got != http.StatusForbidden {
			t.Fatalf("zhaoliu at /admin/ = %d, want 403", got)
		}
	}
	zhao.Get(h.URL+"/oauth2/auth", "X-Original-Url: "+h.URL+"/admin/", "X-Original-Method: GET")
	h.NewClient().SignIn(h.URL+"/", "zhouba")
	zhao.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	li := h.NewClient()
	li.SignIn(h.URL+"/", "lisi")
	if err := h.Gateway.Sessions.RevokeUser(t.Context(), session.Person{UserID: "lisi"}, "left"); err != nil {
		t.Fatal(err)
	}
	li.Get(h.URL + "/")
	var kinds []string
	for _, r := range auditRecords(t, path) {
		kinds = append(kinds, fmt.Sprint(r["audit"]))
		if r["at"] == "" || r["audit"] != "session_ended" && (r["req"] == "" || r["client"] != "127.0.0.1") {
			t.Errorf("%v lacks when, which request or from where", r)
		}
		if host := strings.TrimPrefix(h.URL, "http://"); r["audit"] != "session_ended" && r["host"] != host ||
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
		if !strings.Contains(h.Metrics(), line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(h.Log.String(), `"audit"`) {
		t.Error("the log has audit records too")
	}
}

// TestAuditFull checks on_error: with deny a sign-in whose record cannot be written is
// refused, and leaves no session; with allow it succeeds, and the loss is counted.
func TestAuditFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	for _, onError := range []string{config.AuditDeny, config.AuditAllow} {
		h := servertest.New(t, func(c *config.Config) { c.Audit = config.AuditConfig{File: "/dev/full", OnError: onError} })
		v := h.NewClient()
		back := v.SignIn(h.URL+"/reports", "zhangsan")
		after := v.Get(h.URL + "/reports")
		if onError == config.AuditAllow {
			if back.StatusCode != http.StatusFound || after.StatusCode != http.StatusOK {
				t.Errorf("with allow the callback = %d, the page %d, want 302 and 200", back.StatusCode,
					after.StatusCode)
			}
			servertest.Eventually(t,
				"the loss is counted", func() bool {
					return strings.Contains(h.Metrics(), `dinggate_audit_records_total{result="failed"}`)
				})
			continue
		}
		if back.StatusCode != http.StatusServiceUnavailable || back.Header.Get("Retry-After") == "" ||
			servertest.SessionOf(back) != "" {
			t.Errorf("with deny the callback = %d with session %q, want 503 without one", back.StatusCode,
				servertest.SessionOf(back))
		}
		if after.StatusCode != http.StatusFound || h.Upstream.Count() != 0 {
			t.Errorf("with deny the page = %d, the application got %d requests, want a sign-in and none",
				after.StatusCode, h.Upstream.Count())
		}
		if n := h.Gateway.Sessions.Stats().Revoked; n != 1 {
			t.Errorf("%d sessions were taken back, want 1", n)
		}
		if !strings.Contains(h.Metrics(), `dinggate_signins_total{method="browser",result="audit_unavailable"} 1`) ||
			strings.Contains(h.Metrics(), `result="ok"} 1`+"\n"+`dinggate_signins`) {
			t.Error("the metrics do not show it")
		}
	}
}

// TestTraceparent checks that the header is forwarded unchanged, and that the record
// contains its trace. An invalid header is forwarded too and not recorded.
func TestTraceparent(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	const good, bad = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-canary\"-x-01"
	for _, header := range []string{good, bad} {
		v.Get(h.URL+"/public/x", "Traceparent: "+header, "Tracestate: a=b")
		if got := h.Upstream.Last(t).Header; got.Get("Traceparent") != header || got.Get("Tracestate") != "a=b" {
			t.Errorf("the application got %q, %q", got.Get("Traceparent"), got.Get("Tracestate"))
		}
	}
	servertest.Eventually(t,
		"the record is written", func() bool {
			return strings.Contains(h.Log.String(), `"trace":"4bf92f3577b34da6a3ce929d0e0e4736"`)
		})
	if n := strings.Count(h.Log.String(), `"trace"`); n != 1 {
		t.Errorf("%d records name a trace, want 1", n)
	}
}

// TestAuditTokens checks that with deny a third party gets neither code nor token that
// cannot be recorded. A sign-out succeeds all the same.
func TestAuditTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h, p := servertest.NewSSO(t, func(c *config.Config) {
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
	})
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	code, state := v.SSOCode(p)
	breakAudit(h, path)
	if status, body := p.Token(code, state); status != http.StatusServiceUnavailable ||
		strings.Contains(body, "access_token") {
		t.Errorf("the token call = %d %s, want 503 without a token", status, body)
	}
	if a := v.Get(p.AuthorizeURL()); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Location") != "" {
		t.Errorf("authorize = %d to %q, want 503 without a code", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "",
		"Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 || v.Get(h.URL+"/").StatusCode != http.StatusFound {
		t.Errorf("signing out = %d, want the sign-out to happen", a.StatusCode)
	}
}

// breakAudit makes the sink refuse every record until path is removed.
func breakAudit(h *servertest.Env, path string) {
	h.T.Helper()
	if err := os.Rename(path, path+".moved"); err != nil {
		h.T.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be created there again
		h.T.Fatal(err)
	}
	servertest.Eventually(h.T, "the sink is found broken", func() bool { // the sink checks once a second
		return h.Kit.Audits.Write(time.Now(), "audit", "test") != nil
	})
}

// TestAuditBindings checks that with deny no binding is added or removed without a record,
// by any interface. When the sink accepts records again, the change succeeds and is
// recorded.
func TestAuditBindings(t *testing.T) {
	dir := t.TempDir()
	path, accounts := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "htpasswd")
	servertest.WriteHtpasswd(t, accounts, "zs", "ls")
	h := servertest.New(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding, c.LoginAPI = accounts, account.Required, true
		c.Audit = config.AuditConfig{File: path, OnError: config.AuditDeny}
	})
	desk := &admin.Control{
		Bindings: &admin.BindingStore{Bindings: h.Stores.Bindings, Note: h.Kit.Note},
		Sessions: func() *session.Manager { return h.Gateway.Sessions },
		Log:      h.Kit.Log,
	}
	call := func(method, query, body string) int {
		w := httptest.NewRecorder()
		desk.ServeHTTP(w, httptest.NewRequest(method, "/bindings"+query, strings.NewReader(body)))
		return w.Code
	}
	bound := func(want string) {
		t.Helper()
		all, err := h.Stores.Bindings.List(t.Context())
		if got := strings.TrimPrefix(string(account.FormatCSV(all)), "unionid,username\n"); err != nil || got != want {
			t.Errorf("bound are %q, %v, want %q", got, err, want)
		}
	}
	link := func(v *servertest.Client) string {
		t.Helper()
		m := servertest.LinkAddress.FindStringSubmatch(v.SignIn(h.URL+"/oauth2/start?rd=%2Fdeep", "zhangsan").Text)
		if m == nil {
			t.Fatal("zhangsan, who is not bound, gets no link")
		}
		return h.URL + m[1]
	}
	byLink, byPage := h.NewClient(), h.NewClient()
	byPage.Header = http.Header{}
	if a := byPage.SubmitPassword(h.URL+"/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the form = %d", a.StatusCode)
	}
	page := func() servertest.Response {
		t.Helper()
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
		}
		a := byPage.Get(h.URL+"/oauth2/start?type=1&page=/public/scan", "Accept: application/json")
		if err := json.Unmarshal([]byte(a.Text), &start); err != nil {
			t.Fatal(err, a.Text)
		}
		q := servertest.ParseURL(t, byPage.Choose(start.AuthorizeURL, "lisi")).Query()
		return byPage.Get(h.URL + "/dingtalk/login/callback?type=1&" +
			url.Values{"code": {q.Get("authCode") + q.Get("code")}, "state": {q.Get("state")}}.Encode())
	}
	if got := call("POST", "", "unionid,username\nU1,one\n"); got != 200 {
		t.Fatalf("an import = %d", got)
	}
	at := link(byLink)

	breakAudit(h, path)
	if a := byLink.SubmitPassword(at, "zs", "pw-zs"); a.StatusCode != http.StatusServiceUnavailable || servertest.SessionOf(a) != "" {
		t.Errorf("the form that binds = %d with session %q, want 503 without one", a.StatusCode, servertest.SessionOf(a))
	}
	if a := page(); a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.Text, `"success":false`) {
		t.Errorf("type=1 = %d %s, want the envelope's refusal", a.StatusCode, a.Text)
	}
	if a, b := call("POST", "", "unionid,username\nU2,two\n"), call("DELETE", "?name=one", ""); a != 500 || b != 500 {
		t.Errorf("an import = %d, a removal = %d, want 500 and 500", a, b)
	}
	bound("U1,one\n")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a := byLink.SubmitPassword(link(byLink), "zs", "pw-zs"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("with a sink the form that binds = %d: %s", a.StatusCode, a.Text)
	}
	if a := page(); a.StatusCode != http.StatusOK {
		t.Errorf("with a sink type=1 = %d %s", a.StatusCode, a.Text)
	}
	if a, b := call("POST", "", "unionid,username\nU2,one\n"), call("DELETE", "?name=one", ""); a != 200 || b != 200 {
		t.Errorf("an import of a bound user = %d, a removal = %d, want 200 with what is wrong, and 200", a, b)
	}
	if all, err := h.Stores.Bindings.List(t.Context()); err != nil || len(all) != 2 || all[0].Username != "ls" ||
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

// TestAuditOfCommand checks that changes by the command without a process that serves are
// recorded too.
func TestAuditOfCommand(t *testing.T) {
	dir := t.TempDir()
	run := func(file, in string, args ...string) (string, error) {
		t.Setenv("DINGGATE_AUDIT_FILE", file)
		t.Setenv("DINGGATE_AUDIT_ON_ERROR", config.AuditDeny)
		return servertest.RunBindings(t, dir, in, args...)
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
