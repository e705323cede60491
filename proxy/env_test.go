package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
	"dinggate/store"
)

const host = "app.test"

var requestRules = identity.HeaderRules{{Name: "X-Forwarded-User", Field: "username"},
	{Name: "X-Forwarded-Email", Field: "email"},
	{Name: "X-Forwarded-Preferred-Username", Field: "name"}, {Name: "X-Forwarded-Groups", Field: "groups"}}

var responseRules = identity.HeaderRules{{Name: "X-Auth-Request-User", Field: "username"},
	{Name: "X-Auth-Request-Email", Field: "email"}}

// env is a Chain and a Handler on a real socket, with an application behind them.
type env struct {
	t       testing.TB
	addr    string
	server  *httptest.Server
	handler *Handler

	skip atomic.Int64 // nanoseconds that the sessions' clock is ahead

	mu       sync.Mutex
	recorded *sync.Cond
	records  []web.Exchange
	failed   []string
}

// plan is what a test changes about an env; the zero plan has one route of
// every kind, all leading to app.
type plan struct {
	app      http.Handler
	upstream string // instead of app
	config   UpstreamConfig
	rules    identity.HeaderRules
	trusted  []string
	store    store.Store
	policy   []access.Route
	session  session.Config
}

func open(t testing.TB, p plan) *env {
	t.Helper()
	if p.upstream == "" {
		app := httptest.NewServer(p.app)
		t.Cleanup(app.Close)
		p.upstream = app.URL
	}
	if p.rules == nil {
		p.rules = requestRules
	}
	p.config.Upstream = p.upstream
	var names []string
	for _, rule := range append(p.rules[:len(p.rules):len(p.rules)], responseRules...) {
		names = append(names, rule.Name)
	}
	up, err := NewUpstream(p.config, web.NewProtected(names...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.CloseIdleConnections)
	if p.policy == nil {
		member := access.Rule{SignedIn: true}
		p.policy = []access.Route{
			{Name: "public", Path: "/public/", Rule: access.Rule{Public: true}},
			{Name: "plain", Path: "/plain/", Rule: member},
			{Name: "admin", Path: "/admin/", Rule: access.Rule{Users: []string{"boss"}}},
			{Name: "gateway", Path: "/gateway/", Rule: member},
			{Name: "app", Path: "/", Host: host, Rule: member},
		}
	}
	d := &env{t: t}
	d.recorded = sync.NewCond(&d.mu)
	var routes []Route
	for _, r := range p.policy {
		route := Route{Route: r, Upstream: up, WebSocket: r.Name != "plain"}
		if r.Name == "gateway" {
			route.Upstream = nil
		}
		routes = append(routes, route)
	}
	compiled, err := NewRoutes(routes, false)
	if err != nil {
		t.Fatal(err)
	}
	origins, err := web.NewOrigins("https://"+host, nil, []string{"other.test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	d.handler = &Handler{
		Routes:        compiled,
		Sessions:      manager(t, p, func() time.Time { return time.Now().Add(time.Duration(d.skip.Load())) }),
		Origins:       origins,
		RequireSignIn: challenge,
		Failed: func(route, reason string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.failed = append(d.failed, route+" "+reason)
		},
	}
	peers, err := web.ParsePeers(p.trusted)
	if err != nil {
		t.Fatal(err)
	}
	d.server = httptest.NewUnstartedServer(&web.Chain{
		Peers:  peers,
		Scheme: "https",
		Known:  origins.HasHost,
		Next:   d.handler.Serve,
		Answer: answerJSON,
		Record: d.record,
	})
	d.server.Config.ErrorLog = up.proxy.ErrorLog
	d.server.Start()
	t.Cleanup(d.server.Close)
	d.addr = d.server.Listener.Addr().String()
	return d
}

func manager(t testing.TB, p plan, now func() time.Time) *session.Manager {
	t.Helper()
	keyring, err := keyring.New([]conf.Secret{conf.NewSecret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")})
	if err != nil {
		t.Fatal(err)
	}
	config := session.Defaults()
	if p.session != (session.Config{}) {
		config = p.session
	}
	m := &session.Manager{Keyring: keyring, Config: config, Realm: "dingcorp", Secure: true, Store: p.store, Now: now,
		Headers: session.Headers{Request: p.rules, Response: responseRules}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return m
}

// challenge replaces login.Flow.RequireSignIn.
func challenge(w http.ResponseWriter, r *http.Request, target string) error {
	if !web.IsPageLoad(r.Method, r.Header) {
		return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated"}
	}
	w.Header().Set("Location", "https://login.test/?target="+target)
	w.WriteHeader(http.StatusFound)
	return nil
}

func answerJSON(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		e = &web.Error{Status: 500, Code: "internal"}
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(e.RetryAfter.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]string{"error": e.Code})
}

func (d *env) record(x *web.Exchange, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, *x)
	d.recorded.Broadcast()
}

// last is the newest record of at least n; an answer may arrive before its record.
func (d *env) last(n int) web.Exchange {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.records) < n {
		d.recorded.Wait()
	}
	return d.records[len(d.records)-1]
}

// signIn makes a session and gives its Cookie line's value.
func (d *env) signIn(username string) (*session.Session, string) {
	d.t.Helper()
	s, c, err := d.handler.Sessions.Create(d.t.Context(),
		identity.User{UnionID: "union-" + username, UserID: username, Username: username,
			Name: "张三", Email: username + "@example.com"}, identity.Token{Access: "canary-access-token"})
	if err != nil {
		d.t.Fatal(err)
	}
	return s, c.Name + "=" + c.Value
}

// do sends a request for host as it stands: "GET /path" and header lines.
func (d *env) do(line string, headers ...string) (*http.Response, string) {
	d.t.Helper()
	conn := d.speak(line + " HTTP/1.1\r\nHost: " + host + "\r\n" +
		strings.Join(append(headers, "Connection: close", ""), "\r\n") + "\r\n")
	return answered(d.t, conn, strings.Fields(line)[0])
}

// speak opens a connection and sends raw bytes.
func (d *env) speak(raw string) net.Conn {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, raw); err != nil {
		d.t.Fatal(err)
	}
	return conn
}

func answered(t testing.TB, conn net.Conn, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer's body: %v", err)
	}
	return res, string(body)
}

// seen is what an application got to see; echo answers with it.
type seen struct {
	Method, URI, Host, Body string
	Header, Trailer         http.Header
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.Trailer})
})

func sawOf(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("the upstream answered %q: %v", body, err)
	}
	return s
}

// sick is a store that answers nothing.
type sick struct{ store.Memory }

func (*sick) Get(context.Context, string) ([]byte, error) { return nil, errors.New("sick") }

const page = "Accept: text/html"

func TestServe(t *testing.T) {
	d := open(t,
		plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "UPSTREAM-MARK")
		})})
	_, member := d.signIn("zhangsan")
	_, boss := d.signIn("boss")
	forged := member[:len(member)-4] + "AAAA"
	for i, c := range []struct {
		line, cookie, header string
		status               int
		body, verdict, route string // body: a part
	}{
		{"GET /public/x", "", "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET /public/x", forged, "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET /", member, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"HEAD /", member, "", 200, "", "allow", "app"},
		{"POST /", member, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"GET /?a=1&b=//x", "", page, 302, "", "sign_in", "app"},
		{"GET /x", forged, page, 302, "", "sign_in", "app"},
		// of two nobody can tell which was planted (C3)
		{"GET /x", member + "; " + boss, page, 302, "", "sign_in", "app"},
		{"GET /x", member + "; " + forged, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"GET /x", "", "", 401, `"unauthenticated"`, "sign_in", "app"},
		{"POST /x", "", page, 401, `"unauthenticated"`, "sign_in", "app"},
		{"GET /admin/", member, page, 403, `"not_allowed"`, "deny", "admin"},
		{"GET /admin/", boss, page, 200, "UPSTREAM-MARK", "allow", "admin"},
		{"GET /gateway/", member, "", 404, `"no_route"`, "deny", "gateway"},
		{"GET /gateway/", "", page, 404, `"no_route"`, "deny", "gateway"},
		{"GET /public//x", "", "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET //public/x", "", "", 400, `"ambiguous_path"`, "deny", ""},
		{"GET /public/..;/admin/", "", "", 400, `"bad_path"`, "", ""},
		{"GET /public%2f..%2fadmin/", "", "", 400, `"bad_path"`, "", ""},
	} {
		res, body := d.do(c.line, "Cookie: "+c.cookie, c.header+"\r\nX-Nothing: 1")
		x := d.last(i + 1)
		if res.StatusCode != c.status || !strings.Contains(body, c.body) ||
			strings.Contains(body, "UPSTREAM-MARK") != (c.body == "UPSTREAM-MARK") {
			t.Errorf("%s (cookie %t) = %d %q, want %d with %q", c.line, c.cookie != "", res.StatusCode, body,
				c.status, c.body)
		}
		if x.Verdict != c.verdict || x.Route != c.route || x.Status != c.status {
			t.Errorf("%s: record %q %q %d, want %q %q %d", c.line, x.Verdict, x.Route, x.Status, c.verdict, c.route,
				c.status)
		}
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: Set-Cookie %q", c.line, res.Header["Set-Cookie"])
		}
	}
}

func TestTarget(t *testing.T) {
	d := open(t, plan{app: echo, policy: []access.Route{{Name: "app", Path: "/", Rule: access.Rule{SignedIn: true}}}})
	for _, c := range []struct{ host, uri, want string }{
		{"app.test", "/a?b=c&d", "/a?b=c&d"},
		{"app.test", "/a?", "/a?"},
		{"app.test:8443", "/a", "/a"}, // public_url's own port counts
		{"other.test", "/a?b", "https://other.test/a?b"},
		{"evil.test", "/a", "/a"},
		{"app.test", "//evil.test/", "/"},
		{"app.test", "http://app.test/a?b", "/a?b"},
		{"app.test", "/" + strings.Repeat("a", 2000), "/"},
	} {
		conn := d.speak("GET " + c.uri + " HTTP/1.1\r\nHost: " + c.host + "\r\n" + page +
			"\r\nConnection: close\r\n\r\n")
		res, _ := answered(t, conn, "GET")
		if got := res.Header.Get("Location"); got != "https://login.test/?target="+c.want {
			t.Errorf("target of %s %.40s = %q, want %q", c.host, c.uri, got, c.want)
		}
	}
}

// A store outage denies, keeps the cookie, and leaves public pages alone (V14, F14).
func TestTrouble(t *testing.T) {
	good := open(t, plan{app: echo})
	_, cookie := good.signIn("zhangsan")
	d := open(t, plan{app: echo, store: &sick{}})
	for _, c := range []struct {
		line   string
		status int
	}{{"GET /", 503}, {"POST /", 503}, {"GET /public/", 200}, {"GET //public/", 400}} {
		res, body := d.do(c.line, "Cookie: "+cookie, page)
		if res.StatusCode != c.status || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d, Set-Cookie %q, want %d and none", c.line, res.StatusCode, res.Header["Set-Cookie"],
				c.status)
		}
		if c.status == 503 && (res.Header.Get("Retry-After") == "" || !strings.Contains(body, "store_unavailable")) {
			t.Errorf("%s = %q %q, want Retry-After and store_unavailable", c.line, res.Header, body)
		}
	}
	h := http.Header{"Cookie": {cookie}}
	if a, err := d.handler.Authorize(t.Context(), access.Target{Method: "GET", Host: host, Path: "/"}, h,
		0); err == nil || a.Decision.Verdict != access.Deny || a.Route != "app" {
		t.Errorf("Ask() = %+v, %v, want a denial with an error", a.Decision, err)
	}
}

func TestAsk(t *testing.T) {
	d := open(t, plan{app: echo, policy: []access.Route{
		{Name: "public", Path: "/public/", Rule: access.Rule{Public: true}},
		{Name: "lan", Path: "/lan/", Rule: access.Rule{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		{Name: "app", Path: "/", Rule: access.Rule{SignedIn: true}}}})
	_, cookie := d.signIn("zhangsan")
	signedIn, nobody := http.Header{"Cookie": {cookie}}, http.Header{}
	for _, c := range []struct {
		path    string
		h       http.Header
		client  string
		verdict access.Verdict
		user    string
	}{
		{"/", signedIn, "", access.Allow, "zhangsan"},
		{"/", nobody, "", access.SignIn, ""},
		{"/public/", nobody, "", access.Allow, ""},
		{"/public/", signedIn, "", access.Allow, "zhangsan"},
		{"/lan/", nobody, "10.1.2.3", access.Allow, ""},
		{"/lan/", signedIn, "", access.Deny, "zhangsan"},
	} {
		target := access.Target{Method: "GET", Host: host, Path: c.path}
		if c.client != "" {
			target.Client = netip.MustParseAddr(c.client)
		}
		a, err := d.handler.Authorize(t.Context(), target, c.h, 0)
		if err != nil || a.Decision.Verdict != c.verdict || a.User() != c.user {
			t.Errorf("Ask(%s) = %v %q, %v, want %v %q", c.path, a.Decision.Verdict, a.User(), err, c.verdict, c.user)
		}
		if h := a.Headers; len(h) != 2 || h[0].Name != "X-Auth-Request-User" || h[0].Value[0] != c.user {
			t.Errorf("Ask(%s).Headers = %v, want every name of headers.response with %q", c.path, h, c.user)
		}
	}
}

// A body of somebody without a session is not read (V23, M12).
func TestRefusedBeforeReading(t *testing.T) {
	d := open(t, plan{app: echo})
	conn := d.speak("POST /x HTTP/1.1\r\nHost: " + host +
		"\r\nContent-Length: 104857600\r\nExpect: 100-continue\r\n\r\n")
	res, body := answered(t, conn, "POST")
	if res.StatusCode != 401 || !strings.Contains(body, "unauthenticated") {
		t.Errorf("POST of 100 MiB by nobody = %d %q, want 401 before any 100", res.StatusCode, body)
	}
}
