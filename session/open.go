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

// candidate is a cookie that verifies: a session that is known, or a ticket to
// ask the Store for one.
type candidate struct {
	entry  *entry
	ticket *ticket
	text   string
	old    bool
}

type candidates []candidate

// find opens the cookies. It returns the first that verifies, and in more the
// others that do.
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

// live is Load of a candidate, without the question about the membership.
func (c candidate) live(ctx context.Context, m *Manager, now time.Time) (*entry, error) {
	e, err := c.load(ctx, m, now)
	if err != nil {
		return nil, err
	}
	if m.ended(e) { // before the network
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

// only returns the one of several candidates that is still a session. One that
// has ended opens nothing, so that it does not matter whether it was planted: an
// old cookie of another path or domain, which the browser goes on sending, keeps
// nobody out. Two that live are refused, also of one person: it cannot be known
// which was planted (threats C3). One that cannot be judged now refuses them all.
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

// open finds what a cookie text stands for, from memory or from the text. It
// asks nobody. A ticket without a shared Store, left over from another
// configuration, is ErrForged: sign in.
func (m *Manager) open(text string, now time.Time) (candidate, error) {
	if e := m.cache.ask(text); e != nil {
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

// plausible finds what is wrong with a cookie that verifies.
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

// times makes an entry that knows its own times alone.
func (c Config) times(signedIn, sealed time.Time) *entry {
	e := &entry{sealed: sealed, begins: sealed.Add(-skew), expires: signedIn.Add(c.Lifetime)}
	e.seen.Store(sealed.UnixMilli())
	return e
}

// enter makes the entry of a session that verified.
func (m *Manager) enter(text string, s *Session, t *ticket, sealed time.Time, old bool) *entry {
	e := m.Config.times(s.SignedIn, sealed)
	e.text, e.origin, e.ticket, e.key, e.old = text, s, t, identity.KeyOf(&s.User, m.Service), old
	// Up to a fifth sooner, the same for every request of a session: sessions
	// that began together do not come due together (V10), and none later than
	// the configuration promises (C8).
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

// maxCarried is the most cookies of our name that a sign-out looks at. A page
// that is planted beside ours has no room for more in a Cookie header that
// servers take.
const maxCarried = 64

// Carried lists the sessions that live of all that one request carried under our
// cookie name, each once, for a sign-out: where Load refuses two that verify,
// since it cannot be known which one was planted, a person who signs out wants
// neither to go on. DingTalk is not asked.
//
// ErrStore: one cannot be judged now. ErrForged: there are more cookies than are
// looked at; nothing may be said of them.
func (m *Manager) Carried(ctx context.Context, texts []string) (all []*Session, err error) {
	m.init()
	if len(texts) > maxCarried {
		return nil, fmt.Errorf("%w: %d cookies of our name", ErrForged, len(texts))
	}
	for _, text := range texts {
		now := m.Time()
		c, err := m.open(text, now)
		if err != nil {
			continue
		}
		e, err := c.live(ctx, m, now)
		if errors.Is(err, ErrStore) { // one that was seen here can be ended here, and told to the others later
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
