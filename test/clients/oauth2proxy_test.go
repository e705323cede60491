package clients

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

const (
	oauth2Callback = "/oauth2/callback"
	oauth2Group    = "主管" // of zhangsan, but not of zhaoliu
)

// oauth2Proxy is the real oauth2-proxy in front of an application.
type oauth2Proxy struct {
	*env
	program     string
	application string // base URL of the application
	validate    string // address at which a renewed access token is validated
}

// TestOAuth2Proxy signs in through oauth2-proxy, which renews its session after a
// second and allows one group.
func TestOAuth2Proxy(t *testing.T) {
	program := realtool.Path(t, "oauth2-proxy@v7.15.6")
	seen := row(t, "oauth2-proxy 7.15.6")
	site, wrong := "http://localhost:"+freePort(t), "http://localhost:"+freePort(t)
	e := open(t, site+oauth2Callback, wrong+oauth2Callback, site+"/bye")
	application := httptest.NewServer(http.HandlerFunc(echoForwarded))
	t.Cleanup(application.Close)
	validate, validated := e.userinfo()
	p := oauth2Proxy{e, program, application.URL, validate}
	p.start(site)

	b := e.browser("zhangsan")
	me := p.me(b, site)
	if status, _ := p.signIn(e.browser("zhaoliu"), site, nil); status != http.StatusForbidden {
		t.Errorf("a sign-in without the group is answered %d", status)
	}
	seen.ok("discovery", "groups")
	status, query := p.signIn(e.browser("zhangsan"), site, nil)
	if status != http.StatusFound || query.Get("code_challenge_method") != "S256" || query.Get("nonce") == "" {
		t.Fatalf("a sign-in is answered %d, after %v", status, query)
	}
	for _, name := range []string{"code_challenge", "nonce"} {
		change := func(q url.Values) { q.Set(name, strings.Repeat("A", 43)) }
		if status, _ := p.signIn(e.browser("zhangsan"), site, change); status < 400 {
			t.Errorf("a sign-in with another %s is answered %d", name, status)
		}
	}
	seen.ok("pkce", "nonce")
	p.awaitRefresh(b, site, me.Token)
	seen.ok("refresh")
	if validated.Load() == 0 {
		t.Errorf("userinfo received no call for the renewed access token")
	}
	seen.ok("userinfo")
	p.signOut(b, site)
	seen.ok("logout")
	p.misconfigured(wrong)
	seen.ok("wrong")
}

// forwarded is what oauth2-proxy adds to a request.
type forwarded struct {
	User, Email, Groups, Token string
}

// echoForwarded is the application.
func echoForwarded(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	json.NewEncoder(w).Encode(forwarded{h.Get("X-Forwarded-User"), h.Get("X-Forwarded-Email"),
		h.Get("X-Forwarded-Groups"), h.Get("X-Forwarded-Access-Token")})
}

// endpoints are what the provider's metadata has of them.
type endpoints struct {
	Userinfo   string `json:"userinfo_endpoint"`
	EndSession string `json:"end_session_endpoint"`
}

func (e *env) endpoints() (list endpoints) {
	e.t.Helper()
	res, err := http.Get(e.issuer + "/.well-known/openid-configuration")
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		e.t.Fatal(err)
	}
	return list
}

// userinfo forwards to the endpoint of that name, and counts the answers about
// zhangsan.
func (e *env) userinfo() (address string, count *atomic.Int64) {
	e.t.Helper()
	target, err := url.Parse(e.endpoints().Userinfo)
	if err != nil {
		e.t.Fatal(err)
	}
	count = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		proxy := httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = target, ""
		}}
		proxy.ServeHTTP(answer, r)
		var who person
		if json.Unmarshal(answer.Body.Bytes(), &who) == nil && who.Email == "zhangsan@yunfan.example" &&
			slices.Contains(who.Groups, oauth2Group) {
			count.Add(1)
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	}))
	e.t.Cleanup(server.Close)
	return server.URL, count
}

// command is oauth2-proxy at an address; more overrides flags. What it logs is in a
// file, which a failed test prints.
func (p oauth2Proxy) command(site string, more ...string) (cmd *exec.Cmd, log string) {
	p.t.Helper()
	at := strings.Replace(strings.TrimPrefix(site, "http://"), "localhost", "127.0.0.1", 1)
	flags := map[string]string{
		"http-address": at, "redirect-url": site + oauth2Callback, "upstream": p.application,
		"provider": "oidc", "oidc-issuer-url": p.issuer, "client-id": clientID, "client-secret": clientSecret,
		"scope": "openid email groups offline_access", "code-challenge-method": "S256", "insecure-oidc-skip-nonce": "false",
		"validate-url": p.validate, "allowed-group": oauth2Group, "email-domain": "*", "skip-provider-button": "true",
		"pass-access-token": "true", "cookie-secret": "0123456789abcdefghijklmnopqrstuv", "cookie-secure": "false",
		"cookie-refresh": "1s", "whitelist-domain": strings.TrimPrefix(p.issuer, "http://"),
	}
	for i := 0; i < len(more); i += 2 {
		flags[more[i]] = more[i+1]
	}
	cmd = exec.CommandContext(p.t.Context(), p.program)
	for name, value := range flags {
		cmd.Args = append(cmd.Args, "--"+name+"="+value)
	}
	log = filepath.Join(p.t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	p.t.Cleanup(func() {
		file.Close()
		if p.t.Failed() {
			text, _ := os.ReadFile(log)
			p.t.Logf("oauth2-proxy's log:\n%s", text)
		}
	})
	return cmd, log
}

func (p oauth2Proxy) start(site string, more ...string) (log string) {
	p.t.Helper()
	cmd, log := p.command(site, more...)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(site + "/ping"); err == nil {
			res.Body.Close()
			return log
		} else if time.Now().After(limit) {
			p.t.Fatalf("oauth2-proxy does not answer: %v", err)
		}
	}
}

// me is the application's page.
func (p oauth2Proxy) me(b *browser, site string) (f forwarded) {
	p.t.Helper()
	at, page := b.visit(site+"/", "")
	if err := json.Unmarshal([]byte(page), &f); err != nil || f.User == "" || f.Token == "" ||
		f.Email != "zhangsan@yunfan.example" || !slices.Contains(strings.Split(f.Groups, ","), oauth2Group) {
		p.t.Fatalf("%s says %s", at, page)
	}
	return f
}

// signIn has change, unless nil, alter the authorization request, and reports the
// status of the callback.
func (p oauth2Proxy) signIn(b *browser, site string, change func(url.Values)) (status int, query url.Values) {
	p.t.Helper()
	_, location, _ := b.send(http.MethodGet, site+"/oauth2/start?rd=/", nil)
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, p.issuer) {
		p.t.Fatalf("the sign-in starts at %q, %v", location, err)
	}
	query = u.Query()
	if change != nil {
		change(query)
	}
	u.RawQuery = query.Encode()
	back, _ := b.visit(u.String(), site+oauth2Callback)
	status, _, _ = b.send(http.MethodGet, back.String(), nil)
	return status, query
}

// awaitRefresh waits until the application has another access token than before.
func (p oauth2Proxy) awaitRefresh(b *browser, site, before string) {
	p.t.Helper()
	b.person = "unknown" // who cannot sign in again
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, _, page := b.send(http.MethodGet, site+"/", nil)
		var now forwarded
		if err := json.Unmarshal([]byte(page), &now); err != nil || status != http.StatusOK {
			p.t.Fatalf("while the session is renewed: %d %s", status, page)
		}
		if now.Token != before {
			return
		}
		if time.Now().After(limit) {
			p.t.Fatal("the access token is not renewed")
		}
	}
}

// signOut leaves the session of oauth2-proxy, after which the provider's signs in
// again, and then both.
func (p oauth2Proxy) signOut(b *browser, site string) {
	p.t.Helper()
	b.person = "unknown" // who cannot sign in again
	b.send(http.MethodGet, site+"/oauth2/sign_out?rd=/", nil)
	if status, _, _ := b.send(http.MethodGet, site+"/", nil); status != http.StatusFound {
		p.t.Errorf("signed out, the application answers %d", status)
	}
	p.me(b, site)
	end := p.endpoints().EndSession + "?id_token_hint={id_token}&post_logout_redirect_uri=" + url.QueryEscape(site+"/bye")
	if at, _ := b.visit(site+"/oauth2/sign_out?rd="+url.QueryEscape(end), site+"/bye"); at.Path != "/bye" {
		p.t.Errorf("after the sign-out the browser is at %s", at)
	}
	if at, page := b.visit(site+"/", ""); !strings.Contains(page, `name="person"`) {
		p.t.Errorf("after the sign-out %s shows %s", at, page)
	}
}

// misconfigured has another secret, another callback and another issuer.
func (p oauth2Proxy) misconfigured(site string) {
	t := p.t
	t.Helper()
	log := p.start(site, "client-secret", "wrong")
	if status, _ := p.signIn(p.browser("zhangsan"), site, nil); status < 400 {
		t.Errorf("a sign-in with another secret is answered %d", status)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "invalid_client") {
		t.Errorf("oauth2-proxy does not log the provider's error: %v", err)
	}
	_, location, _ := p.browser("zhangsan").send(http.MethodGet, site+"/oauth2/start", nil)
	location = strings.Replace(location, url.QueryEscape(oauth2Callback), url.QueryEscape(oauth2Callback+"/x"), 1)
	if _, page := p.browser("zhangsan").visit(location, ""); !strings.Contains(page, "oidc_redirect") {
		t.Errorf("with another callback: %s", page)
	}
	cmd, log := p.command("http://localhost:"+freePort(t), "oidc-issuer-url", p.issuer+"/")
	if err := cmd.Run(); err == nil {
		t.Errorf("with another issuer oauth2-proxy starts")
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "did not match") {
		t.Errorf("oauth2-proxy does not log that the issuer differs: %v\n%s", err, text)
	}
}
