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

// ErrNobody means that nobody is signed in at a browser, a session or a person that
// was signed in once. Any other error says that this cannot be known now.
var ErrNobody = errors.New("oidc: nobody is signed in")

// Login is a browser's session.
type Login struct {
	Session     string // its id
	User        identity.User
	SignedIn    time.Time
	Checked     time.Time // when User was last confirmed
	Ends        time.Time // its lifetime's end
	Fingerprint uint64    // of a local account's password
}

// Browser is the sign-in of a browser.
type Browser struct {
	// Current finds the session of a request; ErrNobody.
	Current func(r *http.Request) (Login, error)

	// SignIn sends a page load to sign in, also where there is a session, and back to
	// target, our own path. It answers the request or returns an error.
	SignIn func(w http.ResponseWriter, r *http.Request, target string) error

	// SignOut ends all sessions of the browser and clears its cookie. The answer is
	// the caller's to write.
	SignOut func(w http.ResponseWriter, r *http.Request) error
}

// People is what is known of people who need not be here.
type People struct {
	// Member gives the newest facts about somebody who signed in once. ErrNobody when
	// the session or the membership has ended; any other error says that neither is
	// known now. It asks DingTalk in the background alone.
	Member func(ctx context.Context, l Login, beyond bool) (u identity.User, checked time.Time, err error)

	// Binding gives the unionId that a local account is bound to, or the account
	// that a person of DingTalk is bound to; "" for none. nil: nobody is bound.
	Binding func(ctx context.Context, u *identity.User) (string, error)

	// Migrated gives the unionId that a person had before their account was migrated;
	// "" for somebody whose account was not. nil: nobody can be asked.
	Migrated func(ctx context.Context, unionID string) (string, error)

	// Revoke ends one session.
	Revoke func(ctx context.Context, session string) error

	// Paths names departments, one text each. nil: there are no names.
	Paths func(departments []int64) []string
}

// Provider is the OpenID Connect provider. All fields down to People are required
// (Check says which is missing), except that funcs of People may be nil where their
// comment says so. Set them, then share the pointer; safe for concurrent use.
type Provider struct {
	Config  Config
	Issuer  string        // public_url, without a slash at the end
	Realm   string        // of the organisation: two of them may share one store
	Store   grant.Store   // of what is given; shared by all replicas
	Pending grant.Store   // of requests that wait for a sign-in, which unknown clients can fill; may be Store
	Sealer  Sealer        // of records
	Grants  *grant.Issuer // over Store
	Keys    *keys.Keeper
	Pages   *page.Pages
	Ours    func(origin string) bool // of pages that may post our forms
	Browser Browser
	People  People

	// Audit takes one event per sign-in, refusal, consent, confirmation and
	// back-channel result. Its error keeps a code or a token back; on anything else it
	// changes nothing. nil: not called.
	Audit func(Event) error

	// Measure counts what an application did: endpoint is authorize, token, … and
	// result is ok or the name of an error. nil: not called.
	Measure func(application, endpoint, result string)

	// Report is called with background failures. If nil, it is not called.
	Report func(err error)

	// Deliver posts a logout token to a client's back-channel address; nil: by HTTP.
	Deliver func(ctx context.Context, uri, token string) error

	Now    func() time.Time // nil: time.Now
	Counts *Counts          // goes on counting where another Provider was; nil: from nothing

	once    sync.Once
	clients *clients
	logouts *logouts
	ends    *endings
	own     Counts
	err     error
}

// Counts is who guessed at secrets and user codes, and who got how much lately. It
// outlives a Provider: were it made anew with the configuration, each reload would
// let them begin again. The zero value is nobody; safe for concurrent use.
type Counts struct {
	wrong   clientauth.Guesses
	codes   ratelimit.Keyed[string]       // handed out, by subject
	pending ratelimit.Keyed[netip.Prefix] // requests kept for a sign-in
	devices ratelimit.Keyed[netip.Prefix] // device codes handed out
	typed   ratelimit.Keyed[string]       // user codes tried, by subject
}

var (
	codesLimit   = ratelimit.Rate{Every: time.Second, Burst: 120}
	pendingLimit = ratelimit.Rate{Every: time.Second, Burst: 300}
	devicesLimit = ratelimit.Rate{Every: time.Second, Burst: 60}
	typedLimit   = ratelimit.Rate{Every: time.Minute, Burst: 10}
)

// Event is one line of the audit log. It holds no code, state, token or secret.
type Event struct {
	What        string // oidc_sign_in, oidc_refused, oidc_consent, oidc_device, oidc_reuse, oidc_logout, oidc_wrong_secret
	Application string // a registered client id, "" when it is none
	User        string
	UserID      string
	Reason      string // why refused or reused; of a logout the result
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

// Check finds what a Provider cannot work without.
func (p *Provider) Check() error {
	switch {
	case p.Store == nil || p.Pending == nil || p.Sealer == nil || p.Grants == nil || p.Keys == nil || p.Pages == nil || p.Ours == nil:
		return errors.New("oidc: checking the provider: Store, Pending, Sealer, Grants, Keys, Pages and Ours are required")
	case p.Browser.Current == nil || p.Browser.SignIn == nil || p.Browser.SignOut == nil || p.People.Member == nil || p.People.Revoke == nil:
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
		PathConfiguration: p.cors(anyOrigin, p.Discovery), PathMetadata: p.cors(anyOrigin, p.Discovery), PathJWKS: p.cors(anyOrigin, p.JWKS),
		PathAuthorize: p.Authorize, PathToken: p.cors(p.clients.publicOrigin, p.Token), PathUserinfo: p.cors(p.clients.publicOrigin, p.Userinfo),
		PathRevoke: p.cors(p.clients.publicOrigin, p.Revoke), PathIntrospect: p.Introspect, PathEndSession: p.EndSession,
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

// The provider by what it does; each is a view of the same Provider.
type (
	subjects      struct{ *Provider } // who is who for applications
	register      struct{ *Provider } // who holds what
	authorization struct{ *Provider } // the authorization endpoint
	logoutPage    struct{ *Provider } // the end-session endpoint
	inspection    struct{ *Provider } // what a token is worth
	disclosure    struct{ *Provider } // what an application learns
)

func (p *Provider) subjects() subjects           { return subjects{p} }
func (p *Provider) people() register             { return register{p} }
func (p *Provider) authorization() authorization { return authorization{p} }
func (p *Provider) logoutPage() logoutPage       { return logoutPage{p} }
func (p *Provider) inspection() inspection       { return inspection{p} }
func (p *Provider) disclosure() disclosure       { return disclosure{p} }
