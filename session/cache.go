package session

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"

	gocache "github.com/patrickmn/go-cache"
)

// entry is the cached result of verifying one cookie text. All fields that are not
// atomic are written before the entry is shared.
type entry struct {
	text    string       // the cookie
	origin  *Session     // as it is in the cookie, or in the Store's record
	ticket  *ticket      // set if the cookie is a ticket; nil: it carries the whole session
	key     identity.Key // the person
	old     bool         // an older secret opened it
	sealed  time.Time    // when the cookie was made
	begins  time.Time    // if the clock is before this, it was set back
	expires time.Time
	recheck time.Duration // jittered
	token   *tokenState   // the token that is refreshed; nil: there is none

	seen       atomic.Int64                   // last request, Unix milliseconds; never before sealed
	offered    atomic.Pointer[identity.Token] // the newest token that was sealed into a cookie
	renewed    atomic.Int64                   // last time Renew made a cookie for it, Unix milliseconds
	looked     atomic.Int64                   // when the Store last confirmed it, Unix milliseconds; 0: not yet
	looking    atomic.Bool                    // a background lookup in the Store is running
	unanswered atomic.Int64                   // when the last lookup failed, Unix milliseconds; 0: it did not
	epoch      atomic.Uint64                  // of the last lookup, see freshness
	generation atomic.Uint64                  // of the revocations at the last check
	accounts   atomic.Uint64                  // version of Manager.Accounts at the last check, plus one
	member     atomic.Pointer[membership.Member]
	view       atomic.Pointer[Session]    // origin with the newest profile
	client     atomic.Pointer[netip.Addr] // where the last request came from; nil: not known
}

// untimely reports whether the session's lifetime is over, or has not begun. After the
// clock was set back, a revocation of the person, which carries the present time,
// would not end a session that was signed in "later" (threats V18). A cookie that is
// not cached yet is refused for the same reason.
func (e *entry) untimely(now time.Time) bool { return !now.Before(e.expires) || now.Before(e.begins) }

// over reports whether the session is past its lifetime or its idle limit.
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

// touch records a request. Requests arrive in any order, so the time only increases.
func (e *entry) touch(now time.Time) {
	ms := now.UnixMilli()
	if seen := e.seen.Load(); ms > seen {
		e.seen.CompareAndSwap(seen, ms) // if this fails, another request of the same moment has set it
	}
}

// SeenFrom notes where the request came from that Load found s for, so that lists show
// it. It costs a comparison unless the address is another one.
func (s *Session) SeenFrom(client netip.Addr) {
	if s.entry == nil || !client.IsValid() {
		return
	}
	if known := s.entry.client.Load(); known == nil || *known != client {
		s.entry.moved(client)
	}
}

// moved is apart so that SeenFrom allocates nothing.
func (e *entry) moved(client netip.Addr) { e.client.Store(&client) }

// lastClient is where the last request came from; zero when not known.
func (e *entry) lastClient() netip.Addr {
	if known := e.client.Load(); known != nil {
		return *known
	}
	return netip.Addr{}
}

// cache holds sessions whose cookies have been verified, so that opening a cookie
// again is skipped: a hit costs no allocation and no lock that is held during anything
// slow. The keys are the cookie texts themselves, but only verified ones, so that a
// client without a session cannot fill it (threats D4). Expiry, idle time and
// revocation are checked on every request, not here.
//
// go-cache has no bound; max is one. A full cache adds nothing more: sessions
// continue, but their cookies are opened on each request.
type cache struct {
	max   int
	since time.Time      // when the cache was made
	items *gocache.Cache // without a janitor, which could not be stopped

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

// lookUp is get that counts hits and misses.
func (c *cache) lookUp(text string) *entry {
	e := c.get(text)
	if e == nil {
		c.misses.Add(1)
	} else {
		c.hits.Add(1)
	}
	return e
}

// put caches e for ttl and returns the entry to use: if two requests opened the same
// text at the same time, both get the entry of the first.
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
		e.text = strings.Clone(e.text) // do not retain the request's header
		c.items.Set(e.text, e, ttl)
	}
	return e
}

func (c *cache) forget(text string) { c.items.Delete(text) }

func (c *cache) sweep() { c.items.DeleteExpired() }

// sweepEvery is the shortest interval between two sweeps of a full map for expired
// entries.
const sweepEvery = time.Second
