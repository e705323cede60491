// Package config is the configuration: its keys, its defaults, where values come
// from and what is wrong with them.
//
//	flags ──────────┐
//	environment ────┼─► Load ─► Config, every problem with its file and line
//	file (YAML) ────┘
//
// Each package owns its part of Config and that part's Check; this package
// composes them and alone knows YAML, the environment and the flags.
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
	"dinggate/session"
	"dinggate/store/redisstore"
)

// Config is the whole configuration, composed of the parts that packages own.
// Start from Default; load fills it. The yaml tags are the keys of the
// file, of the environment (DINGGATE_ and the path in capitals) and of the flags.
type Config struct {
	Version int `yaml:"config_version"` // of the form of the file: FormVersion

	PublicURL string `yaml:"public_url"` // how browsers reach us: scheme and host, nothing else
	Listen    string `yaml:"listen"`     // host:port (port 0 takes a free one) or unix:/path
	Prefix    string `yaml:"prefix"`     // our own endpoints live below it
	// CIDRs, or `unix`, whose X-Forwarded-* and X-Original-* are believed
	TrustedProxies   []string `yaml:"trusted_proxies"`
	ProxyProtocol    []string `yaml:"proxy_protocol"`    // CIDRs, or `unix`, that send the PROXY protocol
	AllowedRedirects []string `yaml:"allowed_redirects"` // further origins a person may be sent back to
	// known | any: may a request be for a host that nobody configured
	Hosts string `yaml:"hosts"`
	// directory of the embedded store; empty: what it would keep is in memory
	StateDir string `yaml:"state_dir"`

	DingTalk dingtalk.Config      `yaml:"dingtalk"` // exactly one of dingtalk and sso
	SSO      sso.ClientConfig     `yaml:"sso"`
	Cookie   session.CookieConfig `yaml:"cookie"`
	Session  session.Config       `yaml:"session"`
	Redis    redisstore.Config    `yaml:"redis"`

	Upstream string  `yaml:"upstream"` // shorthand for one route `/` open to every member
	Routes   []Route `yaml:"routes"`   // instead of upstream: in order, the first match decides

	// insensitive | sensitive: whether all applications count the letter case of paths
	PathCase string `yaml:"path_case"`

	// present: people who are refused can ask for access
	AccessRequests accessrequest.Config `yaml:"access_requests"`

	Headers HeadersConfig `yaml:"headers"`

	SSOServer sso.ServerConfig `yaml:"sso_server"` // present: we are the SSO service too
	OIDC      oidc.Config      `yaml:"oidc"`       // present: applications sign people in here by OpenID Connect
	APITokens bool             `yaml:"api_tokens"` // access tokens and passwords replace a cookie

	// APITokenClients are the clients whose access tokens do; empty: our own, behind
	// sso, and none, as sso_server.
	APITokenClients []string `yaml:"api_token_clients"`

	SignIn SignInConfig `yaml:"sign_in"`

	Assertion assertion.Config `yaml:"assertion"`

	Accounts account.Config `yaml:"accounts"`
	LoginAPI bool           `yaml:"login_api"` // serve /dingtalk/login/callback also without sso_server

	// with login_api it answers below this path too, as its clients expect; empty: at the root
	// alone
	LoginAPIBase   string `yaml:"login_api_base"`
	LoginAPIStatus string `yaml:"login_api_status"` // real | strict: what a refusal's HTTP status is

	Limits LimitsConfig `yaml:"limits"`

	Admin AdminConfig `yaml:"admin"`

	Server    ServerConfig    `yaml:"server"`
	EnvoyGRPC EnvoyGRPCConfig `yaml:"envoy_grpc"`
	TLS       TLSConfig       `yaml:"tls"`
	Log       LogConfig       `yaml:"log"`
	Audit     AuditConfig     `yaml:"audit"`
	Tracing   TracingConfig   `yaml:"tracing"`

	inPod              bool   // Kubernetes runs us
	serviceEnvironment string // the file that variables of the service were read from
}

// Route is one entry of `routes`: where a rule holds, and where it leads. Start
// from DefaultRoute: the zero value passes no WebSocket and waits for nothing.
type Route struct {
	access.RouteConfig   `yaml:",inline"`
	proxy.UpstreamConfig `yaml:",inline"`

	// whether people whom the rule refuses can ask, and whom; absent: they cannot
	Request *accessrequest.RouteConfig `yaml:"request"`
}

// AdminConfig is the `admin` part.
type AdminConfig struct {
	Listen string `yaml:"listen"` // /livez, /ready, /metrics and /status; host:port or unix:/path

	// Control is the path of the socket by which `dinggate bindings` and `dinggate
	// sessions` reach the process; empty: see ControlSocket.
	Control string `yaml:"control"`

	Ready string `yaml:"ready"` // strict | degraded: whether /ready is 200 while the store is away and something can be served
	Pprof bool   `yaml:"pprof"` // Go's profiles below /debug/pprof/ of the admin listener
}

// The words of admin.ready.
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

	// clients need a certificate of one of these authorities; empty: none
	ClientCAFile string        `yaml:"client_ca_file"`
	HSTS         time.Duration `yaml:"hsts"` // browsers insist on https for so long; 0: not said
}

// Files are all that it names.
func (c TLSConfig) Files() (names []string) {
	for _, name := range []string{c.CertFile, c.KeyFile, c.ClientCAFile} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// On reports whether dinggate speaks TLS itself.
func (c TLSConfig) On() bool { return c.CertFile != "" }

// LogConfig is the `log` part.
type LogConfig struct {
	Format string `yaml:"format"` // json | console
	Level  string `yaml:"level"`  // debug | info | warn | error
}

// LogLevels are the words of log.level.
var LogLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// Slog is the level for log/slog; a wrong word, which Check refuses, is info.
func (c LogConfig) Slog() slog.Level { return LogLevels[c.Level] }

// FormVersion is the version of the configuration's form that this program reads. It
// grows when a file that was right would mean something else.
const FormVersion = 1

// Default is what holds where file, environment and flags are silent.
func Default() *Config {
	return &Config{
		Version:  FormVersion,
		Listen:   "127.0.0.1:4180",
		Prefix:   "/oauth2",
		Hosts:    hostsKnown,
		DingTalk: dingtalk.Defaults(),
		Cookie:   session.CookieConfig{SameSite: "lax"},
		Session:  session.Defaults(),
		Redis:    redisstore.Defaults(),
		PathCase: PathCaseInsensitive,
		Headers:  defaultHeaders(),

		AccessRequests: accessrequest.Defaults(),

		OIDC:      oidc.Defaults(),
		Assertion: assertion.Defaults(),
		Accounts:  account.Config{Binding: account.Off},
		Limits:    defaultLimits(),
		Admin:     AdminConfig{Listen: "127.0.0.1:9180", Ready: ReadyStrict},
		Server:    ServerConfig{DrainTimeout: DrainWithin},
		Log:       LogConfig{Format: "json", Level: "info"},
		Audit:     AuditConfig{OnError: AuditAllow},
		Tracing:   TracingConfig{Sample: "0.1"},

		LoginAPIBase:   "/api/v1",
		LoginAPIStatus: loginAPIReal,
	}
}

// DefaultRoute is a route of which only the path is missing.
func DefaultRoute() Route {
	return Route{UpstreamConfig: proxy.Defaults()}
}

// Secure reports whether browsers reach us by https.
func (c *Config) Secure() bool { return strings.HasPrefix(strings.ToLower(c.PublicURL), "https://") }

// CallbackURL is what has to be registered at DingTalk.
func (c *Config) CallbackURL() string { return c.PublicURL + c.Prefix + "/callback" }

// AllRoutes gives `routes`, or the one route that `upstream` stands for; with
// neither, one without upstream: every member passes a gateway's question.
func (c *Config) AllRoutes() []Route {
	if len(c.Routes) > 0 {
		return c.Routes
	}
	r := DefaultRoute()
	r.Path, r.Upstream = "/", c.Upstream
	return []Route{r}
}

// AccessRoutes are AllRoutes for the policy, in the same order.
func (c *Config) AccessRoutes() access.Config {
	routes := c.AllRoutes()
	parts := make(access.Config, len(routes))
	for i, r := range routes {
		parts[i] = r.RouteConfig
	}
	return parts
}

// The words of path_case.
const (
	PathCaseInsensitive = "insensitive"
	PathCaseSensitive   = "sensitive"
)

// Policy is what decides who may enter AllRoutes.
func (c *Config) Policy() (*access.Policy, error) {
	policy, err := access.New(c.AccessRoutes().Routes())
	if err == nil && c.PathCase == PathCaseSensitive {
		policy = policy.CaseSensitive()
	}
	return policy, err
}

// RouteHosts lists the hosts that routes name, each as often as it is named.
func (c *Config) RouteHosts() []string {
	var hosts []string
	for _, r := range c.Routes {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	return hosts
}

// Origins are those a browser may be sent back to. It fails only where Check
// has found a mistake.
func (c *Config) Origins() (*web.Origins, error) {
	return web.NewOrigins(c.PublicURL, c.AllowedRedirects, c.RouteHosts(), c.Cookie.Domain)
}

// NamesDepartments reports whether a rule names a department, so that the
// directory has to know what is above a person.
func (c *Config) NamesDepartments() bool {
	for _, r := range c.Routes {
		if r.Access.NamesDepartments() {
			return true
		}
	}
	return c.OIDC.NamesDepartments()
}
