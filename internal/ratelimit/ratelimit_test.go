package ratelimit

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	rate := Rate{Every: time.Second, Burst: 2}
	start := time.Unix(1_700_000_000, 0)
	var l Keyed[netip.Prefix]
	for i, c := range []struct {
		client string
		at     time.Duration
		wait   time.Duration
	}{
		{"192.0.2.1", 0, 0},
		{"192.0.2.1", 0, 0},
		{"192.0.2.1", 0, time.Second},
		{"192.0.2.1", 900 * time.Millisecond, 100 * time.Millisecond},
		{"::ffff:192.0.2.1", 900 * time.Millisecond, 100 * time.Millisecond},
		{"192.0.2.2", 900 * time.Millisecond, 0},
		{"192.0.2.1", time.Second, 0},
		{"192.0.2.1", time.Second, time.Second},
		{"192.0.2.1", time.Minute, 0},
		{"192.0.2.1", time.Minute, 0},
		{"192.0.2.1", time.Minute, time.Second},
		{"2001:db8::1", 0, 0}, // one /48 is one client
		{"2001:db8::2", 0, 0},
		{"2001:db8::ffff:1", 0, time.Second},
		{"2001:db8:0:1::1", 0, time.Second},
		{"2001:db8:0:ffff::1", 0, time.Second},
		{"2001:db8:1::1", 0, 0},
		{"64:ff9b::c633:6401", 0, 0}, // NAT64 of 198.51.100.1 and of 198.51.100.2
		{"198.51.100.1", 0, 0},
		{"64:ff9b::c633:6401", 0, time.Second},
		{"64:ff9b::c633:6402", 0, 0},
		{"2002:c633:6403::1", 0, 0}, // 6to4 of 198.51.100.3
		{"2002:c633:6403:1::1", 0, 0},
		{"198.51.100.3", 0, time.Second},
		{"", 0, 0}, // unknown ones share
		{"", 0, 0},
		{"", 0, time.Second},
	} {
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		if wait, ok := l.Allow(rate, Client(client), start.Add(c.at)); wait != c.wait || ok != (c.wait == 0) {
			t.Errorf("%d: Allow(%s at %v) = %v, %v, want %v", i, c.client, c.at, wait, ok, c.wait)
		}
	}
}

// TestLimiterIsBounded: beyond the table's size a new client has an allowance of its own, and a
// client that has used up its own does not get it back (threats D5).
func TestLimiterIsBounded(t *testing.T) {
	rate := Rate{Every: time.Second, Burst: 2}
	now := time.Unix(1_700_000_000, 0)
	var l Keyed[netip.Prefix]
	address := func(i int) netip.Prefix {
		return Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	for range 2 {
		l.Allow(rate, address(0), now)
	}
	for i := range 3 * MaxKeys {
		if _, ok := l.Allow(rate, address(i+1), now); !ok {
			t.Fatalf("newcomer %d is locked out by the others", i)
		}
	}
	if n := len(l.full); n > MaxKeys {
		t.Errorf("%d clients are stored, want at most %d", n, MaxKeys)
	}
	if _, ok := l.Allow(rate, address(0), now); ok {
		t.Errorf("a client that had used its allowance up has it back")
	}
	last := address(4 * MaxKeys)
	for i, want := range []bool{true, true, false} {
		if _, ok := l.Allow(rate, last, now); ok != want {
			t.Errorf("try %d of a newcomer = %v, want %v", i, ok, want)
		}
	}
	now = now.Add(time.Minute)
	for i := range MaxKeys {
		l.Allow(rate, address(5*MaxKeys+i), now)
	}
	if _, ok := l.Allow(rate, address(6*MaxKeys), now); !ok || len(l.full) > MaxKeys {
		t.Errorf("a minute later: %v with %d clients", ok, len(l.full))
	}
}

func TestRecent(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := Recent[int]{Life: time.Minute}
	for i, c := range []struct {
		at         time.Duration
		key, count int
	}{{0, 1, 1}, {0, 1, 2}, {0, 2, 1}, {59 * time.Second, 1, 3}, {118 * time.Second, 1, 4}, {178 * time.Second, 1, 1},
		{178 * time.Second, 2, 1}} {
		if got := r.Add(c.key, now.Add(c.at)); got != c.count || r.Count(c.key, now.Add(c.at)) != got {
			t.Errorf("%d: Add(%d at %v) = %d, want %d", i, c.key, c.at, got, c.count)
		}
	}
	now = now.Add(time.Hour)
	for range 3 {
		r.Add(-1, now)
	}
	for i := range 3 * MaxKeys {
		r.Add(i, now)
	}
	if got := r.Count(-1, now); got != 3 || len(r.all) > MaxKeys {
		t.Errorf("past the size: Count = %d with %d keys, want 3 with at most %d", got, len(r.all), MaxKeys)
	}
	if r.Forget(-1); r.Count(-1, now) != 0 {
		t.Errorf("what was forgotten counts")
	}
}

func TestReturn(t *testing.T) {
	rate := Rate{Every: time.Minute, Burst: 1}
	now := time.Unix(1_700_000_000, 0)
	var l Keyed[string]
	for i := range 3 {
		if _, ok := l.Allow(rate, "a", now); !ok {
			t.Fatalf("try %d is limited although the others were given back", i)
		}
		l.Return(rate, "a")
	}
	l.Allow(rate, "a", now)
	if _, ok := l.Allow(rate, "a", now); ok {
		t.Errorf("a try that was not given back left no trace")
	}
	l.Return(rate, "never seen")
	if n := len(l.full); n != 1 {
		t.Errorf("%d keys are stored, want 1", n)
	}
}
