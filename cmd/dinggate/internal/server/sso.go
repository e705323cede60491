package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/session"
)

var (
	_ login.Provider = judgedClient{}
	_ sso.Codes      = session.Store(nil)
)

// ssoPurpose seals the purpose of a sign-in that a third party asked for.
const ssoPurpose = "sso"

// ssoDoor is what the SSO service needs of the other packages.
type ssoDoor struct {
	cfg      *config.Config
	flow     *login.Flow
	sessions *session.Manager
}

// newSSOServer wires the service's half of the contract.
func newSSOServer(cfg *config.Config, flow *login.Flow, sessions *session.Manager, codes session.Store, counts *sso.Counts, t Observability) (*sso.Server, error) {
	keys, err := flow.Keyring.Derive("sso")
	if err != nil {
		return nil, err
	}
	d := &ssoDoor{cfg, flow, sessions}
	s := &sso.Server{Config: cfg.SSOServer, PublicURL: flow.Origins.Public(), Keys: keys, Codes: codes, None: session.ErrNone, Exists: session.ErrExists,
		WhoIs: d.whoIs, SignIn: d.signIn, Finish: d.finish, Recall: d.recall, Audit: t.auditSSO, Counts: counts}
	return s, s.Check()
}

// whoIs finds the session of a browser, and the cookie it is recalled by.
func (d *ssoDoor) whoIs(r *http.Request) (sso.Person, error) {
	s, err := d.flow.CurrentSession(r)
	if err != nil {
		return sso.Person{}, ssoTrouble(err)
	}
	texts := web.CookieValues(r.Header, d.flow.Sessions.CookieName())
	for _, text := range texts { // of several exactly one verifies, else there is no session
		if one, err := d.sessions.Load(r.Context(), []string{text}, 0); err == nil && one.ID == s.ID {
			return d.person(s, text), nil
		}
	}
	return sso.Person{}, sso.ErrNobody
}

func (d *ssoDoor) person(s *session.Session, text string) sso.Person {
	return sso.Person{User: s.User, Ref: text, Until: s.SignedIn.Add(d.cfg.Session.Lifetime)}
}

// signIn sends somebody without a session to sign in. With a page of ours
// before it, which may offer more than one way, the browser comes back to
// authorize; else straight to the SSO callback.
func (d *ssoDoor) signIn(w http.ResponseWriter, r *http.Request, redirectURI, target string) error {
	_, public, _ := strings.Cut(d.flow.Origins.Public(), "://")
	if x := web.From(w); web.HostName(x.Host) != web.HostName(public) && d.flow.Origins.HasHost(x.Host) {
		// Begun on another host of ours, the attempt's cookie would not be there when
		// the browser comes back (threats S17).
		web.SecurityHeaders(w, "")
		w.Header()["Location"] = []string{d.flow.Origins.Public() + sso.PathAuthorize + "?" + r.URL.RawQuery}
		w.WriteHeader(http.StatusFound)
		return nil
	}
	if d.flow.PageBefore(r) && web.IsPageLoad(r.Method, r.Header) {
		if page, ok := d.flow.Origins.Return(r.RequestURI); ok {
			return d.flow.RequireSignIn(w, r, page)
		}
	}
	return d.flow.RedirectToProvider(w, r, login.Purpose{Kind: ssoPurpose, RedirectURI: redirectURI, Target: target})
}

func (d *ssoDoor) finish(w http.ResponseWriter, r *http.Request, judge func(string) error) (sso.Person, string, error) {
	s, cookie, target, err := d.flow.Complete(w, r, ssoPurpose, judge)
	if err != nil {
		return sso.Person{}, target, err
	}
	return d.person(s, cookie.Value), target, nil
}

// recall looks a session up again: signed out, left, too old is nobody; an ill
// store, or DingTalk away for longer than the grace, is trouble.
func (d *ssoDoor) recall(ctx context.Context, ref string) (sso.Person, error) {
	s, err := d.sessions.Load(ctx, []string{ref}, gatePatience)
	if err != nil {
		return sso.Person{}, ssoTrouble(err)
	}
	return d.person(s, ref), nil
}

func ssoTrouble(err error) error {
	switch {
	case errors.Is(err, session.ErrNone), errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrRevoked), errors.Is(err, session.ErrForged):
		return sso.ErrNobody
	case errors.Is(err, session.ErrUnconfirmed):
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "unconfirmed", RetryAfter: ssoRetryAfter, Err: err}
	}
	return &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: ssoRetryAfter, Err: err}
}

const ssoRetryAfter = gatePatience * 5

// unkept says that the service's tokens are too long for a cookie, once a minute:
// the sign-in then lasts no longer than the access token, or until the first
// recheck. With DingTalk nothing hangs on the token.
func (t Observability) unkept(cfg *config.Config) func(*session.Session) {
	if !cfg.SSO.On() {
		return nil
	}
	tell := oncePerMinute(func(err error) {
		t.Log.Error("the SSO service's tokens do not fit into the cookie", "err", err.Error(), "hint", "session.store: redis keeps tokens of any length")
	})
	return func(s *session.Session) {
		ends := "with the access token: there is no room for the refresh token"
		if s.Token.Access == "" {
			ends = "at its first recheck: there is no room for the access token"
		}
		tell(errors.New("a sign-in ends " + ends))
	}
}

// callSSO counts one call to the SSO service and logs one that went wrong.
func (t Observability) callSSO(ctx context.Context, c sso.Call) {
	t.Tracing.Called(ctx, "sso", c.Name, c.Result, "", c.Duration)
	t.Metrics.DingTalk(c.Name, c.Result, "", c.Duration)
	t.Health.Call(c.Name, c.Result, "", c.Err == nil || c.Result == "refused", time.Now())
	if c.Err != nil {
		t.Log.Warn("call to the SSO service", "call", c.Name, "result", c.Result, "ms", c.Duration.Milliseconds(), "err", c.Err.Error())
	}
}

// provider is where people sign in: DingTalk, or an SSO service.
type provider struct {
	login.Provider
	attemptIn string
	recheck   func(context.Context, *session.Session) (identity.User, error)
	refresh   func(context.Context, string) (identity.Token, error) // nil: tokens are left to expire
	Close     func()
	Ids       *unionIDs // nil: DingTalk's are each person's own
}

func newProvider(cfg *config.Config, stores *Stores, l State, t Observability) provider {
	if cfg.SSO.On() {
		c := judgedClient{&sso.Client{Config: cfg.SSO, Observe: t.callSSO}, newUnionIDs(cfg, stores, t)}
		return provider{c, sso.AttemptParameter, c.recheck, c.Refresh, c.CloseIdleConnections, c.ids}
	}
	directory := &dingtalk.Directory{Client: l.Client, Username: cfg.DingTalk.Username, Ancestors: cfg.NamesDepartments()}
	return provider{&dingtalk.WebLogin{Client: l.Client, Directory: directory}, "", recheck(cfg, l), nil, l.Client.CloseIdleConnections, nil}
}
