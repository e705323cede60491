package session

import (
	"net/netip"
	"strings"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
)

// CookieConfig is the `cookie` part of the configuration.
type CookieConfig struct {
	// Secrets are 32 random bytes each, in base64 (`dinggate keygen` makes one). The first seals,
	// all open. To rotate, put a new one first, wait for one session lifetime, then remove the old
	// one; no session is lost. With several replicas, first append the new one to the list on all
	// of them, so that each can open what any of them seals.
	Secrets []conf.Secret `yaml:"secrets"`

	// Domain shares one session across subdomains. It costs the `__Host-` prefix:
	// every subdomain then receives the cookie and can plant one of its own.
	// Empty: only the host of public_url.
	Domain string `yaml:"domain"`

	// SameSite is lax (the default when empty), strict or none. Under strict,
	// following a link from another site starts a sign-in although there is a session.
	SameSite string `yaml:"same_site"`
}

// Config is the `session` part of the configuration. With the zero Config every
// session is expired; begin with Defaults.
type Config struct {
	Lifetime time.Duration `yaml:"lifetime"` // absolute, from the sign-in on
	Idle     time.Duration `yaml:"idle"`     // a session ends after this long without a request; 0: no such limit
	Recheck  time.Duration `yaml:"recheck"`  // how often membership and directory data are looked up again
	Grace    time.Duration `yaml:"grace"`    // how long a session outlives DingTalk's first failure; 0: not at all
	Store    string        `yaml:"store"`    // StoreCookie (also when empty) or StoreRedis

	// StoreGrace is how long a session that this process has seen continues while the
	// Store does not answer, from its last answer on; 0: not at all.
	StoreGrace time.Duration `yaml:"store_grace"`
}

// Values of Config.Store.
const (
	StoreCookie = "cookie" // in the cookie alone; replicas share nothing
	StoreRedis  = "redis"  // in a Store that all replicas share; the cookie is a ticket to it
)

// Defaults is the `session` part of an empty configuration file.
func Defaults() Config {
	return Config{
		Lifetime:   24 * time.Hour,
		Recheck:    5 * time.Minute,
		Grace:      15 * time.Minute,
		Store:      StoreCookie,
		StoreGrace: 10 * time.Second,
	}
}

// maxStoreGrace bounds the delay after which a revocation on another replica takes
// effect.
const maxStoreGrace = 5 * time.Minute

// Check reports the mistakes below key (`cookie`).
func (c CookieConfig) Check(p *conf.Problems, key string) {
	at := p.At("%s.secrets", key)
	at.If(len(c.Secrets) == 0, `is empty; generate one with "dinggate keygen"`)
	at.If(len(c.Secrets) > keyring.MaxSecrets,
		"has %d secrets; every forged cookie is checked against each of them, so use at most %d",
		len(c.Secrets), keyring.MaxSecrets)
	seen := map[string]bool{}
	for i, secret := range c.Secrets {
		at := p.At("%s.secrets[%d]", key, i)
		raw, err := keyring.ParseSecret(secret)
		if err != nil {
			at.Fault(err)
			continue
		}
		at.Warn(seen[string(raw)], "is repeated")
		seen[string(raw)] = true
	}
	d := c.Domain
	_, notAddress := netip.ParseAddr(d)
	bad := d != "" && (notAddress == nil || !strings.Contains(strings.Trim(d, "."), ".") || strings.HasSuffix(d, ".") ||
		strings.Contains(d, "..") || strings.Trim(strings.ToLower(d), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "")
	p.At("%s.domain", key).If(bad, "is not a domain that cookies can be set for, such as example.com")
	switch strings.ToLower(c.SameSite) {
	case "", "lax", "strict", "none":
	default:
		p.At("%s.same_site", key).If(true, "is not lax, strict or none")
	}
}

// shared reports whether replicas share their sessions through the Store.
func (c Config) shared() bool { return c.Store == StoreRedis }

// outlived is the time by which every session that is valid now is past its lifetime.
func (c Config) outlived(now time.Time) time.Time { return now.Add(c.Lifetime + 2*skew) }

// Fit truncates a person's data to what a session can hold: the name, the job number, then the
// ends of the lists of ancestors, departments and roles. The error means that a name which
// identifies the person (unionid, userid, username, e-mail) would have to be truncated.
func (c Config) Fit(u identity.User) (identity.User, error) {
	u.OrgEmail = false // in neither a cookie nor a record: all replicas must have the same data about a person
	if c.shared() {
		return fitUser(u, maxSharedUser)
	}
	return fitUser(u, maxUser)
}

// Check reports the mistakes below key (`session`).
func (c Config) Check(p *conf.Problems, key string) {
	p.At("%s.lifetime", key).If(c.Lifetime <= 0, "must be longer than 0s")
	p.At("%s.idle", key).If(c.Idle < 0, "is negative")
	p.At("%s.idle", key).If(c.Lifetime > 0 && c.Idle > c.Lifetime, "is longer than session.lifetime (%v)", c.Lifetime)
	p.At("%s.recheck", key).If(c.Recheck <= 0, "must be longer than 0s; a leaver would remain signed in")
	p.At("%s.recheck", key).Warn(c.Lifetime > 0 && c.Recheck > c.Lifetime,
		"is longer than session.lifetime (%v): membership would never be rechecked", c.Lifetime)
	p.At("%s.grace", key).If(c.Grace < 0, "is negative")
	p.At("%s.store_grace", key).If(c.StoreGrace < 0 || c.StoreGrace > maxStoreGrace,
		"is not between 0s and %v", maxStoreGrace)
	p.At("%s.store", key).If(c.Store != "" && c.Store != StoreCookie && c.Store != StoreRedis, "is not cookie or redis")
}
