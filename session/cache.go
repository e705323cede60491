package session

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"

	gocache "github.com/patrickmn/go-cache"
)

// entry is what one cookie text that verified stands for. Everything without a
// lock in it is written before the entry is shared.
type entry struct {
	text    string       // the cookie
	origin  *Session     // as it is in the cookie, or in the Store's record
	ticket  *ticket      // the cookie is one; nil: it carries the whole session
	key     identity.Key // the person
	old     bool         // an older secret opened it
	sealed  time.Time    // when the cookie was made
	begins  time.Time    // before this the clock was set back since
	expires time.Time
	recheck time.Duration // jittered
	token   *tokenState   // its token is refreshed; nil: it is not

	seen       atomic.Int64                   // last request, Unix milliseconds; never before sealed
	offered    atomic.Pointer[identity.Token] // the newest token that a cookie took along
	renewed    atomic.Int64                   // last time Renew made a cookie of it, Unix milliseconds
	asked      atomic.Int64                   // when the Store last knew of no end, Unix milliseconds; 0: not yet
	asking     atomic.Bool                    // in the background
	epoch      atomic.Uint64                  // of the answer, see freshness
	generation atomic.Uint64                  // of the revocations at the last look
	accounts   atomic.Uint64                  // version of Manager.Accounts at the last look, and one
	member     atomic.Pointer[membership.Member]
	view       atomic.Pointer[Session] // origin with the newest profile
}

// untimely reports whether the session's lifetime is over, or has not begun. After
// a clock was set back it is unknown what it said in between, and a revocation of
// the person, which is from now, would not end a sign-in of the future (threats
// V18). A cookie that is not known yet is refused for the same reason.
func (e *entry) untimely(now time.Time) bool { return !now.Before(e.expires) || now.Before(e.begins) }

// over reports whether now is not the session's time, or nobody used it for long.
func (e *entry) over(idle time.Duration, now time.Time) bool {
	if e.untimely(now) {
		return true
	}
	if idle == 0 {
		return false
	}
	unused := now.UnixMilli() - e.seen.Load()
	return unused > idle.Milliseconds() || unused < -skew.Milliseconds()
}

// touch notes a request. Requests arrive in any order, so time only moves on.
func (e *entry) touch(now time.Time) {
	ms := now.UnixMilli()
	if seen := e.seen.Load(); ms > seen {
		e.seen.CompareAndSwap(seen, ms) // a loser lost to an equal moment
	}
}

// cache spares a known cookie the work of opening it: ask and you get a
// pointer, without an allocation and without a lock that waits for anything
// slow. Its keys are cookie texts themselves, but only ones that verified, so
// that nobody can fill it without sessions (threats D4). Expiry, idle time and
// revocation are not its business: they are looked at on every request.
//
// go-cache has no bound; max is one. A full cache stops remembering: sessions
// go on, at the price of opening their cookies each time.
type cache struct {
	max   int
	since time.Time      // it was made
	items *gocache.Cache // without a janitor: it could not be stopped

	hits, misses atomic.Uint64

	mu    sync.Mutex // one writer at a time keeps the bound exact
	swept time.Time
}

func newCache(max int, now time.Time) *cache {
	return &cache{max: max, since: now, items: gocache.New(gocache.NoExpiration, 0)}
}

func (c *cache) get(text string) *entry {
	if e, ok := c.items.Get(text); ok {
		return e.(*entry)
	}
	return nil
}

// ask is get, counted.
func (c *cache) ask(text string) *entry {
	e := c.get(text)
	if e == nil {
		c.misses.Add(1)
	} else {
		c.hits.Add(1)
	}
	return e
}

// put remembers e for ttl and returns the entry to use: of two requests that
// opened the same text at once both get the first one's.
func (c *cache) put(e *entry, ttl time.Duration, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items.ItemCount() >= c.max && now.Sub(c.swept) >= sweepEvery {
		c.swept = now // a sweep walks the whole map: not on every request of a full cache
		c.items.DeleteExpired()
	}
	if known := c.get(e.text); known != nil {
		return known
	}
	if ttl > 0 && c.items.ItemCount() < c.max {
		e.text = strings.Clone(e.text) // do not hold on to the request's header
		c.items.Set(e.text, e, ttl)
	}
	return e
}

func (c *cache) forget(text string) { c.items.Delete(text) }

func (c *cache) sweep() { c.items.DeleteExpired() }

// sweepEvery is how often at most a full map is walked for what has expired.
const sweepEvery = time.Second
