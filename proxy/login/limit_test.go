package login

import (
	"net/netip"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/limit"
)

func TestExchangesAreLimited(t *testing.T) { // D6
	b := build(t, plan{change: func(f *Flow) { f.Exchanges = limit.Rate{Every: time.Minute, Burst: 3} }}).browser()
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

func TestASignInCostsNoExchange(t *testing.T) { // an office behind one address
	site := build(t, plan{change: func(f *Flow) { f.Exchanges = limit.Rate{Every: time.Minute, Burst: 3} }})
	for range 10 {
		b := site.browser()
		if a := b.back("zhangsan", b.stateOf(b.visit("/page"))); a.Header.Get("Location") != "/page" {
			t.Fatalf("a sign-in = %d %s, want /page", a.StatusCode, a.Header.Get("Location"))
		}
	}
	b := site.browser()
	b.provider.fails(&identity.Failure{Class: identity.Refused, Code: "not_member"})
	for range 3 {
		b.back("sunqi", b.stateOf(b.visit("/")))
	}
	b.refused("the fourth refused one", b.back("sunqi", b.stateOf(b.visit("/"))), 429, "too_many_attempts", 13)
}

func TestStartsAreLimited(t *testing.T) {
	b := build(t, plan{change: func(f *Flow) { f.Starts = limit.Rate{Every: time.Minute, Burst: 3} }}).browser()
	for range 3 {
		b.visit("/")
	}
	n := len(b.attempts())
	b.refused("the fourth", b.visit("/oauth2/start"), 429, "too_many_attempts", 0)
	if len(b.attempts()) != n {
		t.Errorf("a refused start left an attempt")
	}
}

// TestLimitsPastTheTable: a crowd of addresses that have used their allowances up
// keeps nobody from signing in (threats D5).
func TestLimitsPastTheTable(t *testing.T) {
	rate := limit.Rate{Every: time.Minute, Burst: 3}
	site := build(t, plan{change: func(f *Flow) { f.Starts, f.Exchanges = rate, rate }})
	counts, now := site.counts(), site.now()
	for i := range 2 * limit.MaxKeys {
		one := limit.Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		counts.starts.Allow(rate, one, now)
		counts.exchanges.Allow(rate, one, now)
	}
	b := site.browser()
	if a := b.back("zhangsan", b.stateOf(b.visit("/page"))); a.Header.Get("Location") != "/page" {
		t.Errorf("a sign-in beside a crowd = %d, want /page", a.StatusCode)
	}
}
