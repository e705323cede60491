// Package config is the configuration: its keys, defaults, sources and checks.
//
//	flags ──────────┐
//	environment ────┼─► Load ─► Config, every problem with its file and line
//	file (YAML) ────┘
//
// Each package owns its part of Config and that part's Check. This package composes
// them; no other package knows YAML, the environment and the flags.
package config

import (
	"log/slog"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/web"
	"dinggate/oidc"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/assertion"
	"dinggate/proxy/console"
	"dinggate/session"
	"dinggate/store/redisstore"
)

// Config is the whole configuration, composed of the parts that packages own. Start
// from Default; Load fills it. The yaml tags are the keys of the file, of the
// environment (DINGGATE_ and the path in capitals) and of the flags.
//
// Top-level keys of one theme are grouped in an embedded struct, which is no section of
// the file. The order of the fields, including those of embedded structs, is the order in
// which keys are listed.
type Config struct {
	Version int `yaml:"config_version"` // version of the file format: FormVersion

	Addresses `yaml:",inline"`

	// directory of the embedded store; empty: in memory
	StateDir string `yaml:"state_dir"`

	IdentityProvider `yaml:",inline"`
	SessionStorage   `yaml:",inline"`
	Routing          `yaml:",inline"`

	Console console.Config `yaml:"console"` // with access: administrators see and end sessions at /oauth2/console

	Headers HeadersConfig `yaml:"headers"`

	Clients `yaml:",inline"`

	SignIn SignInConfig `yaml:"sign_in"`

	Assertion assertion.Config `yaml:"assertion"`

	LocalAccounts `yaml:",inline"`

	Limits LimitsConfig `yaml:"limits"`

	Listeners     `yaml:",inline"`
	Observability `yaml:",inline"`

	inPod              bool     // running in Kubernetes
	serviceEnvironment string   // file from which variables of the service were read
	serviceNetwork     []string // its variables that decide how connections are made
}

// Addresses are where browsers reach dinggate and where it listens, and which peers, hosts
// and redirect targets it trusts.
type Addresses struct {
	PublicURL string `yaml:"public_url"` // how browsers reach us: scheme and host, nothing else
	Listen    string `yaml:"listen"`     // host:port (port 0 takes a free one) or unix:/path
	Prefix    string `yaml:"prefix"`     // our own endpoints are below it
	// CIDRs, or `unix`, whose X-Forwarded-* and X-Original-* are trusted
	TrustedProxies   []string `yaml:"trusted_proxies"`
	ProxyProtocol    []string `yaml:"proxy_protocol"`    // CIDRs, or `unix`, that send the PROXY protocol
	AllowedRedirects []string `yaml:"allowed_redirects"` // more origins that people may be sent back to
	// known | any: whether requests for an unknown host are accepted
	Hosts string `yaml:"hosts"`
}

// IdentityProvider is where people sign in: exactly one of the two is set.
type IdentityProvider struct {
	DingTalk dingtalk.Config  `yaml:"dingtalk"`
	SSO      sso.ClientConfig `yaml:"sso"`
}

// SessionStorage is about the sessions of people who have signed in: their cookie, their
// lifetime, and the store that replicas share.
type SessionStorage struct {
	Cookie  session.CookieConfig `yaml:"cookie"`
	Session session.Config       `yaml:"session"`
	Redis   redisstore.Config    `yaml:"redis"`
}

// Routing decides which requests are accepted, who may send them, and where they are
// forwarded. A route's own keys are in Route.
type Routing struct {
	Upstream string  `yaml:"upstream"` // shorthand for one route `/` open to every member
	Routes   []Route `yaml:"routes"`   // instead of upstream: in order, the first match applies

	// insensitive | sensitive: how applications treat the letter case of paths
	PathCase string `yaml:"path_case"`

	// present: people who are refused can request access
	AccessRequests accessrequest.Config `yaml:"access_requests"`
}

// Clients are programs other than browsers: applications that have people sign in here,
// and API clients, which send a credential with each request.
type Clients struct {
	SSOServer sso.ServerConfig `yaml:"sso_server"` // present: this process is an SSO service
	OIDC      oidc.Config      `yaml:"oidc"`       // present: applications sign people in here by OpenID Connect
	APITokens bool             `yaml:"api_tokens"` // access tokens and passwords are accepted in place of a cookie

	// APITokenClients are the clients whose access tokens are accepted; empty: our own if
	// sso is set, otherwise none.
	APITokenClients []string `yaml:"api_token_clients"`
}

// LocalAccounts are the accounts of a password file, their binding to DingTalk users, and
// the login API, by which an application's own page signs people in and binds them.
type LocalAccounts struct {
	Accounts account.Config `yaml:"accounts"`
	LoginAPI bool           `yaml:"login_api"` // serve /dingtalk/login/callback also without sso_server

	// login_api also answers below this path, as its clients expect; empty: at the root
	// only
	LoginAPIBase   string `yaml:"login_api_base"`
	LoginAPIStatus string `yaml:"login_api_status"` // real | strict: HTTP status of a refusal
}

// Listeners are the sockets besides listen, and how all of them are served: TLS, the
// limit on connections, the drain.
type Listeners struct {
	Admin     AdminConfig     `yaml:"admin"`
	Server    ServerConfig    `yaml:"server"`
	EnvoyGRPC EnvoyGRPCConfig `yaml:"envoy_grpc"`
	TLS       TLSConfig       `yaml:"tls"`
}

// Observability is what dinggate writes about its work: log, audit records, traces.
type Observability struct {
	Log     LogConfig     `yaml:"log"`
	Audit   AuditConfig   `yaml:"audit"`
	Tracing TracingConfig `yaml:"tracing"`
}

// Route is one entry of `routes`: a path, its rule and its upstream. Start from
// DefaultRoute: the zero value allows no WebSocket and has no timeout.
type Route struct {
	access.RouteConfig   `yaml:",inline"`
	proxy.UpstreamConfig `yaml:",inline"`

	// how people can request access and who approves; absent: they cannot
	Request *accessrequest.RouteConfig `yaml:"request"`
}

// AdminConfig is the `admin` part.
type AdminConfig struct {
	Listen string `yaml:"listen"` // /livez, /ready, /metrics and /status; host:port or unix:/path

	// Control is the path of the control socket, used by `dinggate bindings` and
	// `dinggate sessions`; empty: see ControlSocket.
	Control string `yaml:"control"`

	Ready string `yaml:"ready"` // strict | degraded: the status of /ready while the store is unavailable but some requests can be served
	Pprof bool   `yaml:"pprof"` // Go's profiles below /debug/pprof/ of the admin listener
}

// Values of admin.ready.
const (
	ReadyStrict   = "strict"
	ReadyDegraded = "degraded"
)

// EnvoyGRPCConfig is the `envoy_grpc` part: Envoy's ext_authz over gRPC.
type EnvoyGRPCConfig struct {
	Listen string `yaml:"listen"` // host:port or unix:/path; empty: off
}

// TLSConfig is the `tls` part: both files, or neither.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"` // PEM, the certificate first, then its chain
	KeyFile  string `yaml:"key_file"`  // PEM

	// clients need a certificate of one of these authorities; empty: none needed
	ClientCAFile string        `yaml:"client_ca_file"`
	HSTS         time.Duration `yaml:"hsts"` // how long browsers must use https; 0: no HSTS header
}

// Files returns the files that it names.
func (c TLSConfig) Files() (names []string) {
	for _, name := range []string{c.CertFile, c.KeyFile, c.ClientCAFile} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// On reports whether dinggate terminates TLS itself.
func (c TLSConfig) On() bool { return c.CertFile != "" }

// LogConfig is the `log` part.
type LogConfig struct {
	Format string `yaml:"format"` // json | console
	Level  string `yaml:"level"`  // debug | info | warn | error
}

// LogLevels maps the values of log.level.
var LogLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// Slog returns the level for log/slog; an invalid one, which Check refuses, is info.
func (c LogConfig) Slog() slog.Level { return LogLevels[c.Level] }

// FormVersion is the version of the file format that this program reads. It increases
// when a valid file would change its meaning.
const FormVersion = 1

// Default returns the default configuration.
func Default() *Config {
	return &Config{
		Version:          FormVersion,
		Addresses:        Addresses{Listen: "127.0.0.1:4180", Prefix: "/oauth2", Hosts: hostsKnown},
		IdentityProvider: IdentityProvider{DingTalk: dingtalk.Defaults()},
		SessionStorage: SessionStorage{
			Cookie:  session.CookieConfig{SameSite: "lax"},
			Session: session.Defaults(),
			Redis:   redisstore.Defaults(),
		},
		Routing:   Routing{PathCase: PathCaseInsensitive, AccessRequests: accessrequest.Defaults()},
		Console:   console.Defaults(),
		Headers:   defaultHeaders(),
		Clients:   Clients{OIDC: oidc.Defaults()},
		Assertion: assertion.Defaults(),
		LocalAccounts: LocalAccounts{
			Accounts:       account.Config{Binding: account.Off},
			LoginAPIBase:   "/api/v1",
			LoginAPIStatus: loginAPIReal,
		},
		Limits: defaultLimits(),
		Listeners: Listeners{
			Admin:  AdminConfig{Listen: "127.0.0.1:9180", Ready: ReadyStrict},
			Server: ServerConfig{DrainTimeout: DrainWithin},
		},
		Observability: Observability{
			Log:     LogConfig{Format: "json", Level: "info"},
			Audit:   AuditConfig{OnError: AuditAllow},
			Tracing: TracingConfig{Sample: "0.1"},
		},
	}
}

// DefaultRoute returns the defaults of a route.
func DefaultRoute() Route {
	return Route{UpstreamConfig: proxy.Defaults()}
}

// Secure reports whether browsers use https.
func (c *Config) Secure() bool { return strings.HasPrefix(strings.ToLower(c.PublicURL), "https://") }

// CallbackURL is the URL to register at DingTalk.
func (c *Config) CallbackURL() string { return c.PublicURL + c.Prefix + "/callback" }

// AllRoutes returns `routes`, or the single route that `upstream` abbreviates. Without
// either it returns a route without upstream: gateways may allow every member.
func (c *Config) AllRoutes() []Route {
	if len(c.Routes) > 0 {
		return c.Routes
	}
	r := DefaultRoute()
	r.Path, r.Upstream = "/", c.Upstream
	return []Route{r}
}

// AccessRoutes returns AllRoutes for the policy, in the same order.
func (c *Config) AccessRoutes() access.Config {
	routes := c.AllRoutes()
	parts := make(access.Config, len(routes))
	for i, r := range routes {
		parts[i] = r.RouteConfig
	}
	return parts
}

// Values of path_case.
const (
	PathCaseInsensitive = "insensitive"
	PathCaseSensitive   = "sensitive"
)

// Policy returns the policy for AllRoutes.
func (c *Config) Policy() (*access.Policy, error) {
	policy, err := access.New(c.AccessRoutes().Routes())
	if err == nil && c.PathCase == PathCaseSensitive {
		policy = policy.CaseSensitive()
	}
	return policy, err
}

// RouteHosts lists the hosts of the routes, each as often as it occurs.
func (c *Config) RouteHosts() []string {
	var hosts []string
	for _, r := range c.Routes {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	return hosts
}

// Origins are those a browser may be sent back to. It fails only for a configuration
// with a mistake that Check reports.
func (c *Config) Origins() (*web.Origins, error) {
	return web.NewOrigins(c.PublicURL, c.AllowedRedirects, c.RouteHosts(), c.Cookie.Domain)
}

// NamesDepartments reports whether a rule names a department, so that lookups must
// include the departments above a person's own.
func (c *Config) NamesDepartments() bool {
	for _, r := range c.Routes {
		if r.Access.NamesDepartments() {
			return true
		}
	}
	return c.Console.Access.NamesDepartments() || c.OIDC.NamesDepartments()
}
