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
	// Secrets are 32 random bytes each, in base64 (`dinggate keygen` makes one).
	// The first seals, all open: put a new one in front, wait for one session
	// lifetime, then remove the old one; nobody is signed out. Of several replicas
	// give it to all at the end of the list first: each opens what any seals.
	Secrets []conf.Secret `yaml:"secrets"`

	// Domain shares one session across subdomains. It costs the `__Host-` prefix:
	// every subdomain then receives the cookie and can plant one of its own.
	// Empty: only the host of public_url.
	Domain string `yaml:"domain"`

	// SameSite is lax (the default when empty), strict or none. Under strict a
	// link on another site leads through the sign-in, although there is a session.
	SameSite string `yaml:"same_site"`
}

// Config is the `session` part of the configuration. The zero Config lets no
// session live; begin with Defaults.
type Config struct {
	Lifetime time.Duration `yaml:"lifetime"` // absolute, from the sign-in on
	Idle     time.Duration `yaml:"idle"`     // without any request for longer than this a session ends; 0: no such limit
	Recheck  time.Duration `yaml:"recheck"`  // how often membership and directory data are looked up again
	Grace    time.Duration `yaml:"grace"`    // how long a session outlives an unreachable DingTalk, from the first failure on; 0: not at all
	Store    string        `yaml:"store"`    // StoreCookie (also when empty) or StoreRedis

	// StoreGrace is how long a session that this process has seen outlives a Store that
	// does not answer, from its last answer on; 0: not at all.
	StoreGrace time.Duration `yaml:"store_grace"`
}

// Where sessions are kept.
const (
	StoreCookie = "cookie" // in the cookie alone; replicas share nothing
	StoreRedis  = "redis"  // in a Store that all replicas share; the cookie is a ticket to it
)

// Defaults is the `session` part of an empty configuration file.
func Defaults() Config {
	return Config{Lifetime: 24 * time.Hour, Recheck: 5 * time.Minute, Grace: 15 * time.Minute, Store: StoreCookie, StoreGrace: 10 * time.Second}
}

// maxStoreGrace bounds how late an end on another replica may be known.
const maxStoreGrace = 5 * time.Minute

// Check finds the mistakes below key (`cookie`); it opens and changes nothing.
func (c CookieConfig) Check(p *conf.Problems, key string) {
	at := p.At("%s.secrets", key)
	at.If(len(c.Secrets) == 0, `is empty; make one with "dinggate keygen"`)
	at.If(len(c.Secrets) > keyring.MaxSecrets, "has %d secrets; each costs work on every forged cookie, keep at most %d", len(c.Secrets), keyring.MaxSecrets)
	seen := map[string]bool{}
	for i, secret := range c.Secrets {
		at := p.At("%s.secrets[%d]", key, i)
		raw, err := keyring.ParseSecret(secret)
		if err != nil {
			at.Fault(err)
			continue
		}
		at.Warn(seen[string(raw)], "is there twice")
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

// outlived is when a session that lives now is certainly past its lifetime.
func (c Config) outlived(now time.Time) time.Time { return now.Add(c.Lifetime + 2*skew) }

// fit cuts a person to what a session of theirs can hold.
func (c Config) Fit(u identity.User) (identity.User, error) {
	u.OrgEmail = false // neither a cookie nor a record carries it: every replica is to know the same of a person
	if c.shared() {
		return fitUser(u, maxSharedUser)
	}
	return fitUser(u, maxUser)
}

// Check finds the mistakes below key (`session`); it opens and changes nothing.
func (c Config) Check(p *conf.Problems, key string) {
	p.At("%s.lifetime", key).If(c.Lifetime <= 0, "must be longer than 0s")
	p.At("%s.idle", key).If(c.Idle < 0, "is negative")
	p.At("%s.idle", key).If(c.Lifetime > 0 && c.Idle > c.Lifetime, "is longer than session.lifetime (%v)", c.Lifetime)
	p.At("%s.recheck", key).If(c.Recheck <= 0, "must be longer than 0s; somebody who left would stay signed in")
	p.At("%s.recheck", key).Warn(c.Lifetime > 0 && c.Recheck > c.Lifetime, "is longer than session.lifetime (%v): membership is never looked at again", c.Lifetime)
	p.At("%s.grace", key).If(c.Grace < 0, "is negative")
	p.At("%s.store_grace", key).If(c.StoreGrace < 0 || c.StoreGrace > maxStoreGrace, "is not between 0s and %v", maxStoreGrace)
	p.At("%s.store", key).If(c.Store != "" && c.Store != StoreCookie && c.Store != StoreRedis, "is not cookie or redis")
}
