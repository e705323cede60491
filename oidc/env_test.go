package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/oidc/keys"
	"dinggate/proxy/access"
	"dinggate/store"
	"dinggate/store/grant"
)

// memory is a store in this test; faults may be let into it.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	ends map[string]time.Time
	bad  func(op string) error
	now  func() time.Time
}

func (m *memory) do(op, key string, f func(value []byte, found bool) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad != nil {
		if err := m.bad(op); err != nil {
			return err
		}
	}
	if end, ok := m.ends[key]; ok && !m.now().Before(end) {
		delete(m.all, key)
	}
	value, found := m.all[key]
	return f(value, found)
}

func (m *memory) set(key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 || len(value) > 64<<10 {
		return errors.New("no time to live, or too long")
	}
	m.all[key], m.ends[key] = bytes.Clone(value), m.now().Add(ttl)
	return nil
}

func (m *memory) Get(_ context.Context, key string) (value []byte, err error) {
	err = m.do("get", key, func(v []byte, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

func (m *memory) Add(_ context.Context, key string, value []byte, ttl time.Duration) error {
	return m.do("add", key, func(_ []byte, found bool) error {
		if found {
			return store.ErrExists
		}
		return m.set(key, value, ttl)
	})
}

func (m *memory) Swap(_ context.Context, key string, old, new []byte, ttl time.Duration) error {
	return m.do("swap", key, func(v []byte, found bool) error {
		switch {
		case !found:
			return store.ErrNotFound
		case !bytes.Equal(v, old):
			return store.ErrExists
		}
		return m.set(key, new, ttl)
	})
}

func (m *memory) Take(_ context.Context, key string) (value []byte, err error) {
	err = m.do("take", key, func(v []byte, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		value = v
		delete(m.all, key)
		return nil
	})
	return value, err
}

// plainSealer binds records to their names and hides nothing.
type plainSealer struct{}

func (plainSealer) SealRecord(name string, plain []byte) ([]byte, error) {
	return append([]byte(name+"\x00"), plain...), nil
}

func (plainSealer) OpenRecord(name string, box []byte) ([]byte, bool, error) {
	plain, ok := bytes.CutPrefix(box, []byte(name+"\x00"))
	if !ok {
		return nil, false, errors.New("another name")
	}
	return plain, false, nil
}

// env is a provider behind a real server, with people who sign in by a cookie.
type env struct {
	*Provider
	t      testing.TB
	url    string
	store  *memory
	offset time.Duration // of the clock

	virtual bool // there is no network

	mu        sync.Mutex
	sessions  map[string]Login // cookie → session
	ended     map[string]bool  // sessions
	left      map[string]bool  // unionIds
	away      bool             // nobody's membership can be confirmed
	facts     map[string]identity.User
	signIns   []string // targets of sign-ins
	events    []Event
	delivered []string // logout tokens
	errs      []error
	revoked   []string
	n         int
}

var zhangsan = identity.User{UnionID: "U1", UserID: "zs", Username: "zhangsan", Name: "张三", Email: "zhangsan@corp.test", OrgEmail: true, Departments: []int64{42}, Ancestors: []int64{42, 2, 1},
	Roles: []identity.Role{{ID: 1, Name: "主管"}, {ID: 2, Name: "ops"}}}

const callback = "https://app.test/callback"

func testClients() []ClientConfig {
	secret := conf.NewSecret("a-secret-of-the-application")
	return []ClientConfig{
		{ClientID: "app", ClientSecret: secret, RedirectURIs: []string{callback, callback + "?x=1"}, PostLogoutRedirectURIs: []string{"https://app.test/bye"}, BackchannelLogoutURI: "https://app.test/logout",
			Groups: []string{GroupRoles, GroupDepartments}},
		{ClientID: "other", ClientSecret: conf.NewSecret("another-secret-of-another"), RedirectURIs: []string{"https://other.test/cb"}, BackchannelLogoutURI: "https://other.test/logout", SigningAlg: keys.ES256},
		{ClientID: "spa", RedirectURIs: []string{"https://spa.test/", "http://127.0.0.1/cb", "http://localhost:8000/cb", "com.example.app:/cb"}},
		{ClientID: "strict", ClientSecret: secret, RedirectURIs: []string{"https://strict.test/cb"}, PKCE: PKCERequired, Consent: true},
		{ClientID: "few", ClientSecret: secret, RedirectURIs: []string{"https://few.test/cb"}, Access: &access.RuleConfig{Users: []string{"lisi"}}, BackchannelLogoutURI: "https://few.test/logout"},
	}
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := emptyEnv(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r) }))
	server.Start()
	t.Cleanup(server.Close)
	e.url = server.URL
	e.Provider = e.provider(testClients())
	return e
}

func emptyEnv(t testing.TB) *env {
	e := &env{t: t, sessions: map[string]Login{}, ended: map[string]bool{}, left: map[string]bool{}, facts: map[string]identity.User{}}
	e.store = &memory{all: map[string][]byte{}, ends: map[string]time.Time{}, now: e.clock}
	return e
}

// RoundTrip answers without a network, which virtual time does not wait for.
func (e *env) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	e.serve(w, r)
	return w.Result(), nil
}

var fixedKeys = sync.OnceValue(func() *keys.Set {
	var record keys.Record
	k := &keys.Keeper{Read: func(context.Context) (keys.Record, []byte, error) { return record, nil, nil },
		Write: func(_ context.Context, r keys.Record, _ []byte) (bool, error) { record = r; return true, nil }}
	set, err := k.Set(context.Background())
	if err != nil {
		panic(err)
	}
	return set
})

func (e *env) provider(list []ClientConfig) *Provider {
	e.t.Helper()
	config := Defaults()
	config.Clients = list
	var problems conf.Problems
	config.Check(&problems, "oidc")
	if problems.Mistakes() > 0 {
		e.t.Fatalf("the test's configuration: %v", problems.All())
	}
	grants, err := grant.New("oidc", e.store, [][]byte{bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		e.t.Fatal(err)
	}
	grants.Now, grants.Tolerance = e.clock, 10*time.Second
	pages, err := page.New(page.Config{PublicURL: e.url, Prefix: "/oauth2"})
	if err != nil {
		e.t.Fatal(err)
	}
	p := &Provider{Config: config, Issuer: e.url, Realm: "corp", Store: e.store, Pending: e.store, Sealer: plainSealer{}, Grants: grants, Keys: &keys.Keeper{Fixed: fixedKeys()}, Pages: pages,
		Ours: func(origin string) bool { return origin == e.url }, Now: e.clock,
		Browser: Browser{Current: e.current, SignIn: e.signIn, SignOut: e.signOut},
		People:  People{Member: e.member, Revoke: e.revoke},
		Audit: func(event Event) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, event)
			return nil
		},
		Report: func(err error) { e.mu.Lock(); defer e.mu.Unlock(); e.errs = append(e.errs, err) },
		Deliver: func(_ context.Context, uri, token string) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.delivered = append(e.delivered, uri+" "+token)
			return nil
		},
	}
	if err := p.Check(); err != nil {
		e.t.Fatal(err)
	}
	return p
}

func (e *env) clock() time.Time { return time.Now().Add(e.offset) }

func (e *env) serve(w http.ResponseWriter, r *http.Request) {
	h := e.Handlers()[r.URL.Path]
	if h == nil {
		http.NotFound(w, r)
		return
	}
	if err := h(w, r); err != nil {
		e.mu.Lock()
		e.errs = append(e.errs, err)
		e.mu.Unlock()
		e.Pages.Answer(w, r, err)
	}
}

func (e *env) current(r *http.Request) (Login, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, err := r.Cookie("s"); err == nil {
		if in, ok := e.sessions[c.Value]; ok && !e.ended[in.Session] && !e.left[in.User.UnionID] && e.clock().Before(in.Ends) {
			return in, nil
		}
	}
	return Login{}, ErrNobody
}

func (e *env) signIn(w http.ResponseWriter, _ *http.Request, target string) error {
	e.mu.Lock()
	e.signIns = append(e.signIns, target)
	e.mu.Unlock()
	sendTo(w, http.StatusFound, "https://login.dingtalk.test/?back="+url.QueryEscape(target))
	return nil
}

func (e *env) signOut(w http.ResponseWriter, r *http.Request) error {
	in, err := e.current(r)
	if err != nil {
		return nil
	}
	return e.revoke(r.Context(), in.Session)
}

func (e *env) revoke(_ context.Context, session string) error {
	e.mu.Lock()
	e.ended[session] = true
	e.revoked = append(e.revoked, session)
	e.mu.Unlock()
	e.Ended(End{Session: session})
	return nil
}

func (e *env) member(_ context.Context, l Login, beyond bool) (identity.User, time.Time, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.away:
		return identity.User{}, time.Time{}, errors.New("DingTalk is away")
	case e.left[l.User.UnionID], l.Session != "" && e.ended[l.Session], l.Session != "" && !beyond && !e.clock().Before(l.Ends):
		return identity.User{}, time.Time{}, ErrNobody
	}
	if u, ok := e.facts[l.User.UnionID]; ok {
		return u, e.clock(), nil
	}
	return l.User, l.Checked, nil
}

// login begins a session and gives its cookie.
func (e *env) login(u identity.User) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	id := fmt.Sprintf("session-%d", e.n)
	now := e.clock()
	e.sessions[id] = Login{Session: id, User: u, SignedIn: now, Checked: now, Ends: now.Add(24 * time.Hour)}
	return id
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) location(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// browser sends what a browser would.
func (e *env) browser(method, path, cookie, body string, headers ...string) answer {
	e.t.Helper()
	headers = append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Accept-Language", "en"}, headers...)
	if cookie != "" {
		headers = append(headers, "Cookie", "s="+cookie)
	}
	return e.call(method, path, body, headers...)
}

func (e *env) call(method, path, body string, headers ...string) answer {
	e.t.Helper()
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := *direct
	if e.virtual {
		client.Transport = e
	}
	res, err := client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}
}

// ask is an authorization request of client app.
func ask(change ...string) string {
	v := url.Values{"client_id": {"app"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile email groups offline_access"}, "state": {"S&t=1 ä"}, "nonce": {"N"}}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

// code signs somebody in to an application and gives the code.
func (e *env) code(cookie string, change ...string) string {
	e.t.Helper()
	a := e.browser("GET", PathAuthorize+"?"+ask(change...), cookie, "")
	code := a.location(e.t).Query().Get("code")
	if code == "" {
		e.t.Fatalf("no code: %d %s %s %v", a.status, a.header.Get("Location"), a.body, e.errs)
	}
	return code
}

const appSecret = "a-secret-of-the-application"

func redemption(code string, change ...string) string {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

// tokens calls the token endpoint as an application.
func (e *env) tokens(body, id, secret string) (answer, map[string]any) {
	e.t.Helper()
	req, _ := http.NewRequest("POST", "http://x", nil)
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	a := e.call("POST", PathToken, body, "Authorization", req.Header.Get("Authorization"))
	return a, object(e.t, a)
}

func object(t testing.TB, a answer) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d is no JSON: %s", a.status, a.body)
	}
	return v
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fields reads the hidden fields of a page.
func fields(body string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[2]))
	}
	return v
}

// settle has the background done with what came in, and gives the addresses of the
// applications that were told of a logout.
func (e *env) settle() (uris []string) {
	e.t.Helper()
	e.Provider.people().endings(e.t.Context())
	e.Provider.logouts.drain()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.delivered {
		uri, _, _ := strings.Cut(l, " ")
		uris = append(uris, uri)
	}
	slices.Sort(uris)
	return uris
}
