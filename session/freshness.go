package session

import (
	"context"
	"time"
)

// How long an answer of the Store counts. Ends, and people to look up again,
// arrive through the Journal within moments, so that no request has to ask; the
// limits below bound what a journal that fails unnoticed can cost:
//
//	journal live    0 ── certain ── 5 s ── ageing ── 10 s ── asked before the request passes
//	                                       asked again in the background
//	not live        0 ── certain ── 2 s ── asked before the request passes
//
// A session that is in use is asked about every 5 s in the background; one that
// comes back after 10 s waits for one answer. When the journal falls silent, a
// session may pass for 2 s more on what is known; after that the Store decides,
// and a Store that is ill is ErrStore. Without a Journal every request asks.
const (
	askAgain  = 5 * time.Second
	trustLive = 2 * askAgain
	trustDeaf = 2 * time.Second

	trustWatched = time.Minute // open connections, looked at by Run: as trustLive
)

type trust int

const (
	unknown trust = iota // ask and wait: the zero value
	ageing               // pass, and ask
	certain              // pass
)

// hearing reports whether the journal is live, and in which era: what was learned
// in another era may have changed unheard.
func (m *Manager) hearing() (era uint64, live bool) {
	state := m.liveEpoch.Load()
	return state>>1<<32 | uint64(uint32(m.revoked.lost.Load())), state&1 == 1
}

// setLive follows the journal's word. Losing it begins a new era.
func (m *Manager) setLive(live bool) {
	if state := m.liveEpoch.Load(); (state&1 == 1) != live {
		m.liveEpoch.Store(state + 1)
		if live {
			m.look() // what ended in the gap ends its connections now
		}
	}
}

// newEra has every session asked about again, because something was said that
// could not be understood.
func (m *Manager) newEra() { m.revoked.lost.Add(1) }

// trust is how much an earlier answer about e is worth; within is trustLive
// or trustWatched.
func (m *Manager) trust(e *entry, now time.Time, within time.Duration) trust {
	asked := e.asked.Load()
	switch {
	case asked == 0:
		return unknown
	case !m.shared():
		return certain // of a Store of this process alone: whatever ended later ended here
	case m.Journal == nil:
		return unknown
	}
	age := time.Duration(now.UnixMilli()-asked) * time.Millisecond
	era, live := m.hearing()
	learned := e.era.Load()
	live = live && era == learned
	switch {
	case age < -skew:
		return unknown // the clock was set
	case uint32(era) != uint32(learned):
		return unknown // an end was forgotten here, or not understood
	case live && age < within/2 || !live && age < trustDeaf:
		return certain
	case live && age < within:
		return ageing
	}
	return unknown
}

// answered notes that the Store knew e to live at the given moment.
func (e *entry) answered(at time.Time, era uint64) {
	e.era.Store(era)
	e.asked.Store(at.UnixMilli())
}

// flight is one question to the Store.
type flight struct {
	done chan struct{}
	err  error // written before done is closed
}

// settle makes sure that what is known here of the end of e is young enough.
// The only error is ErrStore.
func (m *Manager) settle(ctx context.Context, e *entry, now time.Time) error {
	if m.Store == nil && !m.shared() {
		return nil
	}
	switch m.trust(e, now, trustLive) {
	case certain:
		return nil
	case ageing:
		select {
		case m.storeSlots <- struct{}{}: // a place for a question nobody waits for
			if f, mine := e.board(); mine {
				if m.start(func() { m.fly(e, f); <-m.storeSlots }) {
					return nil
				}
				e.land(f, nil)
			}
			<-m.storeSlots
		default:
		}
		return nil
	}
	return m.revalidate(ctx, e)
}

// revalidate waits for the Store's answer, one for all requests that want it now.
// The question goes on when the client has gone (threats V17).
func (m *Manager) revalidate(ctx context.Context, e *entry) error {
	f, mine := e.board()
	if mine && !m.start(func() { m.fly(e, f) }) {
		m.fly(e, f) // Run has ended: the last requests ask for themselves
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ill("asking about a session", ctx.Err())
	}
}

// board joins the question under way or begins one.
func (e *entry) board() (f *flight, mine bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight == nil {
		e.flight, mine = &flight{done: make(chan struct{})}, true
	}
	return e.flight, mine
}

func (e *entry) land(f *flight, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flight = nil
	f.err = err
	close(f.done)
}

func (m *Manager) fly(e *entry, f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	at := m.now()
	era, _ := m.hearing() // before the question: what changes from here on is heard
	err := m.askStore(ctx, e.origin)
	if err == nil {
		e.answered(at, era)
	}
	e.land(f, err)
}
