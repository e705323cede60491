package login

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/ratelimit"
	"dinggate/proxy/login/locallogin"

	"golang.org/x/crypto/bcrypt"
)

// accounts makes local accounts, each with the password "pw-" and its name.
func accounts(t testing.TB, names ...string) *account.File {
	t.Helper()
	var lines []string
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, name+":"+string(hash))
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := account.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// withAccounts is an installation with accounts zs and ls, and the given binding.
func withAccounts(t testing.TB, binding string, more ...func(*Flow)) *env {
	return build(t, plan{change: func(f *Flow) {
		f.Accounts = accounts(t, "zs", "ls")
		f.Sessions.Accounts = f.Accounts
		f.People = &account.Policy{Binding: binding, Bindings: new(account.Memory), Accounts: f.Accounts}
		for _, change := range more {
			change(f)
		}
	}})
}

// submit posts the form as a browser does from our no-referrer page (threats W3a).
func (b *browser) submit(action, username, password string, header ...string) answer {
	b.t.Helper()
	body := url.Values{"username": {username}, "password": {password}}.Encode()
	return b.sendBody("POST", action, strings.NewReader(body),
		append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Origin", "null",
			"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

// TestTooManyPasswordsInBothLanguages: the page after too many attempts, and the one while
// passwords cannot be verified, can be switched too and show the form again.
func TestTooManyPasswordsInBothLanguages(t *testing.T) {
	const at = "/oauth2/sign_in?rd=%2Fpage%3Fx%3D1"
	h := withAccounts(t, account.Off)
	h.Accounts.Pair = ratelimit.Rate{Every: time.Hour, Burst: 1}
	b := h.browser()
	b.submit(at, "zs", "wrong")
	a := b.submit(at, "zs", "wrong")
	link := found(switchLink, a.text)
	if a.StatusCode != 429 || !strings.Contains(link, "lang=en") {
		t.Fatalf("the second wrong password = %d, switch of language %q:\n%s", a.StatusCode, link, a.text)
	}
	other := b.visit(link, "Accept-Language", "zh")
	if other.StatusCode != 200 || !strings.Contains(other.text, "There were too many attempts") || !strings.Contains(other.text, `action="`+at+`"`) {
		t.Errorf("the page in English = %d:\n%s", other.StatusCode, other.text)
	}
	if back := b.visit("/oauth2/sign_in" + found(switchLink, other.text)); !strings.Contains(back.text, "尝试太多") {
		t.Errorf("back in Chinese:\n%s", back.text)
	}
}

// TestWrongPasswordInBothLanguages: after a wrong password the page can be switched to the other
// language, and shows the problem there.
func TestWrongPasswordInBothLanguages(t *testing.T) {
	const at = "/oauth2/sign_in?rd=%2Fpage%3Fx%3D1"
	b := withAccounts(t, account.Off).browser()
	a := b.submit(at, "zs", "wrong")
	other := b.visit(found(switchLink, a.text), "Accept-Language", "zh") // the message in English
	if other.StatusCode != 200 || !strings.Contains(other.text, "The username or the password is wrong.") ||
		!strings.Contains(other.text, `action="`+at+`"`) || !strings.Contains(other.text, `<html lang="en">`) {
		t.Errorf("the switch of language after a wrong password = %d:\n%s", other.StatusCode, other.text)
	}
	if a = b.submit(at, "zs", "wrong"); !strings.Contains(a.text, "Username") { // the chosen language is used again
		t.Errorf("the next page is not in English:\n%s", a.text)
	}
	if back := b.visit(found(switchLink, a.text)); !strings.Contains(back.text, "用户名或密码不正确。") {
		t.Errorf("back in Chinese:\n%s", back.text)
	}
	if crafted := b.visit(at + "&problem=<b>x"); strings.Contains(crafted.text, `role="alert"`) {
		t.Errorf("a planted problem is shown:\n%s", crafted.text)
	}
}

func TestPassword(t *testing.T) {
	b := withAccounts(t, account.Off).browser()
	if a := b.visit("/page?x=1"); a.StatusCode != 302 || a.Header.Get("Location") != "https://app.test/oauth2/sign_in?rd=%2Fpage%3Fx%3D1" {
		t.Fatalf("a page = %d to %q, want the sign-in page first", a.StatusCode, a.Header.Get("Location"))
	}
	const at = "/oauth2/sign_in?rd=%2Fpage%3Fx%3D1"
	a := b.visit(at)
	for _, want := range []string{`action="` + at + `"`, `method="post"`, `name="username"`, `name="password"`, "/oauth2/start?rd=%2Fpage"} {
		if !strings.Contains(a.text, want) {
			t.Errorf("the page lacks %s:\n%s", want, a.text)
		}
	}
	if a = b.submit(at, "zs", "wrong"); a.StatusCode != 401 || b.session() != "" || !strings.Contains(a.text, `value="zs"`) ||
		!strings.Contains(a.text, `role="alert"`) {
		t.Errorf("a wrong password = %d with session %q:\n%s", a.StatusCode, b.session(), a.text)
	}
	unknown := b.submit(at, "xx", "wrong")
	if strings.ReplaceAll(unknown.text, `"xx"`, `"zs"`) != a.text || unknown.StatusCode != a.StatusCode {
		t.Errorf("an unknown name reads otherwise than a wrong password")
	}
	if a = b.submit(at, " zs ", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != "/page?x=1" || b.session() == "" {
		t.Fatalf("the right password = %d to %q, session %q", a.StatusCode, a.Header.Get("Location"), b.session())
	}
	if a = b.visit("/page?x=1"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zs ") {
		t.Errorf("the page says %q, want zs", a.text)
	}
	if n := b.provider.calls.Load(); n != 0 {
		t.Errorf("DingTalk was called %d times", n)
	}
	for _, e := range b.events {
		if e.User != "" && e.User != "zs" || strings.Contains(e.User+e.Code, "pw-") {
			t.Errorf("the audit log has %+v", e)
		}
	}
	if len(b.events) != 3 || b.events[2].What != "sign_in" || b.events[2].How != "password" || b.events[0].Code != "wrong_password" || b.events[1].User != "" {
		t.Errorf("the audit log has %+v, want two refusals, the second without a user, and a sign-in", b.events)
	}
}

// TestPasswordTarget: the form leads to our own hosts only, and its page names another of our
// hosts in form-action.
func TestPasswordTarget(t *testing.T) {
	for _, tt := range []struct{ rd, want, policy string }{
		{"/a?b=c", "/a?b=c", "form-action 'self'"}, {"https://other.test:8443/x", "https://other.test:8443/x", "form-action 'self' https://other.test:8443"},
		{"https://evil.test/", "/", "form-action 'self'"},
		{"//evil.test/", "/", "form-action 'self'"}, {"/oauth2/sign_out", "/", "form-action 'self'"}, {"javascript:alert(1)", "/", "form-action 'self'"},
	} {
		b := withAccounts(t, account.Off).browser()
		at := "/oauth2/sign_in?rd=" + url.QueryEscape(tt.rd)
		if a := b.visit(at); !strings.HasSuffix(a.Header.Get("Content-Security-Policy"), tt.policy) {
			t.Errorf("%s: policy %q, want %q at its end", tt.rd, a.Header.Get("Content-Security-Policy"), tt.policy)
		}
		if a := b.submit(at, "zs", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != tt.want {
			t.Errorf("%s: %d to %q, want %q", tt.rd, a.StatusCode, a.Header.Get("Location"), tt.want)
		}
	}
	b := withAccounts(t, account.Off).browser()
	if a := b.visit("https://route.test/oauth2/sign_in?rd=/x"); a.StatusCode != 302 ||
		a.Header.Get("Location") != "https://app.test/oauth2/sign_in?rd=https%3A%2F%2Froute.test%2Fx" {
		t.Errorf("the form on another of our hosts = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestPasswordIsRefused(t *testing.T) {
	const form, at = "application/x-www-form-urlencoded", "/oauth2/sign_in"
	long := strings.Repeat("x", locallogin.MaxForm)
	for _, tt := range []struct {
		name, kind, body string
		header           []string
		status           int
		code             string
	}{
		{"cross-site", form, "username=zs&password=pw-zs", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}, 403, "cross_site"},
		{"same-site", form, "username=zs&password=pw-zs", []string{"Sec-Fetch-Site", "same-site"}, 403, "cross_site"},
		{"foreign origin, old browser", form, "username=zs&password=pw-zs", []string{"Origin", "https://evil.test"}, 403, "cross_site"},
		{"another application, old browser", form, "username=zs&password=pw-zs", []string{"Origin", "https://route.test"}, 403, "cross_site"},
		{"null origin, old browser", form, "username=zs&password=pw-zs", []string{"Origin", "null"}, 403, "cross_site"},
		{"json", "application/json", `{"username":"zs","password":"pw-zs"}`, nil, 415, "bad_request"},
		{"plain", "text/plain", "username=zs&password=pw-zs", nil, 415, "bad_request"},
		{"no type", "", "username=zs&password=pw-zs", nil, 415, "bad_request"},
		{"compressed", form, "x", []string{"Content-Encoding", "gzip"}, 415, "bad_request"},
		{"no password", form, "username=zs", nil, 400, "bad_request"},
		{"two names", form, "username=zs&username=ls&password=pw-zs", nil, 400, "bad_request"},
		{"an array", form, "username[]=zs&password=pw-zs", nil, 400, "bad_request"},
		{"semicolon", form, "username=zs;password=pw-zs", nil, 400, "bad_request"},
		{"bad percent", form, "username=%zz&password=pw-zs", nil, 400, "bad_request"},
		{"empty", form, "", nil, 400, "bad_request"},
		{"large", form, "username=zs&password=" + long, nil, 413, "too_large"},
	} {
		b := withAccounts(t, account.Off).browser()
		header := append([]string{"Accept", "text/html"}, tt.header...)
		if tt.kind != "" {
			header = append(header, "Content-Type", tt.kind)
		}
		b.refused(tt.name, b.sendBody("POST", at, strings.NewReader(tt.body), header...), tt.status, tt.code, 0)
	}
	b := withAccounts(t, account.Off).browser()
	a := b.sendBody("POST", at+"?username=zs&password=pw-zs", strings.NewReader(""), "Content-Type", form)
	b.refused("a password in the address", a, 400, "bad_request", 0)
	b.refused("PUT", b.send("PUT", at), 405, "method_not_allowed", 0)
	b = build(t, plan{}).browser()
	b.refused("POST without accounts", b.submit(at, "zs", "pw-zs"), 405, "method_not_allowed", 0)
}

// TestPasswordTries: guessing is slowed down, with a message, and does not lock out the account's
// owner elsewhere.
func TestPasswordTries(t *testing.T) {
	h := withAccounts(t, account.Off, func(f *Flow) { f.Accounts.Pair = ratelimit.Rate{Every: time.Minute, Burst: 3} })
	b := h.browser()
	for range 3 {
		b.submit("/oauth2/sign_in", "zs", "guess")
	}
	a := b.submit("/oauth2/sign_in", "zs", "pw-zs")
	b.refused("the fourth try", a, 429, "too_many_attempts", 0)
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After")
	}
	if a := b.submit("/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != 303 {
		t.Errorf("another account = %d, want in", a.StatusCode)
	}
}

func TestPasswordAsJSON(t *testing.T) {
	b := withAccounts(t, account.Off).browser()
	body := strings.NewReader("username=zs&password=wrong")
	a := b.sendBody("POST", "/oauth2/sign_in", body, "Accept", "application/json", "Content-Type", "application/x-www-form-urlencoded")
	b.refused("a script's wrong password", a, 401, "wrong_password", 0)
	if !strings.Contains(a.text, `"error":"wrong_password"`) || a.Header.Get("Www-Authenticate") != "" {
		t.Errorf("it reads %s, %v", a.text, a.Header)
	}
}

// TestPasswordGainsNothingFromAPlantedSession: a new session id, as at every sign-in (threats C1).
func TestPasswordGainsNothingFromAPlantedSession(t *testing.T) {
	h := withAccounts(t, account.Off)
	attacker, victim := h.browser(), h.browser()
	attacker.submit("/oauth2/sign_in", "ls", "pw-ls")
	victim.plant(h.Sessions.CookieName(), attacker.session())
	victim.submit("/oauth2/sign_in", "zs", "pw-zs")
	if victim.session() == attacker.session() || !strings.HasPrefix(victim.visit("/x").text, "UPSTREAM-MARK zs ") ||
		!strings.HasPrefix(attacker.visit("/x").text, "UPSTREAM-MARK ls ") {
		t.Errorf("the planted session lives on")
	}
	if a := victim.visit("/oauth2/sign_in"); a.StatusCode != http.StatusOK || !strings.Contains(a.text, "zs") {
		t.Errorf("the sign-in page with a session = %d %s", a.StatusCode, a.text)
	}
}
