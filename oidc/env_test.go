package oidc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	"dinggate/store/grant"
	"dinggate/store/storetest"
)

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
	away      bool             // no membership can be confirmed
	facts     map[string]identity.User
	signIns   []string // targets of sign-ins
	events    []Event
	delivered []string // logout tokens
	errs      []error
	revoked   []string
	n         int
}

var zhangsan = identity.User{
	UnionID:     "U1",
	UserID:      "zs",
	Username:    "zhangsan",
	Name:        "张三",
	Email:       "zhangsan@corp.test",
	OrgEmail:    true,
	Departments: []int64{42},
	Ancestors:   []int64{42, 2, 1},
	Roles:       []identity.Role{{ID: 1, Name: "主管"}, {ID: 2, Name: "ops"}},
}

const callback = "https://app.test/callback"

func testClients() []ClientConfig {
	secret := conf.NewSecret("a-secret-of-the-application")
	return []ClientConfig{
		{
			ClientID:               "app",
			ClientSecret:           secret,
			RedirectURIs:           []string{callback, callback + "?x=1"},
			PostLogoutRedirectURIs: []string{"https://app.test/bye"},
			BackchannelLogoutURI:   "https://app.test/logout",
			Groups:                 []string{GroupRoles, GroupDepartments},
		},
		{
			ClientID:             "other",
			ClientSecret:         conf.NewSecret("another-secret-of-another"),
			RedirectURIs:         []string{"https://other.test/cb"},
			BackchannelLogoutURI: "https://other.test/logout",
			SigningAlg:           keys.ES256,
		},
		{
			ClientID: "spa",
			RedirectURIs: []string{
				"https://spa.test/",
				"http://127.0.0.1/cb",
				"http://localhost:8000/cb",
				"com.example.app:/cb",
			},
		},
		{
			ClientID:     "strict",
			ClientSecret: secret,
			RedirectURIs: []string{"https://strict.test/cb"},
			PKCE:         PKCERequired,
			Consent:      true,
		},
		{
			ClientID:             "few",
			ClientSecret:         secret,
			RedirectURIs:         []string{"https://few.test/cb"},
			Access:               &access.RuleConfig{Users: []string{"lisi"}},
			BackchannelLogoutURI: "https://few.test/logout",
		},
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
	e := &env{
		t:        t,
		sessions: map[string]Login{},
		ended:    map[string]bool{},
		left:     map[string]bool{},
		facts:    map[string]identity.User{},
	}
	e.store = &memory{all: map[string][]byte{}, ends: map[string]time.Time{}, now: e.clock}
	return e
}

// RoundTrip answers without a network, since virtual time does not advance during I/O.
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
	p := &Provider{
		Config:  config,
		Issuer:  e.url,
		Realm:   "corp",
		Store:   e.store,
		Pending: e.store,
		Sealer:  storetest.PlainSealer{},
		Grants:  grants,
		Keys:    &keys.Keeper{Fixed: fixedKeys()},
		Pages:   pages,
		Ours:    func(origin string) bool { return origin == e.url },
		Now:     e.clock,
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
		if in, ok := e.sessions[c.Value]; ok && !e.ended[in.Session] && !e.left[in.User.UnionID] &&
			e.clock().Before(in.Ends) {
			return in, nil
		}
	}
	return Login{}, ErrSignedOut
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
	case e.left[l.User.UnionID], l.Session != "" && e.ended[l.Session], l.Session != "" && !beyond &&
		!e.clock().Before(l.Ends):
		return identity.User{}, time.Time{}, ErrSignedOut
	}
	if u, ok := e.facts[l.User.UnionID]; ok {
		return u, e.clock(), nil
	}
	return l.User, l.Checked, nil
}

// login begins a session and returns its cookie.
func (e *env) login(u identity.User) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	id := fmt.Sprintf("session-%d", e.n)
	now := e.clock()
	e.sessions[id] = Login{Session: id, User: u, SignedIn: now, Checked: now, Ends: now.Add(24 * time.Hour)}
	return id
}

// settle runs the background work that is due, and returns the URIs of the notified applications.
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
