package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"

	"golang.org/x/crypto/bcrypt"
)

// htpasswd writes accounts, each with the password "pw-" and its name.
func htpasswd(t testing.TB, path string, names ...string) {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ":" + string(hash) + "\n")
	}
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// accountEnv is an environment with the accounts zs and ls and the given binding.
func accountEnv(t testing.TB, binding string) (h *testEnv, file string) {
	file = filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "zs", "ls")
	return newTestEnv(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding, c.LoginAPI = file, binding, true
	}), file
}

// password signs in by the form, as a browser posts it.
func (v *visitor) password(address, name, password string) answer {
	v.t.Helper()
	return v.do("POST", address, url.Values{"username": {name}, "password": {password}}.Encode(),
		"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin", "Origin: null",
		"Sec-Fetch-Mode: navigate")
}

// TestLocalAccount: a page load without a session meets the page with the form;
// its sign-in is a session like any other, for routes and for gateways.
func TestLocalAccount(t *testing.T) {
	h, file := accountEnv(t, account.Off)
	v := h.visitor()
	a := v.get(h.base + "/wiki?a=b")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || at != h.base+"/oauth2/sign_in?rd=%2Fwiki%3Fa%3Db" {
		t.Fatalf("a page = %d to %q, want the sign-in page", a.StatusCode, at)
	}
	if a = v.password(a.Header.Get("Location"), "zs", "pw-zs"); a.StatusCode != 303 ||
		a.Header.Get("Location") != "/wiki?a=b" {
		t.Fatalf("the form = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a = v.get(h.base + "/wiki?a=b"); a.StatusCode != 200 || h.app.last(t).Header.Get("X-Forwarded-User") != "zs" {
		t.Fatalf("the page = %d for %q", a.StatusCode, h.app.last(t).Header.Get("X-Forwarded-User"))
	}
	if a = v.get(h.base+"/oauth2/auth", "X-Original-URL: "+h.base+"/wiki"); a.StatusCode != 200 ||
		a.Header.Get("X-Auth-Request-User") != "zs" {
		t.Errorf("a gateway's question = %d for %q", a.StatusCode, a.Header.Get("X-Auth-Request-User"))
	}
	if a = v.get(h.base + "/admin/x"); a.StatusCode != 403 { // a rule by department: nobody's account is in one
		t.Errorf("/admin/ = %d, want 403", a.StatusCode)
	}
	if strings.Contains(h.log.String(), "pw-zs") {
		t.Errorf("the log holds a password")
	}
	htpasswd(t, file, "ls") // zs is gone
	h.gate.Accounts.File.Look()
	h.gate.Accounts.File.Look()
	waitFor(t, "the session of an account that is gone", func() bool { return v.get(h.base+"/wiki").StatusCode == 302 })
	// of a replica that was not notified
	_, err := h.gate.Accounts.Recheck(nil)(t.Context(),
		&session.Session{User: identity.User{Username: "zs", Local: true}})
	if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Class != identity.Refused || f.Code != "account_gone" {
		t.Errorf("the recheck of an account that is gone = %v, want a refusal", err)
	}
}

var linkAddress = regexp.MustCompile(`href="(/oauth2/sign_in\?link=[^"]+)"`)

// TestBinding: a person of DingTalk binds their account once, and is that
// account from then on, at every endpoint.
func TestBinding(t *testing.T) {
	h, _ := accountEnv(t, account.Required)
	v := h.visitor()
	a := v.signIn(h.base+"/oauth2/start?rd=%2Fdeep", "zhangsan")
	link := linkAddress.FindStringSubmatch(a.body)
	if a.StatusCode != 403 || sessionOf(a) != "" || link == nil {
		t.Fatalf("zhangsan, who is not bound = %d:\n%s", a.StatusCode, a.body)
	}
	other := h.visitor()
	if a := other.password(h.base+link[1], "zs", "pw-zs"); a.StatusCode != 403 {
		t.Errorf("the link in another browser = %d, want 403", a.StatusCode)
	}
	if a := v.get(h.base + link[1]); a.StatusCode != 200 || !strings.Contains(a.body, "张三") {
		t.Errorf("the link's page = %d:\n%s", a.StatusCode, a.body)
	}
	if a := v.password(h.base+link[1], "zs", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != "/deep" {
		t.Fatalf("binding = %d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
	v = h.visitor()
	v.signIn(h.base+"/oauth2/start?rd=%2Fdeep", "zhangsan")
	v.get(h.base + "/deep")
	got := h.app.last(t).Header
	if got.Get("X-Forwarded-User") != "zs" || got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
		t.Errorf("the application sees %q, %q, want zs with zhangsan's mail", got.Get("X-Forwarded-User"),
			got.Get("X-Forwarded-Email"))
	}
	if a := v.get(h.base + "/admin/x"); a.StatusCode != 200 { // departments are the person's
		t.Errorf("/admin/ = %d, want 200", a.StatusCode)
	}
	bound := regexp.MustCompile(`"audit":"bound"[^\n]*"user":"zs","unionid":"[^"]`)
	waitFor(t, "the audit line of the binding", func() bool { return bound.MatchString(h.log.String()) })

	desk := &admin.Control{
		Bindings: &admin.BindingStore{Bindings: h.stores.Bindings, Note: h.kit.Note},
		Sessions: func() *session.Manager { return h.gate.Sessions },
		Log:      h.kit.Log,
	}
	w := httptest.NewRecorder()
	desk.ServeHTTP(w, httptest.NewRequest("DELETE", "/bindings?name=zs", nil))
	if w.Code != 200 {
		t.Fatalf("removing the binding = %d %s", w.Code, w.Body)
	}
	if a := v.get(h.base + "/deep"); a.StatusCode != 302 { // at once: the account's name is no longer theirs
		t.Errorf("after the binding was removed = %d, want a sign-in", a.StatusCode)
	}
}

// TestLoginCallbackAPI: page script with the simulator, as the document has it.
func TestLoginCallbackAPI(t *testing.T) {
	h, _ := accountEnv(t, account.Required)
	script := func(v *visitor, kind, person string) (status int, body map[string]any) {
		t.Helper()
		a := v.get(h.base+"/oauth2/start?type="+kind+"&page=/public/scan", "Accept: application/json")
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
			RedirectURI  string `json:"redirect_uri"`
		}
		if err := json.Unmarshal([]byte(a.body), &start); err != nil || start.AuthorizeURL == "" ||
			start.RedirectURI != h.base+"/public/scan" {
			t.Fatalf("start = %d %s", a.StatusCode, a.body)
		}
		q := mustURL(t, v.choose(start.AuthorizeURL, person)).Query()
		code := q.Get("code") + q.Get("authCode")
		a = v.get(h.base+"/dingtalk/login/callback?type="+kind+"&"+
			url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), "Accept: application/json")
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body) != 4 {
			t.Fatalf("the API = %d %s", a.StatusCode, a.body)
		}
		return a.StatusCode, body
	}
	v := h.visitor()
	v.header = http.Header{}
	status, body := script(v, "0", "zhangsan")
	token, _ := body["data"].(string)
	if status != 200 || token == "" || body["success"] != true || body["code"] != 200.0 {
		t.Fatalf("not bound = %d %v, want data with a link", status, body)
	}
	if a := v.password(h.base+"/oauth2/sign_in", "zs", "pw-zs"); a.StatusCode != 303 {
		t.Fatalf("the form = %d", a.StatusCode)
	}
	if status, body = script(v, "1", "zhangsan"); status != 200 || body["success"] != true ||
		body["message"] != "SUCCESS" || body["data"] != nil {
		t.Fatalf("type=1 = %d %v", status, body)
	}
	v = h.visitor()
	v.header = http.Header{}
	if status, body = script(v, "0", "zhangsan"); status != 200 || body["success"] != true {
		t.Fatalf("type=0, bound = %d %v", status, body)
	}
	v.get(h.base + "/x")
	if got := h.app.last(t).Header.Get("X-Forwarded-User"); got != "zs" {
		t.Errorf("the application sees %q, want zs", got)
	}
	v = h.visitor()
	v.header = http.Header{}
	if status, body = script(v, "0", "sunqi"); status != 200 || body["success"] != false || body["code"] != 500.0 ||
		body["data"] != nil {
		t.Errorf("a stranger = %d %v", status, body)
	}
}

// TestLoginAPIPlaces: with login_api the endpoint answers at the root and below
// login_api_base, to the letter; what an application has there is otherwise its own.
func TestLoginAPIPlaces(t *testing.T) {
	const root = "/dingtalk/login/callback"
	client := []sso.App{{ClientID: "a", ClientSecret: conf.NewSecret("0123456789abcdef"),
		RedirectURLs: []string{"https://a.test/cb"}}}
	for _, tt := range []struct {
		name          string
		change        func(*config.Config)
		ours, nobodys []string
	}{
		{"off", func(*config.Config) {}, nil, nil},
		{"login_api", func(c *config.Config) { c.LoginAPI = true }, []string{root, "/api/v1" + root},
			[]string{root + "/x", "/api/v1" + root + "/", "/API/v1" + root, "/api/v1/dingtalk/%6cogin/callback",
				"//api/v1" + root}},
		{"another base", func(c *config.Config) { c.LoginAPI, c.LoginAPIBase = true, "/backend/api" },
			[]string{root, "/backend/api" + root}, nil},
		{"no base", func(c *config.Config) { c.LoginAPI, c.LoginAPIBase = true, "" }, []string{root}, nil},
		{"sso_server alone", func(c *config.Config) { c.SSOServer.Clients = client }, []string{root}, nil},
		{"both", func(c *config.Config) { c.LoginAPI, c.SSOServer.Clients = true, client },
			[]string{root, "/api/v1" + root}, nil},
	} {
		h := newTestEnv(t, tt.change)
		v := h.visitor()
		v.signIn(h.base+"/", "zhangsan")
		for _, path := range []string{root, "/api/v1" + root, "/backend/api" + root} {
			h.app.forget()
			a := v.get(h.base+path+"?code=x&state=y", "Accept: application/json")
			if ours := strings.HasPrefix(a.body, `{"success":false,"code":500,`); ours != slices.Contains(tt.ours,
				path) || ours == (h.app.count() > 0) {
				t.Errorf("%s: %s = %d %.80s, the application got %d", tt.name, path, a.StatusCode, a.body,
					h.app.count())
			}
			if target := (web.Path{Plain: path}); explain.AnswersItself(h.cfg, target) != slices.Contains(tt.ours,
				path) {
				t.Errorf("%s: explain says of %s that we answer it: %v", tt.name, path,
					explain.AnswersItself(h.cfg, target))
			}
		}
		for _, path := range tt.nobodys {
			h.app.forget()
			if a := v.get(h.base + path + "?code=x&state=y"); a.StatusCode != 404 || h.app.count() > 0 {
				t.Errorf("%s: %s = %d, the application got %d", tt.name, path, a.StatusCode, h.app.count())
			}
		}
		h.app.forget()
		for _, path := range []string{"/api/v1/dingtalk/login", "/api/v1/orders", "/api/v1/dingtalk/login/callbacks",
			"/api/dingtalk/login/callback"} {
			if a := v.get(h.base + path); a.StatusCode != 200 {
				t.Errorf("%s: %s = %d, want the application's", tt.name, path, a.StatusCode)
			}
		}
	}
}

// bindingsCommand runs `dinggate bindings` of the real program.
func bindingsCommand(t *testing.T, dir string, in string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary(t), append([]string{"bindings"}, args...)...)
	cmd.Env = append(append(os.Environ(), environment...), "DINGGATE_STATE_DIR="+dir,
		"DINGGATE_ACCOUNTS_BINDING=required", "LC_ALL=C")
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestBindingsWhileServing: the command works through the socket in state_dir,
// which nobody else may use, and what it did survives kill -9.
func TestBindingsWhileServing(t *testing.T) {
	dir := t.TempDir()
	env := []string{"DINGGATE_STATE_DIR=" + dir, "DINGGATE_ACCOUNTS_BINDING=required"}
	p := serve(t, env...)
	socket := filepath.Join(dir, admin.ControlName)
	waitFor(t, "the control socket", func() bool { _, err := os.Stat(socket); return err == nil })
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "control-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if out, err := bindingsCommand(t, dir, "unionid,username\nU1,zs\nU2,ls\n", "import", "-"); err != nil ||
		!strings.Contains(out, "2 bindings") {
		t.Fatalf("import = %q, %v", out, err)
	}
	if out, err := bindingsCommand(t, dir, "unionid,username\nU3,ok\nU1,other\nU4\n", "import", "-"); err == nil ||
		!strings.Contains(out, "-:4: has 1 fields") {
		t.Errorf("a bad import = %q, %v", out, err)
	}
	if out, err := bindingsCommand(t, dir, "unionid,username\nU3,ok\nU1,other\n", "import", "-"); err == nil ||
		!strings.Contains(out, "-:3: has a person or an account that is bound") {
		t.Errorf("an import of somebody bound = %q, %v", out, err)
	}
	if out, err := bindingsCommand(t, dir, "", "remove", "U2"); err != nil ||
		!strings.Contains(out, "U2 is no longer bound to ls") {
		t.Errorf("remove = %q, %v", out, err)
	}
	if out, err := bindingsCommand(t, dir, "", "remove", "U2"); err == nil ||
		!strings.Contains(out, "no account and no unionId") {
		t.Errorf("remove again = %q, %v", out, err)
	}
	// the admin listener, which a sidecar's application shares, knows nothing of it
	for _, path := range []string{"/bindings", "/"} {
		if status, body := fetch(t, http.DefaultClient, p.admin+path); status != 404 || strings.Contains(body, "U1") {
			t.Errorf("%s on the admin listener = %d %q", path, status, body)
		}
	}
	const want = "unionid,username\nU1,zs\n"
	if out, err := bindingsCommand(t, dir, "", "list"); err != nil || out != want {
		t.Errorf("list = %q, %v, want %q", out, err, want)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	// the socket is dead: the file is opened
	if out, err := bindingsCommand(t, dir, "", "list"); err != nil || out != want {
		t.Errorf("after kill -9 list = %q, %v, want %q", out, err, want)
	}
	p = serve(t, env...)
	waitFor(t, "the control socket", func() bool {
		out, err := bindingsCommand(t, dir, "", "list")
		return err == nil && out == want
	})
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait()
	if _, err := os.Stat(socket); err == nil {
		t.Errorf("the socket is still there after a clean end")
	}
}

// TestBindingsKilledInMidImport: imports of a hundred each while the process is
// killed: what was confirmed is there, and no import is there in part.
func TestBindingsKilledInMidImport(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, "DINGGATE_STATE_DIR="+dir, "DINGGATE_ACCOUNTS_BINDING=required")
	waitFor(t, "the control socket", func() bool {
		_, err := os.Stat(filepath.Join(dir, admin.ControlName))
		return err == nil
	})
	batch := func(i int) []byte {
		var all []account.Binding
		for k := range 100 {
			id := string(rune('a'+i%26)) + strings.Repeat("x", i/26) + "-" + string(rune('a'+k/26)) +
				string(rune('a'+k%26))
			all = append(all, account.Binding{UnionID: "U" + id, Username: "n" + id})
		}
		return account.FormatCSV(all)
	}
	confirmed := make(chan int, 1000)
	go func() {
		defer close(confirmed)
		for i := range 1000 {
			if status, _, err := admin.Ask(context.Background(), filepath.Join(dir, admin.ControlName), http.MethodPost, "/bindings",
				batch(i)); err != nil || status != 200 {
				return
			}
			confirmed <- i
		}
	}()
	last := 0
	for i := range confirmed {
		if last = i; i == 12 {
			p.cmd.Process.Kill()
		}
	}
	p.cmd.Wait()
	out, err := bindingsCommand(t, dir, "", "list")
	if err != nil {
		t.Fatalf("list = %v: %s", err, out)
	}
	for i := range last + 2 {
		n := 0
		for line := range strings.Lines(strings.TrimPrefix(string(batch(i)), "unionid,username\n")) {
			if strings.Contains(out, line) {
				n++
			}
		}
		if i <= last && n != 100 || n != 0 && n != 100 {
			t.Errorf("import %d of %d confirmed ones has %d bindings", i, last, n)
		}
	}
}

// TestSilentNotBound: in the DingTalk client too, somebody who is not bound is
// led to the form that binds them, and then is their account without a click.
func TestSilentNotBound(t *testing.T) {
	h, _ := accountEnv(t, account.Required)
	v := h.visitor()
	state := v.silent(h.base + "/deep")
	a := v.post(h.base, form(h.platform.SilentCode("zhangsan"), state))
	var told struct{ Location string }
	if err := json.Unmarshal([]byte(a.body), &told); err != nil || a.StatusCode != 200 ||
		!strings.HasPrefix(told.Location, "/oauth2/sign_in?link=") || sessionOf(a) != "" {
		t.Fatalf("not bound = %d %s with session %q, want the form", a.StatusCode, a.body, sessionOf(a))
	}
	if a := v.password(h.base+told.Location, "zs", "pw-zs"); a.StatusCode != 303 ||
		a.Header.Get("Location") != "/deep" {
		t.Fatalf("binding = %d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
	w := h.visitor()
	w.post(h.base, form(h.platform.SilentCode("zhangsan"), w.silent(h.base+"/deep")))
	w.get(h.base + "/deep")
	if got := h.app.last(t).Header.Get("X-Forwarded-User"); got != "zs" {
		t.Errorf("the application sees %q, want zs", got)
	}
}
