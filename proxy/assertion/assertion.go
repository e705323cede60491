// Package assertion signs who a person is, for applications that want proof
// instead of a header.
//
//	session, audience ─► Signer.Header ─┬─ known: the same token until a quarter of its life is left
//	                                    └─ else a JWT, signed with the first key
//	keys (files, or made from cookie.secrets) ─► Signer.JWKS ─► GET …/jwks.json
//
// A token is for one route: its `aud` says which, so that one application cannot
// show it to another. Where it is sent, and that a client's own copy never
// travels on, is decided in proxy and proxy/forwardauth.
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

// Header is the name under which the token travels.
const Header = "X-Dinggate-Assertion"

// Config is the `assertion` part of the configuration.
type Config struct {
	Enabled bool `yaml:"enabled"`
	// PEM, ECDSA P-256 or Ed25519; the first signs, all are published. Empty: keys made from
	// cookie.secrets
	KeyFiles []string `yaml:"key_files"`
	// of a token; what is known of a person may be this old at the application
	Lifetime time.Duration `yaml:"lifetime"`
	Issuer   string        `yaml:"issuer"` // the `iss`; empty: public_url
}

// Defaults is the `assertion` part of an empty configuration file.
func Defaults() Config { return Config{Lifetime: 5 * time.Minute} }

// Check finds the mistakes below key (`assertion`); it opens and changes nothing.
func (c Config) Check(p *conf.Problems, key string) {
	p.At("%s.lifetime", key).If(c.Lifetime < 30*time.Second || c.Lifetime > time.Hour, "is not between 30s and 1h")
	p.At("%s.key_files", key).If(len(c.KeyFiles) > maxKeys, "has %d files, more than %d", len(c.KeyFiles), maxKeys)
	p.At("%s.issuer", key).If(len(c.Issuer) > 200, "is longer than 200 characters")
}

const maxKeys = 8

// Signer makes tokens. Make one with New; safe for concurrent use.
type Signer struct {
	Now func() time.Time // nil: time.Now. Set it before first use

	issuer   string
	lifetime time.Duration
	signer   jose.Signer
	set      []byte

	mu    sync.RWMutex
	known map[place]token
}

// place is what a token is kept for.
type place struct{ session, audience, grant string }

type token struct {
	value   []string  // ready for a header; written by nobody
	checked time.Time // as old as the facts in it
	renew   time.Time
}

// Bounds of the memory. Of a full one, whatever is soonest to be signed anew
// among a few goes; signing costs about 0.1 ms (BenchmarkHeader).
const (
	maxKnown = 20_000
	sampled  = 8
)

// New makes a Signer of keys; the first signs.
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

// claims are what a token says; every name is in docs/assertion.md.
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

// Bounds on the lists of one person, so that the header stays small (threats D8).
const (
	maxGroups      = 64
	maxDepartments = 64
)

// Person is whom a token is about.
type Person struct {
	Session  string // the session's id: a token is kept for it
	User     *identity.User
	SignedIn time.Time
	Checked  time.Time // when the facts were last confirmed: newer facts make a new token
	Grant    string    // the id of the grant that lets them in here; "" where the rule does
}

// Header gives the token for a person at an audience, ready to be assigned to a
// header; nobody may write to it. At least a quarter of its life is left. nil
// when it cannot be signed: an application that wants proof then has none.
func (s *Signer) Header(p Person, audience string) []string {
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	at := place{p.Session, audience, p.Grant}
	s.mu.RLock()
	kept, ok := s.known[at]
	s.mu.RUnlock()
	if ok && now.Before(kept.renew) && kept.checked.Equal(p.Checked) {
		return kept.value
	}
	text, err := s.sign(p, audience, now)
	if err != nil {
		return nil
	}
	kept = token{[]string{text}, p.Checked, now.Add(s.lifetime - s.lifetime/4)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.known[at]; !again && len(s.known) >= maxKnown {
		s.forget(now)
	}
	s.known[at] = kept
	return kept.value
}

// forget drops one token, so that another fits.
func (s *Signer) forget(now time.Time) {
	var first place
	var renew time.Time
	looked := 0
	for at, kept := range s.known { // begins anywhere
		if !now.Before(kept.renew) { // of no more use
			delete(s.known, at)
		} else if renew.IsZero() || kept.renew.Before(renew) {
			first, renew = at, kept.renew
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
