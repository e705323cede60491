package telemetry

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health remembers how each kind of call to DingTalk went last, for people to
// look at. The nil one remembers nothing. Safe for concurrent use.
type Health struct {
	mu    sync.Mutex
	calls map[string]CallHealth
}

// CallHealth is how one kind of call went last; zero times mean never.
type CallHealth struct {
	Call   string
	Well   time.Time // when DingTalk last answered, be it with a refusal of a person
	Ill    time.Time // when it last went wrong
	Result string    // how, then
	Code   string    // DingTalk's code, then
}

const healthCalls = 100 // the names come from a fixed set, so that it is never reached

// Call notes one call.
func (h *Health) Call(call, result, code string, well bool, at time.Time) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, known := h.calls[call]
	if !known && len(h.calls) >= healthCalls {
		return
	}
	if h.calls == nil {
		h.calls = map[string]CallHealth{}
	}
	c.Call = call
	if well {
		c.Well = at
	} else {
		c.Ill, c.Result, c.Code = at, result, code
	}
	h.calls[call] = c
}

// Calls are those that were made, by name.
func (h *Health) Calls() []CallHealth {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]CallHealth, 0, len(h.calls))
	for _, c := range h.calls {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b CallHealth) int { return strings.Compare(a.Call, b.Call) })
	return all
}

// UntrustedForwarders remembers which peers spoke for others without being believed: a
// proxy that somebody forgot to list, or anybody who tries. Bounded; the nil one
// remembers nothing. Safe for concurrent use.
type UntrustedForwarders struct {
	mu  sync.Mutex
	all map[netip.Addr]Stranger
}

// Stranger is one peer.
type Stranger struct {
	Peer  netip.Addr
	Times int
	Last  time.Time
}

const untrustedMax = 32

// Note takes one request of a peer. It never waits: in a flood one or the other
// is not counted.
func (s *UntrustedForwarders) Note(peer netip.Addr, at time.Time) {
	if s == nil || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	one, known := s.all[peer]
	if !known && len(s.all) >= untrustedMax {
		s.forgetOne()
	}
	if s.all == nil {
		s.all = map[netip.Addr]Stranger{}
	}
	s.all[peer] = Stranger{peer, one.Times + 1, at}
}

// forgetOne drops who came least: a proxy comes all the time.
func (s *UntrustedForwarders) forgetOne() {
	least := netip.Addr{}
	for peer, one := range s.all {
		if !least.IsValid() || one.Times < s.all[least].Times {
			least = peer
		}
	}
	delete(s.all, least)
}

// List is those who came most often first.
func (s *UntrustedForwarders) List() []Stranger {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Stranger, 0, len(s.all))
	for _, one := range s.all {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Stranger) int {
		if a.Times != b.Times {
			return b.Times - a.Times
		}
		return a.Peer.Compare(b.Peer)
	})
	return all
}
