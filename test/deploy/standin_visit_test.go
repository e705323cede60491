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

	"github.com/coder/websocket"
)

// standinTown is what all simulations share: DingTalk, the application and dinggates:
// one that works, one whose first secret is newer than every session, so that
// it renews them, and one that can confirm no session, since DingTalk is never there.
type standinTown struct {
	t              *testing.T
	platform       *simulator.Platform
	app            *gatewayApp
	appURL         string
	dingtalk       string
	gates, proxies map[string]string // by kind, as in standinCase.gate; Kong needs those that proxy
	session        *http.Cookie      // of 赵六, good at every gate
	addresses      map[*standin]string
}

const (
	standinSession = "__Host-dinggate"
	standinSecret  = "c3RhbmQtaW4gdGVzdHM6IDMyIGJ5dGVzIG9mIGtleSE=" // 32 bytes

	standinNewSecret = "YW5vdGhlciBzZWNyZXQsIDMyIGJ5dGVzLCByb3RhdGU="
)

func newStandinTown(t *testing.T) *standinTown {
	town := &standinTown{t: t, platform: simulator.Demo(), app: &gatewayApp{}, addresses: map[*standin]string{}}
	if err := town.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = []string{"https://" + standinHost + "/oauth2/callback"}
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(town.platform)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(town.platform.Close)
	app := httptest.NewServer(town.app)
	t.Cleanup(app.Close)
	town.appURL, town.dingtalk = app.URL, dingtalk.URL
	binary := gatewayBinary(t)
	kong := townFile(t, "kong/config.yaml", `"http://app:8080"`, app.URL)
	// A route that a forged X-Forwarded-For would open.
	asked := townFile(t, "config.yaml", "\nroutes:\n",
		"\nroutes:\n  - {path: /net/, access: {networks: [10.9.9.0/24]}}\n")
	kong = townFile(t, kong, "\nroutes:\n",
		"\nroutes:\n  - {path: /net/, access: {networks: [10.9.9.0/24]}, upstream: "+app.URL+"}\n")
	start := func(file string, extra ...string) string {
		address := freeGatewayAddress(t)
		startGatewayProcess(t, address, exec.Command(binary, "serve", "--config", file), append([]string{
			"DINGGATE_LISTEN=" + address, "DINGGATE_ADMIN_LISTEN=127.0.0.1:0",
			"DINGGATE_COOKIE_SECRETS=" + standinSecret,
			"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
			"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID, "DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL,
			"DINGGATE_DINGTALK_API_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL,
		}, extra...)...)
		return "http://" + address
	}
	// a free port might be taken meanwhile
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(away.Close)
	gone := away.URL
	town.gates, town.proxies = map[string]string{"gone": gone}, map[string]string{"gone": gone}
	for kind, environment := range map[string][]string{
		"":      nil,
		"fresh": {"DINGGATE_COOKIE_SECRETS=" + standinNewSecret + "," + standinSecret},
		"ill": {"DINGGATE_SESSION_RECHECK=1ns", "DINGGATE_SESSION_GRACE=0s", "DINGGATE_DINGTALK_API_URL=" + gone,
			"DINGGATE_DINGTALK_OAPI_URL=" + gone},
	} {
		town.gates[kind], town.proxies[kind] = start(asked, environment...), start(kong, environment...)
	}
	return town
}

// everywhere makes every simulation before every kind of dinggate: `name|kind`.
func (town *standinTown) everywhere() map[string]*standin {
	all := map[string]*standin{}
	for kind := range town.gates {
		for _, s := range standins(town.t) {
			s.gate, s.app = town.gates[kind], town.appURL
			if s.ask == nil {
				s.gate = town.proxies[kind]
			}
			all[s.name+"|"+kind] = s
		}
	}
	return all
}

// townFile writes a changed copy of an example; each old text must be there.
func townFile(t *testing.T, file string, changes ...string) string {
	t.Helper()
	text, err := os.ReadFile(exampleFile(file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("%s has no %q: the test changes something that is not there", file, changes[i])
		}
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	putGatewayFile(t, path, strings.NewReplacer(changes...).Replace(string(text)))
	return path
}

// standinCase is one request of a browser.
type standinCase struct {
	method, target, host string
	member               bool // 赵六, who may not enter /admin/, is signed in
	header               []string
	body                 string
	websocket            bool
	gate                 string // "" works, "fresh" renews every session, "ill" can confirm none, "gone" is not there
}

// visit sends the case through the simulation and says in one line what came of
// it:
//
//	200 zhaoliu              the application answered, and knows the person
//	200 nobody as /b         the application answered a stranger, and saw another target than was asked for
//	200 zhaoliu forged A,B   a client's own value reached the application in A and B
//	302 and back             sign-in begins; signing in there ends where it began
//	302 back at /            … or elsewhere
//	200 zhaoliu and a cookie the browser got the renewed session
//	403 page                 dinggate's page; 401 unauthenticated: its JSON; 403 bare: the gateway's own words
func (town *standinTown) visit(s *standin, c standinCase) string {
	town.t.Helper()
	town.app.took()
	if c.gate == "fresh" { // a session is renewed once a minute
		town.enter("zhaoliu")
	}
	if c.websocket {
		return town.handshake(s, c)
	}
	res, body := town.send(s, c.method, c.target, c.host, town.headers(c), c.body)
	outcome := town.outcome(s, c, res, body)
	for name := range res.Header {
		if strings.HasPrefix(name, "X-Auth-Request-") || name == "X-Forwarded-User" {
			outcome += " tells the browser " + name // R4
		}
	}
	if res.StatusCode != http.StatusFound {
		for _, cookie := range res.Cookies() {
			if strings.HasPrefix(cookie.Name, standinSession) {
				outcome += " and a cookie"
			}
		}
	}
	return outcome
}

func (town *standinTown) headers(c standinCase) []string {
	h := slices.Clone(c.header)
	if c.member {
		h = append(h, "Cookie: app=own; "+town.session.Name+"="+town.session.Value)
	}
	return h
}

func (town *standinTown) outcome(s *standin, c standinCase, res *http.Response, body string) string {
	town.t.Helper()
	if seen := town.app.took(); len(seen) > 0 {
		return town.reached(s, c, res, seen)
	}
	if res.StatusCode == http.StatusFound && res.Header.Get("Location") != "" {
		return "302 " + town.follow(s, c, res)
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

func (town *standinTown) reached(s *standin, c standinCase, res *http.Response, seen []gatewayRequest) string {
	got := seen[0]
	who := strings.Join(got.header[s.identity+"User"], ",")
	if who == "" {
		who = "nobody"
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

// follow signs somebody in from a redirect on, and tells where they end. It
// leads to our own /oauth2/start, or, where dinggate proxies, to DingTalk at once.
func (town *standinTown) follow(s *standin, c standinCase, res *http.Response) string {
	town.t.Helper()
	at := res.Header.Get("Location")
	u, err := url.Parse(at)
	if err != nil {
		return "to " + at
	}
	end := ""
	switch {
	case u.Scheme == "https" && u.Host == standinHost && u.Path == "/oauth2/start":
		end, _ = town.signIn(s, u.RequestURI(), "lisi")
	case s.ask == nil && strings.HasPrefix(at, town.dingtalk+"/oauth2/auth?"):
		end, _ = town.callback(s, res, "lisi")
	default:
		return "to " + at
	}
	if end == c.target {
		return "and back"
	}
	return "back at " + end
}

// signIn goes the whole way through the gateway: start, DingTalk's page, callback.
func (town *standinTown) signIn(s *standin, start, person string) (end string, session []*http.Cookie) {
	town.t.Helper()
	res, body := town.send(s, "GET", start, "", []string{standinHTML}, "")
	if res.StatusCode != http.StatusFound {
		town.t.Fatalf("%s: GET %s = %d %.300s, want 302 to DingTalk", s.name, start, res.StatusCode, body)
	}
	return town.callback(s, res, person)
}

// callback chooses a person at DingTalk, where begun leads to, and comes back.
func (town *standinTown) callback(s *standin, begun *http.Response,
	person string) (end string, session []*http.Cookie) {
	town.t.Helper()
	var attempt []string
	for _, cookie := range begun.Cookies() {
		attempt = append(attempt, cookie.Name+"="+cookie.Value)
	}
	chosen, err := standinAsker.Get(begun.Header.Get("Location") + "&person=" + person)
	if err != nil {
		town.t.Fatal(err)
	}
	chosen.Body.Close()
	callback, err := url.Parse(chosen.Header.Get("Location"))
	if err != nil || callback.Host != standinHost {
		town.t.Fatalf("DingTalk leads to %q, want the callback", callback)
	}
	res, body := town.send(s, "GET", callback.RequestURI(), "",
		[]string{standinHTML, "Cookie: " + strings.Join(attempt, "; ")}, "")
	if res.StatusCode/100 != 3 {
		town.t.Fatalf("%s: the callback = %d %.300s, want a redirect", s.name, res.StatusCode, body)
	}
	for _, cookie := range res.Cookies() {
		if cookie.Name == standinSession && cookie.MaxAge >= 0 {
			session = append(session, cookie)
		}
	}
	return strings.TrimPrefix(res.Header.Get("Location"), "https://"+standinHost), session
}

// enter takes a new session for all requests that follow.
func (town *standinTown) enter(person string) {
	town.t.Helper()
	s := standinTraefik(town.t)
	s.gate, s.app = town.gates[""], town.appURL
	_, sessions := town.signIn(s, "/oauth2/start?rd=/", person)
	if len(sessions) != 1 {
		town.t.Fatalf("signing in sets %d sessions, want 1", len(sessions))
	}
	town.session = sessions[0]
}

// serve starts a simulation, once, and returns its host:port.
func (town *standinTown) serve(s *standin) string {
	if town.addresses[s] == "" {
		server := httptest.NewServer(s)
		town.t.Cleanup(server.Close)
		town.addresses[s] = server.Listener.Addr().String()
	}
	return town.addresses[s]
}

// send writes a request as it is, whatever net/http would think of its target.
func (town *standinTown) send(s *standin, method, target, host string, headers []string,
	body string) (*http.Response, string) {
	town.t.Helper()
	conn, err := net.Dial("tcp", town.serve(s))
	if err != nil {
		town.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if host == "" {
		host = standinHost
	}
	length := ""
	if body != "" {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s", method, target, host, length,
		strings.Join(append(headers, ""), "\r\n"), body)
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		town.t.Fatalf("%s: %s %s: %v", s.name, method, target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		town.t.Fatal(err)
	}
	return res, string(text)
}

func (town *standinTown) handshake(s *standin, c standinCase) string {
	town.t.Helper()
	ctx, cancel := context.WithTimeout(town.t.Context(), 20*time.Second)
	defer cancel()
	h := http.Header{}
	for _, line := range town.headers(c) {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	conn, res, err := websocket.Dial(ctx,
		"ws://"+town.serve(s)+c.target, &websocket.DialOptions{
			Host:       standinHost,
			HTTPHeader: h,
			HTTPClient: &http.Client{CheckRedirect: standinAsker.CheckRedirect},
		})
	if err != nil {
		if res == nil {
			town.t.Fatalf("%s: %v", s.name, err)
		}
		body, _ := io.ReadAll(res.Body)
		return town.outcome(s, c, res, string(body))
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("你好")); err != nil {
		town.t.Fatal(err)
	}
	_, echo, err := conn.Read(ctx)
	if err != nil || string(echo) != "你好" {
		return fmt.Sprintf("101 but the echo is %q, %v", echo, err)
	}
	return town.reached(s, c, res, town.app.took())
}
