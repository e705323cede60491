package membership

import (
	"time"

	"dinggate/internal/bounded"
	"dinggate/internal/identity"
)

// Members is a bounded map of the people whose sessions are in use. A full one
// forgets the person who has been away for longest: their next request finds out
// again. Safe for concurrent use.
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

// Count is the number of members, and of those whose lookups fail since the last
// that succeeded.
func (ms *Members) Count() (all, failing int) {
	for p := range ms.all.Values() {
		if all++; p.Failing() {
			failing++
		}
	}
	return all, failing
}

// Sweep drops everybody who has not been here since the given moment.
func (ms *Members) Sweep(since time.Time) { ms.all.Sweep(since.UnixMilli()) }
