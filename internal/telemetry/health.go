package telemetry

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health records the last result of each kind of call to DingTalk, for people to view. A nil
// Health records nothing. Safe for concurrent use.
type Health struct {
	mu    sync.Mutex
	calls map[string]CallHealth
}

// CallHealth is the last result of one kind of call; a zero time means never.
type CallHealth struct {
	Call      string
	LastOK    time.Time // when DingTalk last answered, even by refusing a person
	LastError time.Time // when it last failed
	Result    string    // of the last failure
	Code      string    // DingTalk's code of the last failure
}

const healthCalls = 100 // the names come from a fixed set, so that it is never reached

// Call records one call.
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
		c.LastOK = at
	} else {
		c.LastError, c.Result, c.Code = at, result, code
	}
	h.calls[call] = c
}

// Calls lists the calls that were made, by name.
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

// UntrustedForwarders records which peers sent forwarding headers without being trusted: a proxy
// that is missing in trusted_proxies, or an attacker. Bounded; a nil one records nothing. Safe for
// concurrent use.
type UntrustedForwarders struct {
	mu  sync.Mutex
	all map[netip.Addr]UntrustedForwarder
}

// UntrustedForwarder is one such peer.
type UntrustedForwarder struct {
	Peer  netip.Addr
	Times int
	Last  time.Time
}

const untrustedMax = 32

// Note records one request of a peer. It never blocks: in a flood some requests are not counted.
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
		s.all = map[netip.Addr]UntrustedForwarder{}
	}
	s.all[peer] = UntrustedForwarder{peer, one.Times + 1, at}
}

// forgetOne drops the peer with the fewest requests: a proxy sends many.
func (s *UntrustedForwarders) forgetOne() {
	least := netip.Addr{}
	for peer, one := range s.all {
		if !least.IsValid() || one.Times < s.all[least].Times {
			least = peer
		}
	}
	delete(s.all, least)
}

// List lists the peers with the most requests first.
func (s *UntrustedForwarders) List() []UntrustedForwarder {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]UntrustedForwarder, 0, len(s.all))
	for _, one := range s.all {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b UntrustedForwarder) int {
		if a.Times != b.Times {
			return b.Times - a.Times
		}
		return a.Peer.Compare(b.Peer)
	})
	return all
}
