package login

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session"
)

func TestExchangesAreLimited(t *testing.T) { // D6
	b := build(t, plan{change: func(f *Flow) { f.Exchanges = ratelimit.Rate{Every: time.Minute, Burst: 3} }}).browser()
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
	site := build(t, plan{change: func(f *Flow) { f.Exchanges = ratelimit.Rate{Every: time.Minute, Burst: 3} }})
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
	b := build(t, plan{change: func(f *Flow) { f.Starts = ratelimit.Rate{Every: time.Minute, Burst: 3} }}).browser()
	for range 3 {
		b.visit("/oauth2/start")
	}
	for range 3 {
		b.stateOf(b.visit("/")) // a page load is not counted
	}
	n := len(b.attempts())
	b.refused("the fourth", b.visit("/oauth2/start"), 429, "too_many_attempts", 0)
	if len(b.attempts()) != n {
		t.Errorf("a refused start left an attempt")
	}
}

// TestLimitsPastTheTable: a large number of addresses that have used up their allowances does not
// prevent other people's sign-ins (threats D5).
func TestLimitsPastTheTable(t *testing.T) {
	rate := ratelimit.Rate{Every: time.Minute, Burst: 3}
	site := build(t, plan{change: func(f *Flow) { f.Starts, f.Exchanges = rate, rate }})
	counts, now := site.counts(), site.now()
	for i := range 2 * ratelimit.MaxKeys {
		one := ratelimit.Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		counts.starts.Allow(rate, one, now)
		counts.exchanges.Allow(rate, one, now)
	}
	b := site.browser()
	if a := b.back("zhangsan", b.stateOf(b.visit("/page"))); a.Header.Get("Location") != "/page" {
		t.Errorf("a sign-in beside many others = %d, want /page", a.StatusCode)
	}
}

// TestSignInsAreLimited: per person or account, by any way of signing in; other people are not
// affected (threats D14).
func TestSignInsAreLimited(t *testing.T) {
	site := withAccounts(t, account.Off, func(f *Flow) { f.SignIns = ratelimit.Rate{Every: time.Minute, Burst: 3} })
	enters := func(who string) answer {
		b := site.browser()
		if name, local := strings.CutPrefix(who, "account "); local {
			return b.submit("/oauth2/sign_in", name, "pw-"+name)
		}
		return b.back(who, b.stateOf(b.visit("/oauth2/start")))
	}
	for _, who := range []string{"zhangsan", "account zs"} {
		for i := range 3 {
			if a := enters(who); a.StatusCode/100 != 3 {
				t.Fatalf("sign-in %d of %s = %d %s", i, who, a.StatusCode, a.text)
			}
		}
		if a := enters(who); a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || len(a.Header["Set-Cookie"]) > 1 {
			t.Errorf("the fourth of %s = %d, Retry-After %q, want 429", who, a.StatusCode, a.Header.Get("Retry-After"))
		}
	}
	for _, who := range []string{"lisi", "account ls"} {
		if a := enters(who); a.StatusCode/100 != 3 {
			t.Errorf("%s beside them = %d %s", who, a.StatusCode, a.text)
		}
	}
}

// TestSignInsAndSignOutsWithoutEnd cost their author their own sessions, and no other person
// theirs (threats D14).
func TestSignInsAndSignOutsWithoutEnd(t *testing.T) {
	site := build(t, plan{change: func(f *Flow) { f.Sessions.MaxRevoked, f.Sessions.Config.Store = 20, session.StoreCookie }})
	colleague, out := site.browser(), site.browser()
	colleague.signIn("lisi")
	out.signIn("lisi")
	stolen := []string{out.session()}
	out.send("POST", "/oauth2/sign_out")
	for range 100 {
		b := site.browser()
		b.signIn("zhangsan")
		stolen = append(stolen, b.session())
		if a := b.send("POST", "/oauth2/sign_out"); a.StatusCode != 303 {
			t.Fatalf("a sign-out = %d %s", a.StatusCode, a.text)
		}
	}
	if a := colleague.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK lisi") {
		t.Errorf("a colleague, meanwhile = %d, want 200", a.StatusCode)
	}
	for i, text := range stolen {
		b := site.browser()
		b.plant(site.Sessions.CookieName(), text)
		if a := b.send("GET", "/x"); a.StatusCode != 401 {
			t.Errorf("session %d, which was signed out = %d, want 401", i, a.StatusCode)
		}
	}
}
