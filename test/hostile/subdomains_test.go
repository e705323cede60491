package hostile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// openShared starts the env of two hosts that share one session, beside a third host that belongs
// to another party.
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

// sharedDomain covers B8 and the rest of F7 and H13: several hosts with one cookie.
func sharedDomain(s *env) []try {
	return slices.Concat(sharedHosts(), cookieTossing(s), sharedReturns())
}

// sharedHosts checks that the host decides in every spelling and at every endpoint.
func sharedHosts() (list []try) {
	// zhangsan may open app.test but not wiki.app.test. evil.app.test is not configured.
	for host, want := range map[string]int{
		// Neither cookies nor rules distinguish ports.
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
		statuses := func(list ...int) []int { // an authorization subrequest uses no 400, 404 or 421
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
				fresh:      true,
				authorized: want == 200,
				raw:        requestText("GET", "/page", h.id, "Host: "+host, h.member("zhangsan")),
			})
		}, []int{want})
		if host == "" { // reports no host: the Host of the subrequest counts
			continue
		}
		for _, claim := range []string{"X-Forwarded-Host: ", "X-Forwarded-Host:\t"} {
			add("proxied "+claim, func(h *client) *answer {
				return h.send(request{
					fresh:      true,
					from:       gateway,
					authorized: want == 200,
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
		// The same claims of an untrusted peer change nothing: the page is the one of app.test.
		add("an untrusted peer's claim", func(h *client) *answer {
			return h.send(request{
				fresh:      true,
				authorized: true,
				raw:        requestText("GET", "/page", h.id, "X-Forwarded-Host: "+host, h.member("zhangsan")),
			})
		}, []int{200})
		if strings.ContainsAny(host, "/#") { // these characters end the host in a URL
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

// cookieTossing covers a sibling host that plants cookies beside ours.
func cookieTossing(s *env) (list []try) {
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
		add("two that open, "+name, func(h *client) { // ambiguous: the browser could belong to either person
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
				authorized: true,
				raw:        requestText("GET", "/page", h.id, "Cookie: "+line(value(h, "zhangsan"))),
			})
			if seen := h.env.up.received(h.id); a.status != 200 || len(seen) != 1 ||
				seen[0].value("X-Forwarded-User") != "zhangsan" ||
				strings.Contains(strings.ToLower(seen[0].value("Cookie")), "dinggate") {
				h.failf("got %v, the application received %+v", a, seen)
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
	// With the same secrets and without a domain the seal covers another cookie name.
	add("a session of the host only", func(h *client) {
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
			to: p.addr,
			raw: requestText("GET", "/page", h.id, "Cookie: "+sessionCookie+"="+value(h, "zhangsan"),
				"Sec-Fetch-Mode: cors"),
			cleared: true,
		}); a.status != 401 {
			h.failf("got %v", a)
		}
	})
	// Attempt cookies are host-only: their names begin with __Host-, which a sibling cannot set.
	add("an attempt that a sibling planted", func(h *client) {
		attacker := h.visitor()
		state, _ := attacker.begin("/oauth2/start")
		victim := h.visitor()
		for _, name := range []string{"dinggate-attempt-0", "dinggate-attempt-1", "dinggate"} {
			a := victim.do(request{cleared: true}, "GET",
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
		"another site's":           {"Origin: https://friend.test"}} {
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
				if a := v.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
					h.failf("the session ended: %v", a)
				}
			})
		}
		add("a sibling's page opens a WebSocket, "+name, func(h *client) {
			// A host that receives the cookie can open the WebSocket anyway.
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
	add("signed in on both hosts, signed out of both", func(h *client) {
		v := h.visitor().signIn("lisi")
		for _, host := range []string{"app.test", "wiki.app.test"} {
			if a := v.do(request{authorized: true}, "GET", "/page", "Host: "+host); a.status != 200 {
				h.failf("%s = %v", host, a)
			}
		}
		old := v.cookie()
		v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		for _, host := range []string{"app.test", "wiki.app.test"} {
			if a := h.send(request{
				cleared: true,
				raw:     requestText("GET", "/page", h.id, "Host: "+host, old, "Sec-Fetch-Mode: cors"),
			}); a.status != 401 {
				h.failf("afterwards %s = %v", host, a)
			}
		}
	})
	add("a session is planted before the sign-in", func(h *client) { // C1
		v := h.visitor()
		v.jar = append(v.jar, h.visitor().signIn("lisi").jar...)
		before := v.value(sharedCookie)
		state, _ := v.begin("/oauth2/start")
		if v.finish("zhangsan", state); v.value(sharedCookie) == before {
			h.failf("the planted session is still valid")
		}
		if a := v.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
			h.failf("got %v", a)
		}
		if seen := h.env.up.received(h.id); len(seen) != 1 || seen[0].value("X-Forwarded-User") != "zhangsan" {
			h.failf("the application received %+v", seen)
		}
	})
	return list
}

// sharedReturns checks that only hosts that share the cookie are valid return targets.
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
