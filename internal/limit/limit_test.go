package limit

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
		{"2001:db8::1", 0, 0}, // one /64 is one client
		{"2001:db8::2", 0, 0},
		{"2001:db8::ffff:1", 0, time.Second},
		{"2001:db8:0:1::1", 0, 0},
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

func TestLimiterIsBounded(t *testing.T) { // D5
	rate := Rate{Every: time.Second, Burst: 2}
	now := time.Unix(1_700_000_000, 0)
	var l Keyed[netip.Prefix]
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 2 * MaxKeys {
		l.Allow(rate, Client(address(i)), now)
	}
	if n := len(l.full); n > MaxKeys+1 {
		t.Errorf("%d clients are remembered, want at most %d", n, MaxKeys+1)
	}
	if _, ok := l.Allow(rate, Client(address(3*MaxKeys)), now); ok {
		t.Errorf("newcomers in a full limiter are not limited")
	}
	if _, ok := l.Allow(rate, Client(address(0)), now); !ok {
		t.Errorf("a known client lost its allowance to newcomers")
	}
	now = now.Add(time.Minute)
	if _, ok := l.Allow(rate, Client(address(3*MaxKeys)), now); !ok || len(l.full) > 2 {
		t.Errorf("a minute later: %v with %d clients, want all forgotten", ok, len(l.full))
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
		t.Errorf("%d keys are remembered, want 1", n)
	}
}
