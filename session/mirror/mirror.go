// Package mirror confirms memberships in bulk, by a copy of the directory that one
// replica reads for all.
//
//	lease ──► Read (everybody) ──► digests ──► Store, sealed
//	                                  │           │ every 5 s
//	             Confirms(user) ◄─────┴───────────┘ other replicas
//
// The copy holds a digest of each person, no names. It can say one thing alone:
// that the directory, when it was read, said the same of a person as a session
// does. Somebody who is missing in it, or whose record differs, is looked up by the
// caller: an incomplete copy costs calls, and ends nothing.
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
	lookEvery    = 5 * time.Second // at what other replicas have read
	readWithin   = 30 * time.Minute
	pause        = time.Minute      // after a reading that failed
	pauseRefused = 10 * time.Minute // after one that somebody has to change a setting for
	maxPeople    = 100_000
	skew         = time.Minute // how far another replica's clock may be ahead
)

// Mirror is the copy, and what renews it. Set the fields, then share the pointer;
// safe for concurrent use.
type Mirror struct {
	// Read passes on everybody in the organisation; what it says was asked for after
	// the call. With an error nothing of it counts.
	Read func(ctx context.Context, each func(identity.User)) error

	Fit   func(identity.User) (identity.User, error) // cuts a person to what a session holds
	Every func() time.Duration                       // from the beginning of a reading to that of the next; 0: do not read
	Life  time.Duration                              // how long a reading confirms anybody

	// Store is where one replica reads for all, sealed by Keyring; nil: this process
	// is alone. Name says whose directory it is.
	Store   store.Store
	Keyring *keyring.Keyring
	Name    string

	// OnRead is called after each reading of this replica. Nil: nothing is reported.
	OnRead func(people int, took time.Duration, err error)
	Now    func() time.Time // nil: time.Now

	running  sync.Mutex // held by Run
	current  atomic.Pointer[edition]
	notUntil time.Time // of the next reading; Run's alone

	took    atomic.Int64
	results [3]atomic.Uint64
	answers [3]atomic.Uint64
}

// Result is how a reading of this replica ended.
type Result int

const (
	Done    Result = iota
	Refused        // somebody has to change a setting, such as a missing permission
	Failed
)

// Answer is what the copy said about a person.
type Answer int

const (
	Confirmed Answer = iota
	Differs          // the record is another one than the session knows
	Absent
)

// Stats is for metrics.
type Stats struct {
	Read    time.Time // when the reading that is in use began; zero: there is none
	People  int       // in it
	Took    time.Duration
	Results [3]uint64 // by Result
	Answers [3]uint64 // by Answer
}

// Stats may be asked at any time, also of nil.
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

// Inherit takes over what old has read of the same directory.
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

// Confirms is when the reading in use began, if it said of u what u says; otherwise
// the zero time, which means nothing but that u has to be looked up.
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

// Run renews the copy until ctx ends; changed is called when a newer one is in use.
func (m *Mirror) Run(ctx context.Context, changed func()) {
	m.running.Lock()
	defer m.running.Unlock()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		if m.renew(ctx) {
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// renew takes over what another replica has read, or reads, if it is time.
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
		return !m.due() || looks > 2, nil // another replica reads: come back later
	})
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
	if e := m.current.Load(); e != nil && now.Sub(e.read) < every && e.read.Sub(now) <= skew {
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
