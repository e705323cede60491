package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/session"
)

var _ login.Provider = judgedClient{}

// ssoPurpose seals the purpose of a sign-in that a third party asked for.
const ssoPurpose = "sso"

// ssoAdapter gives the SSO service what it needs of the other packages.
type ssoAdapter struct {
	cfg      *config.Config
	flow     *login.Flow
	sessions *session.Manager
}

// newSSOServer wires the service's half of the contract; nil when it is off.
func newSSOServer(cfg *config.Config, flow *login.Flow, sessions *session.Manager, st *State) (*sso.Server, error) {
	if !cfg.SSOServer.On() {
		return nil, nil
	}
	keys, err := flow.Keyring.Derive("sso")
	if err != nil {
		return nil, err
	}
	a := &ssoAdapter{cfg, flow, sessions}
	s := &sso.Server{
		Config:    cfg.SSOServer,
		PublicURL: flow.Origins.Public(),
		Keys:      keys,
		Codes:     st.Stores.SSO,
		WhoIs:     a.whoIs,
		SignIn:    a.signIn,
		Finish:    a.finish,
		Recall:    a.recall,
		Audit:     st.auditSSO,
		Counts:    &st.ssoCounts,
	}
	return s, s.Check()
}

// whoIs finds the session of a browser, and the cookie it is recalled by.
func (a *ssoAdapter) whoIs(r *http.Request) (sso.Person, error) {
	s, err := a.flow.CurrentSession(r)
	if err != nil {
		return sso.Person{}, ssoError(err)
	}
	texts := web.CookieValues(r.Header, a.flow.Sessions.CookieName())
	for _, text := range texts { // of several exactly one verifies, otherwise there is no session
		if one, err := a.sessions.Load(r.Context(), []string{text}, 0); err == nil && one.ID == s.ID {
			return a.person(s, text), nil
		}
	}
	return sso.Person{}, sso.ErrNobody
}

func (a *ssoAdapter) person(s *session.Session, text string) sso.Person {
	return sso.Person{User: s.User, Ref: text, Until: s.SignedIn.Add(a.cfg.Session.Lifetime)}
}

// signIn sends a browser without a session to sign in. With one of our pages
// before it, which may offer more than one way, the browser comes back to
// authorize; otherwise straight to the SSO callback.
func (a *ssoAdapter) signIn(w http.ResponseWriter, r *http.Request, redirectURI, target string) error {
	if x := web.From(w); !a.flow.Origins.OnPublic(x.Host) && a.flow.Origins.HasHost(x.Host) {
		// Begun on another of our hosts, the attempt's cookie would not be there when
		// the browser comes back (threats S17).
		web.SecurityHeaders(w, "")
		w.Header()["Location"] = []string{a.flow.Origins.Public() + sso.PathAuthorize + "?" + r.URL.RawQuery}
		w.WriteHeader(http.StatusFound)
		return nil
	}
	if a.flow.PageBefore(r) && web.IsPageLoad(r.Method, r.Header) {
		if page, ok := a.flow.Origins.Return(r.RequestURI); ok {
			return a.flow.RequireSignIn(w, r, page)
		}
	}
	return a.flow.RedirectToProvider(w, r, login.Purpose{Kind: ssoPurpose, RedirectURI: redirectURI, Target: target})
}

func (a *ssoAdapter) finish(w http.ResponseWriter, r *http.Request,
	judge func(string) error) (sso.Person, string, error) {
	s, cookie, target, err := a.flow.Complete(w, r, ssoPurpose, judge)
	if err != nil {
		return sso.Person{}, target, err
	}
	return a.person(s, cookie.Value), target, nil
}

// recall looks a session up again: one that is signed out, revoked or too old is
// nobody's; a store that fails, or DingTalk away for longer than the grace, is an
// error.
func (a *ssoAdapter) recall(ctx context.Context, ref string) (sso.Person, error) {
	s, err := a.sessions.Load(ctx, []string{ref}, gatewayMaxWait)
	if err != nil {
		return sso.Person{}, ssoError(err)
	}
	return a.person(s, ref), nil
}

func ssoError(err error) error { return providerError(err, sso.ErrNobody) }

// providerError is the error of a session's lookup for a service that signs people
// in to other applications: nobody if there is no session.
func providerError(err, nobody error) error {
	if session.Absent(err) {
		return nobody
	}
	return web.Unavailable(err, errors.Is(err, session.ErrUnconfirmed), ssoRetryAfter)
}

const ssoRetryAfter = gatewayMaxWait * 5

// tokenTruncated reports that the service's tokens are too long for a cookie, once a
// minute: the sign-in then lasts no longer than the access token, or until the
// first recheck. With DingTalk nothing depends on the token.
func (t Observability) tokenTruncated(cfg *config.Config) func(*session.Session) {
	if !cfg.SSO.On() {
		return nil
	}
	report := oncePerMinute(func(err error) {
		t.Log.Error("the SSO service's tokens do not fit into the cookie", "err", err.Error(),
			"hint", "session.store: redis keeps tokens of any length")
	})
	return func(s *session.Session) {
		ends := "with the access token: the refresh token does not fit"
		if s.Token.Access == "" {
			ends = "at its first recheck: the access token does not fit"
		}
		report(errors.New("a sign-in ends " + ends))
	}
}

// callSSO counts one call to the SSO service and logs one that went wrong.
func (t Observability) callSSO(ctx context.Context, c sso.Call) {
	t.Tracing.Called(ctx, "sso", c.Name, c.Result, "", c.Duration)
	t.Metrics.DingTalk(c.Name, c.Result, "", c.Duration)
	t.Health.Call(c.Name, c.Result, "", c.Err == nil || c.Result == "refused", time.Now())
	if c.Err != nil {
		t.Log.Warn("call to the SSO service", "call", c.Name, "result", c.Result, "ms", c.Duration.Milliseconds(),
			"err", c.Err.Error())
	}
}
