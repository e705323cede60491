package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
)

// A session whose sign-in yielded a refresh token keeps its access token fresh:
//
//	got              expires − early      expires              expires + grace
//	 ├───── fresh ─────────┼─ refreshed in ──┼─ a request waits ────┼─ ErrUnconfirmed
//	                         the background     for the refresh
//
// There is one refresh per session, across tabs and, with a shared Store,
// replicas; a refresh token that was traded in is never sent again. Failures
// move the last border to grace after the first of them; a refusal ends the
// session at once.
const refreshEarly = 30 * time.Second // or a quarter of the token's life, if that is less

// tokenState is the token of one session, shared by all cookie texts that stand for
// it: a cookie sealed before a refresh holds a token that is used up.
type tokenState struct {
	id      string
	ticket  *ticket // nil: the cookie carries the session
	expires time.Time

	token atomic.Pointer[identity.Token] // the newest that may be used
	due   atomic.Int64                   // when to refresh it, Unix milliseconds
	used  atomic.Int64                   // about when a request last came, Unix milliseconds

	mu       sync.Mutex      // held for moments
	rotated  *identity.Token // got, but not stored yet
	failing  time.Time       // first failure since the last success; zero: none
	attempts int
	next     time.Time // no attempt before this
	flight   chan struct{}
}

// tokenStates is a bounded map. A full one forgets the session that was not used for
// longest; the Store, or the cookie, still knows the token.
type tokenStates struct {
	max int

	mu  sync.Mutex
	all map[string]*tokenState
}

// of finds or makes the keep of e, which has just verified. Of the token that is
// known and the one that e brings, the one that lives longer is the newer.
func (ks *tokenStates) of(e *entry, now time.Time) *tokenState {
	t := e.origin.Token
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k := ks.all[e.origin.ID]
	if k == nil {
		if len(ks.all) >= ks.max {
			ks.evict()
		}
		k = &tokenState{id: e.origin.ID, ticket: e.ticket, expires: e.expires}
		ks.all[k.id] = k
		k.set(t, e.origin.SignedIn)
	} else if t.Expires.After(k.token.Load().Expires) {
		k.set(t, e.sealed)
	}
	k.used.Store(now.UnixMilli())
	return k
}

func (ks *tokenStates) evict() {
	var oldest *tokenState
	sample := 0
	for _, k := range ks.all {
		if oldest == nil || k.used.Load() < oldest.used.Load() {
			oldest = k
		}
		if sample++; sample == 64 {
			break
		}
	}
	if oldest != nil {
		delete(ks.all, oldest.id)
	}
}

// sweep drops the keeps of sessions past their lifetime.
func (ks *tokenStates) sweep(now time.Time) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	for id, k := range ks.all {
		if !now.Before(k.expires) {
			delete(ks.all, id)
		}
	}
}

// set makes t the token to use; got is when it was made.
func (k *tokenState) set(t identity.Token, got time.Time) {
	k.token.Store(&t)
	due := t.Expires.Add(-min(refreshEarly, max(0, t.Expires.Sub(got)/4)))
	k.due.Store(due.UnixMilli())
}

// keepToken remembers the token of a session that may be refreshed.
func (m *Manager) keepToken(e *entry, now time.Time) {
	if t := e.origin.Token; m.Refresh != nil && t.Refresh != "" && !t.Expires.IsZero() {
		e.keep = m.tokenStates.of(e, now)
	}
}

// keepFresh sees to it that a session's token can be used, and returns what is
// left of the patience. The only error is ErrUnconfirmed.
func (m *Manager) keepFresh(ctx context.Context, e *entry, now time.Time, patience time.Duration) (time.Duration, error) {
	k := e.keep
	if now.UnixMilli() < k.due.Load() {
		return patience, nil
	}
	k.used.Store(now.UnixMilli())
	flight := m.refreshSoon(e, now)
	if now.Before(k.token.Load().Expires) {
		return patience, nil
	}
	if flight != nil {
		waiting, cancel := context.WithTimeout(ctx, patience)
		select {
		case <-flight:
		case <-waiting.Done():
		}
		cancel()
		patience = max(0, patience-m.now().Sub(now))
		now = m.now()
	}
	limit := k.token.Load().Expires.Add(m.Config.Grace)
	k.mu.Lock()
	if !k.failing.IsZero() && k.failing.Before(limit) {
		limit = k.failing.Add(m.Config.Grace)
	}
	k.mu.Unlock()
	if now.Before(k.token.Load().Expires) || now.Before(limit) || m.revoked.ended(k.id) {
		return patience, nil
	}
	return 0, ErrUnconfirmed
}

// refreshSoon makes sure that a refresh runs, unless one has just failed. It
// never blocks; nil means that none runs.
func (m *Manager) refreshSoon(e *entry, now time.Time) <-chan struct{} {
	k := e.keep
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil || now.Before(k.next) || now.UnixMilli() < k.due.Load() {
		return k.flight
	}
	flight := make(chan struct{})
	land := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.flight = nil
		close(flight)
	}
	if m.start(func() { defer land(); m.refresh(e) }) {
		k.flight = flight
		return flight
	}
	return nil
}

// refresh gets a new token and draws the consequence.
func (m *Manager) refresh(e *entry) {
	ctx, cancel := context.WithTimeout(m.base, lookupTimeout)
	defer cancel()
	k := e.keep
	select {
	case m.refreshSlots <- struct{}{}:
		defer func() { <-m.refreshSlots }()
	case <-ctx.Done():
		return
	}
	err := m.renewToken(ctx, k)
	if err == nil || m.base.Err() != nil {
		return
	}
	k.mu.Lock()
	at := m.now()
	if k.failing.IsZero() {
		k.failing = at
	}
	k.next = at.Add(backoff(k.attempts, m.Config.Recheck))
	k.attempts++
	k.mu.Unlock()
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		reason := f.Code
		if reason == "" {
			reason = "refresh_refused"
		}
		_ = m.revoke(ctx, k.id, m.of(e.origin, revocation{reason: reason})) // a failing store is updated later
		m.audit(e.origin, reason)
	}
}

// renewToken brings the token that another replica has got, or trades ours in.
// What comes is in the Store before anybody uses it: a replica that dies takes
// no refresh token with it that the service has already replaced.
func (m *Manager) renewToken(ctx context.Context, k *tokenState) (err error) {
	if m.Store == nil {
		return m.refreshToken(ctx, k)
	}
	found := func(ctx context.Context) (bool, error) {
		t, err := m.readToken(ctx, k)
		if err == nil && t != nil && t.Expires.After(k.token.Load().Expires) {
			k.learn(*t, m.now())
			return m.now().UnixMilli() < k.due.Load(), nil
		}
		return false, err
	}
	if !m.shared() {
		if done, err := found(ctx); done || err != nil {
			return err
		}
		return m.refreshToken(ctx, k)
	}
	l, err := m.await(ctx, m.recordKey("lease", "token", k.id), found)
	if l == nil {
		return err
	}
	err = m.refreshToken(ctx, k)
	l.end(err != nil)
	return err
}

// refreshToken asks Refresh, unless it has answered before and the answer could only
// not be stored.
func (m *Manager) refreshToken(ctx context.Context, k *tokenState) error {
	k.mu.Lock()
	t := k.rotated
	k.mu.Unlock()
	if t == nil {
		got, err := m.Refresh(ctx, k.token.Load().Refresh)
		if err != nil {
			return err
		}
		if got.Access == "" || got.Expires.IsZero() || !got.Expires.After(m.now()) {
			return &identity.Failure{Class: identity.Internal, Code: "bad_answer", Err: errors.New("a refreshed token that cannot be used")}
		}
		if got.Refresh == "" {
			got.Refresh = k.token.Load().Refresh // a service that does not rotate
		}
		got.Expires = got.Expires.UTC().Truncate(time.Millisecond)
		t = &got
		k.mu.Lock()
		k.rotated = t
		k.mu.Unlock()
	}
	if err := m.writeToken(ctx, k, *t); err != nil {
		return err
	}
	k.learn(*t, m.now())
	return nil
}

// learn makes t count and ends a row of failures.
func (k *tokenState) learn(t identity.Token, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(t, now)
	k.rotated, k.failing, k.attempts, k.next = nil, time.Time{}, 0, time.Time{}
}
