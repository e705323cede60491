// Package ratelimit bounds how often somebody may try something.
//
//	Keyed.Allow(rate, key, now) ─┬─ ok: one is taken from the key's allowance
//	                             └─ how long until there is one again
//	Recent.Add(key, now) ─► how often lately
//
// Who is limited to what is decided by the callers; here are the counting and its
// bound.
package ratelimit

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

// MaxKeys bounds the memory of a Keyed and of a Recent (threats D5). A full one
// forgets the keys with the least to forgive: a newcomer is counted on its own,
// so that a crowd of addresses locks nobody out, and a key that has used its
// allowance up stays, so that nobody gets theirs back by filling the table.
const MaxKeys = 20_000

// Keyed counts per key. It keeps a single time for each: the moment at which
// its whole allowance will be back (the generic cell rate algorithm). The zero
// value is ready; safe for concurrent use.
type Keyed[K comparable] struct {
	mu   sync.Mutex
	full map[K]time.Time
}

// Allow takes one from the key's allowance, or tells how long to wait.
func (l *Keyed[K]) Allow(rate Rate, key K, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.full[key]
	if full.Before(now) {
		full = now
	}
	if ahead := full.Sub(now) - time.Duration(rate.Burst-1)*rate.Every; ahead > 0 {
		return ahead, false
	}
	if l.full == nil {
		l.full = map[K]time.Time{}
	}
	if !known && len(l.full) >= MaxKeys {
		trim(l.full, func(full time.Time) bool { return !full.After(now) }, time.Time.Compare)
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

// Whole reports whether nothing is missing from the key's allowance.
func (l *Keyed[K]) Whole(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full[key].After(now)
}

// Client is the key of a client address: IPv6 by /48, which is what one party
// is given: whoever has one has 65,536 networks and counts once. IPv4 inside
// IPv6 (mapped, NAT64, 6to4) counts as IPv4. All whose address is unknown share
// one.
func Client(client netip.Addr) netip.Prefix {
	bits := 32
	if client = client.Unmap().WithZone(""); client.Is6() {
		raw := client.As16()
		switch {
		case nat64.Contains(client):
			client = netip.AddrFrom4([4]byte(raw[12:]))
		case sixToFour.Contains(client):
			client = netip.AddrFrom4([4]byte(raw[2:6]))
		default:
			bits = 48
		}
	}
	key, err := client.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return key
}

var nat64, sixToFour = netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16")
