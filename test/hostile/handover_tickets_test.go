package hostile

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// corruptions returns variants of a sealed or signed text: every byte is changed, and every length is
// tried.
func corruptions(text string) (list []string) {
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

// ticketsForged covers S20: a ticket that dinggate did not issue is rejected.
func ticketsForged() (list []try) {
	for i := range 70 { // every byte of a ticket changed, and every third length
		list = append(list, try{fmt.Sprintf("S20 a changed ticket %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			path, text, _ := strings.Cut(b.ticket(wikiHost, "/page"), "=")
			all := corruptions(text)
			a := b.do(request{}, wikiHost, path+"="+all[i%len(all)])
			b.checkRefused("a changed ticket", a, wikiHost, 400, 403, 414)
			a = b.do(request{session: true}, wikiHost, path+"="+text) // the genuine ticket is still valid
			if a.status != 302 {
				h.failf("the genuine ticket afterwards: got %v", a)
			}
		}})
	}
	for _, query := range []string{"", "?", "?ticket=", "?ticket", "?ticket=a&ticket=b", "?Ticket=a", "?ticket[]=a", "?ticket=%zz",
		"?ticket=" + strings.Repeat("A", 43), "?ticket=../..", "?ticket=%0d%0aSet-Cookie:x=y", "?ticket=<script>"} {
		for _, host := range handOverHosts {
			list = append(list, try{"S20 arrive" + query + " on " + host, func(h *client) {
				b := h.signedIn("zhangsan")
				b.startHandOver(host, "/page")
				b.checkRefused(query, b.do(request{}, host, "/oauth2/arrive"+query), host, 400, 403)
			}})
		}
	}
	return list
}

// ticketsElsewhere covers S21 and S22: another browser, another host.
func ticketsElsewhere() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, host := range handOverHosts {
		for i := range 5 {
			add(fmt.Sprintf("S21 another browser %s %d", host, i), func(h *client) {
				owner, other := h.signedIn("zhangsan"), h.hostBrowser()
				arrive := owner.ticket(host, "/page")
				switch i {
				case 1: // with its own secret
					other.startHandOver(host, "/page")
				case 2: // signed in as another person
					other.at["app.test"].signIn("lisi")
					other.startHandOver(host, "/page")
				case 3: // with the secret of another host
					other.startHandOver(otherHost(host), "/page")
					other.at[host].jar = other.at[otherHost(host)].jar
				case 4: // with the owner's secret of another host
					owner.startHandOver(otherHost(host), "/page")
					other.at[host].jar = owner.at[otherHost(host)].jar
				}
				other.checkRefused("another browser", other.do(request{}, host, arrive), host, 403)
				// The ticket was presented, so it is used up.
				owner.checkRefused("the owner afterwards", owner.do(request{}, host, arrive), host, 403)
			})
			add(fmt.Sprintf("S23 planted ticket %s %d", host, i), func(h *client) {
				attacker, victim := h.signedIn("lisi"), h.hostBrowser()
				if i%2 == 1 {
					victim.at["app.test"].signIn("zhangsan")
				}
				if i > 1 { // the victim's own transfer is in progress
					victim.startHandOver(host, "/mine")
				}
				arrive := attacker.ticket(host, "/page")
				victim.checkRefused("the attacker's ticket", victim.do(request{}, host, arrive), host, 403)
			})
			add(fmt.Sprintf("S23 another browser's hand-over %s %d", host, i), func(h *client) {
				attacker, victim := h.hostBrowser(), h.signedIn("zhangsan")
				leave := attacker.startHandOver(host, "/page")
				a := victim.do(request{}, "app.test", leave) // for the attacker's secret; the victim receives it
				arrive := strings.TrimPrefix(a.header.Get("Location"), "https://"+host)
				if i > 1 {
					victim.startHandOver(host, "/mine")
				}
				victim.checkRefused("the victim", victim.do(request{}, host, arrive), host, 403)
				attacker.checkRefused("the attacker afterwards", attacker.do(request{}, host, arrive), host, 403)
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
						b.startHandOver(other, "/page")
					case i == 2: // with the secret
						b.at[other].jar = append(b.at[other].jar, b.at[host].jar...)
					}
					a := b.do(request{}, other, arrive)
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

// hopsForged covers S21: a changed secret is rejected.
func hopsForged() (list []try) {
	for i := range 180 {
		list = append(list, try{fmt.Sprintf("S21 a changed secret %d", i), func(h *client) {
			b := h.signedIn("zhangsan")
			arrive := b.ticket(firstApp, "/page")
			all := corruptions(b.at[firstApp].value(hopCookie))
			b.at[firstApp].jar[0].Value = all[i*3%len(all)]
			a := b.do(request{}, firstApp, arrive)
			b.checkRefused("a changed secret", a, firstApp, 400, 403, 431)
		}})
	}
	return list
}

// leavesForged covers S23 and class R: dinggate issues no ticket for a host without a route, in a
// frame, or for a request that is not a navigation.
func leavesForged() (list []try) {
	hop := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	add := func(name, target, method string, headers ...string) {
		list = append(list, try{"S23 R11 " + name, func(h *client) {
			b := h.signedIn("zhangsan")
			a := b.at["app.test"].do(request{}, method, target, headers...)
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
	for _, bad := range append(corruptions(hop)[60:], "", "x", hop+"&hop="+hop) {
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
			b.checkRefused(dest, b.at[wikiHost].do(request{}, method, arrive, headers...), wikiHost, 400, 403, 405)
			if a := b.do(request{session: true}, wikiHost, arrive); a.status != 302 { // nothing is used up
				h.failf("the person afterwards: got %v", a)
			}
		}})
	}
	return list
}
