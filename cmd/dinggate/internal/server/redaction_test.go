package server_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"

	"github.com/alicebob/miniredis/v2"
	"golang.org/x/crypto/bcrypt"
)

// TestNothingLeaks exercises every function of the shipped binary, with success and
// failure. It then searches its output: standard output, standard error, the audit file,
// the metrics and every page. They contain no secret in any encoding.
func TestNothingLeaks(t *testing.T) {
	l := &leaks{secrets: map[string]string{}}
	platform := simulator.Demo()
	dingtalk := httptest.NewServer(l.between(platform))
	application := &servertest.Upstream{}
	app := httptest.NewServer(application)
	redis := miniredis.RunT(t)
	redis.RequireAuth(servertest.Canary + "-redis")
	t.Cleanup(func() { platform.Close(); dingtalk.Close(); app.Close() })
	third := servertest.NewSSOApp(t)
	dir := t.TempDir()
	const password = servertest.Canary + "-password"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost+1)
	if err != nil {
		t.Fatal(err)
	}
	htpasswd := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(htpasswd, []byte("alice:"+string(hash)+"\nzhaoliu:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix("http://"+servertest.ClosedAddress(t), "http://")
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
		servertest.Canary+"-redis", redis.Addr(), filepath.Join(dir, "audit"), third.Secret, third.CallbackURL(), app.URL, htpasswd,
		dir)
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{simulator.DemoClientSecret, servertest.Canary + "-redis", third.Secret, password,
		string(hash)} {
		l.add("configuration", secret)
	}
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte("alice:"+password)))
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte(third.ID+":"+third.Secret)))
	var out, log servertest.LogBuffer
	cmd := exec.Command(servertest.Binary(t), "serve", "--config", file)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	servertest.Eventually(t, "it listens", func() bool { return strings.Contains(out.String(), "admin listening") })
	l.host = address
	third.Service = "http://" + address
	h := &servertest.Env{T: t, URL: "http://" + address, Platform: platform}
	sendAllRequests(h, l, third, redis)
	admin := regexp.MustCompile(`admin listening on (\S+)`).FindStringSubmatch(out.String())[1]
	_, metrics := servertest.Fetch(t, http.DefaultClient, admin+"/metrics")
	for _, r := range application.All() {
		l.add("access_token", r.Header.Get("X-Token"))
		if proof := r.Header.Get("X-Dinggate-Assertion"); proof != "" {
			l.add("assertion", proof)
			l.add("assertion", proof[strings.LastIndex(proof, ".")+1:])
		}
	}
	servertest.Eventually(t, "the end of a leaver's session is logged", func() bool {
		audit, err := os.ReadFile(filepath.Join(dir, "audit"))
		return err == nil && strings.Contains(string(audit), `"audit":"session_ended"`)
	})
	// A configuration with secrets in wrong places is refused, and the messages contain
	// none of them.
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
	servertest.Eventually(t, "a refused reload is logged", func() bool {
		_, status = servertest.Fetch(t, http.DefaultClient, admin+"/status")
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

// TestNothingLeaksBehindService is the same for sign-ins at an SSO service.
func TestNothingLeaksBehindService(t *testing.T) {
	l := &leaks{secrets: map[string]string{}}
	h, s := servertest.NewBehindService(t, func(c *config.Config) { c.APITokens = true; c.Session.Recheck = time.Second })
	l.host = strings.TrimPrefix(h.URL, "http://")
	l.add("configuration", s.Password)
	l.add("Basic", base64.StdEncoding.EncodeToString([]byte(s.ID+":"+s.Password)))
	v := l.browser(h)
	callback := v.ServiceCallback(h.URL+"/reports", "zhangsan")
	v.Get(callback)
	v.Get(callback)
	for _, answer := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) { http.Error(w, `{"error":"`+s.Password+`"}`, http.StatusUnauthorized) },
		func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":%q`, s.Password) },
		func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":"short\u0000 %s"}`, s.Password) },
	} {
		s.AnswerToken.Store(answer)
		w := l.browser(h)
		w.Get(w.ServiceCallback(h.URL+"/", "lisi"))
	}
	s.Mu.Lock()
	for token := range s.Tokens {
		l.add("access_token", token)
	}
	for token := range s.Fresh {
		l.add("refresh_token", token)
	}
	s.Mu.Unlock()
	l.browser(h).Get(h.URL+"/", "Authorization: Bearer canary-bearer-3")
	l.add("given", "canary-bearer-3")
	time.Sleep(1500 * time.Millisecond) // the session is due: userinfo is called again
	v.Get(h.URL + "/")
	v.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	servertest.Eventually(t, "the log is written", func() bool { return strings.Contains(h.Log.String(), `"audit":"sign_out"`) })
	status := getAdmin(h.AdminHandler(), "/status", "Accept: text/html").Body.String()
	l.search(t, map[string]string{"log": h.Log.String(), "metrics": h.Metrics(), "status": status,
		"pages": l.pages.String()}, "state", "attempt", "code", "access_token", "refresh_token", "configuration")
}

func mustURLOf(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}
