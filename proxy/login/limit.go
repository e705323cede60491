package login

import (
	"net/netip"
	"sync"
	"time"
)

// Limit lets one attempt pass every Every on average, Burst at once.
type Limit struct {
	Every time.Duration
	Burst int
}

// The usual limits. Many people share one address (an office, a proxy nobody
// was told to trust), and a start costs nothing but a seal. An exchange calls
// DingTalk, which answers one app about 20 times a second: one address must not
// be able to use that up (threats D6).
var (
	startsLimit    = Limit{Every: time.Second / 20, Burst: 600}
	exchangesLimit = Limit{Every: time.Second / 5, Burst: 60}
)

func (l Limit) or(usual Limit) Limit {
	if l.Every <= 0 || l.Burst <= 0 {
		return usual
	}
	return l
}

// maxClients bounds a limiter's memory; past it those who are new share one
// allowance.
const maxClients = 20_000

// limiter counts per client address, IPv6 by /64, since whoever has one address
// there has 2⁶⁴. It keeps a single time per client: the moment at which its
// whole allowance will be back (the generic cell rate algorithm). The zero
// value is ready.
type limiter struct {
	mu    sync.Mutex
	full  map[netip.Prefix]time.Time
	swept time.Time
}

// allow takes one from the client's allowance, or tells how long to wait. A
// client whose address is unknown shares its allowance with all such.
func (l *limiter) allow(limit Limit, client netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	key := clientKey(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full == nil {
		l.full = map[netip.Prefix]time.Time{}
	}
	if _, known := l.full[key]; !known && len(l.full) >= maxClients {
		if now.Sub(l.swept) >= time.Second { // a sweep walks the whole map
			l.swept = now
			for k, t := range l.full {
				if !t.After(now) {
					delete(l.full, k)
				}
			}
		}
		if len(l.full) >= maxClients {
			key = netip.Prefix{}
		}
	}
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	if ahead := full.Sub(now) - time.Duration(limit.Burst-1)*limit.Every; ahead > 0 {
		return ahead, false
	}
	l.full[key] = full.Add(limit.Every)
	return 0, true
}

func clientKey(client netip.Addr) netip.Prefix {
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
