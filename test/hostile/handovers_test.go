package hostile

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The hosts of openPlaces that the session cookie of app.test does not reach.
const (
	wikiHost  = "wiki.other.test"
	firstApp  = "one.apps.third.test"
	secondApp = "two.apps.third.test"
)

var handOverHosts = []string{wikiHost, firstApp, secondApp}

func openPlaces(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		return strings.Replace(text, "  - {path: /, host: app.test,", `  - {path: /, host: wiki.other.test, upstream: "UP"}
  - {path: /, host: "*.apps.third.test", upstream: "UP"}
  - {path: /, host: app.test,`, 1)
	})
	s.t, s.places = t, handOverHosts
	return s
}

// TestHandOvers is S17 and S20 to S23: sessions on their way to hosts of other
// domains, and everything that must not take one along.
func TestHandOvers(t *testing.T) {
	s := openPlaces(t)
	c := &count{}
	s.run(t, c, "S17", 500, slices.Concat(arrivals(), ticketsForged(), ticketsElsewhere(), hopsForged(), leavesForged(),
		placesMixed(), signOutsEverywhere()))
	s.end(t)
	c.print(s.notes)
}

// hostBrowser is a browser with a jar for each host.
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

func (b *hostBrowser) ask(r request, host, target string, headers ...string) *answer {
	return b.at[host].ask(r, "GET", target, append(headers, "Host: "+host)...)
}

// depart asks for a page of a host, and gives the path on app.test that it leads to.
func (b *hostBrowser) depart(host, page string) string {
	a := b.ask(request{}, host, page)
	to, ok := strings.CutPrefix(a.header.Get("Location"), "https://app.test")
	if a.status != 302 || !ok || b.at[host].value(hopCookie) == "" {
		b.h.failf("a page load on %s: got %v, want a departure", host, a)
	}
	return to
}

// ticket is depart, and the path with the ticket that app.test gives.
func (b *hostBrowser) ticket(host, page string) string {
	a := b.ask(request{}, "app.test", b.depart(host, page))
	to, ok := strings.CutPrefix(a.header.Get("Location"), "https://"+host)
	if a.status != 302 || !ok || !strings.HasPrefix(to, "/oauth2/arrive?ticket=") {
		b.h.failf("leaving for %s: got %v, want a ticket", host, a)
	}
	return to
}

// signedIn is a browser with a session on app.test.
func (h *client) signedIn(person string) *hostBrowser {
	b := h.hostBrowser()
	b.at["app.test"].signIn(person)
	return b
}

// refusedThere wants an answer that gives no session and leads to no application.
func (b *hostBrowser) refusedThere(what string, a *answer, host string, statuses ...int) {
	if !slices.Contains(statuses, a.status) && a.status != 0 || slices.ContainsFunc(a.header["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, sessionCookie+"=")
	}) {
		b.h.failf("%s: got %v, want %v and no session", what, a, statuses)
	}
	if host != "" && b.at[host].value(sessionCookie) != "" {
		b.h.failf("%s: there is a session on %s", what, host)
	}
}

// arrivals are those of honest people, each with a replay.
func arrivals() (list []try) {
	for i, page := range []string{"/", "/page", "/a/b?x=1&y=%2F&rd=/z", "/%E6%8A%A5", "/deep?next=https://evil.test/", "/?", "/" + strings.Repeat("a", 800)} {
		for _, host := range handOverHosts {
			list = append(list, try{fmt.Sprintf("S17 S20 %s %d", host, i), func(h *client) {
				b := h.hostBrowser()
				leave := b.depart(host, page)
				a := b.ask(request{}, "app.test", leave) // not signed in: to DingTalk
				to, err := url.Parse(a.header.Get("Location"))
				if err != nil || to.Query().Get("state") == "" {
					h.failf("leaving without a session: got %v", a)
					return
				}
				a = b.at["app.test"].finish("zhangsan", to.Query().Get("state"))
				if got := a.header.Get("Location"); got != leave {
					h.failf("after the sign-in: got %v, want %s", a, leave)
				}
				a = b.ask(request{}, "app.test", leave)
				arrive := strings.TrimPrefix(a.header.Get("Location"), "https://"+host)
				a = b.ask(request{session: true}, host, arrive)
				if want := "https://" + host + page; a.status != 302 || a.header.Get("Location") != want || b.at[host].value(sessionCookie) == "" {
					h.failf("the arrival: got %v, want %s and a session", a, want)
				}
				if a = b.ask(request{right: true}, host, page); a.status != 200 {
					h.failf("the page: got %v", a)
				}
				kept := b.at[host].value(sessionCookie)
				if a = b.ask(request{}, host, arrive); a.status != 403 || b.at[host].value(sessionCookie) != kept {
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
					wires := &rawConns{kept: map[string]*rawConn{}}
					defer wires.close()
					a, err := wires.send(request{to: h.env.gate, from: b.at[host].from, fresh: true,
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
				a := b.ask(request{session: true}, host, arrive)
				if want := fmt.Sprintf("https://%s/tab/%d", host, 4-tab); a.status != 302 || a.header.Get("Location") != want {
					h.failf("tab %d: got %v, want %s", 4-tab, a, want)
				}
			}
		}})
	}
	return list
}

// variants of a text that is sealed or signed: every byte changed, every length.
func spoilt(text string) (list []string) {
	for i := range len(text) {
		other := byte('A')
		if text[i] == 'A' {
			other = 'B'
		}
		list = append(list, text[:i]+string(other)+text[i+1:])
		if i%3 == 0 {
			list = append(list, text[:i])
		}
	}
	return append(list, text+"A", text+"=", "A"+text, strings.ToUpper(text), text+text, url.QueryEscape(text+"\n"), "%00", strings.Repeat("A", 5000))
}

// ticketsForged are S20: none that was not made here is worth anything.
func ticketsForged() (list []try) {
	for i := range 70 { // every byte of a ticket changed, and every third length
		list = append(list, try{fmt.Sprintf("S20 a changed ticket %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			path, text, _ := strings.Cut(b.ticket(wikiHost, "/page"), "=")
			all := spoilt(text)
			a := b.ask(request{}, wikiHost, path+"="+all[i%len(all)])
			b.refusedThere("a changed ticket", a, wikiHost, 400, 403, 414)
			a = b.ask(request{session: true}, wikiHost, path+"="+text) // which cost the true one nothing
			if a.status != 302 {
				h.failf("the true ticket afterwards: got %v", a)
			}
		}})
	}
	for _, query := range []string{"", "?", "?ticket=", "?ticket", "?ticket=a&ticket=b", "?Ticket=a", "?ticket[]=a", "?ticket=%zz",
		"?ticket=" + strings.Repeat("A", 43), "?ticket=../..", "?ticket=%0d%0aSet-Cookie:x=y", "?ticket=<script>"} {
		for _, host := range handOverHosts {
			list = append(list, try{"S20 arrive" + query + " on " + host, func(h *client) {
				b := h.signedIn("zhangsan")
				b.depart(host, "/page")
				b.refusedThere(query, b.ask(request{}, host, "/oauth2/arrive"+query), host, 400, 403)
			}})
		}
	}
	return list
}

// ticketsElsewhere are S21 and S22: another browser, another host.
func ticketsElsewhere() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, host := range handOverHosts {
		for i := range 5 {
			add(fmt.Sprintf("S21 another browser %s %d", host, i), func(h *client) {
				owner, thief := h.signedIn("zhangsan"), h.hostBrowser()
				arrive := owner.ticket(host, "/page")
				switch i {
				case 1: // with a secret of its own
					thief.depart(host, "/page")
				case 2: // signed in as somebody else
					thief.at["app.test"].signIn("lisi")
					thief.depart(host, "/page")
				case 3: // with a secret of another place
					thief.depart(otherHost(host), "/page")
					thief.at[host].jar = thief.at[otherHost(host)].jar
				case 4: // with the owner's secret of another place
					owner.depart(otherHost(host), "/page")
					thief.at[host].jar = owner.at[otherHost(host)].jar
				}
				thief.refusedThere("a thief", thief.ask(request{}, host, arrive), host, 403)
				if i == 1 || i == 2 { // it was looked at, and so it is spent
					owner.refusedThere("the owner afterwards", owner.ask(request{}, host, arrive), host, 403)
				}
			})
			add(fmt.Sprintf("S23 planted ticket %s %d", host, i), func(h *client) {
				attacker, victim := h.signedIn("lisi"), h.hostBrowser()
				if i%2 == 1 {
					victim.at["app.test"].signIn("zhangsan")
				}
				if i > 1 { // a departure of the victim's own is under way
					victim.depart(host, "/mine")
				}
				arrive := attacker.ticket(host, "/page")
				victim.refusedThere("the attacker's ticket", victim.ask(request{}, host, arrive), host, 403)
			})
			add(fmt.Sprintf("S23 another's departure %s %d", host, i), func(h *client) {
				attacker, victim := h.hostBrowser(), h.signedIn("zhangsan")
				leave := attacker.depart(host, "/page")
				a := victim.ask(request{}, "app.test", leave) // a ticket, but for the attacker's secret: only the victim sees it
				arrive := strings.TrimPrefix(a.header.Get("Location"), "https://"+host)
				if i > 1 {
					victim.depart(host, "/mine")
				}
				victim.refusedThere("the victim", victim.ask(request{}, host, arrive), host, 403)
			})
		}
		for _, other := range []string{"app.test", wikiHost, firstApp, secondApp} {
			if other == host {
				continue
			}
			for i := range 3 {
				add(fmt.Sprintf("S22 a ticket for %s on %s %d", host, other, i), func(h *client) {
					b := h.signedIn("zhangsan")
					arrive := b.ticket(host, "/page")
					switch {
					case i == 1 && other != "app.test":
						b.depart(other, "/page")
					case i == 2: // the secret goes along
						b.at[other].jar = append(b.at[other].jar, b.at[host].jar...)
					}
					a := b.ask(request{}, other, arrive)
					if a.status != 403 && a.status != 404 || other != "app.test" && b.at[other].value(sessionCookie) != "" {
						h.failf("got %v, want a refusal", a)
					}
				})
			}
		}
	}
	for _, host := range []string{"evil.test", "x.wiki.other.test", "a.b.apps.third.test", "apps.third.test", "other.test", "wiki.other.test.evil.test"} {
		add("S22 arrive and leave on "+host, func(h *client) {
			b := h.signedIn("zhangsan")
			arrive := b.ticket(wikiHost, "/page")
			for _, target := range []string{arrive, "/oauth2/leave?hop=x&rd=https://wiki.other.test/", "/page"} {
				h.misdirected(h.send(request{raw: requestText("GET", target, h.id, "Host: "+host, "Accept: text/html", b.at[wikiHost].cookie())}))
			}
		})
	}
	return list
}

func otherHost(host string) string {
	return handOverHosts[(slices.Index(handOverHosts, host)+1)%len(handOverHosts)]
}

// hopsForged are S21: a secret that was changed is none.
func hopsForged() (list []try) {
	for i := range 180 {
		list = append(list, try{fmt.Sprintf("S21 a changed secret %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			arrive := b.ticket(firstApp, "/page")
			all := spoilt(b.at[firstApp].value(hopCookie))
			b.at[firstApp].jar[0].Value = all[i*3%len(all)]
			a := b.ask(request{}, firstApp, arrive)
			b.refusedThere("a changed secret", a, firstApp, 400, 403, 431)
		}})
	}
	return list
}

// leavesForged are S23 and R: no ticket to anywhere that no route names, none in a
// frame, none for a request that is no navigation.
func leavesForged() (list []try) {
	hop := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	add := func(name, target, method string, headers ...string) {
		list = append(list, try{"S23 R11 " + name, func(h *client) {
			b := h.signedIn("zhangsan")
			a := b.at["app.test"].ask(request{}, method, target, headers...)
			if a.status < 400 || strings.Contains(a.header.Get("Location"), "ticket=") {
				h.failf("got %v, want a refusal", a)
			}
		}})
	}
	for _, to := range []string{"", "/", "/page", "//evil.test/", "https://evil.test/", "https://evil.test",
		"http://wiki.other.test/", "https://wiki.other.test:8443/",
		"https://wiki.other.test@evil.test/", "https://evil.test#wiki.other.test", "https://evil.test?wiki.other.test/", `https://wiki.other.test\@evil.test/`,
		"https://wiki.other.test.evil.test/", "https://xwiki.other.test/", "https://a.b.apps.third.test/", "https://apps.third.test/", "https://*.apps.third.test/",
		"https://.apps.third.test/", "https://wiki.other.test//evil.test/", "https://wiki.other.test/../x", "https://app.test/", "https://friend.test/",
		"https://wiki.other.test/oauth2/leave?hop=" + hop, "https://wiki.other.test/oauth2/sign_out", "javascript:alert(1)", "https:wiki.other.test/",
		"https:///wiki.other.test/", "https://wiki。other.test/", "https://ｗiki.other.test/", "HTTPS://EVIL.test/"} {
		for _, form := range []string{"plain", "escaped"} {
			text := strings.NewReplacer("\\", "%5C", "。", "%E3%80%82", "ｗ", "%EF%BD%97").Replace(to)
			if form == "escaped" {
				text = url.QueryEscape(to)
			}
			add(form+" to "+to, "/oauth2/leave?hop="+hop+"&rd="+text, "GET")
		}
	}
	for _, bad := range append(spoilt(hop)[60:], "", "x", hop+"&hop="+hop) {
		if len(bad) == 43 && bad[42] == 'A' {
			continue
		}
		add("hop "+bad[:min(len(bad), 60)], "/oauth2/leave?hop="+bad+"&rd=https://wiki.other.test/", "GET")
	}
	good := "/oauth2/leave?hop=" + hop + "&rd=https://wiki.other.test/page"
	for _, dest := range []string{"iframe", "frame", "embed", "object", "image", "script", "style", "empty"} {
		mode := "no-cors"
		if strings.HasSuffix(dest, "frame") {
			mode = "navigate"
		}
		add("in "+dest, good, "GET", "Sec-Fetch-Dest: "+dest, "Sec-Fetch-Mode: "+mode, "Sec-Fetch-Site: cross-site")
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		add("by "+method, good, method)
	}
	add("as a prefetch", good, "GET", "Sec-Purpose: prefetch")
	for _, dest := range []string{"iframe", "image", "script", "HEAD", "POST", "prefetch"} {
		list = append(list, try{"S23 arrive as " + dest, func(h *client) {
			b := h.signedIn("zhangsan")
			arrive, method, headers := b.ticket(wikiHost, "/page"), "GET", []string{"Host: " + wikiHost}
			switch dest {
			case "HEAD", "POST":
				method = dest
			case "prefetch":
				headers = append(headers, "Sec-Purpose: prefetch")
			default:
				headers = append(headers, "Sec-Fetch-Dest: "+dest, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site")
			}
			b.refusedThere(dest, b.at[wikiHost].ask(request{}, method, arrive, headers...), wikiHost, 400, 403, 405)
			if a := b.ask(request{session: true}, wikiHost, arrive); a.status != 302 { // nothing is used up
				h.failf("the person afterwards: got %v", a)
			}
		}})
	}
	return list
}

// placesMixed are S22: a session cookie opens its own place alone.
func placesMixed() (list []try) {
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
						b.ask(request{session: true}, from, b.ticket(from, "/page"))
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

// signOutsEverywhere: one ends all.
func signOutsEverywhere() (list []try) {
	all := append([]string{"app.test"}, handOverHosts...)
	for _, where := range all {
		list = append(list, try{"S17 a sign-out on " + where, func(h *client) {
			b := h.signedIn("zhangsan")
			for _, host := range handOverHosts {
				b.ask(request{session: true}, host, b.ticket(host, "/page"))
				if a := b.ask(request{right: true}, host, "/page"); a.status != 200 {
					h.failf("%s before: got %v", host, a)
				}
			}
			kept := map[string]string{} // what a thief would have: the cookies of before
			for _, host := range all {
				kept[host] = b.at[host].cookie()
			}
			a := b.at[where].ask(request{cleared: true}, "POST", "/oauth2/sign_out", "Host: "+where, "Sec-Fetch-Site: same-origin", "Content-Length: 0")
			if a.status != 303 {
				h.failf("the sign-out: got %v", a)
			}
			for _, host := range all {
				headers := []string{"Host: " + host, "Accept: application/json"}
				if left := kept[host]; left != "" {
					headers = append(headers, left)
				}
				if a := h.send(request{raw: requestText("GET", "/page", h.id, headers...)}); a.status != 401 {
					h.failf("%s afterwards: got %v, want 401", host, a)
				}
			}
		}})
	}
	return list
}
