package membership

import (
	"time"

	"dinggate/internal/bounded"
	"dinggate/internal/identity"
)

// Members is a bounded map of the people whose sessions are in use. If it is full, the
// person with the oldest request is evicted: their next request causes a lookup. Safe
// for concurrent use.
type Members struct {
	all *bounded.LRU[identity.Key, *Member]
}

// NewMembers makes an empty map for at most max people.
func NewMembers(max int) *Members {
	return &Members{bounded.NewLRU[identity.Key](max, func(p *Member) int64 { return p.used.Load() }, func(p *Member) { p.evicted.Store(true) })}
}

// Of finds or makes the member.
func (ms *Members) Of(key identity.Key, now time.Time) *Member {
	return ms.all.Of(key, func() *Member {
		p := &Member{key: key}
		p.used.Store(now.UnixMilli())
		return p
	})
}

// Matching lists the members whose profiles pass the test.
func (ms *Members) Matching(test func(identity.User) bool) (found []*Member) {
	for p := range ms.all.Values() {
		if known := p.profile.Load(); known != nil && test(known.User) {
			found = append(found, p)
		}
	}
	return found
}

// Newest returns the newest sign-in after the given time that was seen here of the members that pass
// the test; that time if there is none. It is cheap, also for thousands of leavers one by one.
func (ms *Members) Newest(after time.Time, test func(identity.User) bool) (at time.Time) {
	at = after
	for p := range ms.all.Values() {
		if p.signedIn.Load() <= at.UnixMilli() {
			continue
		}
		if known := p.profile.Load(); known != nil && test(known.User) {
			at = time.UnixMilli(p.signedIn.Load())
		}
	}
	return at
}

// Counts are the totals over all members.
type Counts struct {
	All     int
	Failing int // people whose lookups fail since the last that succeeded
	Overdue int // people of Oldest whose confirmation was older than recheck at their last request

	// Oldest is the age of the oldest confirmation, at the person's last request, of all people
	// with a recent request: within recheck, or the last two minutes. Local accounts are never
	// confirmed, and are not included.
	Oldest time.Duration
}

// Count counts the members.
func (ms *Members) Count(now time.Time, recheck time.Duration) (c Counts) {
	lately := now.Add(-max(recheck, 2*time.Minute)).UnixMilli()
	for p := range ms.all.Values() {
		if c.All++; p.Failing() {
			c.Failing++
		}
		known, used := p.profile.Load(), p.used.Load()
		if known == nil || known.User.Local || used < lately {
			continue
		}
		age := time.Duration(used-known.Checked.UnixMilli()) * time.Millisecond
		c.Oldest = max(c.Oldest, age)
		if age > recheck {
			c.Overdue++
		}
	}
	return c
}

// Sweep drops every member without a request since the given moment.
func (ms *Members) Sweep(since time.Time) { ms.all.Sweep(since.UnixMilli()) }
