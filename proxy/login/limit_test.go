package login

import (
	"net/netip"
	"testing"
	"time"

	"dinggate/internal/identity"
)

func TestLimit(t *testing.T) {
	limit := Limit{Every: time.Second, Burst: 2}
	start := time.Unix(1_700_000_000, 0)
	var l limiter
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
		if wait, ok := l.allow(limit, client, start.Add(c.at)); wait != c.wait || ok != (c.wait == 0) {
			t.Errorf("%d: allow(%s at %v) = %v, %v, want %v", i, c.client, c.at, wait, ok, c.wait)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) { // D5
	limit := Limit{Every: time.Second, Burst: 2}
	now := time.Unix(1_700_000_000, 0)
	var l limiter
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 2 * maxClients {
		l.allow(limit, address(i), now)
	}
	if n := len(l.full); n > maxClients+1 {
		t.Errorf("%d clients are remembered, want at most %d", n, maxClients+1)
	}
	if _, ok := l.allow(limit, address(3*maxClients), now); ok {
		t.Errorf("newcomers in a full limiter are not limited")
	}
	if _, ok := l.allow(limit, address(0), now); !ok {
		t.Errorf("a known client lost its allowance to newcomers")
	}
	now = now.Add(time.Minute)
	if _, ok := l.allow(limit, address(3*maxClients), now); !ok || len(l.full) > 2 {
		t.Errorf("a minute later: %v with %d clients, want all forgotten", ok, len(l.full))
	}
}

func TestExchangesAreLimited(t *testing.T) { // D6
	b := build(t, plan{change: func(f *Flow) { f.Exchanges = Limit{time.Minute, 3} }}).browser()
	b.provider.fails(&identity.Failure{Class: identity.Restart, Code: "code_rejected"})
	for range 3 {
		b.back("garbage", b.stateOf(b.visit("/")))
	}
	state := b.stateOf(b.visit("/page"))
	a := b.back("zhangsan", state)
	b.refused("the fourth", a, 429, "too_many_attempts", 3)
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After")
	}
	b.provider.fails(nil)
	b.ahead.Store(int64(time.Minute))
	if a := b.back("zhangsan", state); a.Header.Get("Location") != "/page" {
		t.Errorf("a minute later = %d, want the attempt to go on", a.StatusCode)
	}
}

func TestStartsAreLimited(t *testing.T) {
	b := build(t, plan{change: func(f *Flow) { f.Starts = Limit{time.Minute, 3} }}).browser()
	for range 3 {
		b.visit("/")
	}
	n := len(b.attempts())
	b.refused("the fourth", b.visit("/oauth2/start"), 429, "too_many_attempts", 0)
	if len(b.attempts()) != n {
		t.Errorf("a refused start left an attempt")
	}
}
