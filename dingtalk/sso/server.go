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

// ErrNobody means that no sign-in belongs to a request or a reference. Any other
// error means that the state is unknown.
var ErrNobody = errors.New("sso: nobody is signed in")

// Person is a person who is signed in here.
type Person struct {
	User  identity.User
	Ref   string    // finds the sign-in again, see Recall; a secret, stored sealed
	Until time.Time // the end of the sign-in; nothing issued for it lives longer

	Session string // identifies the sign-in in lists; it grants nothing
}

// Server is the service's side of the contract: four handlers. All fields up to and
// including Recall are required (Check reports missing ones). Set them before you
// share the pointer; then it is safe for concurrent use.
type Server struct {
	Config    ServerConfig
	PublicURL string   // scheme and host of the service
	Keys      [][]byte // at least 32 random bytes each: the first one seals, all of them open

	Codes grant.Store // codes and tokens issued; shared by all replicas

	// WhoIs returns the person who is signed in in this browser, or ErrNobody.
	WhoIs func(r *http.Request) (Person, error)

	// SignIn starts a sign-in that ends at redirectURI, where Finish gets target back.
	// It answers the request or returns an error.
	SignIn func(w http.ResponseWriter, r *http.Request, redirectURI, target string) error

	// Finish completes it, in the same browser only, and signs the person in here too.
	// judge is called with the target before any call to DingTalk. The target is also
	// returned with an error, once it is known.
	Finish func(w http.ResponseWriter, r *http.Request, judge func(target string) error) (Person, string, error)

	// Recall looks a sign-in up by Person.Ref and returns current data. ErrNobody means
	// that it ended: signed out, left the organisation, or expired.
	Recall func(ctx context.Context, ref string) (Person, error)

	// Issued is called for every family of tokens issued for a code, to list what a
	// person's clients hold. If nil, it is not called.
	Issued func(ctx context.Context, i Issued)

	// Audit is called for every issued code or token and for rejected attempts. If it
	// returns an error for a code or a token, that is not issued; other errors are
	// ignored. If nil, it is not called.
	Audit func(Event) error

	Now func() time.Time // nil: time.Now

	// Counts carries the counts over from the previous Server; nil: start at zero.
	Counts *Counts

	once   sync.Once
	ended  atomic.Uint64
	apps   apps
	grants *grant.Issuer
	own    Counts
	err    error
}

// Counts counts wrong secrets and issued codes. It outlives a Server: otherwise
// each reload of the configuration would reset the limits. The zero value is ready
// to use. It is safe for concurrent use.
type Counts struct {
	wrong clientauth.Guesses
	codes ratelimit.Keyed[string] // issued, by Person.Ref
}

func (s *Server) counts() *Counts {
	if s.Counts != nil {
		return s.Counts
	}
	return &s.own
}

// codesLimit is how many codes one sign-in may obtain.
var codesLimit = ratelimit.Rate{Every: time.Second, Burst: 120}

// Event is one line of the audit log. It contains no code, state, token or secret.
type Event struct {
	// code, token, refresh; for refusals code_reused, code_of_another_client, refresh_reused,
	// refresh_of_another_client, wrong_secret
	What      string
	App       string // a registered client id, "" if it is not registered
	Owner     string // the client that a code or a token was issued to, if App is another
	User      string // username, "" if unknown
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

// Check reports missing required fields.
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

// Handlers returns the endpoints of the contract by path.
func (s *Server) Handlers() map[string]web.HandlerFunc {
	s.ready()
	return map[string]web.HandlerFunc{
		PathAuthorize: s.Authorize,
		PathCallback:  s.Callback,
		PathToken:     s.Token,
		PathUserinfo:  s.Userinfo,
	}
}

// authRequest is a third party's request at authorize. It is sealed into the attempt
// (see SignIn), so that nothing in the callback's URL is trusted.
type authRequest struct{ client, redirect, state string }

// maxAuthRequest bounds its size, since it is stored in a cookie.
const maxAuthRequest = 1300

// target returns the path that repeats the request: where a failed sign-in starts
// again.
func (o authRequest) target() string {
	return PathAuthorize + "?client_id=" + url.QueryEscape(o.client) + "&redirect_url=" +
		url.QueryEscape(o.redirect) + "&state=" + url.QueryEscape(o.state)
}

func parseTarget(target string) (authRequest, bool) {
	raw, ok := strings.CutPrefix(target, PathAuthorize+"?")
	q, err := query(raw, "client_id", "redirect_url", "state")
	return authRequest{q["client_id"], q["redirect_url"], q["state"]}, ok && err == nil
}

// query returns the named parameters of a raw query. A repeated parameter is an
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
				return nil, errors.New("sso: " + known + " is repeated or unreadable")
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
