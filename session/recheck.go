package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// How a membership stands:
//
//	confirmed         recheck            recheck + grace
//	    ├───── fresh ────┼────── stale ────────┼───── overdue ──►
//	                     looked up again       a request waits for the lookup,
//	                     in the background     else ErrUnconfirmed
//
// Failures move the right border to grace after the first of them. Wherever it
// is, an answer "not a member" ends every session of the person at once.
type standing int

const (
	overdue standing = iota // nothing confirms this person: the zero value denies
	stale                   // allowed, look again
	fresh
)

// lookupTimeout is the longest that one Recheck may take, with the wait for
// another replica that does it.
const lookupTimeout = 10 * time.Second

// standing is the state of the membership for a session that was confirmed
// at the given moment.
func (m *Manager) standing(p *member, checked time.Time, recheck time.Duration, now time.Time) standing {
	age := now.Sub(checked)
	if -skew <= age && age < recheck && checked.UnixMilli() >= p.doubted.Load() {
		return fresh
	}
	limit := checked.Add(m.Config.Recheck + m.Config.Grace)
	p.mu.Lock()
	failing := p.failing
	p.mu.Unlock()
	if !failing.IsZero() && failing.Before(limit) {
		limit = failing.Add(m.Config.Grace)
	}
	if now.Before(limit) {
		return stale
	}
	return overdue
}

// confirm lets a session pass, starts a lookup for it, or waits for one.
func (m *Manager) confirm(ctx context.Context, e *entry, now time.Time, patience time.Duration) (*Session, error) {
	s, p := m.view(e, now)
	if m.Recheck == nil {
		return s, nil
	}
	switch m.standing(p, s.Checked, e.recheck, now) {
	case fresh:
		return s, nil
	case stale:
		m.lookUp(p, s, now)
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	flight, due := m.lookUp(p, s, now)
	if flight == nil && due { // all places are taken
		select {
		case m.recheckSlots <- struct{}{}:
			flight = m.launch(p, s, m.now())
		case <-ctx.Done():
		}
	}
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
		}
	}
	now = m.now()
	if reason, out := m.endOf(s); out {
		m.audit(s, reason)
		return nil, ErrRevoked
	}
	s, p = m.view(e, now)
	if m.standing(p, s.Checked, e.recheck, now) == overdue {
		return nil, ErrUnconfirmed
	}
	return s, nil
}

// lookUp makes sure that a lookup for p runs if one is due and there is a place
// for it. It never blocks. flight is nil when none runs; due reports that one is
// wanted then.
func (m *Manager) lookUp(p *member, s *Session, now time.Time) (flight <-chan struct{}, due bool) {
	p.mu.Lock()
	running, next := p.flight, p.next
	p.mu.Unlock()
	if running != nil {
		return running, true
	}
	if now.Before(next) {
		return nil, false
	}
	// A quarter of the places is for those who have waited long: when more people
	// are due than DingTalk lets us ask about, chance alone would leave a few
	// waiting until their requests are refused.
	young := now.Sub(s.Checked) < m.Config.Recheck+m.Config.Grace/2 && p.doubted.Load() == 0
	if young && len(m.recheckSlots) >= cap(m.recheckSlots)-cap(m.recheckSlots)/4 {
		return nil, true
	}
	select {
	case m.recheckSlots <- struct{}{}:
		return m.launch(p, s, now), false
	default:
		return nil, true
	}
}

// launch starts the lookup; the caller has taken a place in m.slots, which
// launch gives back. Whatever happened since the caller looked counts: a lookup
// that runs, one that has just failed, one that has just answered.
func (m *Manager) launch(p *member, s *Session, now time.Time) <-chan struct{} {
	p.mu.Lock()
	known := p.facts.Load()
	if p.flight != nil || now.Before(p.next) || known != nil && known.checked.After(s.Checked) {
		defer p.mu.Unlock()
		<-m.recheckSlots
		return p.flight
	}
	flight := make(chan struct{})
	p.flight = flight
	p.mu.Unlock()
	land := func() {
		p.mu.Lock()
		p.flight = nil
		p.mu.Unlock()
		close(flight)
		<-m.recheckSlots
	}
	if !m.start(func() { defer land(); m.recheck(p, s) }) {
		land() // Run has ended
	}
	return flight
}

// RecheckUser has a person looked up again now, because something is said to
// have changed. Whoever is not known here has nothing to be looked up for; what
// cannot start now starts with the person's next request. It never waits.
//
// Every replica does the same; with a Store one lookup serves them all.
func (m *Manager) RecheckUser(who Person) {
	m.init()
	if len(who.names()) == 0 {
		return
	}
	now := m.now()
	m.invalidate(m.is(who), now, now)
	m.tellLater(event{kind: lookAgain, at: now, who: who})
}

// RecheckPlaces is RecheckUser for everybody who is known to be in one of these
// departments, or below it, or to have one of these roles.
func (m *Manager) RecheckPlaces(places Places) {
	m.init()
	now := m.now()
	m.invalidate(places.concern, now, now)
	for d, r := places.Departments, places.Roles; len(d)+len(r) > 0; {
		part := Places{Departments: d[:min(len(d), maxPlaces)], Roles: r[:min(len(r), maxPlaces)]}
		d, r = d[len(part.Departments):], r[len(part.Roles):]
		m.tellLater(event{kind: placesChanged, at: now, places: part})
	}
}

// tellLater informs the other replicas without waiting.
func (m *Manager) tellLater(n event) {
	if m.Journal == nil {
		return
	}
	l := pendingWrite{entry: m.entry(n), until: n.at.Add(m.Config.Recheck)} // by then everybody was looked up anyway
	if !m.start(func() { _ = m.send(m.base, l, "telling the others") }) {
		m.outbox.add(l)
	}
}

// invalidate has the people who pass the test looked up again. Facts that another
// replica finds after the given moment will do.
func (m *Manager) invalidate(test func(identity.User) bool, since, now time.Time) {
	if m.Recheck == nil {
		return
	}
	for _, p := range m.people.matching(test) {
		p.doubt(since, now)
		if m.Refresh != nil {
			continue // the question needs a token: the next request brings one
		}
		known := p.facts.Load()
		m.lookUp(p, &Session{Realm: m.Realm, User: known.user, Checked: known.checked}, now)
	}
}

// recheck asks about one person and draws the consequence.
func (m *Manager) recheck(p *member, s *Session) {
	ctx, cancel := context.WithTimeout(m.base, lookupTimeout)
	defer cancel()
	doubted := p.doubted.Load()
	found, own, err := m.ask(ctx, p, s)
	if err == nil {
		changed := m.learn(p, found.user, found.checked)
		p.doubted.CompareAndSwap(doubted, 0) // answered, whatever the clocks of other replicas say
		if own && changed {
			m.tellLater(event{kind: lookAgain, at: found.checked, who: p.key.person()}) // they find it in the Store
		}
		return
	}
	if m.base.Err() != nil {
		return // our own end says nothing about DingTalk
	}
	if errors.Is(err, store.ErrLimited) {
		p.postponed(m.now())
		return
	}
	p.failed(m.now(), m.Config.Recheck)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		reason := f.Code
		if reason == "" {
			reason = "refused"
		}
		_ = m.end(ctx, p.key.person(), reason) // a store that is ill answers ErrStore to every replica's next request anyway
		m.audit(s, reason)
	}
}

// ask calls Recheck, unless another replica has just done so; own reports which.
func (m *Manager) ask(ctx context.Context, p *member, s *Session) (found *profile, own bool, err error) {
	if !m.shared() {
		found, err = m.question(ctx, p, s)
		return found, true, err
	}
	young := m.now().Add(-m.Config.Recheck / 2)
	if since := p.since(); since.After(young) {
		young = since
	}
	l, err := m.await(ctx, m.nameKey("lease", p.key), func(ctx context.Context) (bool, error) {
		known, err := m.readFacts(ctx, p.key)
		if err == nil && known != nil && !known.checked.Before(young) {
			found = known
		}
		return found != nil, err
	})
	if l == nil {
		return found, false, err
	}
	found, err = m.question(ctx, p, s)
	l.end(err != nil && !errors.Is(err, store.ErrLimited))
	return found, true, err
}

// question asks Recheck and makes sure that the answer is about the same person.
func (m *Manager) question(ctx context.Context, p *member, s *Session) (*profile, error) {
	at := m.now() // facts are as old as the question
	if m.Refresh != nil && s.Token.Access != "" && !s.Token.Expires.IsZero() && !at.Before(s.Token.Expires) {
		return nil, &identity.Failure{Class: identity.Later, Code: "token_expired"} // a refusal of it would say nothing about the person
	}
	user, err := m.Recheck(ctx, s)
	if err != nil {
		return nil, err
	}
	if got := m.personKey(&user); got != p.key {
		class := identity.Refused // a userid that went to somebody new keeps no session alive (threats K10)
		if got.text == "" || got.kind != p.key.kind {
			class = identity.Internal // half a record says nothing (K11)
		}
		return nil, &identity.Failure{Class: class, Code: "other_person"}
	}
	if user, err = m.fit(user); err != nil || user.Username == "" {
		return nil, &identity.Failure{Class: identity.Internal, Code: "bad_answer", Err: err}
	}
	m.shareFacts(ctx, p, user, at)
	return &profile{user, at}, nil
}

// learn makes facts count in every session of the person. Open connections
// be authorized again when something changed.
func (m *Manager) learn(p *member, u identity.User, checked time.Time) (changed bool) {
	if changed = p.learn(u, checked, m.now()); changed {
		m.watches.end(func(s *Session) bool { return m.personKey(&s.User) == p.key })
	}
	return changed
}

// backoff is how long to wait after a failure: one attempt per interval and
// person, with jitter so that people who failed together do not come back
// together.
func backoff(attempt int, recheck time.Duration) time.Duration {
	d := min(15*time.Second<<min(attempt, 3), recheck)
	return d + rand.N(d/5+1)
}
