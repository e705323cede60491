package login

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
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
	"dinggate/store/storetest"
)

// provider is a DingTalk that knows every person that a code names.
type provider struct {
	calls atomic.Int32

	mu      sync.Mutex
	fail    error         // the error of Exchange, if set
	release chan struct{} // if set, Exchange waits for it
}

func (p *provider) AuthURL(redirectURI, state string) string {
	return "https://login.ding.test/oauth2/auth?" + url.Values{"redirect_uri": {redirectURI}, "state": {state}, "client_id": {"ding-app"}}.Encode()
}

func (p *provider) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	p.calls.Add(1)
	p.mu.Lock()
	fail, release := p.fail, p.release
	p.mu.Unlock()
	if release != nil {
		select {
		case <-release:
		case <-ctx.Done():
			return identity.User{}, identity.Token{}, ctx.Err()
		}
	}
	if fail != nil {
		return identity.User{}, identity.Token{}, fail
	}
	if code == "nameless" {
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

// env is a whole installation: https://app.test, with a protected page on every path that is
// not one of its own.
type env struct {
	*Flow
	t        testing.TB
	provider *provider
	store    *storetest.Faulty
	server   *httptest.Server
	ahead    atomic.Int64 // of the clock
	find     Authenticate // finds the session of an API client; if nil, there are none

	mu     sync.Mutex
	events []Event
	last   error // the error of the last refusal, for the operator
}

type plan struct {
	public  string // public_url; "" is https://app.test
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
	h := &env{t: t, provider: &provider{}, store: storetest.NewFaulty()}
	https := strings.HasPrefix(p.public, "https:")
	keyring := must(keyring.New([]conf.Secret{secret(1)}))
	cfg := session.Defaults()
	cfg.Store = session.StoreRedis // the store is read each time, so that its failure has an effect
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

// next replaces the proxy: every path that is not ours requires a session.
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
		return OwnSessions(h.Flow, nil)(w, r)
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
