package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"

	"github.com/alicebob/miniredis/v2"
	"golang.org/x/crypto/bcrypt"
)

// leaks gathers every secret where it comes into being, and every byte in which
// none of them may be.
type leaks struct {
	mu      sync.Mutex
	secrets map[string]string // secret → what it is
	kinds   map[string]int    // how often each kind was seen; one secret may be of two
	pages   strings.Builder   // every body that dinggate answered
	gate    string            // its host
	parrot  atomic.Bool       // DingTalk's refusals repeat all that they were sent
}

func (l *leaks) add(what, secret string) {
	if len(secret) < 6 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secrets[secret] = what
	if l.kinds == nil {
		l.kinds = map[string]int{}
	}
	l.kinds[what]++
}

var secretFields = []string{"accessToken", "refreshToken", "access_token", "refresh_token", "ticket", "code",
	"authCode", "clientSecret", "appSecret", "client_secret"}

// gather takes the secrets of a JSON document and of a query.
func (l *leaks) gather(body []byte, query url.Values) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) == nil {
		for _, name := range secretFields {
			// `code` is also a refusal's name
			if text, ok := fields[name].(string); ok && !strings.Contains(text, ".") {
				l.add(name, text)
			}
		}
	}
	for _, name := range append(secretFields, "state", "attempt") {
		l.add(name, query.Get(name))
	}
}

// between is in the line from dinggate to DingTalk.
func (l *leaks) between(dingtalk http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		l.gather(body, r.URL.Query())
		l.add("user token", r.Header.Get("X-Acs-Dingtalk-Access-Token"))
		if r.URL.Path == "/connect" { // a WebSocket
			dingtalk.ServeHTTP(w, r)
			return
		}
		if l.parrot.Load() && (strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/topapi/")) {
			repeated := fmt.Sprintf("%s %s %v", r.URL.String(), body, r.Header)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(map[bool]int{true: 400, false: 200}[strings.HasPrefix(r.URL.Path, "/v1.0/")])
			json.NewEncoder(w).Encode(map[string]any{"code": "odd " + repeated, "message": repeated,
				"requestid": repeated, "errcode": 88, "sub_code": repeated, "sub_msg": repeated, "errmsg": repeated,
				"request_id":         repeated,
				"accessdenieddetail": map[string]any{"requiredScopes": []string{repeated}}})
			return
		}
		answer := httptest.NewRecorder()
		dingtalk.ServeHTTP(answer, r)
		l.gather(answer.Body.Bytes(), nil)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// RoundTrip is what a browser of the test sends and gets.
func (l *leaks) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, c := range r.Cookies() {
		if strings.Contains(c.Name, "dinggate") {
			l.add("cookie "+c.Name, c.Value)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		if strings.Contains(c.Name, "dinggate") {
			l.add("cookie "+c.Name, c.Value)
		}
	}
	if to, err := url.Parse(res.Header.Get("Location")); err == nil {
		l.gather(nil, to.Query())
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Host == l.gate && r.URL.Path != "/dingtalk/token" {
		l.mu.Lock()
		l.pages.Write(body)
		l.mu.Unlock()
	}
	return res, err
}

// spellings are the forms in which a secret may hide: as it is, escaped, in hex,
// in base64 at any of the three positions that it may have in a longer text.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	all := map[string]string{"plain": secret, "escaped": url.QueryEscape(secret),
		"path-escaped": url.PathEscape(secret), "JSON": strings.Trim(string(quoted), `"`),
		"hex": hex.EncodeToString([]byte(secret))}
	for at := range 3 {
		for name, coding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding,
			"base64url": base64.RawURLEncoding} {
			text := coding.EncodeToString([]byte(strings.Repeat("\x00", at) + secret))
			text = text[(at*8+5)/6 : len(text)-2] // without the letters that its neighbours have a part in
			all[fmt.Sprintf("%s+%d", name, at)] = text
		}
	}
	return all
}

// search looks for every secret in every text.
func (l *leaks) search(t *testing.T, texts map[string]string, gathered ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for secret, what := range l.secrets {
		for form, text := range spellings(secret) {
			for where, said := range texts {
				// pages carry the one and the last, the form gives the other back to who typed it
				if strings.Contains(said, text) &&
					!(where == "pages" && (what == "state" || what == "misplaced" || what == "link")) {
					t.Errorf("%s: a %s is there (%s) near %.60q", where, what, form,
						said[max(strings.Index(said, text)-60, 0):])
				}
			}
		}
	}
	for _, what := range gathered {
		if l.kinds[what] == 0 {
			t.Errorf("no %s was gathered: this test cannot fail (%v)", what, l.kinds)
		}
	}
}

// TestNothingLeaks goes every way that there is through the shipped binary, well
// and ill, and then reads all it said: standard output, standard error, the
// audit file, the metrics, every page. No secret is in them, in any spelling.
func TestNothingLeaks(t *testing.T) {
	l := &leaks{secrets: map[string]string{}}
	platform := simulator.Demo()
	dingtalk := httptest.NewServer(l.between(platform))
	application := &recorder{}
	app := httptest.NewServer(application)
	redis := miniredis.RunT(t)
	redis.RequireAuth(canary + "-redis")
	t.Cleanup(func() { platform.Close(); dingtalk.Close(); app.Close() })
	third := newThirdParty(t)
	dir := t.TempDir()
	const password = canary + "-password"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost+1)
	if err != nil {
		t.Fatal(err)
	}
	htpasswd := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(htpasswd, []byte("alice:"+string(hash)+"\nzhaoliu:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix("http://"+closedAddress(t), "http://")
	config := fmt.Sprintf(`
public_url: http://%[1]s
listen: %[1]s
admin: {listen: "127.0.0.1:0"}
trusted_proxies: [127.0.0.1/32]
dingtalk: {client_id: %[2]s, client_secret: %[3]s, corp_id: %[4]s, login_url: %[5]q, api_url: %[5]q, oapi_url: %[5]q}
cookie: {secrets: [%[6]s]}
session: {store: redis, recheck: 1s}
redis: {url: "redis://:%[7]s@%[8]s"}
api_tokens: true
login_api: true
accounts: {htpasswd_file: %[13]q, binding: optional}
state_dir: %[14]q
audit: {file: %[9]q}
assertion: {enabled: true}
sso_server: {clients: [{client_id: platform, client_secret: %[10]s, redirect_urls: [%[11]q]}]}
headers: {request: {X-Forwarded-User: username, X-Token: access_token}}
routes:
  - {path: /down/, upstream: "http://127.0.0.1:1"}
  - {path: /admin/, access: {departments: [43]}, upstream: %[12]q}
  - {path: /, upstream: %[12]q}
log: {level: debug}
`, address, simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID, dingtalk.URL, newSecretFor(l),
		canary+"-redis", redis.Addr(), filepath.Join(dir, "audit"), third.secret, third.callback(), app.URL, htpasswd,
		dir)
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{simulator.DemoClientSecret, canary + "-redis", third.secret, password,
		string(hash)} {
		l.add("configuration", secret)
	}
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte("alice:"+password)))
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte(third.id+":"+third.secret)))
	var out, log lockedBuffer
	cmd := exec.Command(binary(t), "serve", "--config", file)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "it listens", func() bool { return strings.Contains(out.String(), "admin listening") })
	l.gate = address
	third.service = "http://" + address
	h := &testEnv{t: t, base: "http://" + address, platform: platform}
	everyWay(h, l, third, redis)
	admin := regexp.MustCompile(`admin listening on (\S+)`).FindStringSubmatch(out.String())[1]
	_, metrics := fetch(t, http.DefaultClient, admin+"/metrics")
	for _, r := range application.all() {
		l.add("access_token", r.Header.Get("X-Token"))
		if proof := r.Header.Get("X-Dinggate-Assertion"); proof != "" {
			l.add("assertion", proof)
			l.add("assertion", proof[strings.LastIndex(proof, ".")+1:])
		}
	}
	eventually(t, "the end of a leaver's session is told", func() bool {
		audit, err := os.ReadFile(filepath.Join(dir, "audit"))
		return err == nil && strings.Contains(string(audit), `"audit":"session_ended"`)
	})
	// A configuration with secrets where they do not belong is refused, and the
	// refusal tells nothing of them.
	for _, secret := range []string{"canary-cookie-8", "canary-client-9", "canary-redis-10"} {
		l.add("misconfigured", secret)
	}
	config = strings.NewReplacer("cookie: {secrets: [", "cookie: {secrets: [canary-cookie-8, ",
		"client_secret: "+simulator.DemoClientSecret, "client_secret: [canary-client-9]", "redis://",
		"odd:canary-redis-10@").Replace(config)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGHUP)
	status := ""
	eventually(t, "a refused reload is told", func() bool {
		_, status = fetch(t, http.DefaultClient, admin+"/status")
		return strings.Contains(status, `"successful": false`) && strings.Contains(status, "cookie.secrets[0]")
	})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v\n%s", err, log.String())
	}
	audit, err := os.ReadFile(filepath.Join(dir, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"audit": string(audit), "standard error": log.String(),
		"metrics": metrics, "pages": l.pages.String()} {
		if len(text) < 1000 {
			t.Errorf("%s has only %d bytes: this test cannot fail", what, len(text))
		}
	}
	l.search(t, map[string]string{"standard output": out.String(), "standard error": log.String(),
		"audit": string(audit), "metrics": metrics, "status": status, "pages": l.pages.String()},
		"state", "accessToken", "refreshToken", "access_token", "ticket", "user token", "code", "configuration",
		"Basic", "link", "cookie dinggate-link", "assertion", "misconfigured")
}

func newSecretFor(l *leaks) string {
	secret := newSecret()
	l.add("configuration", secret)
	raw, _ := base64.StdEncoding.DecodeString(secret)
	l.add("configuration", string(raw))
	return secret
}

// browser is a visitor whose traffic is listened to.
func (l *leaks) browser(h *testEnv) *visitor {
	v := h.visitor()
	v.client.Transport = l
	return v
}

// everyWay is all that people, gateways, programs and platforms do, and what goes wrong on the way.
func everyWay(h *testEnv, l *leaks, third *thirdParty, redis *miniredis.Miniredis) {
	v := l.browser(h)
	callback := v.choose(v.leave(h.base+"/oauth2/start?rd=%2Freports"), "zhangsan")
	v.get(callback)
	v.get(callback) // again
	session := ""
	for _, c := range v.client.Jar.Cookies(mustURLOf(h.base)) {
		if c.Name == "dinggate" {
			session = c.Value
		}
	}
	for _, path := range []string{"/", "/admin/", "/down/x", "/oauth2/userinfo", "/oauth2/sign_in",
		"/oauth2/sign_out", "/oauth2/nothing", "/%2e%2e/", "/dingtalk/authorize",
		"/dingtalk/callback?forward_url=x&authCode=canary-code-1&state=canary-state-1"} {
		v.get(h.base + path)
		v.get(h.base+path, "Accept: application/json")
	}
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/x"} {
		v.get(h.base+path, "X-Original-Url: "+h.base+"/x?code=canary-code-2&access_token=canary-token-2",
			"X-Forwarded-Uri: /x?code=canary-code-2", "X-Forwarded-Method: GET")
		v.get(h.base+path, "Cookie: dinggate="+strings.ToUpper(session), "Authorization: Bearer canary-bearer-3")
	}
	for _, given := range []string{"canary-code-1", "canary-code-2", "canary-token-2", "canary-bearer-3",
		"canary-code-4", "canary-error-5"} {
		l.add("given", given)
	}
	// Other people, and codes that are none.
	for _, id := range []string{"zhouba", "sunqi", "wujiu", "zhengshi"} {
		w := l.browser(h)
		w.get(w.choose(w.leave(h.base+"/oauth2/start"), id))
	}
	for _, more := range []string{"&authCode=canary-code-4", "&error=canary-error-5",
		"&authCode=canary-code-4&code=canary-code-1"} {
		w := l.browser(h)
		state := mustURLOf(w.leave(h.base + "/oauth2/start")).Query().Get("state")
		w.get(h.base + "/oauth2/callback?state=" + state + more)
	}
	// Inside the client.
	li := l.browser(h)
	code := h.platform.SilentCode("lisi")
	l.add("code", code)
	li.post(h.base, form(code, li.silent(h.base+"/")))
	w := l.browser(h)
	w.post(h.base, form(code, w.silent(h.base+"/"))) // again
	// Local accounts: by form and by Basic, right and wrong; a password in the wrong field.
	for _, body := range []string{"username=alice&password=" + canary + "-password",
		"username=alice&password=canary-wrong-6", "username=canary-misplaced-7&password=canary-wrong-6"} {
		w := l.browser(h)
		w.get(h.base + "/oauth2/sign_in")
		w.do(http.MethodPost, h.base+"/oauth2/sign_in", body, "Content-Type: application/x-www-form-urlencoded",
			"Sec-Fetch-Site: same-origin")
		w.get(h.base + "/")
		w.get(h.base + "/dingtalk/login/callback?authCode=canary-code-4&state=canary-state-1")
		w.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	}
	for _, pair := range []string{"alice:" + canary + "-password", "alice:canary-wrong-6", "canary-misplaced-7:x"} {
		l.browser(h).get(h.base+"/reports", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	bindEveryWay(h, l)
	l.add("given", "canary-wrong-6")
	l.add("misplaced", "canary-misplaced-7")
	// A third party: its code twice, its tokens, what is none.
	a := v.get(third.authorize())
	to := mustURLOf(a.Header.Get("Location")).Query()
	third.post("code=" + to.Get("code") + "&state=wrong")
	b := v.get(third.authorize())
	to = mustURLOf(b.Header.Get("Location")).Query()
	token := third.read(third.token(to.Get("code"), to.Get("state")))
	l.add("access_token", token.AccessToken)
	l.add("refresh_token", token.RefreshToken)
	third.userinfo(token.AccessToken)
	third.userinfo("canary-bearer-3")
	_, fresh := third.refresh(token.RefreshToken)
	l.gather([]byte(fresh), nil)
	third.refresh(token.RefreshToken)
	third.token(to.Get("code"), to.Get("state"))
	third.as(third.id, "canary-bearer-3").token("x", "y")
	l.browser(h).get(h.base+"/", "Authorization: Bearer "+token.AccessToken)
	// DingTalk fails in every way, and repeats what it was sent.
	l.parrot.Store(true)
	w = l.browser(h)
	w.get(w.choose(w.leave(h.base+"/oauth2/start"), "lisi"))
	time.Sleep(1500 * time.Millisecond) // sessions are due: the background asks
	v.get(h.base + "/")
	time.Sleep(500 * time.Millisecond)
	l.parrot.Store(false)
	for _, verb := range []simulator.Verb{simulator.Status(500), simulator.Cut(30), simulator.Reset(),
		simulator.Refuse(), simulator.TLS(), simulator.Body("<html>"), simulator.Redirect(h.base + "/x"),
		simulator.Code("60011"), simulator.Code("60020"), simulator.Flood(1 << 21)} {
		for _, on := range []string{"/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me", "/topapi/v2/user/get"} {
			h.platform.Fault(simulator.Fault{On: on, Do: verb, Times: 1})
			w := l.browser(h)
			w.get(w.choose(w.leave(h.base+"/oauth2/start"), "lisi"))
			h.platform.ClearFaults()
		}
	}
	if err := h.platform.Leave("lisi"); err != nil {
		h.t.Fatal(err)
	}
	waitFor(h.t,
		"the event of somebody who left", func() bool { return li.get(h.base+"/").StatusCode != http.StatusOK })
	// Redis goes; then the person does.
	redis.SetError("ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH' 'default' '" + canary + "-redis'")
	v.get(h.base + "/")
	l.browser(h).get(h.base + "/")
	redis.SetError("")
	v.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	v.get(h.base+"/", "Cookie: dinggate="+session)
}

// bindEveryWay binds by the link and by a page's own script, well and ill, and
// signs in by such a page.
func bindEveryWay(h *testEnv, l *leaks) {
	h.t.Helper()
	const form = "Content-Type: application/x-www-form-urlencoded"
	w := l.browser(h)
	page := w.get(w.choose(w.leave(h.base+"/oauth2/start?rd=%2Freports"), "zhaoliu")) // whose name is an account's
	m := linkAddress.FindStringSubmatch(page.body)
	if m == nil {
		h.t.Fatalf("zhaoliu gets no link: %d %s", page.StatusCode, page.body)
	}
	link := html.UnescapeString(m[1])
	l.add("link", mustURLOf(link).Query().Get("link"))
	w.get(h.base + link)
	for _, body := range []string{"username=zhaoliu&password=canary-wrong-6",
		"username=zhaoliu&password=" + canary + "-password", "username=alice&password=" + canary + "-password"} {
		w.do(http.MethodPost, h.base+link, body, form, "Sec-Fetch-Site: same-origin")
	}
	w = l.browser(h)
	w.do(http.MethodPost, h.base+"/oauth2/sign_in", "username=alice&password="+canary+"-password", form,
		"Sec-Fetch-Site: same-origin")
	w.header = http.Header{} // page script
	for _, kind := range []string{"1", "0"} {
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
		}
		a := w.get(h.base+"/oauth2/start?type="+kind+"&page=/reports", "Accept: application/json")
		if err := json.Unmarshal([]byte(a.body), &start); err != nil {
			h.t.Fatal(err, a.body)
		}
		back := mustURLOf(w.choose(start.AuthorizeURL, "wangwu"))
		l.gather(nil, back.Query())
		for range 2 { // and again
			w.get(h.base + "/dingtalk/login/callback?type=" + kind + "&" + back.RawQuery)
		}
	}
}

// TestNothingLeaksBehindService: the same where people sign in at an SSO service.
func TestNothingLeaksBehindService(t *testing.T) {
	l := &leaks{secrets: map[string]string{}}
	h, s := behindService(t, func(c *config.Config) { c.APITokens = true; c.Session.Recheck = time.Second })
	l.gate = strings.TrimPrefix(h.base, "http://")
	l.add("configuration", s.password)
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte(s.id+":"+s.password)))
	v := l.browser(h)
	callback := v.throughService(h.base+"/reports", "zhangsan")
	v.get(callback)
	v.get(callback)
	for _, answer := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) { http.Error(w, `{"error":"`+s.password+`"}`, http.StatusUnauthorized) },
		func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":%q`, s.password) },
		func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":"short\u0000 %s"}`, s.password) },
	} {
		s.answerToken.Store(answer)
		w := l.browser(h)
		w.get(w.throughService(h.base+"/", "lisi"))
	}
	s.mu.Lock()
	for token := range s.tokens {
		l.add("access_token", token)
	}
	for token := range s.fresh {
		l.add("refresh_token", token)
	}
	s.mu.Unlock()
	l.browser(h).get(h.base+"/", "Authorization: Bearer canary-bearer-3")
	l.add("given", "canary-bearer-3")
	time.Sleep(1500 * time.Millisecond) // the session is due: userinfo is asked again
	v.get(h.base + "/")
	v.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	eventually(t, "the log is written", func() bool { return strings.Contains(h.log.String(), `"audit":"sign_out"`) })
	status := askAdmin(h.admin(), "/status", "Accept: text/html").Body.String()
	l.search(t, map[string]string{"log": h.log.String(), "metrics": h.scrape(), "status": status,
		"pages": l.pages.String()}, "state", "attempt", "code", "access_token", "refresh_token", "configuration")
}

func mustURLOf(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

// TestSpellings: a secret inside a longer text is found in its base64, wherever it begins.
func TestSpellings(t *testing.T) {
	const secret = "canary-secret/+&"
	for at := range 6 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("é", at)[:at] + secret + "tail"))
		var found []string
		for form, spelling := range spellings(secret) {
			if strings.Contains(text, spelling) {
				found = append(found, form)
			}
		}
		if !slices.ContainsFunc(found, func(form string) bool { return strings.HasPrefix(form, "base64") }) {
			t.Errorf("at %d nothing finds the secret in %s", at, text)
		}
	}
}
