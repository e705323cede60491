package session

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
)

// profile are what was last confirmed about a person. Immutable.
type profile struct {
	user    identity.User
	checked time.Time
}

// member is what all sessions of one person share: facts, so that a change
// decides in all of them at once (threats C8), and the state of the recheck, so
// that there is one per person and not one per request (V7, V10).
type member struct {
	key     name
	facts   atomic.Pointer[profile]
	used    atomic.Int64 // about when a request last came, Unix milliseconds
	evicted atomic.Bool  // no longer in the map: look the person up again
	doubted atomic.Int64 // facts confirmed before this moment are not fresh, Unix milliseconds; 0: none are doubted

	mu       sync.Mutex    // held for moments, never while a lookup runs
	failing  time.Time     // first failure since the last success; zero: none
	attempts int           // since then
	next     time.Time     // no attempt before this
	after    time.Time     // another replica's facts must be from after this
	flight   chan struct{} // closed when the lookup that runs is over; nil: none runs
}

// newer reports whether facts confirmed at a count more than those confirmed at b:
// later ones do, and any do more than those of a future that the clock was set
// back from, which would else stand until it comes again (threats V18).
func newer(a, b, now time.Time) bool {
	return a.After(b) || b.Sub(now) > skew && a.Sub(now) <= skew
}

// learn takes facts that are newer than the known ones and ends a row of
// failures. It reports whether what is known of the person changed.
func (p *member) learn(u identity.User, checked, now time.Time) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.facts.Load()
	if known != nil && !newer(checked, known.checked, now) {
		return false
	}
	p.facts.Store(&profile{u, checked})
	p.failing, p.attempts, p.next = time.Time{}, 0, time.Time{}
	return known != nil && !reflect.DeepEqual(known.user, u)
}

// doubt makes what is known until now not fresh, whatever its age. since is when
// the reason came up, by the clock of the replica that heard of it first.
func (p *member) doubt(since, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since.After(p.after) {
		p.after = since
	}
	p.doubted.Store(now.UnixMilli())
}

func (p *member) since() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

// failed notes a lookup that brought no answer. The first failure of a row
// stays the first: grace does not slide (V9).
func (p *member) failed(at time.Time, recheck time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing.IsZero() {
		p.failing = at
	}
	p.next = at.Add(backoff(p.attempts, recheck))
	p.attempts++
}

func (p *member) isFailing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.failing.IsZero()
}

// postponed notes a lookup that did not take place: no failure, and soon again.
func (p *member) postponed(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = at.Add(time.Second + rand.N(2*time.Second))
}

// people is a bounded map of persons. A full one forgets somebody who has not
// been here for long: their next request finds out again.
type people struct {
	max int

	mu  sync.RWMutex
	all map[name]*member
}

// of finds or makes the person.
func (p *people) of(key name, now time.Time) *member {
	p.mu.RLock()
	one := p.all[key]
	p.mu.RUnlock()
	if one != nil {
		return one
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.all[key]; one != nil {
		return one
	}
	if len(p.all) >= p.max {
		p.evict()
	}
	one = &member{key: key}
	one.used.Store(now.UnixMilli())
	p.all[key] = one
	return one
}

// evict drops the longest unused of a sample; a map is walked from a random place.
func (p *people) evict() {
	var oldest *member
	sample := 0
	for _, one := range p.all {
		if oldest == nil || one.used.Load() < oldest.used.Load() {
			oldest = one
		}
		if sample++; sample == 64 {
			break
		}
	}
	if oldest != nil {
		oldest.evicted.Store(true)
		delete(p.all, oldest.key)
	}
}

// matching lists the persons whose newest facts pass the test.
func (p *people) matching(test func(identity.User) bool) []*member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var found []*member
	for _, one := range p.all {
		if known := one.facts.Load(); known != nil && test(known.user) {
			found = append(found, one)
		}
	}
	return found
}

// sweep drops everybody who has not been here since the given moment.
func (p *people) sweep(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, one := range p.all {
		if one.used.Load() < since.UnixMilli() {
			one.evicted.Store(true)
			delete(p.all, key)
		}
	}
}
