package signin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
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
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
)

// TestLocalAccount: a page load without a session gets the page with the form. Its sign-in
// creates a session like any other one, for routes and for gateways.
func TestLocalAccount(t *testing.T) {
	h, file := servertest.NewWithAccounts(t, account.Off)
	v := h.NewClient()
	a := v.Get(h.URL + "/wiki?a=b")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || at != h.URL+"/oauth2/sign_in?rd=%2Fwiki%3Fa%3Db" {
		t.Fatalf("a page = %d to %q, want the sign-in page", a.StatusCode, at)
	}
	if a = v.SubmitPassword(a.Header.Get("Location"), "zs", "pw-zs"); a.StatusCode != 303 ||
		a.Header.Get("Location") != "/wiki?a=b" {
		t.Fatalf("the form = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a = v.Get(h.URL + "/wiki?a=b"); a.StatusCode != 200 || h.Upstream.Last(t).Header.Get("X-Forwarded-User") != "zs" {
		t.Fatalf("the page = %d for %q", a.StatusCode, h.Upstream.Last(t).Header.Get("X-Forwarded-User"))
	}
	if a = v.Get(h.URL+"/oauth2/auth", "X-Original-URL: "+h.URL+"/wiki"); a.StatusCode != 200 ||
		a.Header.Get("X-Auth-Request-User") != "zs" {
		t.Errorf("an authorization subrequest = %d for %q", a.StatusCode, a.Header.Get("X-Auth-Request-User"))
	}
	if a = v.Get(h.URL + "/admin/x"); a.StatusCode != 403 { // a rule by department: a local account is in no department
		t.Errorf("/admin/ = %d, want 403", a.StatusCode)
	}
	if strings.Contains(h.Log.String(), "pw-zs") {
		t.Errorf("the log holds a password")
	}
	servertest.WriteHtpasswd(t, file, "ls") // zs was removed
	h.Gateway.Accounts.File.Look()
	h.Gateway.Accounts.File.Look()
	servertest.Eventually(t, "the session of an account that is gone", func() bool { return v.Get(h.URL+"/wiki").StatusCode == 302 })
	// of a replica that was not notified
	_, err := h.Gateway.Accounts.Recheck(nil)(t.Context(),
		&session.Session{User: identity.User{Username: "zs", Local: true}})
	if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Class != identity.Refused || f.Code != "account_gone" {
		t.Errorf("the recheck of an account that is gone = %v, want a refusal", err)
	}
}

// TestBinding: a person of DingTalk binds an account once, and has its name from then on
// at every endpoint.
func TestBinding(t *testing.T) {
	h, _ := servertest.NewWithAccounts(t, account.Required)
	v := h.NewClient()
	a := v.SignIn(h.URL+"/oauth2/start?rd=%2Fdeep", "zhangsan")
	link := servertest.LinkAddress.FindStringSubmatch(a.Text)
	if a.StatusCode != 403 || servertest.SessionOf(a) != "" || link == nil {
		t.Fatalf("zhangsan, who is not bound = %d:\n%s", a.StatusCode, a.Text)
	}
	other := h.NewClient()
	if a := other.SubmitPassword(h.URL+link[1], "zs", "pw-zs"); a.StatusCode != 403 {
		t.Errorf("the link in another browser = %d, want 403", a.StatusCode)
	}
	if a := v.Get(h.URL + link[1]); a.StatusCode != 200 || !strings.Contains(a.Text, "张三") {
		t.Errorf("the link's page = %d:\n%s", a.StatusCode, a.Text)
	}
	if a := v.SubmitPassword(h.URL+link[1], "zs", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != "/deep" {
		t.Fatalf("binding = %d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.Text)
	}
	bound := v // the session that began with the binding belongs to the person like a later one
	if a := v.Get(h.URL + "/admin/x"); a.StatusCode != 200 || h.Upstream.Last(t).Header.Get("X-Forwarded-User") != "zs" {
		t.Errorf("/admin/ right after the binding = %d for %q, want 200 for zs: departments are the person's", a.StatusCode,
			h.Upstream.Last(t).Header.Get("X-Forwarded-User"))
	}
	v = h.NewClient()
	v.SignIn(h.URL+"/oauth2/start?rd=%2Fdeep", "zhangsan")
	v.Get(h.URL + "/deep")
	got := h.Upstream.Last(t).Header
	if got.Get("X-Forwarded-User") != "zs" || got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
		t.Errorf("the application sees %q, %q, want zs with zhangsan's mail", got.Get("X-Forwarded-User"),
			got.Get("X-Forwarded-Email"))
	}
	if a := v.Get(h.URL + "/admin/x"); a.StatusCode != 200 { // departments are the person's
		t.Errorf("/admin/ = %d, want 200", a.StatusCode)
	}
	line := regexp.MustCompile(`"audit":"bound"[^\n]*"user":"zs","unionid":"[^"]`)
	servertest.Eventually(t, "the audit line of the binding", func() bool { return line.MatchString(h.Log.String()) })

	desk := &admin.Control{
		Bindings: &admin.BindingStore{Bindings: h.Stores.Bindings, Note: h.Kit.Note},
		Sessions: func() *session.Manager { return h.Gateway.Sessions },
		Log:      h.Kit.Log,
	}
	w := httptest.NewRecorder()
	desk.ServeHTTP(w, httptest.NewRequest("DELETE", "/bindings?name=zs", nil))
	if w.Code != 200 {
		t.Fatalf("removing the binding = %d %s", w.Code, w.Body)
	}
	for name, v := range map[string]*servertest.Client{"signed in later": v, "bound by the form": bound} {
		if a := v.Get(h.URL + "/deep"); a.StatusCode != 302 { // at once: the person no longer has the account's name
			t.Errorf("after the binding was removed, %s = %d, want a sign-in", name, a.StatusCode)
		}
	}
}

// TestLoginCallbackAPI tests a page script with the simulator, as documented.
func TestLoginCallbackAPI(t *testing.T) {
	h, _ := servertest.NewWithAccounts(t, account.Required)
	script := func(v *servertest.Client, kind, person string) (status int, body map[string]any) {
		t.Helper()
		a := v.Get(h.URL+"/oauth2/start?type="+kind+"&page=/public/scan", "Accept: application/json")
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
			RedirectURI  string `json:"redirect_uri"`
		}
		if err := json.Unmarshal([]byte(a.Text), &start); err != nil || start.AuthorizeURL == "" ||
			start.RedirectURI != h.URL+"/public/scan" {
			t.Fatalf("start = %d %s", a.StatusCode, a.Text)
		}
		q := servertest.ParseURL(t, v.Choose(start.AuthorizeURL, person)).Query()
		code := q.Get("code") + q.Get("authCode")
		a = v.Get(h.URL+"/dingtalk/login/callback?type="+kind+"&"+
			url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), "Accept: application/json")
		if err := json.Unmarshal([]byte(a.Text), &body); err != nil || len(body) != 4 {
			t.Fatalf("the API = %d %s", a.StatusCode, a.Text)
		}
		return a.StatusCode, body
	}
	v := h.NewClient()
	v.Header = http.Header{}
	status, body := script(v, "0", "zhangsan")
	token, _ := body["data"].(string)
	if status != 200 || token == "" || body["success"] != true || body["code"] != 200.0 {
		t.Fatalf("not bound = %d %v, want data with a link", status, body)
	}
	if a := v.SubmitPassword(h.URL+"/oauth2/sign_in", "zs", "pw-zs"); a.StatusCode != 303 {
		t.Fatalf("the form = %d", a.StatusCode)
	}
	if status, body = script(v, "1", "zhangsan"); status != 200 || body["success"] != true ||
		body["message"] != "SUCCESS" || body["data"] != nil {
		t.Fatalf("type=1 = %d %v", status, body)
	}
	v = h.NewClient()
	v.Header = http.Header{}
	if status, body = script(v, "0", "zhangsan"); status != 200 || body["success"] != true {
		t.Fatalf("type=0, bound = %d %v", status, body)
	}
	v.Get(h.URL + "/x")
	if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zs" {
		t.Errorf("the application sees %q, want zs", got)
	}
	v = h.NewClient()
	v.Header = http.Header{}
	if status, body = script(v, "0", "sunqi"); status != 200 || body["success"] != false || body["code"] != 500.0 ||
		body["data"] != nil {
		t.Errorf("an unknown account = %d %v", status, body)
	}
}

// TestLoginAPIPlaces checks that with login_api the endpoint answers at the root and below
// login_api_base, with exact paths. Other paths belong to the application.
func TestLoginAPIPlaces(t *testing.T) {
	const root = "/dingtalk/login/callback"
	client := []sso.App{{ClientID: "a", ClientSecret: conf.NewSecret("0123456789abcdef"),
		RedirectURLs: []string{"https://a.test/cb"}}}
	for _, tt := range []struct {
		name         string
		change       func(*config.Config)
		ours, others []string
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
		h := servertest.New(t, tt.change)
		v := h.NewClient()
		v.SignIn(h.URL+"/", "zhangsan")
		for _, path := range []string{root, "/api/v1" + root, "/backend/api" + root} {
			h.Upstream.Reset()
			a := v.Get(h.URL+path+"?code=x&state=y", "Accept: application/json")
			if ours := strings.HasPrefix(a.Text, `{"success":false,"code":500,`); ours != slices.Contains(tt.ours,
				path) || ours == (h.Upstream.Count() > 0) {
				t.Errorf("%s: %s = %d %.80s, the application got %d", tt.name, path, a.StatusCode, a.Text,
					h.Upstream.Count())
			}
			if target := (web.Path{Plain: path}); explain.AnswersItself(h.Config, target) != slices.Contains(tt.ours,
				path) {
				t.Errorf("%s: explain says of %s that we answer it: %v", tt.name, path,
					explain.AnswersItself(h.Config, target))
			}
		}
		for _, path := range tt.others {
			h.Upstream.Reset()
			if a := v.Get(h.URL + path + "?code=x&state=y"); a.StatusCode != 404 || h.Upstream.Count() > 0 {
				t.Errorf("%s: %s = %d, the application got %d", tt.name, path, a.StatusCode, h.Upstream.Count())
			}
		}
		h.Upstream.Reset()
		for _, path := range []string{"/api/v1/dingtalk/login", "/api/v1/orders", "/api/v1/dingtalk/login/callbacks",
			"/api/dingtalk/login/callback"} {
			if a := v.Get(h.URL + path); a.StatusCode != 200 {
				t.Errorf("%s: %s = %d, want the application's", tt.name, path, a.StatusCode)
			}
		}
	}
}

// TestBindingsWhileServing checks that the command works through the socket in state_dir,
// which no other user can access, and that its changes survive kill -9.
func TestBindingsWhileServing(t *testing.T) {
	dir := t.TempDir()
	env := []string{"DINGGATE_STATE_DIR=" + dir, "DINGGATE_ACCOUNTS_BINDING=required"}
	p := servertest.Serve(t, env...)
	socket := filepath.Join(dir, admin.ControlName)
	servertest.Eventually(t, "the control socket", func() bool { _, err := os.Stat(socket); return err == nil })
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "control-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if out, err := servertest.RunBindings(t, dir, "unionid,username\nU1,zs\nU2,ls\n", "import", "-"); err != nil ||
		!strings.Contains(out, "2 bindings") {
		t.Fatalf("import = %q, %v", out, err)
	}
	if out, err := servertest.RunBindings(t, dir, "unionid,username\nU3,ok\nU1,other\nU4\n", "import", "-"); err == nil ||
		!strings.Contains(out, "-:4: has 1 fields") {
		t.Errorf("a bad import = %q, %v", out, err)
	}
	if out, err := servertest.RunBindings(t, dir, "unionid,username\nU3,ok\nU1,other\n", "import", "-"); err == nil ||
		!strings.Contains(out, "-:3: has a user or an account that is already bound") {
		t.Errorf("an import of a bound user = %q, %v", out, err)
	}
	if out, err := servertest.RunBindings(t, dir, "", "remove", "U2"); err != nil ||
		!strings.Contains(out, "U2 is no longer bound to ls") {
		t.Errorf("remove = %q, %v", out, err)
	}
	if out, err := servertest.RunBindings(t, dir, "", "remove", "U2"); err == nil ||
		!strings.Contains(out, "no binding of an account or unionId") {
		t.Errorf("remove again = %q, %v", out, err)
	}
	// the admin listener, which a sidecar's application can reach, has no such endpoint
	for _, path := range []string{"/bindings", "/"} {
		if status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+path); status != 404 || strings.Contains(body, "U1") {
			t.Errorf("%s on the admin listener = %d %q", path, status, body)
		}
	}
	const want = "unionid,username\nU1,zs\n"
	if out, err := servertest.RunBindings(t, dir, "", "list"); err != nil || out != want {
		t.Errorf("list = %q, %v, want %q", out, err, want)
	}
	p.Cmd.Process.Kill()
	p.Cmd.Wait()
	// no process listens on the socket: the file is opened
	if out, err := servertest.RunBindings(t, dir, "", "list"); err != nil || out != want {
		t.Errorf("after kill -9 list = %q, %v, want %q", out, err, want)
	}
	p = servertest.Serve(t, env...)
	servertest.Eventually(t, "the control socket", func() bool {
		out, err := servertest.RunBindings(t, dir, "", "list")
		return err == nil && out == want
	})
	p.Cmd.Process.Signal(syscall.SIGTERM)
	p.Cmd.Wait()
	if _, err := os.Stat(socket); err == nil {
		t.Errorf("the socket is still there after a clean end")
	}
}

// TestBindingsKilledInMidImport runs imports of a hundred lines each while the process is
// killed: confirmed imports are complete, and no import is partial.
func TestBindingsKilledInMidImport(t *testing.T) {
	dir := t.TempDir()
	p := servertest.Serve(t, "DINGGATE_STATE_DIR="+dir, "DINGGATE_ACCOUNTS_BINDING=required")
	servertest.Eventually(t, "the control socket", func() bool {
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
			p.Cmd.Process.Kill()
		}
	}
	p.Cmd.Wait()
	out, err := servertest.RunBindings(t, dir, "", "list")
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

// TestSilentNotBound: in the DingTalk client too, a person without a binding is redirected
// to the form that binds, and after that signs in as the account without a click.
func TestSilentNotBound(t *testing.T) {
	h, _ := servertest.NewWithAccounts(t, account.Required)
	v := h.NewClient()
	state := v.OpenSilent(h.URL + "/deep")
	a := v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), state))
	var answer struct{ Location string }
	if err := json.Unmarshal([]byte(a.Text), &answer); err != nil || a.StatusCode != 200 ||
		!strings.HasPrefix(answer.Location, "/oauth2/sign_in?link=") || servertest.SessionOf(a) != "" {
		t.Fatalf("not bound = %d %s with session %q, want the form", a.StatusCode, a.Text, servertest.SessionOf(a))
	}
	if a := v.SubmitPassword(h.URL+answer.Location, "zs", "pw-zs"); a.StatusCode != 303 ||
		a.Header.Get("Location") != "/deep" {
		t.Fatalf("binding = %d to %q: %s", a.StatusCode, a.Header.Get("Location"), a.Text)
	}
	w := h.NewClient()
	w.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), w.OpenSilent(h.URL+"/deep")))
	w.Get(h.URL + "/deep")
	if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zs" {
		t.Errorf("the application sees %q, want zs", got)
	}
}
