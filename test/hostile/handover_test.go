package hostile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The hosts of openHandOvers that the session cookie of app.test does not reach.
const (
	wikiHost  = "wiki.other.test"
	firstApp  = "one.apps.third.test"
	secondApp = "two.apps.third.test"
)

var handOverHosts = []string{wikiHost, firstApp, secondApp}

func openHandOvers(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		return strings.Replace(text, "  - {path: /, host: app.test,", `  - {path: /, host: wiki.other.test, upstream: "UP"}
  - {path: /, host: "*.apps.third.test", upstream: "UP"}
  - {path: /, host: app.test,`, 1)
	})
	s.t, s.otherHosts = t, handOverHosts
	return s
}

// TestHandOvers covers S17 and S20 to S23: the transfer of a session to hosts of other domains,
// and requests that must not transfer one.
func TestHandOvers(t *testing.T) {
	s := openHandOvers(t)
	c := &count{}
	s.run(t, c, "S17", 500, slices.Concat(handOvers(), ticketsForged(), ticketsElsewhere(), hopsForged(), leavesForged(),
		foreignCookies(), signOutsEverywhere()))
	s.end(t)
	c.print(s.notes)
}

// hostBrowser is a browser with a cookie jar for each host.
type hostBrowser struct {
	h  *client
	at map[string]*visitor
}

func (h *client) hostBrowser() *hostBrowser {
	first := h.visitor()
	b := &hostBrowser{h, map[string]*visitor{"app.test": first}}
	for _, host := range handOverHosts {
		b.at[host] = &visitor{h: h, from: first.from}
	}
	return b
}

func (b *hostBrowser) do(r request, host, target string, headers ...string) *answer {
	return b.at[host].do(r, "GET", target, append(headers, "Host: "+host)...)
}

// startHandOver requests a page of a host and returns the path on app.test that it redirects to.
func (b *hostBrowser) startHandOver(host, page string) string {
	a := b.do(request{}, host, page)
	to, ok := strings.CutPrefix(a.header.Get("Location"), "https://app.test")
	if a.status != 302 || !ok || b.at[host].value(hopCookie) == "" {
		b.h.failf("a page load on %s: got %v, want a redirect to app.test", host, a)
	}
	return to
}

// ticket calls depart and returns the path with the ticket that app.test issues.
func (b *hostBrowser) ticket(host, page string) string {
	a := b.do(request{}, "app.test", b.startHandOver(host, page))
	to, ok := strings.CutPrefix(a.header.Get("Location"), "https://"+host)
	if a.status != 302 || !ok || !strings.HasPrefix(to, "/oauth2/arrive?ticket=") {
		b.h.failf("a hand-over to %s: got %v, want a ticket", host, a)
	}
	return to
}

// signedIn returns a browser with a session on app.test.
func (h *client) signedIn(person string) *hostBrowser {
	b := h.hostBrowser()
	b.at["app.test"].signIn(person)
	return b
}

// checkRefused checks that the response sets no session and does not come from an application.
func (b *hostBrowser) checkRefused(what string, a *answer, host string, statuses ...int) {
	if !slices.Contains(statuses, a.status) && a.status != 0 || slices.ContainsFunc(a.header["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, sessionCookie+"=")
	}) {
		b.h.failf("%s: got %v, want %v and no session", what, a, statuses)
	}
	if host != "" && b.at[host].value(sessionCookie) != "" {
		b.h.failf("%s: there is a session on %s", what, host)
	}
}

// handOvers covers legitimate transfers, each with a replay.
func handOvers() (list []try) {
	for i, page := range []string{"/", "/page", "/a/b?x=1&y=%2F&rd=/z", "/%E6%8A%A5", "/deep?next=https://evil.test/", "/?", "/" + strings.Repeat("a", 800)} {
		for _, host := range handOverHosts {
			list = append(list, try{fmt.Sprintf("S17 S20 %s %d", host, i), func(h *client) {
				b := h.hostBrowser()
				leave := b.startHandOver(host, page)
				a := b.do(request{}, "app.test", leave) // not signed in: redirected to DingTalk
				to, err := url.Parse(a.header.Get("Location"))
				if err != nil || to.Query().Get("state") == "" {
					h.failf("a hand-over without a session: got %v", a)
					return
				}
				a = b.at["app.test"].finish("zhangsan", to.Query().Get("state"))
				if got := a.header.Get("Location"); got != leave {
					h.failf("after the sign-in: got %v, want %s", a, leave)
				}
				a = b.do(request{}, "app.test", leave)
				arrive := strings.TrimPrefix(a.header.Get("Location"), "https://"+host)
				a = b.do(request{session: true}, host, arrive)
				if want := "https://" + host + page; a.status != 302 || a.header.Get("Location") != want || b.at[host].value(sessionCookie) == "" {
					h.failf("the hand-over: got %v, want %s and a session", a, want)
				}
				if a = b.do(request{authorized: true}, host, page); a.status != 200 {
					h.failf("the page: got %v", a)
				}
				old := b.at[host].value(sessionCookie)
				if a = b.do(request{}, host, arrive); a.status != 403 || b.at[host].value(sessionCookie) != old {
					h.failf("S20 the ticket again: got %v, want 403", a)
				}
			}})
		}
	}
	for i := range 6 {
		list = append(list, try{fmt.Sprintf("S20 20 times at once %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			host := handOverHosts[i%3]
			arrive, cookie := b.ticket(host, "/page"), b.at[host].cookie()
			var mu sync.Mutex
			var all sync.WaitGroup
			got := map[int]int{}
			for range 20 {
				all.Go(func() {
					conns := &rawConns{idle: map[string]*rawConn{}}
					defer conns.close()
					a, err := conns.send(request{to: h.env.addr, from: b.at[host].from, fresh: true,
						raw: requestText("GET", arrive, h.id, "Host: "+host, cookie, "Accept: text/html")})
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						h.failf("%v", err)
						return
					}
					got[a.status]++
				})
			}
			all.Wait()
			if got[302] != 1 || got[403] != 19 {
				h.failf("got %v, want one 302 and 19 times 403", got)
			}
		}})
		list = append(list, try{fmt.Sprintf("S20 parallel tabs %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			host := handOverHosts[i%3]
			var tickets []string
			for tab := range 5 {
				tickets = append(tickets, b.ticket(host, fmt.Sprintf("/tab/%d", tab)))
			}
			slices.Reverse(tickets)
			for tab, arrive := range tickets {
				a := b.do(request{session: true}, host, arrive)
				if want := fmt.Sprintf("https://%s/tab/%d", host, 4-tab); a.status != 302 || a.header.Get("Location") != want {
					h.failf("tab %d: got %v, want %s", 4-tab, a, want)
				}
			}
		}})
	}
	return list
}

// foreignCookies covers S22: a session cookie is valid only on its own host.
func foreignCookies() (list []try) {
	all := append([]string{"app.test"}, handOverHosts...)
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			for _, target := range []string{"/page", "/oauth2/userinfo", "/oauth2/auth"} {
				list = append(list, try{fmt.Sprintf("S22 the cookie of %s on %s %s", from, to, target), func(h *client) {
					b := h.signedIn("zhangsan")
					if from != "app.test" {
						b.do(request{session: true}, from, b.ticket(from, "/page"))
					}
					a := h.send(request{raw: requestText("GET", target, h.id, "Host: "+to, "Accept: application/json",
						"Cookie: "+sessionCookie+"="+b.at[from].value(sessionCookie)), cleared: true})
					if a.status != 401 {
						h.failf("got %v, want 401", a)
					}
				}})
			}
		}
	}
	return list
}

// signOutsEverywhere checks that one sign-out ends all sessions.
func signOutsEverywhere() (list []try) {
	all := append([]string{"app.test"}, handOverHosts...)
	for _, where := range all {
		list = append(list, try{"S17 a sign-out on " + where, func(h *client) {
			b := h.signedIn("zhangsan")
			for _, host := range handOverHosts {
				b.do(request{session: true}, host, b.ticket(host, "/page"))
				if a := b.do(request{authorized: true}, host, "/page"); a.status != 200 {
					h.failf("%s before: got %v", host, a)
				}
			}
			old := map[string]string{} // the old cookies, as an attacker would have them
			for _, host := range all {
				old[host] = b.at[host].cookie()
			}
			a := b.at[where].do(request{cleared: true}, "POST", "/oauth2/sign_out", "Host: "+where, "Sec-Fetch-Site: same-origin", "Content-Length: 0")
			if a.status != 303 {
				h.failf("the sign-out: got %v", a)
			}
			for _, host := range all {
				headers := []string{"Host: " + host, "Accept: application/json"}
				if cookie := old[host]; cookie != "" {
					headers = append(headers, cookie)
				}
				if a := h.send(request{raw: requestText("GET", "/page", h.id, headers...)}); a.status != 401 {
					h.failf("%s afterwards: got %v, want 401", host, a)
				}
			}
		}})
	}
	return list
}
