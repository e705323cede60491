// Package assertion signs the identity of a person, for applications that require proof instead of
// a header.
//
//	session, audience ─► Signer.Header ─┬─ known: the same token until a quarter of its life is left
//	                                    └─ else a JWT, signed with the first key
//	keys (files, or made from cookie.secrets) ─► Signer.JWKS ─► GET …/jwks.json
//
// A token is for one route, which its `aud` names, so that one application cannot present it to
// another. Packages proxy and proxy/forwardauth decide where it is sent, and remove a client's own
// copy.
package assertion

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"

	"github.com/go-jose/go-jose/v4"
)

// Header is the name of the header that carries the token.
const Header = "X-Dinggate-Assertion"

// Config is the `assertion` part of the configuration.
type Config struct {
	Enabled bool `yaml:"enabled"`
	// PEM, ECDSA P-256 or Ed25519; the first signs, all are published. If empty, keys are derived
	// from cookie.secrets
	KeyFiles []string `yaml:"key_files"`
	// of a token; an application may see facts about a person that are this old
	Lifetime time.Duration `yaml:"lifetime"`
	Issuer   string        `yaml:"issuer"` // the `iss`; if empty, public_url
}

// Defaults is the `assertion` part of an empty configuration file.
func Defaults() Config { return Config{Lifetime: 5 * time.Minute} }

// Check reports the mistakes below key (`assertion`).
func (c Config) Check(p *conf.Problems, key string) {
	p.At("%s.lifetime", key).If(c.Lifetime < 30*time.Second || c.Lifetime > time.Hour, "is not between 30s and 1h")
	p.At("%s.key_files", key).If(len(c.KeyFiles) > maxKeys, "has %d files, more than %d", len(c.KeyFiles), maxKeys)
	p.At("%s.issuer", key).If(len(c.Issuer) > 200, "is longer than 200 characters")
}

const maxKeys = 8

// Signer signs tokens. Make one with New; safe for concurrent use.
type Signer struct {
	Now func() time.Time // nil is time.Now. Set it before first use

	issuer   string
	lifetime time.Duration
	signer   jose.Signer
	set      []byte

	mu    sync.RWMutex
	known map[place]token
}

// place is the key of a cached token.
type place struct{ session, audience, grant string }

type token struct {
	value   []string  // ready for a header; read-only
	checked time.Time // the age of the facts in it
	renew   time.Time
}

// Bounds of the cache. If it is full, of a few tokens the one that expires soonest is dropped;
// signing costs about 0.1 ms (BenchmarkHeader).
const (
	maxKnown = 20_000
	sampled  = 8
)

// New returns a Signer; the first of keys signs.
func New(issuer string, lifetime time.Duration, keys []Key) (*Signer, error) {
	if issuer == "" || lifetime <= 0 || len(keys) == 0 {
		return nil, errors.New("assertion: making a signer: no issuer, no lifetime or no key")
	}
	s := &Signer{issuer: issuer, lifetime: lifetime, known: map[place]token{}}
	var set jose.JSONWebKeySet
	seen := map[string]bool{}
	for _, k := range keys {
		if !seen[k.id] {
			set.Keys = append(set.Keys, jose.JSONWebKey{
				Key:       k.public(),
				KeyID:     k.id,
				Algorithm: string(k.algorithm),
				Use:       "sig",
			})
		}
		seen[k.id] = true
	}
	var err error
	if s.set, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("assertion: publishing keys: %w", err)
	}
	first := jose.SigningKey{
		Algorithm: keys[0].algorithm,
		Key:       jose.JSONWebKey{Key: keys[0].private, KeyID: keys[0].id},
	}
	if s.signer, err = jose.NewSigner(first, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
		return nil, fmt.Errorf("assertion: making a signer: %w", err)
	}
	return s, nil
}

// JWKS is the set of public keys, as JSON (RFC 7517).
func (s *Signer) JWKS() []byte { return s.set }

// claims are the claims of a token; docs/assertion.md describes each.
type claims struct {
	Issuer      string   `json:"iss"`
	Subject     string   `json:"sub"` // the username
	Audience    string   `json:"aud"`
	IssuedAt    int64    `json:"iat"`
	Expires     int64    `json:"exp"`
	SignedIn    int64    `json:"auth_time"`
	Name        string   `json:"name,omitempty"`
	Email       string   `json:"email,omitempty"`
	UserID      string   `json:"userid,omitempty"`
	UnionID     string   `json:"unionid,omitempty"`
	JobNumber   string   `json:"job_number,omitempty"`
	Groups      []string `json:"groups,omitempty"` // names of roles
	Departments []int64  `json:"departments,omitempty"`
	Grant       string   `json:"grant,omitempty"`
}

// Bounds on the lists of one person, which bound the header's length (threats D8).
const (
	maxGroups      = 64
	maxDepartments = 64
)

// Person is the subject of a token.
type Person struct {
	Session  string // the session's id: a token is cached for it
	User     *identity.User
	SignedIn time.Time
	Checked  time.Time // when the facts were last confirmed: newer facts require a new token
	Grant    string    // the id of the grant that allows access; "" if the rule does
}

// Header returns a token for a person and an audience, as the read-only value of a header. At
// least a quarter of its lifetime is left. It is nil if signing fails: an application that
// requires proof then has none.
func (s *Signer) Header(p Person, audience string) []string {
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	at := place{p.Session, audience, p.Grant}
	s.mu.RLock()
	cached, ok := s.known[at]
	s.mu.RUnlock()
	if ok && now.Before(cached.renew) && cached.checked.Equal(p.Checked) {
		return cached.value
	}
	text, err := s.sign(p, audience, now)
	if err != nil {
		return nil
	}
	cached = token{[]string{text}, p.Checked, now.Add(s.lifetime - s.lifetime/4)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.known[at]; !again && len(s.known) >= maxKnown {
		s.forget(now)
	}
	s.known[at] = cached
	return cached.value
}

// forget drops one token, so that another fits.
func (s *Signer) forget(now time.Time) {
	var first place
	var renew time.Time
	looked := 0
	for at, cached := range s.known { // map iteration starts at a random entry
		if !now.Before(cached.renew) { // expired
			delete(s.known, at)
		} else if renew.IsZero() || cached.renew.Before(renew) {
			first, renew = at, cached.renew
		}
		if looked++; looked == sampled {
			break
		}
	}
	if len(s.known) >= maxKnown {
		delete(s.known, first)
	}
}

func (s *Signer) sign(p Person, audience string, now time.Time) (string, error) {
	u := p.User
	groups := u.RoleNames()
	body, err := json.Marshal(claims{
		Issuer:      s.issuer,
		Subject:     u.Username,
		Audience:    audience,
		IssuedAt:    now.Unix(),
		Expires:     now.Add(s.lifetime).Unix(),
		SignedIn:    p.SignedIn.Unix(),
		Name:        u.Name,
		Email:       u.Email,
		UserID:      u.UserID,
		UnionID:     u.UnionID,
		JobNumber:   u.JobNumber,
		Groups:      groups[:min(len(groups), maxGroups)],
		Departments: u.Departments[:min(len(u.Departments), maxDepartments)],
		Grant:       p.Grant,
	})
	if err != nil {
		return "", err
	}
	signed, err := s.signer.Sign(body)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
