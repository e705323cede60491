package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"dinggate/internal/identity"
)

// candidate is a cookie that verifies: a known session, or a ticket whose session has
// to be loaded from the Store.
type candidate struct {
	entry  *entry
	ticket *ticket
	text   string
	old    bool
}

type candidates []candidate

// find opens the cookies. It returns the first that verifies, and the others that do
// in more.
func (m *Manager) find(texts []string, now time.Time) (found candidate, more candidates, err error) {
	if len(texts) == 0 {
		return found, nil, ErrNone
	}
	if len(texts) > maxTexts {
		return found, nil, fmt.Errorf("%w: %d cookies of our name", ErrForged, len(texts))
	}
	worst, verified := ErrForged, 0
	for _, text := range texts {
		c, err := m.open(text, now)
		switch {
		case err == nil && verified > 0:
			more = append(more, c)
		case err == nil:
			found = c
			verified++
		case errors.Is(err, ErrExpired):
			worst = ErrExpired
		}
	}
	if verified == 0 {
		return candidate{}, nil, worst
	}
	return found, more, nil
}

// live is Load of a candidate, without the membership check.
func (c candidate) live(ctx context.Context, m *Manager, now time.Time) (*entry, error) {
	e, err := c.load(ctx, m, now)
	if err != nil {
		return nil, err
	}
	if m.ended(e) { // before any network call
		return nil, ErrRevoked
	}
	if err := m.freshness.settle(ctx, e, now); err != nil {
		return nil, err
	}
	if m.ended(e) {
		return nil, ErrRevoked
	}
	return e, nil
}

// only returns the one of several candidates that is still a session. Whether an ended
// session was planted does not matter, since it grants nothing: an old cookie of
// another path or domain, which the browser continues to send, does not block the
// valid one. Two valid ones are refused, also of one person: it cannot be determined
// which was planted (threats C3). One whose state is unknown causes all to be refused.
func (all candidates) only(ctx context.Context, m *Manager, now time.Time) (found *entry, err error) {
	for _, c := range all {
		e, err := c.live(ctx, m, now)
		switch {
		case err == nil && found != nil:
			return nil, fmt.Errorf("%w: several cookies of our name verify", ErrForged)
		case err == nil:
			found = e
		case !errors.Is(err, ErrRevoked) && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrForged):
			return nil, err
		}
	}
	if found == nil {
		return nil, ErrRevoked
	}
	return found, nil
}

// open returns the session or ticket of a cookie text, from the cache or by opening it. It makes
// no network call. A ticket without a shared Store, from another configuration, is ErrForged: sign
// in.
func (m *Manager) open(text string, now time.Time) (candidate, error) {
	if e := m.cache.lookUp(text); e != nil {
		if e.over(m.Config.Idle, now) {
			return candidate{}, ErrExpired
		}
		return candidate{entry: e}, nil
	}
	place, value := placeOf(text)
	plain, old, err := m.Keyring.Open(purpose, m.At(place).sealName(), value)
	if err != nil {
		return candidate{}, ErrForged
	}
	if plain[0] == ticketVersion && m.Config.shared() {
		t, err := decodeTicket(plain)
		if err == nil {
			err = plausible(m.Realm, t.realm, now, t.signedIn, t.sealed)
		}
		if err != nil {
			return candidate{}, err
		}
		if m.Config.times(t.signedIn, t.sealed).over(m.Config.Idle, now) {
			return candidate{}, ErrExpired
		}
		return candidate{ticket: t, text: text, old: old}, nil
	}
	s, sealed, err := decode(plain, maxPlain)
	if err == nil && s.User.Username == "" {
		err = fmt.Errorf("%w: without a username", ErrForged)
	}
	if err == nil {
		err = plausible(m.Realm, s.Realm, now, s.SignedIn, s.Checked, sealed)
	}
	if err != nil {
		return candidate{}, err
	}
	e := m.enter(text, s, nil, sealed, old)
	if e.over(m.Config.Idle, now) {
		return candidate{}, ErrExpired
	}
	return candidate{entry: m.remember(e, now)}, nil
}

// Opens reports whether one of the current secrets of m opens one of these cookie texts. It
// does not check whether the session has ended.
func Opens(m *Manager, texts []string) bool {
	for _, text := range texts[:min(len(texts), maxTexts)] {
		place, value := placeOf(text)
		if _, _, err := m.Keyring.Open(purpose, m.At(place).sealName(), value); err == nil {
			return true
		}
	}
	return false
}

// plausible checks the content of a cookie that verifies.
func plausible(ours, realm string, now time.Time, times ...time.Time) error {
	for _, t := range times {
		if t.Sub(now) > skew {
			return fmt.Errorf("%w: its time has not come", ErrForged)
		}
	}
	if ours == "" || realm != ours {
		return fmt.Errorf("%w: of another realm", ErrForged)
	}
	return nil
}

// times makes an entry with the times only.
func (c Config) times(signedIn, sealed time.Time) *entry {
	e := &entry{sealed: sealed, begins: sealed.Add(-skew), expires: signedIn.Add(c.Lifetime)}
	e.seen.Store(sealed.UnixMilli())
	return e
}

// enter makes the entry of a session that verified.
func (m *Manager) enter(text string, s *Session, t *ticket, sealed time.Time, old bool) *entry {
	e := m.Config.times(s.SignedIn, sealed)
	e.text, e.origin, e.ticket, e.key, e.old = text, s, t, identity.KeyOf(&s.User, m.Service), old
	// Up to a fifth earlier, the same for every request of a session: sessions that
	// began together are not due together (V10), and none is due later than configured
	// (C8).
	e.recheck = m.Config.Recheck - m.Config.Recheck/5*jitter(s.ID)/256
	s.Headers = m.Headers.render(&s.User, s.Token)
	s.entry = e
	e.view.Store(s)
	return e
}

// jitter is a number below 256, random for each session and the same in every replica.
func jitter(id string) time.Duration {
	var raw [3]byte
	if _, err := base64.RawURLEncoding.Decode(raw[:], []byte(id[:4])); err != nil {
		return 0
	}
	return time.Duration(raw[0])
}

// maxPresented is the maximum number of cookies of our name that a sign-out processes. A page that
// plants cookies cannot fit more into a Cookie header that servers accept.
const maxPresented = 64

// Presented lists the valid sessions of all cookies of our name in one request, each once, for a
// sign-out: Load refuses two valid ones, since it cannot be determined which one was planted, but
// a person who signs out wants to end both. DingTalk is not called.
//
// ErrStore: the state of one is unknown. ErrForged: there are more cookies than are
// processed, so that the result would be incomplete.
func (m *Manager) Presented(ctx context.Context, texts []string) (all []*Session, err error) {
	m.init()
	if len(texts) > maxPresented {
		return nil, fmt.Errorf("%w: %d cookies of our name", ErrForged, len(texts))
	}
	for _, text := range texts {
		now := m.Time()
		c, err := m.open(text, now)
		if err != nil {
			continue
		}
		e, err := c.live(ctx, m, now)
		if errors.Is(err, ErrStore) { // a session seen by this process can be ended here, and the others notified later
			known, failed := c.load(ctx, m, now)
			if failed != nil || m.ended(known) || !m.freshness.outlives(known) {
				return nil, err
			}
			e, err = known, nil
		}
		if err != nil {
			continue
		}
		if s, _ := m.view(e, now); !slices.ContainsFunc(all, func(other *Session) bool { return other.ID == s.ID }) {
			all = append(all, s)
		}
	}
	return all, nil
}
