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

// ssoPurpose seals the purpose of a sign-in that a third party requested.
const ssoPurpose = "sso"

// ssoAdapter connects the SSO service with the other packages.
type ssoAdapter struct {
	cfg      *config.Config
	flow     *login.Flow
	sessions *session.Manager
}

// newSSOServer wires the service's side of the contract; nil if it is off.
func newSSOServer(c settings, flow *login.Flow, sessions *session.Manager, st *State) (*sso.Server, error) {
	cfg := c.Config
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
	s.Issued = newIssued(c, st).note
	return s, s.Check()
}

// whoIs finds the session of a browser and its cookie, by which Recall finds it.
func (a *ssoAdapter) whoIs(r *http.Request) (sso.Person, error) {
	s, err := a.flow.CurrentSession(r)
	if err != nil {
		return sso.Person{}, ssoError(err)
	}
	texts := web.CookieValues(r.Header, a.flow.Sessions.CookieName())
	for _, text := range texts { // exactly one must verify, otherwise there is no session
		if one, err := a.sessions.Load(r.Context(), []string{text}, 0); err == nil && one.ID == s.ID {
			return a.person(s, text), nil
		}
	}
	return sso.Person{}, sso.ErrNobody
}

func (a *ssoAdapter) person(s *session.Session, text string) sso.Person {
	return sso.Person{User: s.User, Ref: text, Until: s.SignedIn.Add(a.cfg.Session.Lifetime), Session: s.ID}
}

// signIn makes a browser without a session sign in. If one of our pages, which may offer
// several methods, is shown first, the browser returns to authorize, otherwise directly
// to the SSO callback.
func (a *ssoAdapter) signIn(w http.ResponseWriter, r *http.Request, redirectURI, target string) error {
	if x := web.From(w); !a.flow.Origins.OnPublic(x.Host) && a.flow.Origins.HasHost(x.Host) {
		// If the sign-in began on another of our hosts, the attempt's cookie would be missing
		// when the browser returns (threats S17).
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

// recall looks a session up: ErrNobody if it is signed out, revoked or expired, another
// error if the store fails or DingTalk is unavailable for longer than the grace period.
func (a *ssoAdapter) recall(ctx context.Context, ref string) (sso.Person, error) {
	s, err := a.sessions.Load(ctx, []string{ref}, gatewayMaxWait)
	if err != nil {
		return sso.Person{}, ssoError(err)
	}
	return a.person(s, ref), nil
}

func ssoError(err error) error { return providerError(err, sso.ErrNobody) }

// providerError converts the error of a session lookup for a service that signs people in
// to other applications: ErrNobody if there is no session.
func providerError(err, none error) error {
	if session.Absent(err) {
		return none
	}
	return web.Unavailable(err, errors.Is(err, session.ErrUnconfirmed), ssoRetryAfter)
}

const ssoRetryAfter = gatewayMaxWait * 5

// tokenTruncated logs, once a minute, that the service's tokens are too long for a
// cookie: the session then ends with the access token or at the first recheck. With
// DingTalk no session depends on a token.
func (t Observability) tokenTruncated(cfg *config.Config) func(*session.Session) {
	if !cfg.SSO.On() {
		return nil
	}
	report := oncePerMinute(func(err error) {
		t.Log.Error("the SSO service's tokens are too long for the cookie", "err", err.Error(),
			"hint", "session.store: redis stores tokens of any length")
	})
	return func(s *session.Session) {
		ends := "with the access token: the refresh token does not fit"
		if s.Token.Access == "" {
			ends = "at its first recheck: the access token does not fit"
		}
		report(errors.New("a sign-in ends " + ends))
	}
}

// callSSO counts one call to the SSO service and logs a failed one.
func (t Observability) callSSO(ctx context.Context, c sso.Call) {
	t.Tracing.Called(ctx, "sso", c.Name, c.Result, "", c.Duration)
	t.Metrics.DingTalk(c.Name, c.Result, "", c.Duration)
	t.Health.Call(c.Name, c.Result, "", c.Err == nil || c.Result == "refused", time.Now())
	if c.Err != nil {
		t.Log.Warn("call to the SSO service", "call", c.Name, "result", c.Result, "ms", c.Duration.Milliseconds(),
			"err", c.Err.Error())
	}
}
