// Package grant stores what was issued to an OAuth client: a code that is redeemed once, and the
// family of tokens that follows from it.
//
//	Issue ─► waiting ──Redeem──► live ──Rotate──► live, next generation …
//	            │                  │
//	            └── its time ──────┴── End, or its time ──► no record
//
// A code and its family are one record, and every step is one Swap of it: of any number of
// redemptions on any replica one succeeds, and a crash leaves the record before the step or after
// it. The family's id is derived from the code, so that a second use of the code finds the family.
//
// The callers, dingtalk/sso and oidc, decide what is issued to whom.
package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"dinggate/store"
)

// Reasons for which a text is refused. Any other error is the store's: the state is unknown.
var (
	ErrForeign = errors.New("grant: nothing that was made here")
	ErrNone    = errors.New("grant: unknown, used, ended or expired")
	ErrReused  = errors.New("grant: used before")
)

// Store is the part of a store that grants need.
type Store interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error
	Take(ctx context.Context, key string) ([]byte, error)
}

// Skew is how long a record is kept after its expiry: replicas' clocks may differ by as much.
const Skew = time.Minute

// swaps bounds how often a step is repeated because another one came between.
const swaps = 8

// Issuer issues codes and tokens and stores their records. Make it with New; safe for concurrent
// use.
type Issuer struct {
	// Tolerance is how long after a rotation the previous refresh token returns the same successor
	// once more, in case the answer was lost. 0 never does.
	Tolerance time.Duration

	Now func() time.Time // nil is time.Now. Set it before first use

	name   string // of the kind of grants: part of the keys of records, and of every derived key
	store  Store
	tokens *tokenMaker
}

// New returns an Issuer. An Issuer with another name refuses its records and tokens. keys are at
// least 32 random bytes each: the first seals, all open.
func New(name string, s Store, keys [][]byte) (*Issuer, error) {
	m, err := newTokenMaker(name, keys)
	if err != nil {
		return nil, err
	}
	if s == nil || name == "" {
		return nil, errors.New("grant: making an issuer: no store or no name")
	}
	return &Issuer{name: name, store: s, tokens: m}, nil
}

// Grant is the record of a code that waits or of a live family.
type Grant struct {
	Family  Family `json:"-"`
	Live    bool   // the code was redeemed, or there was none
	Expires time.Time

	Generation uint64    // of the current refresh token
	Turned     time.Time // when the last rotation was; zero if there was none
	Repeated   bool      // its answer was returned a second time

	Data json.RawMessage // of the caller

	raw []byte // as read from the store
	key string
}

// Read decodes the caller's data.
func (g *Grant) Read(to any) error {
	if err := json.Unmarshal(g.Data, to); err != nil {
		return fmt.Errorf("grant: reading a record: %w", err)
	}
	return nil
}

// Issue issues a code, valid for life.
func (i *Issuer) Issue(ctx context.Context, data any, life time.Duration) (code string, f Family, err error) {
	code = i.tokens.write(kindCode, random(familySize))
	f = familyOf(code)
	return code, f, i.add(ctx, f, Grant{Expires: i.now().Add(life)}, data)
}

func (i *Issuer) add(ctx context.Context, f Family, g Grant, data any) (err error) {
	if g.Data, err = json.Marshal(data); err != nil {
		return fmt.Errorf("grant: keeping a record: %w", err)
	}
	g.Expires = g.Expires.UTC().Truncate(time.Millisecond)
	key := i.keyOf(f)
	value, err := i.tokens.seal(key, &g)
	if err != nil {
		return err
	}
	if err := i.store.Add(ctx, key, value, g.Expires.Sub(i.now())+Skew); err != nil {
		return fmt.Errorf("grant: keeping a record: %w", err)
	}
	return nil
}

// ByCode finds the record of a code, and returns its family whenever the code was issued here.
// Errors are ErrForeign and ErrNone; the Grant is Live if the code was redeemed.
func (i *Issuer) ByCode(ctx context.Context, code string) (*Grant, Family, error) {
	if _, err := i.tokens.read(kindCode, code, familySize); err != nil {
		return nil, Family{}, err
	}
	f := familyOf(code)
	g, err := i.ByFamily(ctx, f)
	return g, f, err
}

// ByFamily finds the record of a family, or ErrNone.
func (i *Issuer) ByFamily(ctx context.Context, f Family) (*Grant, error) {
	key := i.keyOf(f)
	value, err := i.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("grant: reading a record: %w", err)
	}
	return i.open(f, key, value)
}

// open refuses a record that was sealed with a removed key, was stored under another key, or is
// too old.
func (i *Issuer) open(f Family, key string, value []byte) (*Grant, error) {
	g := &Grant{Family: f, raw: value, key: key}
	if !i.tokens.open(key, value, g) || !i.now().Before(g.Expires) {
		return nil, ErrNone
	}
	return g, nil
}

// Redeem turns a code that waits into a family that lives until the given time, with its first
// refresh token. Errors are ErrReused if the code was redeemed before, even a moment ago, and
// ErrNone if it is gone. g is the family afterwards.
func (i *Issuer) Redeem(ctx context.Context, g *Grant, data any, until time.Time) error {
	if g.Live {
		return ErrReused
	}
	next := *g
	next.Live, next.Expires = true, until
	err := i.swap(ctx, g, next, data)
	if errors.Is(err, errChanged) {
		return ErrReused
	}
	return err
}

// Update replaces the caller's data of a record. It fails with ErrReused if the record has changed
// since g was read.
func (i *Issuer) Update(ctx context.Context, g *Grant, data any) error {
	err := i.swap(ctx, g, *g, data)
	if errors.Is(err, errChanged) {
		return ErrReused
	}
	return err
}

var errChanged = errors.New("grant: the record has changed")

// swap replaces the record g by next and sets g to it. If data is nil, the data stays.
func (i *Issuer) swap(ctx context.Context, g *Grant, next Grant, data any) (err error) {
	if data != nil {
		if next.Data, err = json.Marshal(data); err != nil {
			return fmt.Errorf("grant: changing a record: %w", err)
		}
	}
	next.Expires = next.Expires.UTC().Truncate(time.Millisecond)
	value, err := i.tokens.seal(g.key, &next)
	if err != nil {
		return err
	}
	life := next.Expires.Sub(i.now()) + Skew
	if life <= 0 {
		return ErrNone
	}
	switch err = i.store.Swap(ctx, g.key, g.raw, value, life); {
	case errors.Is(err, store.ErrNotFound):
		return ErrNone
	case errors.Is(err, store.ErrExists):
		return errChanged
	case err != nil:
		return fmt.Errorf("grant: changing a record: %w", err)
	}
	next.raw = value
	*g = next
	return nil
}

// ByRefresh finds the family of a refresh token, and the token's generation. Errors are ErrForeign
// and ErrNone.
func (i *Issuer) ByRefresh(ctx context.Context, token string) (*Grant, uint64, error) {
	f, generation, err := i.tokens.readRefresh(token)
	if err != nil {
		return nil, 0, err
	}
	g, err := i.ByFamily(ctx, f)
	if err == nil && !g.Live {
		return nil, 0, ErrNone
	}
	return g, generation, err
}

// Rotate uses the refresh token of a generation up and returns its successor. ErrReused means that
// it was used before, and longer ago than Tolerance, or its successor was used, or has been
// returned twice; the caller ends the family. ErrNone means that the family has ended.
func (i *Issuer) Rotate(ctx context.Context, g *Grant, generation uint64) (refresh string, err error) {
	for range swaps {
		next := *g
		switch {
		case generation == g.Generation:
			next.Generation, next.Turned, next.Repeated = generation+1, i.now().UTC().Truncate(time.Millisecond), false
		case i.repeatable(g, generation):
			next.Repeated = true
		default:
			return "", ErrReused
		}
		switch err = i.swap(ctx, g, next, nil); {
		case err == nil:
			return i.Refresh(g), nil
		case !errors.Is(err, errChanged):
			return "", err
		}
		again, err := i.ByFamily(ctx, g.Family)
		if err != nil {
			return "", err
		}
		*g = *again
	}
	return "", fmt.Errorf("grant: rotating: %w", errChanged)
}

func (i *Issuer) repeatable(g *Grant, generation uint64) bool {
	age := i.now().Sub(g.Turned)
	return i.Tolerance > 0 && generation+1 == g.Generation && !g.Repeated && age <= i.Tolerance && age >= -Skew
}

// Refresh is the current refresh token of g.
func (i *Issuer) Refresh(g *Grant) string { return i.tokens.refresh(g.Family, g.Generation) }

// Terms are what an access token itself says. Without Narrow it is for all that its family was
// granted, with it for Scope alone, whose meaning is the caller's.
type Terms struct {
	Expires time.Time
	Narrow  bool
	Scope   byte
}

// Access issues an access token of a family.
func (i *Issuer) Access(f Family, t Terms) string { return i.tokens.access(f, t) }

// ByAccess finds the family of an access token, and its terms. Errors are ErrForeign and ErrNone.
func (i *Issuer) ByAccess(ctx context.Context, token string) (*Grant, Terms, error) {
	f, t, err := i.tokens.readAccess(token)
	if err != nil {
		return nil, Terms{}, err
	}
	if !i.now().Before(t.Expires) {
		return nil, Terms{}, ErrNone
	}
	g, err := i.ByFamily(ctx, f)
	if err == nil && !g.Live {
		return nil, Terms{}, ErrNone
	}
	return g, t, err
}

// Made reports whether a text was issued here, valid or not, without a lookup.
func (i *Issuer) Made(text string) bool {
	_, _, access := i.tokens.readAccess(text)
	_, _, refresh := i.tokens.readRefresh(text)
	_, code := i.tokens.read(kindCode, text, familySize)
	return access == nil || refresh == nil || code == nil
}

// End deletes a record, and with it the code or every token of the family. It returns the deleted
// record, nil if there was none: of any number of calls one gets it. It continues when ctx ends.
func (i *Issuer) End(ctx context.Context, f Family) (*Grant, error) {
	key := i.keyOf(f)
	value, err := i.store.Take(context.WithoutCancel(ctx), key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("grant: ending: %w", err)
	}
	g, err := i.open(f, key, value)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	return g, err
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}
