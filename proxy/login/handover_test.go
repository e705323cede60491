package login

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/account"
)

// memoryTickets are Tickets for one goroutine; test/hostile tests those of the product.
type memoryTickets struct {
	now    func() time.Time
	stored map[string]storedTicket
}

type storedTicket struct {
	data    []byte
	expires time.Time
}

func (m *memoryTickets) Issue(_ context.Context, data any, life time.Duration) (string, error) {
	text, err := json.Marshal(data)
	m.stored["ticket"] = storedTicket{text, m.now().Add(life)}
	return "ticket", err
}

func (m *memoryTickets) Take(_ context.Context, ticket string, data any) error {
	one, ok := m.stored[ticket]
	delete(m.stored, ticket)
	if !ok || !m.now().Before(one.expires) {
		return ErrTicketExpired
	}
	return json.Unmarshal(one.data, data)
}

// TestHandOver_Fresh: a page that requires a recent sign-in gets one: an earlier session is not
// handed over, a later one is, so that no redirect loop arises.
func TestHandOver_Fresh(t *testing.T) {
	now := time.Now()
	h := build(t, plan{change: func(f *Flow) {
		f.Now = func() time.Time { return now }
		f.Tickets = &memoryTickets{now: f.Now, stored: map[string]storedTicket{}}
	}})
	b := h.browser()
	b.back("zhangsan", b.stateOf(b.visit("/oauth2/start")))
	now = now.Add(time.Minute)
	leave := b.visit("https://route.test/oauth2/start?silent=no&rd=/a").Header.Get("Location")
	if !strings.Contains(leave, "&since=") {
		t.Fatalf("silent=no leads to %q, want a departure with since", leave)
	}
	a := b.visit(leave)
	if strings.Contains(a.Header.Get("Location"), "ticket=") {
		t.Fatalf("a session of before got a ticket: %q", a.Header.Get("Location"))
	}
	now = time.Now() // the sessions' own clock
	soon := strings.Replace(leave, "&since=", "&since=1&x=", 1)
	if a = b.visit(soon); !strings.Contains(a.Header.Get("Location"), "ticket=") {
		t.Errorf("a session that began since got %d to %q, want a ticket", a.StatusCode, a.Header.Get("Location"))
	}
	for _, bad := range []string{"x", "-", "99999999999", "1&since=2"} {
		if a = b.visit(strings.Replace(leave, "&since=", "&since="+bad+"&x=", 1)); a.StatusCode != 400 {
			t.Errorf("since=%s = %d, want 400", bad, a.StatusCode)
		}
	}
}

// TestHandOver_Password: Chromium applies form-action to the redirects of a form, and the one of a
// sign-in with a password leads on to the other host; the policy names that host and no other.
func TestHandOver_Password(t *testing.T) {
	h := withAccounts(t, account.Off, func(f *Flow) {
		f.Tickets = &memoryTickets{now: time.Now, stored: map[string]storedTicket{}}
	})
	b := h.browser()
	leave := b.visit("https://route.test/a?b=1").Header.Get("Location")
	form := b.visit(leave).Header.Get("Location")
	if csp := b.visit(form).Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; form-action 'self' https://route.test") {
		t.Errorf("the form at %s has the policy %q", form, csp)
	}
	evil := strings.Replace(form, "route.test", "evil.test", 1)
	if csp := b.visit(evil).Header.Get("Content-Security-Policy"); evil == form || !strings.HasSuffix(csp, "; form-action 'self'") {
		t.Errorf("the form at %s has the policy %q", evil, csp)
	}
	a := b.submit(form, "zs", "pw-zs")
	for range 2 {
		a = b.visit(a.Header.Get("Location"))
	}
	if a.StatusCode != 302 || a.Header.Get("Location") != "https://route.test/a?b=1" {
		t.Errorf("the sign-in ends with %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestHandOver_BehindTLS: a gateway behind a load balancer that terminates TLS reports http.
func TestHandOver_BehindTLS(t *testing.T) {
	h := build(t, plan{trusted: []string{"127.0.0.1/32"}, change: func(f *Flow) {
		f.Tickets = &memoryTickets{now: time.Now, stored: map[string]storedTicket{}}
	}})
	b := h.browser()
	b.back("zhangsan", b.stateOf(b.visit("/oauth2/start")))
	a := b.visit("https://route.test/a?b=1", "X-Forwarded-Proto", "http")
	for range 5 {
		if a = b.visit(a.Header.Get("Location"), "X-Forwarded-Proto", "http"); a.StatusCode != 302 {
			break
		}
		if a.Header.Get("Location") == "https://route.test/a?b=1" {
			return
		}
	}
	t.Errorf("ends with %d to %q, want the page", a.StatusCode, a.Header.Get("Location"))
}

// TestHandOver_Times: a ticket is valid for 30 seconds, the secret that it is bound to for 20
// minutes; then the person begins again.
func TestHandOver_Times(t *testing.T) {
	for _, c := range []struct {
		left, wait time.Duration // between departure and ticket, between ticket and arrival
		want       int
	}{
		{0, 0, 302}, {9 * time.Minute, 29 * time.Second, 302}, {0, 31 * time.Second, 403}, {20 * time.Minute, time.Second, 403},
	} {
		now := time.Now()
		clock := func() time.Time { return now }
		h := build(t, plan{change: func(f *Flow) {
			f.Now = clock
			f.Tickets = &memoryTickets{now: clock, stored: map[string]storedTicket{}}
		}})
		b := h.browser()
		b.back("zhangsan", b.stateOf(b.visit("/oauth2/start")))
		leave := b.visit("https://route.test/a?b=1").Header.Get("Location")
		now = now.Add(c.left)
		arrive := b.visit(leave).Header.Get("Location")
		if to, err := url.Parse(arrive); err != nil || to.Host != "route.test" || to.Path != "/oauth2/arrive" {
			t.Fatalf("%s leads to %q", leave, arrive)
		}
		now = now.Add(c.wait)
		a := b.visit(arrive)
		if a.StatusCode != c.want || c.want == 302 && a.Header.Get("Location") != "https://route.test/a?b=1" {
			t.Errorf("%v after leaving, %v after the ticket: %d to %q, want %d", c.left, c.wait, a.StatusCode, a.Header.Get("Location"), c.want)
		}
		if c.want == 302 {
			continue
		}
		if !strings.Contains(a.text, "/oauth2/start?rd=") {
			t.Errorf("the refusal shows no way on: %.300s", a.text)
		}
	}
}

// TestHandOver_ArrivalWithoutTheSecret: a ticket that arrives in a browser without the secret is
// used up: an attacker may have made another person request it for the attacker's secret, and read
// it on the way.
func TestHandOver_ArrivalWithoutTheSecret(t *testing.T) {
	h := build(t, plan{change: func(f *Flow) {
		f.Tickets = &memoryTickets{now: time.Now, stored: map[string]storedTicket{}}
	}})
	other, person := h.browser(), h.browser()
	leave := other.visit("https://route.test/a").Header.Get("Location") // bound to the other's secret
	person.back("zhangsan", person.stateOf(person.visit("/oauth2/start")))
	arrive := person.visit(leave).Header.Get("Location")
	if !strings.Contains(arrive, "ticket=") {
		t.Fatalf("%s leads to %q, want a ticket", leave, arrive)
	}
	if a := person.visit(arrive); a.StatusCode != 403 {
		t.Errorf("an arrival without the secret = %d, want 403", a.StatusCode)
	}
	if a := other.visit(arrive); a.StatusCode != 403 {
		t.Errorf("the same ticket with the secret afterwards = %d to %q, want 403", a.StatusCode, a.Header.Get("Location"))
	}
}
