package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

// provider is a DingTalk that knows everyone whom a code names.
type provider struct {
	calls atomic.Int32

	mu   sync.Mutex
	fail error         // what Exchange answers, when set
	gate chan struct{} // Exchange waits for it, when set
}

func (p *provider) AuthURL(redirectURI, state string) string {
	return "https://login.ding.test/oauth2/auth?" + url.Values{"redirect_uri": {redirectURI}, "state": {state}, "client_id": {"ding-app"}}.Encode()
}

func (p *provider) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	p.calls.Add(1)
	p.mu.Lock()
	fail, gate := p.fail, p.gate
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return identity.User{}, identity.Token{}, ctx.Err()
		}
	}
	if fail != nil {
		return identity.User{}, identity.Token{}, fail
	}
	if code == "nobody" {
		return identity.User{}, identity.Token{}, nil
	}
	return identity.User{UnionID: "union-" + code, UserID: "user-" + code, Username: code, Name: "张三", Email: code + "@example.com",
		Departments: []int64{42}, Roles: []identity.Role{{ID: 1, Name: "主管"}}}, identity.Token{Access: "CANARY-access"}, nil
}

func (p *provider) fails(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// faultyStore is a memory store that a test can break.
type faultyStore struct {
	store.Memory
	ill, noPut atomic.Bool
}

var errIll = errors.New("store: connection refused")

func (s *faultyStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.ill.Load() {
		return nil, errIll
	}
	return s.Memory.Get(ctx, key)
}

func (s *faultyStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.ill.Load() {
		return errIll
	}
	return s.Memory.Add(ctx, key, value, ttl)
}

func (s *faultyStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.ill.Load() || s.noPut.Load() {
		return errIll
	}
	return s.Memory.Put(ctx, key, value, ttl)
}

func (s *faultyStore) Take(ctx context.Context, key string) ([]byte, error) {
	if s.ill.Load() {
		return nil, errIll
	}
	return s.Memory.Take(ctx, key)
}

// env is a whole installation: https://app.test, with a protected page on
// every path that is not ours.
type env struct {
	*Flow
	t        testing.TB
	provider *provider
	store    *faultyStore
	server   *httptest.Server
	ahead    atomic.Int64 // of the clock
	find     Authenticate // of API clients; nil: there are none

	mu     sync.Mutex
	events []Event
	last   error // what the last refusal was, for the operator
}

type plan struct {
	public  string // public_url; https://app.test when empty
	domain  string // cookie.domain
	trusted []string
	change  func(*Flow)
}

func secret(first byte) conf.Secret {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	return conf.NewSecret(base64.StdEncoding.EncodeToString(raw))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// flow makes a Flow without a server.
func flow(t testing.TB, p plan) *env {
	t.Helper()
	if p.public == "" {
		p.public = "https://app.test"
	}
	h := &env{t: t, provider: &provider{}, store: &faultyStore{}}
	https := strings.HasPrefix(p.public, "https:")
	keyring := must(keyring.New([]conf.Secret{secret(1)}))
	cfg := session.Defaults()
	cfg.Store = session.StoreRedis // the store is asked each time, so that it can be ill
	cfg.StoreGrace = 0
	now := func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	h.Flow = &Flow{
		Provider: h.provider, Keyring: keyring, Used: h.store, Prefix: "/oauth2", ClientID: "ding-app",
		Sessions: &session.Manager{Keyring: keyring, Config: cfg, Cookie: session.CookieConfig{Domain: p.domain}, Realm: "dingcorp",
			Secure: https, Store: h.store, Now: now},
		Pages:   must(page.New(page.Config{Prefix: "/oauth2"})),
		Origins: must(web.NewOrigins(p.public, []string{"https://other.test:8443"}, []string{"route.test"}, p.domain)),
		Now:     now,
		Audit: func(e Event) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, e)
			return nil
		},
	}
	if p.change != nil {
		p.change(h.Flow)
	}
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	return h
}

func build(t testing.TB, p plan) *env {
	t.Helper()
	h := flow(t, p)
	scheme, _, _ := strings.Cut(h.Origins.Public(), "://")
	entrance := &web.Chain{Peers: must(web.ParsePeers(p.trusted)), Scheme: scheme, Next: h.next, Known: h.Origins.HasHost,
		Answer: func(w http.ResponseWriter, r *http.Request, err error) {
			h.mu.Lock()
			h.last = err
			h.mu.Unlock()
			h.Pages.Answer(w, r, err)
		},
		Record: func(*web.Exchange, *http.Request) {}}
	h.server = httptest.NewTLSServer(entrance)
	t.Cleanup(h.server.Close)
	return h
}

// next is the proxy in small: everything that is not ours wants a session.
func (h *env) next(w http.ResponseWriter, r *http.Request) error {
	switch web.From(w).Path.Plain {
	case "/oauth2/start":
		return h.Start(w, r)
	case "/oauth2/callback":
		return h.Callback(w, r)
	case "/oauth2/silent":
		return h.SilentCode(w, r)
	case "/oauth2/sign_in":
		return h.SignIn(w, r)
	case "/oauth2/signed_in":
		return h.SignedIn(w, r)
	case "/oauth2/sign_out":
		return h.SignOut(w, r)
	case "/oauth2/leave":
		leave, _ := h.HandOver()
		return leave(w, r)
	case "/oauth2/arrive":
		_, accept := h.HandOver()
		return accept(w, r)
	case "/oauth2/userinfo":
		return h.UserInfo(h.find)(w, r)
	case "/oauth2/sessions":
		return OwnSessions(h.Flow)(w, r)
	case "/dingtalk/login/callback":
		return h.LoginAPI(w, r)
	case "/elsewhere":
		return h.RedirectToProvider(w, r, Purpose{Kind: "elsewhere", RedirectURI: h.Origins.Public() + "/elsewhere/back", Target: r.URL.RawQuery})
	case "/elsewhere/back":
		s, _, target, err := h.Complete(w, r, r.Header.Get("X-Kind"), func(target string) error {
			if r.URL.Query().Has("wrong") {
				return badRequest("the wrong target")
			}
			return nil
		})
		if err == nil {
			io.WriteString(w, "ELSEWHERE "+s.User.Username+" "+target)
		}
		return err
	}
	s, err := h.Sessions.Load(r.Context(), web.CookieValues(r.Header, h.Sessions.CookieName()), 0)
	switch {
	case session.Absent(err):
		return h.RequireSignIn(w, r, r.RequestURI)
	case err != nil:
		return unavailable(err)
	}
	io.WriteString(w, "UPSTREAM-MARK "+s.User.Username+" "+s.ID)
	return nil
}

// browser is a browser with its cookies; it follows no redirect by itself.
type browser struct {
	*env
	jar    http.CookieJar
	client *http.Client
}

func (h *env) browser() *browser {
	jar := must(cookiejar.New(nil))
	address := h.server.Listener.Addr().String()
	client := &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test server's own certificate, for names that do not exist
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h.t.(interface{ Cleanup(func()) }).Cleanup(client.CloseIdleConnections)
	return &browser{h, jar, client}
}

// answer is what a browser got.
type answer struct {
	*http.Response
	text string
}

// send sends any request; header is name, value, name, value …
func (b *browser) send(method, address string, header ...string) answer {
	b.t.Helper()
	return b.sendBody(method, address, nil, header...)
}

func (b *browser) sendBody(method, address string, body io.Reader, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.Origins.Public() + address
	}
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	var read bytes.Buffer
	if _, err := read.ReadFrom(resp.Body); err != nil {
		b.t.Fatal(err)
	}
	text := read.String()
	if before, rest, found := strings.Cut(text, "<style>"); found { // nothing to see in it
		_, after, _ := strings.Cut(rest, "</style>")
		text = before + after
	}
	return answer{resp, text}
}

// visit loads a page. From a refused callback it goes on to the address without
// a code, as browsers do (threats S14).
func (b *browser) visit(address string, header ...string) answer {
	b.t.Helper()
	header = append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, header...)
	return b.followRefused(address, b.send("GET", address, header...), header)
}

// stateOf takes the state out of a redirect to DingTalk.
func (b *browser) stateOf(a answer) string {
	b.t.Helper()
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil || u.Host != "login.ding.test" || a.StatusCode != http.StatusFound {
		b.t.Fatalf("answer %d to %q, want 302 to DingTalk", a.StatusCode, a.Header.Get("Location"))
	}
	return u.Query().Get("state")
}

// back returns from DingTalk with a code and a state.
func (b *browser) back(code, state string, header ...string) answer {
	b.t.Helper()
	return b.visit("/oauth2/callback?authCode="+code+"&state="+state, header...)
}

// signIn goes the whole way and returns the final answer.
func (b *browser) signIn(who string) answer {
	b.t.Helper()
	a := b.back(who, b.stateOf(b.visit("/oauth2/start")))
	if a.StatusCode != http.StatusFound || b.session() == "" {
		b.t.Fatalf("sign-in of %s = %d %s, want 302 and a session", who, a.StatusCode, a.text)
	}
	return a
}

func (b *browser) cookies() []*http.Cookie {
	return b.jar.Cookies(must(url.Parse(b.Origins.Public())))
}

// session is the session cookie, "" when there is none.
func (b *browser) session() string {
	for _, c := range b.cookies() {
		if c.Name == b.Sessions.CookieName() {
			return c.Value
		}
	}
	return ""
}

func (b *browser) attempts() (list []*http.Cookie) {
	for _, c := range b.cookies() {
		if strings.Contains(c.Name, "-attempt-") {
			list = append(list, c)
		}
	}
	return list
}

func (b *browser) plant(name, value string) {
	b.jar.SetCookies(must(url.Parse(b.Origins.Public())), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// refused checks that an answer is a refusal by its code, that nobody is
// signed in and that DingTalk was called as often as told.
func (b *browser) refused(what string, a answer, status int, code string, calls int32) {
	b.t.Helper()
	b.mu.Lock()
	err := b.last
	b.mu.Unlock()
	got := ""
	if e, ok := errors.AsType[*web.Error](err); ok {
		got = e.Code
	}
	if a.StatusCode != status || got != code {
		b.t.Errorf("%s = %d %s (%v), want %d %s", what, a.StatusCode, got, err, status, code)
	}
	if b.session() != "" {
		b.t.Errorf("%s left a session", what)
	}
	if n := b.provider.calls.Load(); n != calls {
		b.t.Errorf("%s: %d exchanges, want %d", what, n, calls)
	}
}

// cookieLine finds the Set-Cookie line of a name.
func (a answer) cookieLine(name string) string {
	for _, line := range a.Header["Set-Cookie"] {
		if strings.HasPrefix(line, name+"=") {
			return line
		}
	}
	return ""
}
