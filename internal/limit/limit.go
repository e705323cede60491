// Package limit bounds how often somebody may try something.
//
//	Keyed.Allow(rate, key, now) ─┬─ ok: one is taken from the key's allowance
//	                             └─ how long until there is one again
//
// Who is limited to what is decided by the doors; here are the counting and its
// bound.
package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Rate lets one pass every Every on average, Burst at once. The zero Rate lets
// nothing pass but the first.
type Rate struct {
	Every time.Duration
	Burst int
}

// Or is r, or usual where r is not given in full.
func (r Rate) Or(usual Rate) Rate {
	if r.Every <= 0 || r.Burst <= 0 {
		return usual
	}
	return r
}

// MaxKeys bounds a Keyed's memory; past it those who are new share one
// allowance (threats D5).
const MaxKeys = 20_000

// Keyed counts per key. It keeps a single time for each: the moment at which
// its whole allowance will be back (the generic cell rate algorithm). The zero
// value is ready; safe for concurrent use.
type Keyed[K comparable] struct {
	mu    sync.Mutex
	full  map[K]time.Time
	swept time.Time
}

// Allow takes one from the key's allowance, or tells how long to wait.
func (l *Keyed[K]) Allow(rate Rate, key K, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full == nil {
		l.full = map[K]time.Time{}
	}
	key = l.place(key, now)
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	if ahead := full.Sub(now) - time.Duration(rate.Burst-1)*rate.Every; ahead > 0 {
		return ahead, false
	}
	l.full[key] = full.Add(rate.Every)
	return 0, true
}

// Return gives back what Allow took: the try was no abuse.
func (l *Keyed[K]) Return(rate Rate, key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full, known := l.full[key]; known {
		l.full[key] = full.Add(-rate.Every)
	}
}

// place is the key to count under: its own, or in a full map that of all who
// are new.
func (l *Keyed[K]) place(key K, now time.Time) K {
	if _, known := l.full[key]; known || len(l.full) < MaxKeys {
		return key
	}
	if now.Sub(l.swept) >= time.Second { // a sweep walks the whole map
		l.swept = now
		for k, t := range l.full {
			if !t.After(now) {
				delete(l.full, k)
			}
		}
	}
	if len(l.full) >= MaxKeys {
		var shared K
		return shared
	}
	return key
}

// Client is the key of a client address: IPv6 by /64, since whoever has one
// address there has 2⁶⁴. All whose address is unknown share one.
func Client(client netip.Addr) netip.Prefix {
	bits := 32
	if client = client.Unmap().WithZone(""); client.Is6() {
		bits = 64
	}
	key, err := client.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return key
}
