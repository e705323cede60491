package oidc

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"dinggate/internal/clientauth"
	"dinggate/internal/conf"
	"dinggate/oidc/keys"
	"dinggate/proxy/access"
)

// Config is the `oidc` part of the configuration: applications that sign people in here. Without
// clients the provider is disabled. Begin with Defaults.
type Config struct {
	// KeyFiles are private keys in PEM, RSA of 2048 bits or more or EC P-256; the first of a kind
	// signs, all are published. If empty, dinggate makes keys and stores them sealed in the store,
	// which then must outlive a restart.
	KeyFiles []string `yaml:"key_files"`

	Code         time.Duration `yaml:"code"`          // lifetime of an authorization code
	IDToken      time.Duration `yaml:"id_token"`      // lifetime of an ID token
	AccessToken  time.Duration `yaml:"access_token"`  // lifetime of an access token
	RefreshToken time.Duration `yaml:"refresh_token"` // lifetime of all refresh tokens that follow from one sign-in

	Clients []ClientConfig `yaml:"clients"`
}

// ClientConfig is an application.
type ClientConfig struct {
	ClientID     string      `yaml:"client_id"`
	ClientSecret conf.Secret `yaml:"client_secret"` // none: a public client, which must use PKCE

	// RedirectURIs are compared exactly; http://127.0.0.1, http://[::1] and http://localhost match
	// with any port (RFC 8252).
	RedirectURIs           []string `yaml:"redirect_uris"`
	PostLogoutRedirectURIs []string `yaml:"post_logout_redirect_uris"`
	BackchannelLogoutURI   string   `yaml:"backchannel_logout_uri"`

	// who may sign in, and how recently (fresh); as a route's, without public and networks.
	// nil = signed_in
	Access *access.RuleConfig `yaml:"access"`
	// contents of the groups claim: roles, departments, department_paths. nil = roles
	Groups     []string `yaml:"groups"`
	SigningAlg string   `yaml:"signing_alg"` // of ID tokens: RS256 (also if empty) or ES256
	Consent    bool     `yaml:"consent"`     // the person is asked once to consent to the scopes
	// auto (also if empty): required for public clients, verified whenever sent; required
	PKCE string `yaml:"pkce"`
}

// Contents of a groups claim.
const (
	GroupRoles           = "roles"
	GroupDepartments     = "departments"
	GroupDepartmentPaths = "department_paths"
)

// Values of ClientConfig.PKCE.
const (
	PKCEAuto     = "auto"
	PKCERequired = "required"
)

// Defaults is the `oidc` part of an empty configuration file.
func Defaults() Config {
	return Config{
		Code:         time.Minute,
		IDToken:      5 * time.Minute,
		AccessToken:  10 * time.Minute,
		RefreshToken: 720 * time.Hour,
	}
}

// On reports whether the provider is enabled.
func (c Config) On() bool { return len(c.Clients) > 0 }

// groups lists the contents of the groups claim.
func (c *ClientConfig) groups() []string {
	if c.Groups == nil {
		return []string{GroupRoles}
	}
	return c.Groups
}

// NamesDepartments reports whether a rule or a claim depends on people's departments and their
// ancestors.
func (c Config) NamesDepartments() bool {
	return slices.ContainsFunc(c.Clients, func(client ClientConfig) bool {
		return client.Access.NamesDepartments() ||
			slices.Contains(client.groups(), GroupDepartments) || slices.Contains(client.groups(), GroupDepartmentPaths)
	})
}

// Bounds of a configuration.
const (
	maxClients   = 500
	maxURI       = 2000
	maxURIs      = 50
	maxKeyFiles  = 8
	shortSecret  = 16
	longestCode  = 10 * time.Minute
	longestToken = 24 * time.Hour
)

// Check reports the mistakes below key (`oidc`).
func (c Config) Check(p *conf.Problems, key string) {
	c.checkTimes(p, key)
	if !c.On() {
		p.At("%s.clients", key).If(len(c.KeyFiles) > 0, "is empty; list the applications that use dinggate for sign-in")
		return
	}
	p.At("%s.key_files", key).If(len(c.KeyFiles) > maxKeyFiles, "has %d files, more than %d", len(c.KeyFiles), maxKeyFiles)
	p.At("%s.clients", key).If(len(c.Clients) > maxClients, "has %d clients, more than %d", len(c.Clients), maxClients)
	seen := map[string]bool{}
	for i := range c.Clients {
		client := &c.Clients[i]
		at := func(name string) conf.Place { return p.At("%s.clients[%d].%s", key, i, name) }
		id := client.ClientID
		at("client_id").If(id == "", "is missing; the application sends it")
		at("client_id").If(!plainID(id),
			"is longer than %d bytes or contains a colon, a space or an unprintable character", clientauth.MaxID)
		at("client_id").If(id != "" && seen[id], "is repeated")
		seen[id] = true
		client.check(at)
		client.checkAccess(p, key, i)
	}
}

// checkTimes checks the lifetimes of codes and tokens.
func (c Config) checkTimes(p *conf.Problems, key string) {
	for _, l := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{{"code", c.Code, time.Second, longestCode}, {"id_token", c.IDToken, time.Minute, longestToken},
		{"access_token", c.AccessToken, time.Minute, longestToken},
		{"refresh_token", c.RefreshToken, time.Minute, 400 * 24 * time.Hour}} {
		p.At("%s.%s", key, l.name).If(l.value < l.least || l.value > l.most, "is not between %v and %v", l.least, l.most)
	}
}

func (c *ClientConfig) check(at func(string) conf.Place) {
	secret := c.ClientSecret.Reveal()
	at("client_secret").If(len(secret) > clientauth.MaxSecret || strings.ContainsFunc(secret, unprintable),
		"is longer than %d bytes or contains a line break", clientauth.MaxSecret)
	at("client_secret").Warn(secret != "" && len(secret) < shortSecret,
		`is short and could be guessed; generate one with "dinggate keygen"`)
	at("redirect_uris").If(len(c.RedirectURIs) > maxURIs, "has %d addresses, more than %d", len(c.RedirectURIs), maxURIs)
	at("redirect_uris").Warn(len(c.RedirectURIs) == 0, "is empty: this application can use only the device flow")
	for _, uri := range c.RedirectURIs {
		checkURI(at("redirect_uris"), uri, true)
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		checkURI(at("post_logout_redirect_uris"), uri, true)
	}
	if c.BackchannelLogoutURI != "" {
		checkURI(at("backchannel_logout_uri"), c.BackchannelLogoutURI, false)
	}
	for _, group := range c.Groups {
		known := group == GroupRoles || group == GroupDepartments || group == GroupDepartmentPaths
		at("groups").If(!known, "has %q; allowed are roles, departments and department_paths", group)
	}
	at("signing_alg").If(c.SigningAlg != "" && !slices.Contains(keys.Algorithms, c.SigningAlg), "is not RS256 or ES256")
	at("pkce").If(c.PKCE != "" && c.PKCE != PKCEAuto && c.PKCE != PKCERequired, "is not auto or required")
}

// checkAccess checks the rule with package access, below the client's key.
func (c *ClientConfig) checkAccess(p *conf.Problems, key string, i int) {
	at := p.At("%s.clients[%d].access", key, i)
	if c.Access != nil && c.Access.Named == "public" {
		at.If(
			true,
			"is public; an application needs a signed-in user, so write signed_in or lists such as {departments: [42]}",
		)
		return
	}
	c.Access.Each(func(_ string, lists access.ListsConfig) {
		at.If(len(lists.Networks) > 0, "has networks; an address does not identify a user")
	})
	var found conf.Problems
	access.Config{{Path: "/", Access: c.Access}}.Check(&found, "x")
	for _, one := range found.All() {
		if _, part, ok := strings.Cut(one.Key, "].access"); ok {
			p.Add(conf.Problem{Key: at.Key() + part, Text: one.Text, Warning: one.Warning})
		}
	}
}

// checkURI checks a URI that browsers are redirected to, or that is called.
func checkURI(at conf.Place, raw string, browser bool) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || !plainURI(raw) || u.User != nil || u.Opaque != "":
		at.If(
			true,
			"has %.60q, which is not an address such as https://app.example.com/callback, in ASCII and without user "+
				"and fragment",
			raw,
		)
	case u.Scheme == "https" && u.Host != "":
	case u.Scheme == "http" && u.Host != "":
		at.Warn(!isLoopback(u.Hostname()), "has %.60q, which is http: an eavesdropper can read the response", raw)
	case browser && strings.Contains(u.Scheme, "."): // a native application's own scheme (RFC 8252 §7.1)
	default:
		at.If(
			true,
			"has %.60q; write an https address, or for a native application one of a scheme with a dot, such as "+
				"com.example.app:/callback",
			raw,
		)
	}
}

// plainURI refuses characters that browsers interpret in more than one way: blanks, control bytes,
// `\`, other alphabets, fragments.
func plainURI(s string) bool {
	return s != "" && len(s) <= maxURI && !strings.ContainsAny(s, `\#`) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func plainID(s string) bool {
	return len(s) <= clientauth.MaxID &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }
