package deploy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"

	"github.com/coder/websocket"
)

// simulatedEnv holds the parts that all simulations share: DingTalk, the application and several
// dinggates. The first works normally. The second has a new first secret, so it renews every
// session. The third can confirm no session because its DingTalk is unreachable.
type simulatedEnv struct {
	t         *testing.T
	platform  *simulator.Platform
	app       *gatewayApp
	appURL    string
	dingtalk  string
	session   *http.Cookie // of 赵六, valid at every dinggate
	addresses map[*simulatedGateway]string

	// dinggates are URLs by kind, as in browserRequest.dinggate. Kong needs the proxies.
	dinggates, proxies map[string]string
}

const (
	sessionCookie = "__Host-dinggate"
	firstSecret   = "c2ltdWxhdGVkIGdhdGV3YXlzOiAzMiBieXRlcyBvayE=" // 32 bytes
	rotatedSecret = "YW5vdGhlciBzZWNyZXQsIDMyIGJ5dGVzLCByb3RhdGU="
)

func newSimulatedEnv(t *testing.T) *simulatedEnv {
	env := &simulatedEnv{t: t, platform: simulator.Demo(), app: &gatewayApp{}, addresses: map[*simulatedGateway]string{}}
	if err := env.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = []string{"https://" + publicHost + "/oauth2/callback"}
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(env.platform)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(env.platform.Close)
	app := httptest.NewServer(env.app)
	t.Cleanup(app.Close)
	env.appURL, env.dingtalk = app.URL, dingtalk.URL
	binary := realtool.Dinggate(t)
	kong := changedExample(t, "kong/config.yaml", `"http://app:8080"`, app.URL)
	// A route that a forged X-Forwarded-For would open.
	subrequests := changedExample(t, "config.yaml", "\nroutes:\n",
		"\nroutes:\n  - {path: /net/, access: {networks: [10.9.9.0/24]}}\n")
	kong = changedExample(t, kong, "\nroutes:\n",
		"\nroutes:\n  - {path: /net/, access: {networks: [10.9.9.0/24]}, upstream: "+app.URL+"}\n")
	start := func(file string, extra ...string) string {
		address := realtool.FreeAddr(t)
		startProcess(t, address, exec.Command(binary, "serve", "--config", file), append([]string{
			"DINGGATE_LISTEN=" + address, "DINGGATE_ADMIN_LISTEN=127.0.0.1:0",
			"DINGGATE_COOKIE_SECRETS=" + firstSecret,
			"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
			"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID, "DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL,
			"DINGGATE_DINGTALK_API_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL,
		}, extra...)...)
		return "http://" + address
	}
	// This server drops every connection. Another process might take a free port in the meantime.
	stopped := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(stopped.Close)
	env.dinggates, env.proxies = map[string]string{"dinggate down": stopped.URL}, map[string]string{"dinggate down": stopped.URL}
	for kind, environment := range map[string][]string{
		"":         nil,
		"renewing": {"DINGGATE_COOKIE_SECRETS=" + rotatedSecret + "," + firstSecret},
		"DingTalk down": {"DINGGATE_SESSION_RECHECK=1ns", "DINGGATE_SESSION_GRACE=0s", "DINGGATE_DINGTALK_API_URL=" + stopped.URL,
			"DINGGATE_DINGTALK_OAPI_URL=" + stopped.URL},
	} {
		env.dinggates[kind], env.proxies[kind] = start(subrequests, environment...), start(kong, environment...)
	}
	return env
}

// gateways returns every simulation in front of every kind of dinggate: `name|kind`.
func (env *simulatedEnv) gateways() map[string]*simulatedGateway {
	all := map[string]*simulatedGateway{}
	for kind := range env.dinggates {
		for _, s := range simulatedGateways(env.t) {
			s.dinggate, s.app = env.dinggates[kind], env.appURL
			if s.subrequest == nil {
				s.dinggate = env.proxies[kind]
			}
			all[s.name+"|"+kind] = s
		}
	}
	return all
}

// changedExample writes a changed copy of an example. Each old text must occur.
func changedExample(t *testing.T, file string, changes ...string) string {
	t.Helper()
	text, err := os.ReadFile(exampleFile(file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("%s has no %q: the test replaces text that is missing", file, changes[i])
		}
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	writeFile(t, path, strings.NewReplacer(changes...).Replace(string(text)))
	return path
}

// browserRequest is one request of a browser.
type browserRequest struct {
	method, target, host string
	member               bool // 赵六, who may not open /admin/, is signed in
	header               []string
	body                 string
	websocket            bool

	// dinggate selects one: "" works, "renewing" renews every session, "DingTalk down" confirms none,
	// "dinggate down" does not respond.
	dinggate string
}

// visit sends the case through the simulation and describes the outcome in one line:
//
//	200 zhaoliu              the application responded and received the person
//	200 anonymous as /b      the application served an anonymous client and received another target
//	200 zhaoliu forged A,B   a client's own value reached the application in A and B
//	302 sign-in              a sign-in begins, which ends at the original page
//	302 sign-in, then /      … or at another page
//	200 zhaoliu and a cookie the browser received the renewed session
//	403 page                 dinggate's page; 401 unauthenticated: its JSON; 403 bare: the gateway's own response
func (env *simulatedEnv) visit(s *simulatedGateway, c browserRequest) string {
	env.t.Helper()
	env.app.takeRequests()
	if c.dinggate == "renewing" { // a session is renewed once a minute
		env.startSession("zhaoliu")
	}
	if c.websocket {
		return env.handshake(s, c)
	}
	res, body := env.send(s, c.method, c.target, c.host, env.headers(c), c.body)
	outcome := env.outcome(s, c, res, body)
	for name := range res.Header {
		if strings.HasPrefix(name, "X-Auth-Request-") || name == "X-Forwarded-User" {
			outcome += " reveals to the browser " + name // R4
		}
	}
	if res.StatusCode != http.StatusFound {
		for _, cookie := range res.Cookies() {
			if strings.HasPrefix(cookie.Name, sessionCookie) {
				outcome += " and a cookie"
			}
		}
	}
	return outcome
}

func (env *simulatedEnv) headers(c browserRequest) []string {
	h := slices.Clone(c.header)
	if c.member {
		h = append(h, "Cookie: app=own; "+env.session.Name+"="+env.session.Value)
	}
	return h
}

func (env *simulatedEnv) outcome(s *simulatedGateway, c browserRequest, res *http.Response, body string) string {
	env.t.Helper()
	if seen := env.app.takeRequests(); len(seen) > 0 {
		return env.reached(s, c, res, seen)
	}
	if res.StatusCode == http.StatusFound && res.Header.Get("Location") != "" {
		return "302 " + env.follow(s, c, res)
	}
	var problem struct{ Error string }
	switch {
	case json.Unmarshal([]byte(body), &problem) == nil && problem.Error != "":
		return fmt.Sprintf("%d %s", res.StatusCode, problem.Error)
	case strings.HasPrefix(strings.ToLower(body), "<!doctype html>"),
		c.method == "HEAD" && strings.Contains(res.Header.Get("Content-Security-Policy"), "style-src"):
		return fmt.Sprintf("%d page", res.StatusCode)
	}
	return fmt.Sprintf("%d bare", res.StatusCode)
}

func (env *simulatedEnv) reached(s *simulatedGateway, c browserRequest, res *http.Response, seen []receivedRequest) string {
	got := seen[0]
	who := strings.Join(got.header[s.identity+"User"], ",")
	if who == "" {
		who = "anonymous"
	}
	out := fmt.Sprintf("%d %s", res.StatusCode, who)
	if len(seen) != 1 {
		out += fmt.Sprintf(" %d times", len(seen))
	}
	if got.uri != c.target {
		out += " as " + got.uri
	}
	if got.method != c.method {
		out += " by " + got.method
	}
	if size, _, _ := strings.Cut(got.body, " "); size != fmt.Sprint(len(c.body)) {
		out += " with " + size + " bytes"
	}
	for _, field := range []string{"User", "Email", "Preferred-Username", "Groups"} {
		n := len(got.header[s.identity+field])
		if n > 1 || n == 0 && !s.bare {
			out += fmt.Sprintf(" %d × %s", n, field)
		}
	}
	var forged []string
	for name, values := range got.header {
		if strings.Contains(strings.Join(values, " "), "forged") ||
			strings.Contains(strings.Join(values, " "), claimed) {
			forged = append(forged, name)
		}
	}
	if slices.Sort(forged); len(forged) > 0 {
		out += " forged " + strings.Join(forged, ",")
	}
	return out
}

// follow signs a person in from a redirect on and describes the final location. The redirect leads
// to our own /oauth2/start, or directly to DingTalk if dinggate is the proxy.
func (env *simulatedEnv) follow(s *simulatedGateway, c browserRequest, res *http.Response) string {
	env.t.Helper()
	at := res.Header.Get("Location")
	u, err := url.Parse(at)
	if err != nil {
		return "to " + at
	}
	end := ""
	switch {
	case u.Scheme == "https" && u.Host == publicHost && u.Path == "/oauth2/start":
		end, _ = env.signIn(s, u.RequestURI(), "lisi")
	case s.subrequest == nil && strings.HasPrefix(at, env.dingtalk+"/oauth2/auth?"):
		end, _ = env.callback(s, res, "lisi")
	default:
		return "to " + at
	}
	if end == c.target {
		return "sign-in"
	}
	return "sign-in, then " + end
}

// signIn runs an entire sign-in through the gateway: start, DingTalk's page, callback.
func (env *simulatedEnv) signIn(s *simulatedGateway, start, person string) (end string, session []*http.Cookie) {
	env.t.Helper()
	res, body := env.send(s, "GET", start, "", []string{browserAccept}, "")
	if res.StatusCode != http.StatusFound {
		env.t.Fatalf("%s: GET %s = %d %.300s, want 302 to DingTalk", s.name, start, res.StatusCode, body)
	}
	return env.callback(s, res, person)
}

// callback chooses a person on the DingTalk page that begun redirects to, and follows the redirect
// to the callback.
func (env *simulatedEnv) callback(s *simulatedGateway, begun *http.Response,
	person string) (end string, session []*http.Cookie) {
	env.t.Helper()
	var attempt []string
	for _, cookie := range begun.Cookies() {
		attempt = append(attempt, cookie.Name+"="+cookie.Value)
	}
	chosen, err := simulationClient.Get(begun.Header.Get("Location") + "&person=" + person)
	if err != nil {
		env.t.Fatal(err)
	}
	chosen.Body.Close()
	callback, err := url.Parse(chosen.Header.Get("Location"))
	if err != nil || callback.Host != publicHost {
		env.t.Fatalf("DingTalk redirects to %q, want the callback", callback)
	}
	res, body := env.send(s, "GET", callback.RequestURI(), "",
		[]string{browserAccept, "Cookie: " + strings.Join(attempt, "; ")}, "")
	if res.StatusCode/100 != 3 {
		env.t.Fatalf("%s: the callback = %d %.300s, want a redirect", s.name, res.StatusCode, body)
	}
	for _, cookie := range res.Cookies() {
		if cookie.Name == sessionCookie && cookie.MaxAge >= 0 {
			session = append(session, cookie)
		}
	}
	return strings.TrimPrefix(res.Header.Get("Location"), "https://"+publicHost), session
}

// startSession signs a person in. All requests that follow use the new session.
func (env *simulatedEnv) startSession(person string) {
	env.t.Helper()
	s := simulateTraefik(env.t)
	s.dinggate, s.app = env.dinggates[""], env.appURL
	_, sessions := env.signIn(s, "/oauth2/start?rd=/", person)
	if len(sessions) != 1 {
		env.t.Fatalf("signing in sets %d sessions, want 1", len(sessions))
	}
	env.session = sessions[0]
}

// serve starts a simulation once and returns its host:port.
func (env *simulatedEnv) serve(s *simulatedGateway) string {
	if env.addresses[s] == "" {
		server := httptest.NewServer(s)
		env.t.Cleanup(server.Close)
		env.addresses[s] = server.Listener.Addr().String()
	}
	return env.addresses[s]
}

// send writes a request unchanged, without net/http's checks of the target.
func (env *simulatedEnv) send(s *simulatedGateway, method, target, host string, headers []string,
	body string) (*http.Response, string) {
	env.t.Helper()
	conn, err := net.Dial("tcp", env.serve(s))
	if err != nil {
		env.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if host == "" {
		host = publicHost
	}
	length := ""
	if body != "" {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s", method, target, host, length,
		strings.Join(append(headers, ""), "\r\n"), body)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		env.t.Fatalf("%s: %s %s: %v", s.name, method, target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		env.t.Fatal(err)
	}
	return res, string(text)
}

func (env *simulatedEnv) handshake(s *simulatedGateway, c browserRequest) string {
	env.t.Helper()
	ctx, cancel := context.WithTimeout(env.t.Context(), 20*time.Second)
	defer cancel()
	h := http.Header{}
	for _, line := range env.headers(c) {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	conn, res, err := websocket.Dial(ctx,
		"ws://"+env.serve(s)+c.target, &websocket.DialOptions{
			Host:       publicHost,
			HTTPHeader: h,
			HTTPClient: &http.Client{CheckRedirect: simulationClient.CheckRedirect},
		})
	if err != nil {
		if res == nil {
			env.t.Fatalf("%s: %v", s.name, err)
		}
		body, _ := io.ReadAll(res.Body)
		return env.outcome(s, c, res, string(body))
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("你好")); err != nil {
		env.t.Fatal(err)
	}
	_, echo, err := conn.Read(ctx)
	if err != nil || string(echo) != "你好" {
		return fmt.Sprintf("101 but the echo is %q, %v", echo, err)
	}
	return env.reached(s, c, res, env.app.takeRequests())
}
