package hostile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// openShared starts the env of two hosts that share one session, beside a third
// that is somebody else's.
func openShared(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		text = strings.Replace(text, "cookie: {", "cookie: {domain: app.test, ", 1)
		return strings.Replace(text, "  - {path: /, host: app.test,",
			`  - {path: /, host: wiki.app.test, access: {users: [lisi]}, upstream: "UP"}
  - {path: /page, host: open.app.test, access: public, upstream: "UP"}
  - {path: /, host: app.test,`, 1)
	})
	s.t, s.domain = t, "app.test"
	return s
}

// siblings are B8 and the rest of F7 and H13: several hosts, one cookie.
func siblings(s *env) []try {
	return slices.Concat(hostsOf(), tossed(s), sharedReturns())
}

// hostsOf: which host it is decides, in any spelling, at every endpoint.
func hostsOf() (list []try) {
	// zhangsan may enter app.test, not wiki.app.test; nobody knows evil.app.test.
	for host, want := range map[string]int{
		// cookies know no ports, and no rule does
		"app.test": 200, "APP.TEST": 200, "app.test.": 200, "app.test:443": 200, "App.Test.:443": 200,
		"app.test:8443": 200,
		"wiki.app.test": 403, "WIKI.app.test": 403, "wiki.app.test.": 403, "wiki.app.test:443": 403,
		"wIkI.aPp.TeSt.:443": 403, "wiki.app.test:80": 403,
		"evil.app.test": 404, "xwiki.app.test": 404, "127.0.0.1": 404,
		// W12
		"wiki.app.test.evil.test": 421, "app.test.evil.test": 421, "evil.test": 421, "localhost": 421, "wiki": 421,
		"wiki.app.test,app.test": 400, "app.test/wiki": 400, "wiki.app.test#app.test": 400,
		"app.test@wiki.app.test": 400, "ｗｉｋｉ.app.test": 400, "wiki。app.test": 400, "wiki\u00ad.app.test": 400,
		"": 400, "wiki..app.test": 400, "app.test..": 400, ".app.test": 400, "app.test\\wiki": 400,
		"wiki.app.test:x": 400, "[wiki.app.test]": 400,
	} {
		statuses := func(list ...int) []int { // a question knows no 400, no 404 and no 421
			switch want {
			case 200, 403:
				return []int{want}
			}
			return append(list, 403)
		}
		add := func(name string, do func(h *client) *answer, want []int) {
			list = append(list, try{fmt.Sprintf("F7 H13 %s %q", name, host), func(h *client) {
				if a := do(h); !slices.Contains(want, a.status) && !a.bare && a.status != 0 {
					h.failf("got %v, want %d", a, want)
				}
			}})
		}
		add("Host", func(h *client) *answer {
			return h.send(request{
				fresh: true,
				right: want == 200,
				raw:   requestText("GET", "/page", h.id, "Host: "+host, h.member("zhangsan")),
			})
		}, []int{want})
		if host == "" { // reports nothing: the question's own host counts
			continue
		}
		for _, claim := range []string{"X-Forwarded-Host: ", "X-Forwarded-Host:\t"} {
			add("proxied "+claim, func(h *client) *answer {
				return h.send(request{
					fresh: true,
					from:  gateway,
					right: want == 200,
					raw: requestText("GET", "/page", h.id, claim+host, "X-Forwarded-Proto: https",
						h.member("zhangsan")),
				})
			}, []int{want})
			for _, endpoint := range []string{"auth", "forward-auth"} {
				add(endpoint+" "+claim, func(h *client) *answer {
					return h.send(request{
						fresh: true,
						from:  gateway,
						raw: requestText("GET", "/oauth2/"+endpoint, h.id, claim+host, "X-Forwarded-Proto: https",
							"X-Forwarded-Uri: /page", "X-Forwarded-Method: GET", h.member("zhangsan")),
					})
				}, statuses(401, 400))
			}
		}
		add("ext-authz", func(h *client) *answer {
			return h.send(request{
				fresh: true,
				from:  gateway,
				raw: requestText("GET", "/oauth2/ext-authz/page", h.id, "Host: "+host, "X-Forwarded-Proto: https",
					h.member("zhangsan")),
			})
		}, statuses(401, 400))
		// The same claims of anybody else change nothing: it is app.test's page.
		add("a stranger's claim", func(h *client) *answer {
			return h.send(request{
				fresh: true,
				right: true,
				raw:   requestText("GET", "/page", h.id, "X-Forwarded-Host: "+host, h.member("zhangsan")),
			})
		}, []int{200})
		if strings.ContainsAny(host, "/#") { // there that is the path
			continue
		}
		add("auth, X-Original-URL", func(h *client) *answer {
			return h.send(request{
				fresh: true,
				from:  gateway,
				raw: requestText("GET", "/oauth2/auth", h.id, "X-Original-URL: https://"+host+"/page",
					h.member("zhangsan")),
			})
		}, statuses(401, 400))
	}
	for _, prefix := range []string{"/public", "/public/", "https://open.app.test", "/..", "open.app.test"} {
		for _, endpoint := range []string{"auth", "forward-auth"} {
			list = append(list, try{"F7 X-Forwarded-Prefix " + prefix + " at " + endpoint, func(h *client) {
				if a := h.send(request{
					from: gateway,
					raw: requestText("GET", "/oauth2/"+endpoint, h.id, "X-Forwarded-Host: wiki.app.test",
						"X-Forwarded-Uri: /page", "X-Forwarded-Prefix: "+prefix, h.member("zhangsan")),
				}); a.status != 403 {
					h.failf("got %v", a)
				}
			}})
		}
	}
	return list
}

// tossed: a sibling host can plant cookies beside ours.
func tossed(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"B8 " + name, do}) }
	value := func(h *client, person string) string {
		_, v, _ := strings.Cut(h.member(person), "=")
		return v
	}
	for name, line := range map[string]func(mine, theirs string) []string{
		"theirs in front": func(m, t string) []string { return []string{"dinggate=" + t + "; dinggate=" + m} },
		"theirs behind":   func(m, t string) []string { return []string{"dinggate=" + m + "; dinggate=" + t} },
		"in two headers":  func(m, t string) []string { return []string{"dinggate=" + m, "dinggate=" + t} },
		"mine twice":      func(m, _ string) []string { return []string{"dinggate=" + m + "; dinggate=" + m} },
		"theirs three times": func(m, t string) []string {
			return []string{"dinggate=" + t + "; dinggate=" + t + "; dinggate=" + m + "; dinggate=" + t}
		},
		"theirs in another form": func(m, t string) []string {
			return []string{"dinggate=" + t + "; dinggate =" + t + "; dinggate=" + m}
		},
	} {
		add("two that open, "+name, func(h *client) { // nobody can tell whose browser it is
			var lines []string
			for _, one := range line(value(h, "zhangsan"), value(h, "lisi")) {
				lines = append(lines, "Cookie: "+one)
			}
			a := h.send(request{
				cleared: true,
				raw:     requestText("GET", "/page", h.id, append(lines, "Sec-Fetch-Mode: cors")...),
			})
			if a.status != 401 {
				h.failf("got %v, want 401", a)
			}
		})
	}
	for name, line := range map[string]func(mine string) string{
		"junk in front":    func(m string) string { return "dinggate=junk; dinggate=" + m },
		"junk behind":      func(m string) string { return "dinggate=" + m + "; dinggate=junk" },
		"an empty one":     func(m string) string { return "dinggate=; dinggate=" + m },
		"20 that are junk": func(m string) string { return strings.Repeat("dinggate=junk; ", 3) + "dinggate=" + m },
		"another spelling": func(m string) string { return "Dinggate=junk; DINGGATE=junk; dinggate=" + m },
		"with its prefix":  func(m string) string { return "__Host-dinggate=" + m + "x; dinggate=" + m },
	} {
		add("one that opens, "+name, func(h *client) {
			a := h.send(request{
				right: true,
				raw:   requestText("GET", "/page", h.id, "Cookie: "+line(value(h, "zhangsan"))),
			})
			if seen := h.env.up.of(h.id); a.status != 200 || len(seen) != 1 ||
				seen[0].value("X-Forwarded-User") != "zhangsan" ||
				strings.Contains(strings.ToLower(seen[0].value("Cookie")), "dinggate") {
				h.failf("got %v, the application saw %+v", a, seen)
			}
		})
	}
	for _, name := range []string{"__Host-dinggate", "__Secure-dinggate", "Dinggate", "dinggate_0", "dinggate-1",
		"dinggate%3d"} {
		add("under the name "+name, func(h *client) {
			if a := h.send(request{raw: requestText("GET", "/page", h.id, "Cookie: "+name+"="+value(h, "zhangsan"),
				"Sec-Fetch-Mode: cors")}); a.status != 401 {
				h.failf("got %v", a)
			}
		})
	}
	// the same secrets without a domain: another name under the seal
	add("a session of the host alone", func(h *client) {
		p := s.another(func(text string) string {
			for _, line := range strings.Split(text, "\n") {
				if strings.Contains(line, "wiki.app.test") || strings.Contains(line, "open.app.test") {
					text = strings.Replace(text, line+"\n", "", 1)
				}
			}
			return strings.Replace(text, "domain: app.test, ", "", 1)
		})
		defer p.kill()
		if a := h.send(request{
			to: p.gate,
			raw: requestText("GET", "/page", h.id, "Cookie: "+sessionCookie+"="+value(h, "zhangsan"),
				"Sec-Fetch-Mode: cors"),
			cleared: true,
		}); a.status != 401 {
			h.failf("got %v", a)
		}
	})
	// attempts stay on one host: __Host- names, which it cannot set
	add("an attempt that a sibling planted", func(h *client) {
		attacker := h.visitor()
		state, _ := attacker.begin("/oauth2/start")
		victim := h.visitor()
		for _, name := range []string{"dinggate-attempt-0", "dinggate-attempt-1", "dinggate"} {
			a := victim.ask(request{cleared: true}, "GET",
				"/oauth2/callback?authCode="+victim.code("lisi")+"&state="+state,
				"Cookie: "+name+"="+attacker.attempt().Value)
			if a.status != 403 {
				h.failf("%s: got %v", name, a)
			}
		}
	})
	for name, lines := range map[string][]string{"same-site": {"Sec-Fetch-Site: same-site"},
		"the Origin of no sibling": {"Origin: https://app.test.evil.test"},
		"in clear":                 {"Origin: http://wiki.app.test"},
		"its Origin and the site":  {"Origin: https://wiki.app.test", "Sec-Fetch-Site: same-site"},
		"a friend's":               {"Origin: https://friend.test"}} {
		for _, where := range []string{"/oauth2/sign_out", "/oauth2/silent"} {
			add("a sibling's page posts to "+where+", "+name, func(h *client) {
				v := h.visitor().signIn("zhangsan")
				a := h.send(request{
					method: "POST",
					raw:    requestText("POST", where, h.id, append(lines, v.cookie(), "Content-Length: 0")...),
				})
				if a.status != 403 && a.status != 404 {
					h.failf("got %v", a)
				}
				if a := v.ask(request{right: true}, "GET", "/page"); a.status != 200 {
					h.failf("the session is gone: %v", a)
				}
			})
		}
		add("a sibling's page opens a WebSocket, "+name, func(h *client) {
			// a host that the cookie reaches has it anyway
			if strings.HasPrefix(name, "same") || strings.HasPrefix(name, "its") {
				return
			}
			a := h.send(request{
				fresh: true,
				raw: requestText("GET", "/act/ws", h.id,
					append(slices.Clone(handshake[:4]), lines[0], h.member("zhangsan"))...),
			})
			if a.status != 403 {
				h.failf("got %v", a)
			}
		})
	}
	add("signed in once, known on both, signed out of both", func(h *client) {
		v := h.visitor().signIn("lisi")
		for _, host := range []string{"app.test", "wiki.app.test"} {
			if a := v.ask(request{right: true}, "GET", "/page", "Host: "+host); a.status != 200 {
				h.failf("%s = %v", host, a)
			}
		}
		old := v.cookie()
		v.ask(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		for _, host := range []string{"app.test", "wiki.app.test"} {
			if a := h.send(request{
				cleared: true,
				raw:     requestText("GET", "/page", h.id, "Host: "+host, old, "Sec-Fetch-Mode: cors"),
			}); a.status != 401 {
				h.failf("afterwards %s = %v", host, a)
			}
		}
	})
	add("a session of one's own is planted before the sign-in", func(h *client) { // C1
		v := h.visitor()
		v.jar = append(v.jar, h.visitor().signIn("lisi").jar...)
		before := v.value(sharedCookie)
		state, _ := v.begin("/oauth2/start")
		if v.finish("zhangsan", state); v.value(sharedCookie) == before {
			h.failf("the planted session lives on")
		}
		if a := v.ask(request{right: true}, "GET", "/page"); a.status != 200 {
			h.failf("got %v", a)
		}
		if seen := h.env.up.of(h.id); len(seen) != 1 || seen[0].value("X-Forwarded-User") != "zhangsan" {
			h.failf("the application saw %+v", seen)
		}
	})
	return list
}

// sharedReturns: hosts that share the cookie may be returned to, and no other.
func sharedReturns() (list []try) {
	for target, want := range map[string]string{"https://wiki.app.test/x": "https://wiki.app.test/x",
		"https://any.app.test/": "https://any.app.test/", "https://WIKI.app.test:443/x": "https://wiki.app.test/x",
		"http://wiki.app.test/": "/", "https://app.test.evil.test/": "/", "https://evilapp.test/": "/",
		"https://wiki.app.test@evil.test/": "/", "https://wiki.app.test.evil.test/": "/",
		"https://wiki.app.test:8443/": "/", "https://.app.test/": "/", "https://wiki.app.test\\@evil.test/": "/",
		"https://evil.test#.app.test/": "/", "https://evil.test?.app.test/": "/", "https://evil.test/.app.test/": "/",
		"https://evil.test\\.app.test/": "/", "https://evil.test%2f.app.test/": "/",
		"https://evil.test%00.app.test/": "/", "https://evil。app.test/": "/", "https://user@wiki.app.test/": "/",
		"//wiki.app.test/": "/", "javascript://wiki.app.test/%0aalert(1)": "/", "https://[::1].app.test/": "/",
		"https://wiki..app.test/": "/", "https://-.app.test/": "", "https://*.app.test/": "/",
		"https://a_b.app.test/": "", "https://" + strings.Repeat("a.", 130) + "app.test/": "/"} {
		list = append(list, try{fmt.Sprintf("R5 B8 %.60q", target), func(h *client) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start?rd=" + url.QueryEscape(target))
			a := v.finish("zhangsan", state)
			if to := a.header.Get("Location"); want != "" && to != want {
				h.failf("ended at %q, want %q", to, want)
			}
		}})
	}
	return list
}
