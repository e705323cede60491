package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"dinggate/internal/clientauth"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/oidc/keys"
	"dinggate/store/grant"
)

// ErrSignedOut means that a browser has no session, or that a session or a person's membership has
// ended. Any other error means that this is unknown.
var ErrSignedOut = errors.New("oidc: no session")

// Login is a browser's session.
type Login struct {
	Session     string // its id
	User        identity.User
	SignedIn    time.Time
	Silent      bool      // inside the DingTalk client, without a click
	Checked     time.Time // when User was last confirmed
	Ends        time.Time // the end of its lifetime
	Fingerprint uint64    // of a local account's password
}

// Browser is the sign-in of a browser.
type Browser struct {
	// Current returns the session of a request, or ErrSignedOut.
	Current func(r *http.Request) (Login, error)

	// SignIn redirects a page load to sign in, also with a session, and back to target, our own
	// path. It answers the request or returns an error.
	SignIn func(w http.ResponseWriter, r *http.Request, target string) error

	// SignOut ends all sessions of the browser and clears its cookie. The caller writes the
	// answer.
	SignOut func(w http.ResponseWriter, r *http.Request) error
}

// People looks up people who are not necessarily present.
type People struct {
	// Member returns the latest facts about a person who signed in before, and when they were
	// confirmed. beyond: a grant may outlive the session's lifetime, as with offline_access.
	// ErrSignedOut means that the session or the membership has ended; any other error means that
	// this is unknown. It calls DingTalk only in the background.
	Member func(ctx context.Context, l Login, beyond bool) (u identity.User, checked time.Time, err error)

	// Binding returns the unionId that a local account is bound to, or the account that a DingTalk
	// person is bound to; "" if there is none. If nil, there are no bindings.
	Binding func(ctx context.Context, u *identity.User) (string, error)

	// Migrated returns the unionId that a person had before their account was migrated; "" if it
	// was not. If nil, this is never known.
	Migrated func(ctx context.Context, unionID string) (string, error)

	// Revoke ends one session.
	Revoke func(ctx context.Context, session string) error

	// Department looks a department up at DingTalk, or returns ErrNoDepartment. Only sign-ins and
	// visits in the background call it. If nil, departments have no names.
	Department func(ctx context.Context, id int64) (Department, error)
}

// Provider is the OpenID Connect provider. All fields down to People are required (Check reports a
// missing one), except for the funcs of People that may be nil. Set them, then share the pointer;
// safe for concurrent use.
type Provider struct {
	Config  Config
	Issuer  string        // public_url, without a final slash
	Realm   string        // of the organisation: two of them may share one store
	Store   grant.Store   // of grants; shared by all replicas
	Pending grant.Store   // of requests that wait for a sign-in, which unknown clients can fill; may be Store
	Sealer  Sealer        // of records
	Grants  *grant.Issuer // in Store
	Keys    *keys.Keeper
	Pages   *page.Pages
	Ours    func(origin string) bool // of pages that may post our forms
	Browser Browser
	People  People

	// Audit receives one event per sign-in, refusal, consent, confirmation and back-channel
	// result. If it returns an error, no code or token is issued; for other events the error is
	// ignored. If nil, it is not called.
	Audit func(Event) error

	// Measure counts a request of an application: endpoint is authorize, token, … and result is
	// ok or the name of an error. If nil, it is not called.
	Measure func(application, endpoint, result string)

	// Report is called with background failures. If nil, it is not called.
	Report func(err error)

	// Deliver posts a logout token to a client's back-channel URI; if nil, over HTTP.
	Deliver func(ctx context.Context, uri, token string) error

	Now    func() time.Time // nil is time.Now
	Counts *Counts          // shared with the previous Provider; nil: counting begins at zero

	once    sync.Once
	clients *clients
	logouts *logouts
	ends    *endings
	own     Counts
	names   names
	err     error
}

// Counts counts guesses at secrets and user codes, and recent grants. It outlives a Provider: a
// new one with each configuration would reset all allowances at every reload. The zero value is
// ready to use; safe for concurrent use.
type Counts struct {
	wrong   clientauth.Guesses
	codes   ratelimit.Keyed[string]       // issued, by subject
	pending ratelimit.Keyed[netip.Prefix] // requests stored for a sign-in
	devices ratelimit.Keyed[netip.Prefix] // device codes issued
	typed   ratelimit.Keyed[string]       // user codes tried, by subject
}

var (
	codesLimit   = ratelimit.Rate{Every: time.Second, Burst: 120}
	pendingLimit = ratelimit.Rate{Every: time.Second, Burst: 300}
	devicesLimit = ratelimit.Rate{Every: time.Second, Burst: 60}
	typedLimit   = ratelimit.Rate{Every: time.Minute, Burst: 10}
)

// Event is one audit record. It contains no code, state, token or secret.
type Event struct {
	What        string // oidc_sign_in, oidc_refused, oidc_consent, oidc_device, oidc_reuse, oidc_logout, oidc_wrong_secret
	Application string // a registered client id, or ""
	User        string
	UserID      string
	Reason      string // why refused or reused; for a logout its result
	Client      netip.Addr
	RequestID   string
	Err         error
}

// Paths of the endpoints below the issuer.
const (
	Root              = "/oidc"
	PathConfiguration = "/.well-known/openid-configuration"
	PathMetadata      = "/.well-known/oauth-authorization-server"
	PathAuthorize     = Root + "/authorize"
	PathToken         = Root + "/token"
	PathUserinfo      = Root + "/userinfo"
	PathJWKS          = Root + "/jwks"
	PathRevoke        = Root + "/revoke"
	PathIntrospect    = Root + "/introspect"
	PathEndSession    = Root + "/end_session"
	PathDeviceCode    = Root + "/device_authorization"
	PathDevice        = Root + "/device"
)

const (
	storeTimeout  = time.Second
	memberTimeout = 5 * time.Second
	retryAfter    = 5 * time.Second
)

// Check reports missing required fields.
func (p *Provider) Check() error {
	switch {
	case p.Store == nil || p.Pending == nil || p.Sealer == nil || p.Grants == nil || p.Keys == nil || p.Pages == nil ||
		p.Ours == nil:
		return errors.New("oidc: checking the provider: Store, Pending, Sealer, Grants, Keys, Pages and Ours are required")
	case p.Browser.Current == nil || p.Browser.SignIn == nil || p.Browser.SignOut == nil || p.People.Member == nil ||
		p.People.Revoke == nil:
		return errors.New("oidc: checking the provider: the funcs of Browser, Member and Revoke are required")
	case !strings.HasPrefix(p.Issuer, "http") || strings.HasSuffix(p.Issuer, "/"):
		return errors.New("oidc: checking the provider: Issuer is scheme and host")
	}
	p.ready()
	return p.err
}

func (p *Provider) ready() {
	p.once.Do(func() {
		p.clients, p.err = newClients(p.Config.Clients)
		p.logouts = newLogouts(p)
		p.ends = newEndings()
	})
}

// Handlers are the endpoints by their paths.
func (p *Provider) Handlers() map[string]web.HandlerFunc {
	p.ready()
	return map[string]web.HandlerFunc{
		PathConfiguration: p.cors(
			anyOrigin,
			p.Discovery,
		), PathMetadata: p.cors(anyOrigin, p.Discovery), PathJWKS: p.cors(anyOrigin, p.JWKS),
		PathAuthorize: p.Authorize, PathToken: p.cors(p.clients.publicOrigin, p.Token),
		PathUserinfo: p.cors(p.clients.publicOrigin, p.Userinfo),
		PathRevoke:   p.cors(p.clients.publicOrigin, p.Revoke), PathIntrospect: p.Introspect, PathEndSession: p.EndSession,
		PathDeviceCode: p.DeviceAuthorization, PathDevice: p.Device,
	}
}

func (p *Provider) counts() *Counts {
	if p.Counts != nil {
		return p.Counts
	}
	return &p.own
}

func (p *Provider) records() records { return records{p.Store, p.Sealer} }

func (p *Provider) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

func (p *Provider) audit(x *web.Exchange, e Event) error {
	if p.Audit == nil {
		return nil
	}
	if x != nil {
		e.Client, e.RequestID = x.Client, x.ID
	}
	return p.Audit(e)
}

func (p *Provider) measure(application, endpoint, result string) {
	if p.Measure != nil {
		p.Measure(application, endpoint, result)
	}
}

func (p *Provider) report(err error) {
	if p.Report != nil && err != nil {
		p.Report(err)
	}
}

// The parts of the provider; each is a view of the same Provider.
type (
	subjects      struct{ *Provider } // subjects of people
	register      struct{ *Provider } // grants of people
	authorization struct{ *Provider } // the authorization endpoint
	logoutPage    struct{ *Provider } // the end session endpoint
	inspection    struct{ *Provider } // introspection and revocation of tokens
	disclosure    struct{ *Provider } // claims for applications
)

func (p *Provider) subjects() subjects           { return subjects{p} }
func (p *Provider) people() register             { return register{p} }
func (p *Provider) authorization() authorization { return authorization{p} }
func (p *Provider) logoutPage() logoutPage       { return logoutPage{p} }
func (p *Provider) inspection() inspection       { return inspection{p} }
func (p *Provider) disclosure() disclosure       { return disclosure{p} }
