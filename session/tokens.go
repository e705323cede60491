package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
	"dinggate/store"

	"golang.org/x/sync/singleflight"
)

// tokens refresh the access tokens of sessions whose sign-in returned a refresh token:
//
//	got              expires − early      expires              expires + grace
//	 ├───── fresh ─────────┼─ refreshed in ──┼─ a request waits ────┼─ ErrUnconfirmed
//	                         the background     for the refresh
//
// There is one refresh per session, across tabs and, with a shared Store,
// replicas; a refresh token that was exchanged is never sent again. Failures
// move the last border to grace after the first of them; a refusal ends the
// session at once.
type tokens struct {
	records *records
	revoked *revocation.Set
	tasks   *tasks
	slots   chan struct{} // a slot for each running refresh

	// Both are taken over by a reload: otherwise two refreshes would exchange one refresh token.
	states  *tokenStates
	running *singleflight.Group // by session id

	// enabled reports whether there is a Manager.Refresh, refresh calls it, and
	// refused handles a refusal.
	enabled func() bool
	refresh func(ctx context.Context, refresh string) (identity.Token, error)
	refused func(ctx context.Context, s *Session, reason string)
}

const refreshEarly = 30 * time.Second // or a quarter of the token's life, if that is less

// tokenState is the token of one session, shared by all cookie texts that carry it: a
// cookie sealed before a refresh holds an exchanged token.
type tokenState struct {
	id      string
	ticket  *ticket // nil: the cookie carries the session
	expires time.Time

	token atomic.Pointer[identity.Token] // the newest usable token
	due   atomic.Int64                   // when to refresh it, Unix milliseconds
	used  atomic.Int64                   // approximate time of the last request, Unix milliseconds

	mu       sync.Mutex      // never held during a call
	rotated  *identity.Token // received, but not stored yet
	failing  time.Time       // first failure since the last success; zero: none
	attempts int
	next     time.Time // no attempt before this
}

// tokenStates evicts the least recently used session when it is full: the Store, or
// the cookie, still has the token.
type tokenStates = bounded.LRU[string, *tokenState]

func newTokens(max int) *tokens {
	used := func(k *tokenState) int64 { return k.used.Load() }
	return &tokens{states: bounded.NewLRU[string](max, used, nil), running: new(singleflight.Group)}
}

// add tracks the token of a session that may be refreshed. Of the known token and that
// of e, the one with the later expiry is the newer.
func (ts *tokens) add(e *entry, now time.Time) {
	t := e.origin.Token
	if !ts.enabled() || t.Refresh == "" || t.Expires.IsZero() {
		return
	}
	k := ts.states.Of(e.origin.ID, func() *tokenState {
		k := &tokenState{id: e.origin.ID, ticket: e.ticket, expires: e.expires}
		k.set(t, e.origin.SignedIn)
		k.used.Store(now.UnixMilli())
		return k
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.Expires.After(k.token.Load().Expires) {
		k.set(t, e.sealed)
	}
	k.used.Store(now.UnixMilli())
	e.token = k
}

// set makes t the current token; got is when it was issued.
func (k *tokenState) set(t identity.Token, got time.Time) {
	k.token.Store(&t)
	due := t.Expires.Add(-min(refreshEarly, max(0, t.Expires.Sub(got)/4)))
	k.due.Store(due.UnixMilli())
}

// keepFresh makes sure that a session's token is usable, and returns what remains of
// patience. The only error is ErrUnconfirmed.
func (ts *tokens) keepFresh(ctx context.Context, e *entry, now time.Time, patience time.Duration) (time.Duration, error) {
	k := e.token
	if now.UnixMilli() < k.due.Load() {
		return patience, nil
	}
	k.used.Store(now.UnixMilli())
	running := ts.start(e, now)
	if now.Before(k.token.Load().Expires) {
		return patience, nil
	}
	if running != nil {
		waiting, cancel := context.WithTimeout(ctx, patience)
		select {
		case <-running:
		case <-waiting.Done():
		}
		cancel()
		patience = max(0, patience-ts.records.now().Sub(now))
		now = ts.records.now()
	}
	grace := ts.records.config.Grace
	limit := k.token.Load().Expires.Add(grace)
	k.mu.Lock()
	if !k.failing.IsZero() && k.failing.Before(limit) {
		limit = k.failing.Add(grace)
	}
	k.mu.Unlock()
	if now.Before(k.token.Load().Expires) || now.Before(limit) || ts.revoked.Ended(k.id) {
		return patience, nil
	}
	return 0, ErrUnconfirmed
}

// start makes sure that a refresh is running, unless one has just failed. It never
// blocks; nil means that none is running.
func (ts *tokens) start(e *entry, now time.Time) <-chan singleflight.Result {
	if !e.token.wanted(now) {
		return nil
	}
	return ts.running.DoChan(e.token.id, func() (any, error) {
		// Again: a refresh may have ended since. Of many waiting requests none starts another call
		// to a service that hangs (threats D12).
		if e.token.wanted(ts.records.now()) {
			ts.tasks.run(func() { ts.run(e) })
		}
		return nil, nil
	})
}

// wanted reports whether a refresh is due that has not just failed.
func (k *tokenState) wanted(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !now.Before(k.next) && now.UnixMilli() >= k.due.Load()
}

// run gets a new token and applies the result.
func (ts *tokens) run(e *entry) {
	ctx, cancel := context.WithTimeout(ts.tasks.context, membership.LookupTimeout)
	defer cancel()
	k := e.token
	select {
	case ts.slots <- struct{}{}:
		defer func() { <-ts.slots }()
	case <-ctx.Done():
		return
	}
	err := ts.renew(ctx, k)
	if err == nil || ts.tasks.context.Err() != nil {
		return
	}
	k.mu.Lock()
	at := ts.records.now()
	if k.failing.IsZero() {
		k.failing = at
	}
	k.next = at.Add(membership.Backoff(k.attempts, ts.records.config.Recheck))
	k.attempts++
	k.mu.Unlock()
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		reason := f.Code
		if reason == "" {
			reason = "refresh_refused"
		}
		ts.refused(ctx, e.origin, reason)
	}
}

// renew reads the token that another replica has obtained, or exchanges ours. The new
// token is written to the Store before it is used: otherwise, a replica that crashes
// would lose the refresh token that replaced the exchanged one.
func (ts *tokens) renew(ctx context.Context, k *tokenState) (err error) {
	if ts.records.store == nil {
		return ts.exchange(ctx, k)
	}
	now := ts.records.now
	found := func(ctx context.Context) (bool, error) {
		t, err := ts.records.readToken(ctx, k)
		if err == nil && t != nil && t.Expires.After(k.token.Load().Expires) {
			k.learn(*t, now())
			return now().UnixMilli() < k.due.Load(), nil
		}
		return false, err
	}
	if !ts.records.config.shared() {
		if done, err := found(ctx); done || err != nil {
			return err
		}
		return ts.exchange(ctx, k)
	}
	lease, err := store.AwaitLease(ctx, ts.records.store, ts.records.key("lease", "token", k.id), found)
	if lease == nil {
		return err
	}
	err = ts.exchange(ctx, k)
	lease.Release(err != nil)
	return err
}

// exchange calls refresh, unless an earlier call succeeded and only storing its result
// failed.
func (ts *tokens) exchange(ctx context.Context, k *tokenState) error {
	now := ts.records.now
	k.mu.Lock()
	t := k.rotated
	k.mu.Unlock()
	if t == nil {
		got, err := ts.refresh(ctx, k.token.Load().Refresh)
		if err != nil {
			return err
		}
		if got.Access == "" || got.Expires.IsZero() || !got.Expires.After(now()) {
			unusable := errors.New("a refreshed token that cannot be used")
			return &identity.Failure{Class: identity.Internal, Code: "bad_answer", Err: unusable}
		}
		if got.Refresh == "" {
			got.Refresh = k.token.Load().Refresh // the service does not rotate refresh tokens
		}
		got.Expires = got.Expires.UTC().Truncate(time.Millisecond)
		t = &got
		k.mu.Lock()
		k.rotated = t
		k.mu.Unlock()
	}
	if err := ts.records.writeToken(ctx, k, *t); err != nil {
		return err
	}
	k.learn(*t, now())
	return nil
}

// learn makes t the current token and ends a series of failures.
func (k *tokenState) learn(t identity.Token, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(t, now)
	k.rotated, k.failing, k.attempts, k.next = nil, time.Time{}, 0, time.Time{}
}
