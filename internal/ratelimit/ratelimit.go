// Package ratelimit limits how often a key may do something, and shares the calls to DingTalk among
// those who wait for them.
//
//	Keyed.Allow(rate, key, now) ─┬─ ok: one is taken from the key's allowance
//	                             └─ the time until the allowance has one again
//	Recent.Add(key, now) ─► the number of recent events of the key
//	Queue.Enter(ctx, client, class) ─► a place among few, shared fairly
//	Budget.Wait(ctx, name, class) ─► Allowance.Draw ─► the caller's turn
//	Budget.Throttled ─► Allowance.Throttled: all that draw on it pause, then draw more slowly
//
// All replicas draw on one Allowance: Local is that of a single process, redisstore.Allowance that of
// several. The callers choose rates and keys; this package counts, in bounded memory.
package ratelimit

import (
	"net/netip"
	"sync"
	"time"

	"dinggate/internal/bounded"
)

// Rate allows one event per Every on average, and Burst at once. The zero Rate
// allows the first event only.
type Rate struct {
	Every time.Duration
	Burst int
}

// Or is r, or usual if r is incomplete.
func (r Rate) Or(usual Rate) Rate {
	if r.Every <= 0 || r.Burst <= 0 {
		return usual
	}
	return r
}

// MaxKeys bounds the memory of a Keyed and of a Recent (threats D5). A full table
// evicts the keys that have used the least: a new key has an allowance of its own,
// so that many addresses lock no one out, and a key that has used up its allowance
// stays, so that filling the table does not restore it.
const MaxKeys = 20_000

// Keyed counts per key. It keeps a single time for each: the moment at which
// its whole allowance will be back (the generic cell rate algorithm). The zero
// value is ready; safe for concurrent use.
type Keyed[K comparable] struct {
	mu   sync.Mutex
	full map[K]time.Time
}

// Allow takes one from the key's allowance. If none is left, ok is false and wait
// is the time until there is one.
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
		bounded.Trim(l.full, MaxKeys, func(full time.Time) bool { return !full.After(now) }, time.Time.Compare)
	}
	l.full[key] = full.Add(rate.Every)
	return 0, true
}

// Left is Allow without taking anything: whether one is left.
func (l *Keyed[K]) Left(rate Rate, key K, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[key]
	if full.Before(now) {
		return 0, true
	}
	if ahead := full.Sub(now) - time.Duration(rate.Burst-1)*rate.Every; ahead > 0 {
		return ahead, false
	}
	return 0, true
}

// Return undoes one Allow, for an attempt that turned out to be no abuse.
func (l *Keyed[K]) Return(rate Rate, key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full, known := l.full[key]; known {
		l.full[key] = full.Add(-rate.Every)
	}
}

// Whole reports whether the key's allowance is complete.
func (l *Keyed[K]) Whole(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full[key].After(now)
}

// Client is the key of a client address. IPv6 counts by /48, the usual
// delegation to one site: its 65,536 networks are one client. IPv4 inside IPv6
// (mapped, NAT64, 6to4) counts as IPv4. All unknown addresses share one key.
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
