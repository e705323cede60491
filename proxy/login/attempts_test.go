package login

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/ratelimit"
)

func TestTwoTabs(t *testing.T) { // S9
	b := build(t, plan{}).browser()
	one, two := b.stateOf(b.visit("/one")), b.stateOf(b.visit("/two"))
	if a := b.back("zhangsan", two); a.Header.Get("Location") != "/two" {
		t.Errorf("second tab: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := b.back("zhangsan", one); a.Header.Get("Location") != "/one" {
		t.Errorf("first tab: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestManyPageLoads(t *testing.T) { // S10
	b := build(t, plan{}).browser()
	var states []string
	for i := range 200 {
		states = append(states, b.stateOf(b.visit(fmt.Sprintf("/page/%d", i))))
		if n := len(b.attempts()); n > slots {
			t.Fatalf("%d attempts after %d page loads, want at most %d", n, i+1, slots)
		}
	}
	before := fmt.Sprint(b.attempts())
	for range 200 {
		if a := b.send("GET", "/api", "Sec-Fetch-Mode", "cors"); a.StatusCode != 401 || len(a.Header["Set-Cookie"]) > 0 {
			t.Fatalf("fetch = %d with %q, want 401 without a cookie", a.StatusCode, a.Header["Set-Cookie"])
		}
	}
	if after := fmt.Sprint(b.attempts()); after != before {
		t.Errorf("fetches changed the attempts")
	}
	b.refused("the oldest attempt", b.back("zhangsan", states[0]), 403, "state_unknown", 0)
	b.refused("the last but five", b.back("zhangsan", states[194]), 403, "state_unknown", 0)
	for i := 195; i < 200; i++ {
		if a := b.back("zhangsan", states[i]); a.Header.Get("Location") != fmt.Sprintf("/page/%d", i) {
			t.Errorf("attempt %d: %d to %q", i, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

func TestOldestGoes(t *testing.T) {
	b := build(t, plan{}).browser()
	load := func(i int) string {
		b.ahead.Store(int64(time.Duration(i) * time.Second))
		return b.stateOf(b.visit(fmt.Sprintf("/page/%d", i)))
	}
	states := map[int]string{}
	for i := range 5 {
		states[i] = load(i)
	}
	for _, done := range []int{3, 1} { // their slots are free, out of order
		if a := b.back("zhangsan", states[done]); a.StatusCode != 302 {
			t.Fatalf("attempt %d = %d", done, a.StatusCode)
		}
	}
	b.plant(b.Sessions.CookieName(), "dead")
	for i := 5; i < 9; i++ { // two use the free slots, two those of 0 and 2
		states[i] = load(i)
	}
	for i, want := range map[int]int{0: 403, 2: 403, 4: 302, 5: 302, 6: 302, 7: 302, 8: 302} {
		if a := b.back("zhangsan", states[i]); a.StatusCode != want {
			t.Errorf("attempt %d = %d, want %d", i, a.StatusCode, want)
		}
	}
}

func TestTabsAtTheSameMoment(t *testing.T) { // S10, before any answer has arrived
	h := build(t, plan{})
	b := h.browser()
	states := make(chan string, 200)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			state := ""
			defer func() { states <- state }()
			other := h.browser() // sends no cookie, as 200 tabs at once do
			a := other.visit("/page")
			b.jar.SetCookies(a.Request.URL, a.Cookies())
			state = other.stateOf(a)
		})
	}
	all.Wait()
	if n := len(b.attempts()); n != slots {
		t.Errorf("%d attempts, want %d", n, slots)
	}
	good := 0
	for range 200 {
		if b.back("zhangsan", <-states).StatusCode == 302 {
			good++
		}
	}
	if good != slots {
		t.Errorf("%d of the attempts end in a sign-in, want %d", good, slots)
	}
}

func TestLongTargets(t *testing.T) { // S10, R12: no 431 that dinggate causes
	b := build(t, plan{}).browser()
	long := "/" + strings.Repeat("a", 1000)
	var states []string
	for range 20 {
		a := b.visit(long)
		states = append(states, b.stateOf(a))
		total := 0
		for _, c := range b.attempts() {
			total += len(c.Name) + len(c.Value) + 3
		}
		if total > maxAttempts {
			t.Fatalf("the attempts take %d bytes, want at most %d", total, maxAttempts)
		}
		for _, line := range a.Header["Set-Cookie"] {
			if len(line) > 3500 {
				t.Fatalf("a cookie of %d bytes", len(line))
			}
		}
	}
	for _, state := range states[18:] {
		if a := b.back("zhangsan", state); a.Header.Get("Location") != long {
			t.Errorf("one of the last two = %d", a.StatusCode)
		}
	}
	if a := b.visit("/oauth2/start?rd=/" + strings.Repeat("a", 64<<10)); a.StatusCode != 302 || len(a.Header["Set-Cookie"][0]) > 1000 {
		t.Errorf("start with a target of 64 KiB = %d, want a sign-in that leads to /", a.StatusCode)
	}
}

func TestOtherBrowsersDisplaceNoAttempt(t *testing.T) { // S16
	h := build(t, plan{change: func(f *Flow) { f.Starts = ratelimit.Rate{Every: time.Nanosecond, Burst: 1 << 20} }})
	b := h.browser()
	state := b.stateOf(b.visit("/mine"))
	other := h.browser()
	for range 1000 {
		other.visit("/oauth2/start")
	}
	if a := b.back("zhangsan", state); a.Header.Get("Location") != "/mine" {
		t.Errorf("callback = %d to %q, want /mine", a.StatusCode, a.Header.Get("Location"))
	}
}
