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
	"dinggate/store/storetest"
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

	skip atomic.Int64 // nanoseconds by which the sessions' clock is ahead

	mu       sync.Mutex
	recorded *sync.Cond
	records  []web.Exchange
	failed   []string
}

// plan is what a test changes about an env; the zero plan has one route of every kind, all to app.
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

// signIn creates a session and returns the value of its Cookie line.
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

// do sends a request for host: "GET /path" and header lines, unchanged.
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

// answered reads the final response.
func answered(t testing.TB, conn net.Conn, method string) (*http.Response, string) {
	t.Helper()
	br, request := bufio.NewReader(conn), &http.Request{Method: method}
	res, err := http.ReadResponse(br, request)
	for err == nil && res.StatusCode == http.StatusEarlyHints {
		res, err = http.ReadResponse(br, request)
	}
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer's body: %v", err)
	}
	return res, string(body)
}

// seen is a request as the application received it; echo answers with it.
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

// failing returns a store whose operations fail.
func failing() store.Store {
	s := storetest.NewFaulty()
	s.Away.Store(true)
	return s
}

const page = "Accept: text/html"
