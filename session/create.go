package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
)

// SignIn describes the sign-in that a session begins with.
type SignIn struct {
	User  identity.User
	Token identity.Token

	// Since is a time, by Manager.Time, before the provider was called: a revocation of the person
	// while the provider answers also ends this session (threats K18). Zero, or later than now, is
	// now.
	Since time.Time

	Silent bool // no click, QR code scan or password was involved

	Fingerprint uint64 // of a local account's password, see Accounts

	// For lists of sessions only: see Seen.
	Device string
	Client netip.Addr
}

// Create is Begin with a user and a token alone: the sign-in is now, and not silent.
func (m *Manager) Create(ctx context.Context, user identity.User, token identity.Token) (*Session, *http.Cookie, error) {
	return m.Begin(ctx, SignIn{User: user, Token: token})
}

// Begin begins a session under a new random id, so that a cookie planted before the
// sign-in gains nothing (threats C1). Its profile replaces that of all sessions of the
// person at once. It returns the session and its cookie for public_url's host. Data that does
// not fit into a cookie, or into a record of the shared Store, is truncated (see Config.Fit).
// After any error there is no session; ErrStore: the Store is unavailable.
func (m *Manager) Begin(ctx context.Context, in SignIn) (*Session, *http.Cookie, error) {
	m.init()
	now, token := m.Time(), in.Token
	user, err := m.Config.Fit(in.User)
	if err != nil {
		return nil, nil, fmt.Errorf("session: creating: the person %w", err)
	}
	if user.Username == "" || m.Realm == "" {
		return nil, nil, errors.New("session: creating: no username or no realm")
	}
	var id [idLength]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, nil, fmt.Errorf("session: creating: %w", err)
	}
	if in.Since.IsZero() || in.Since.After(now) {
		in.Since = now
	}
	since := time.UnixMilli(in.Since.UnixMilli()).UTC() // as in the cookie
	token.Expires = token.Expires.UTC().Truncate(time.Millisecond)
	s := &Session{
		ID:          base64.RawURLEncoding.EncodeToString(id[:]),
		Realm:       m.Realm,
		User:        user,
		Token:       token,
		SignedIn:    since,
		Checked:     since,
		Silent:      in.Silent,
		Fingerprint: in.Fingerprint,
	}
	s.SignedIn = order(m, s, in.Since)
	moment := s.SignedIn
	var t *ticket
	epoch, _ := m.freshness.epoch()
	if m.Config.shared() {
		if t, err = m.records.putSession(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	text, err := m.records.sealCookie(m.CookieName(), s, t, moment)
	if err != nil {
		return nil, nil, err
	}
	if m.OnTokenTruncated != nil && (s.Token.Access != token.Access || s.Token.Refresh != token.Refresh) {
		m.OnTokenTruncated(s)
	}
	e := m.enter(text, s, t, moment, false)
	if _, live := m.freshness.epoch(); live && m.Config.shared() {
		e.answered(now, epoch) // otherwise the first request looks it up: a revocation may have been missed
	}
	m.remember(e, now)
	endOvertaken(ctx, m, s, in.Since)
	m.index.enlist(s, &in, now)
	return s, until(m.Cookie.cookie(m.Secure, text), e.expires, now), nil
}

// order is the time of the sign-in that began at since: see revocation.Set.Order.
func order(m *Manager, s *Session, since time.Time) time.Time {
	one := revocation.Session{Fingerprint: s.Fingerprint}
	return time.UnixMilli(m.revoked.Order(since, one, s.keys(m.Service), apart).UnixMilli()).UTC()
}

// endOvertaken ends a new session if, while it was stored, an end of its person became known that
// does not end it by its time.
func endOvertaken(ctx context.Context, m *Manager, s *Session, since time.Time) {
	before := order(m, s, since)
	if !before.Before(s.SignedIn) {
		return
	}
	one := revocation.Session{SignedIn: before, Fingerprint: s.Fingerprint}
	if reason, out := m.revoked.Find(one, s.keys(m.Service)); out {
		// If the Store fails, the revocation is sent later.
		_ = m.revoke(ctx, s.ID, revocation.Revocation{Reason: reason, Who: s.key(m.Service), Since: s.SignedIn})
	}
}

// Renewable reports whether the cookie that s came with should be replaced: it was not
// sealed by the first secret, its profile or token is not the newest, or a quarter of
// the idle limit has passed. It is cheap.
func (m *Manager) Renewable(s *Session) bool {
	e, idle := s.entry, m.Config.Idle
	return e != nil && (e.old || idle > 0 && m.Time().Sub(e.sealed) > idle/4 ||
		e.ticket == nil && (s.Checked.After(e.origin.Checked) || s.Token != e.origin.Token))
}

// Renew returns the new cookie, or nil. Its lifetime ends when the old one's did, and
// the old cookie stays valid, so that concurrent requests do not fail (threats C15). A
// cookie that did not reach the browser is sent again after one minute at the
// earliest.
func (m *Manager) Renew(s *Session) *http.Cookie {
	if !m.Renewable(s) {
		return nil
	}
	m.init()
	e, now, pause := s.entry, m.Time(), time.Minute
	if idle := m.Config.Idle; idle > 0 {
		pause = min(pause, idle/4)
	}
	last := e.renewed.Load()
	if e.ticket == nil && s.Token != e.origin.Token && e.offer(s.Token) {
		last = 0 // an exchanged token is useless: renew at once
		e.renewed.Store(0)
	}
	if last != 0 && now.Sub(time.UnixMilli(last)) < pause || !e.renewed.CompareAndSwap(last, now.UnixMilli()) {
		return nil
	}
	again := *s
	if e.ticket == nil {
		again.User, _ = fitUser(s.User, maxUser) // one who does not fit is an error of sealCookie
	}
	place, _ := placeOf(e.text)
	cookies := m.At(place)
	value, err := m.records.sealCookie(cookies.sealName(), &again, e.ticket, now)
	if err != nil {
		return nil // the old cookie is still valid
	}
	return until(cookies.cookie(value), e.expires, now)
}

// offer reports whether t is a token that was not sealed into a cookie yet.
func (e *entry) offer(t identity.Token) bool {
	last := e.offered.Load()
	return (last == nil || *last != t) && e.offered.CompareAndSwap(last, &t)
}
