package sso

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/clientauth"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

// ErrNobody means that no sign-in belongs to a request or a reference. Any
// other error says that this is unknown now.
var ErrNobody = errors.New("sso: nobody is signed in")

// Person is somebody who is signed in here.
type Person struct {
	User  identity.User
	Ref   string    // what Recall finds the sign-in by again; a secret, kept sealed
	Until time.Time // the end of the sign-in; nothing that came of it lives longer
}

// Server is the service's half of the contract: four handlers. All fields down
// to Recall are required (Check reports what is missing). Set them, then share the pointer; safe
// for concurrent use.
type Server struct {
	Config    ServerConfig
	PublicURL string   // scheme and host of the service
	Keys      [][]byte // at least 32 random bytes each: the first makes tokens, all are accepted

	Codes grant.Store // what was handed out; all replicas share it

	// WhoIs reports who is signed in in this browser; ErrNobody for nobody.
	WhoIs func(r *http.Request) (Person, error)

	// SignIn begins a sign-in that ends at redirectURI, where Finish gets target
	// back. It answers the request or returns an error.
	SignIn func(w http.ResponseWriter, r *http.Request, redirectURI, target string) error

	// Finish ends it, in the same browser only, and signs the person in here too.
	// judge is called with the target before anybody is asked. The target is
	// there with an error too, once it is known.
	Finish func(w http.ResponseWriter, r *http.Request, judge func(target string) error) (Person, string, error)

	// Recall looks a sign-in up again by Person.Ref, with the newest facts.
	// ErrNobody when it is over: signed out, left, too old.
	Recall func(ctx context.Context, ref string) (Person, error)

	// Audit is called with what is given and with who tries what. Its error on a code or a
	// token keeps that back; on anything else it changes nothing. nil: not called.
	Audit func(Event) error

	Now func() time.Time // nil: time.Now

	// Counts goes on counting where another Server was; nil: from nothing.
	Counts *Counts

	once   sync.Once
	ended  atomic.Uint64
	apps   apps
	grants *grant.Issuer
	own    Counts
	err    error
}

// Counts is who guessed at secrets and who got how many codes lately. It
// outlives a Server: were it made anew with the configuration, each reload would
// let them begin again. The zero value is nobody; safe for concurrent use.
type Counts struct {
	wrong clientauth.Guesses
	codes ratelimit.Keyed[string] // handed out, by Person.Ref
}

func (s *Server) counts() *Counts {
	if s.Counts != nil {
		return s.Counts
	}
	return &s.own
}

// codesLimit is how many codes one sign-in may give.
var codesLimit = ratelimit.Rate{Every: time.Second, Burst: 120}

// Event is one line of the audit log. It holds no code, state, token or secret.
type Event struct {
	// code, token, refresh; for refusals code_reused, code_of_another_client, refresh_reused,
	// refresh_of_another_client, wrong_secret
	What      string
	App       string // a registered client id, "" when it is none
	Owner     string // the client that a code or a token was given to, where App is another
	User      string // username, "" when nobody is known
	Client    netip.Addr
	RequestID string
}

// Lifetimes.
const (
	codeLife   = time.Minute
	accessLife = 2 * time.Hour

	storeTimeout  = time.Second
	recallTimeout = 5 * time.Second
	retryAfter    = 5 * time.Second
)

// Check finds what a Server cannot work without.
func (s *Server) Check() error {
	switch {
	case s.Codes == nil || s.WhoIs == nil || s.SignIn == nil || s.Finish == nil || s.Recall == nil:
		return errors.New("sso: checking the server: Codes, WhoIs, SignIn, Finish and Recall are required")
	case !strings.HasPrefix(s.PublicURL, "http") || strings.HasSuffix(s.PublicURL, "/"):
		return errors.New("sso: checking the server: PublicURL is scheme and host")
	}
	s.ready()
	return s.err
}

func (s *Server) ready() {
	s.once.Do(func() {
		s.apps = newApps(s.Config.Clients)
		s.grants, s.err = s.newGrants()
	})
}

// Handlers are the endpoints of the contract by their paths.
func (s *Server) Handlers() map[string]web.HandlerFunc {
	s.ready()
	return map[string]web.HandlerFunc{
		PathAuthorize: s.Authorize,
		PathCallback:  s.Callback,
		PathToken:     s.Token,
		PathUserinfo:  s.Userinfo,
	}
}

// authRequest is what a third party asked for at authorize. It travels sealed with
// the attempt (see SignIn), so that nothing in a callback's address counts.
type authRequest struct{ client, redirect, state string }

// maxAuthRequest bounds one, since it travels in a cookie.
const maxAuthRequest = 1300

// target is the path that repeats it: where a sign-in that went wrong
// begins again.
func (o authRequest) target() string {
	return PathAuthorize + "?client_id=" + url.QueryEscape(o.client) + "&redirect_url=" +
		url.QueryEscape(o.redirect) + "&state=" + url.QueryEscape(o.state)
}

func parseTarget(target string) (authRequest, bool) {
	raw, ok := strings.CutPrefix(target, PathAuthorize+"?")
	q, err := query(raw, "client_id", "redirect_url", "state")
	return authRequest{q["client_id"], q["redirect_url"], q["state"]}, ok && err == nil
}

// query reads the named parameters of a raw query. One of them twice is an
// error, and so is one that does not decode (threats R9, T1).
func query(raw string, names ...string) (map[string]string, error) {
	values := map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		for _, known := range names {
			if name != known {
				continue
			}
			text, err := url.QueryUnescape(value)
			if _, twice := values[name]; twice || err != nil {
				return nil, errors.New("sso: " + known + " is there twice or unreadable")
			}
			values[name] = text
		}
	}
	return values, nil
}

func (s *Server) audit(x *web.Exchange, e Event) error {
	if s.Audit == nil {
		return nil
	}
	e.Client, e.RequestID = x.Client, x.ID
	return s.Audit(e)
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
