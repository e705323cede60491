// Package mirror confirms memberships in bulk, by a copy of the directory that one
// replica reads for all.
//
//	lease ──► Read (everybody) ──► digests ──► Store, sealed
//	                                  │           │ every 5 s
//	             Confirms(user) ◄─────┴───────────┘ other replicas
//
// The copy contains a digest of each person, and no names. It proves only that the record of a
// person in the directory, when it was read, equals that of the session. A person who is missing
// in it, or whose record differs, is looked up by the caller: an incomplete copy costs calls, and
// ends no session.
package mirror

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

const (
	lookEvery    = 5 * time.Second // how often to check for readings of other replicas
	readWithin   = 30 * time.Minute
	pause        = time.Minute      // after a reading that failed
	pauseRefused = 10 * time.Minute // after one that fails until a setting is changed
	maxPeople    = 100_000
	skew         = time.Minute // how far another replica's clock may be ahead
)

// Mirror holds the copy and renews it. Set the fields, then share the pointer; safe
// for concurrent use.
type Mirror struct {
	// Read calls each for every member of the organisation, from data requested after the call. If
	// it returns an error, the whole reading is discarded.
	Read func(ctx context.Context, each func(identity.User)) error

	Fit   func(identity.User) (identity.User, error) // truncates a person to what a session can hold
	Every func() time.Duration                       // from the beginning of a reading to that of the next; 0: do not read
	Life  time.Duration                              // how long a reading confirms a person

	// Store is where one replica shares its reading with all, sealed by Keyring; nil if there is
	// only one replica. Name identifies the directory.
	Store   store.Store
	Keyring *keyring.Keyring
	Name    string

	// OnRead is called after each reading of this replica. If nil, it is not called.
	OnRead func(people int, took time.Duration, err error)
	Now    func() time.Time // nil is time.Now

	running  sync.Mutex // held by Run
	current  atomic.Pointer[edition]
	notUntil time.Time // start of the next reading; used by Run alone
	failed   bool      // the last try to get one; used by Run alone

	wanted  atomic.Int64 // a reading that began before this moment does not do, Unix nanoseconds; 0: any does
	waking  sync.Once
	awaking chan struct{}

	took    atomic.Int64
	results [3]atomic.Uint64
	answers [3]atomic.Uint64
}

// Result is how a reading of this replica ended.
type Result int

const (
	Done    Result = iota
	Refused        // a setting has to change, such as a missing permission
	Failed
)

// Answer is the result of looking a person up in the copy.
type Answer int

const (
	Confirmed Answer = iota
	Differs          // the record differs from the session's
	Absent
)

// Stats is for metrics.
type Stats struct {
	Read    time.Time // when the current reading began; zero if there is none
	People  int       // in it
	Took    time.Duration
	Results [3]uint64 // by Result
	Answers [3]uint64 // by Answer
}

// Stats may be called at any time, also on nil.
func (m *Mirror) Stats() (s Stats) {
	if m == nil {
		return s
	}
	if e := m.current.Load(); e != nil {
		s.Read, s.People = e.read, len(e.people)
	}
	s.Took = time.Duration(m.took.Load())
	for i := range s.Results {
		s.Results[i] = m.results[i].Load()
	}
	for i := range s.Answers {
		s.Answers[i] = m.answers[i].Load()
	}
	return s
}

// Inherit takes over the reading of old of the same directory.
func (m *Mirror) Inherit(old *Mirror) {
	if old != nil && old.Name == m.Name {
		m.current.Store(old.current.Load())
	}
}

func (m *Mirror) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Confirms returns when the current reading began if its record of u equals u. Otherwise it
// returns the zero time, which means only that u has to be looked up.
func (m *Mirror) Confirms(u *identity.User) time.Time {
	e := m.current.Load()
	if e == nil || u.Local || u.UnionID == "" {
		return time.Time{}
	}
	answer := e.says(u)
	m.answers[answer].Add(1)
	if answer != Confirmed {
		return time.Time{}
	}
	return e.read
}

// Want has Run read the directory again now, whatever Every says.
func (m *Mirror) Want(at time.Time) {
	m.wanted.Store(at.UnixNano())
	select {
	case m.wake() <- struct{}{}:
	default:
	}
}

// Wants reports that a reading is wanted which is neither in use nor given up.
func (m *Mirror) Wants() bool { return m.wanted.Load() != 0 }

func (m *Mirror) wake() chan struct{} {
	m.waking.Do(func() { m.awaking = make(chan struct{}, 1) })
	return m.awaking
}

// settled ends a Want: its reading is in use, or given up since the lists cannot be read
// now. It reports whether there was one.
func (m *Mirror) settled(began time.Time, givenUp bool) bool {
	wanted := m.wanted.Load()
	return wanted != 0 && (givenUp || began.UnixNano() >= wanted) && m.wanted.CompareAndSwap(wanted, 0)
}

// Run renews the copy until ctx ends; it calls changed when a newer one is in use, and
// when a Want is given up.
func (m *Mirror) Run(ctx context.Context, changed func()) {
	m.running.Lock()
	defer m.running.Unlock()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		newer := m.renew(ctx)
		if e := m.current.Load(); e != nil && m.settled(e.read, false) || newer {
			changed()
		} else if ctx.Err() == nil && (m.failed || m.now().Before(m.notUntil)) && m.settled(time.Time{}, true) {
			changed() // after a reading that failed, here or at another replica
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-m.wake():
		}
	}
}

// renew fetches another replica's reading, or reads the directory, if it is time.
func (m *Mirror) renew(ctx context.Context) (newer bool) {
	newer = m.fetch(ctx)
	if !m.due() {
		return newer
	}
	if m.Store == nil {
		return m.read(ctx) == nil || newer
	}
	looks := 0
	lease, err := store.AwaitLease(ctx, m.Store, m.key("lease"), func(ctx context.Context) (bool, error) {
		looks++
		newer = m.fetch(ctx) || newer
		return !m.due() || looks > 2, nil // another replica is reading: try again later
	})
	m.failed = err != nil
	if lease == nil || err != nil {
		return newer
	}
	err = m.read(ctx)
	lease.Release(err != nil && ctx.Err() == nil)
	return err == nil || newer
}

func (m *Mirror) due() bool {
	now := m.now()
	if now.Before(m.notUntil) {
		return false
	}
	every := m.Every()
	e := m.current.Load()
	if wanted := m.wanted.Load(); wanted != 0 && (e == nil || e.read.UnixNano() < wanted) {
		return true
	}
	if e != nil && now.Sub(e.read) < every && e.read.Sub(now) <= skew {
		return false
	}
	return every > 0
}

// read reads the directory and shares it.
func (m *Mirror) read(ctx context.Context) error {
	began := m.now()
	e, err := newEdition(began)
	if err == nil {
		reading, cancel := context.WithTimeout(ctx, readWithin)
		err = m.Read(reading, func(u identity.User) {
			if u, err := m.Fit(u); err == nil && len(e.people) < maxPeople {
				e.add(&u)
			}
		})
		cancel()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	took := m.now().Sub(began)
	m.took.Store(int64(took))
	result, wait := Done, time.Duration(0)
	if err != nil {
		result, wait = Failed, pause
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Operator {
			result, wait = Refused, pauseRefused
		}
	}
	m.results[result].Add(1)
	m.notUntil = m.now().Add(wait)
	if m.OnRead != nil {
		m.OnRead(len(e.people), took, err)
	}
	if err != nil {
		return err
	}
	m.current.Store(e)
	m.share(ctx, e)
	return nil
}
