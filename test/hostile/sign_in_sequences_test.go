package hostile

import (
	"fmt"
	"strings"
	"sync"

	"dinggate/dingtalk/simulator"
)

// signInSequences covers S1–S4, S9, S10 and S14–S19: sign-ins that involve one or two browsers.
func signInSequences() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for i := range 5 {
		add(fmt.Sprintf("S1 S2 the attacker's link %d", i), func(h *client) {
			attacker := h.visitor()
			state, _ := attacker.begin("/oauth2/start")
			victim := h.visitor()
			if a := victim.do(request{}, "GET",
				"/oauth2/callback?authCode="+attacker.code("lisi")+"&state="+state); a.status != 403 ||
				victim.value(sessionCookie) != "" {
				h.failf("got %v", a)
			}
			mine, _ := victim.begin("/oauth2/start") // S3: the victim's own valid attempt does not help
			if a := victim.do(request{}, "GET",
				"/oauth2/callback?authCode="+attacker.code("lisi")+"&state="+state); a.status != 403 ||
				victim.value(sessionCookie) != "" {
				h.failf("got %v", a)
			}
			if a := victim.finish("zhangsan", mine); a.status != 302 {
				h.failf("the victim's own attempt is lost: %v", a)
			}
		})
		add(fmt.Sprintf("S4 twice %d", i), func(h *client) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			jar := v.jar
			code := v.code("zhangsan")
			h.env.budget.Add(callsPerSignIn)
			where := "/oauth2/callback?authCode=" + code + "&state=" + state
			if a := v.do(request{session: true}, "GET", where); a.status != 302 {
				h.failf("the first = %v", a)
			}
			v.jar = jar
			if a := v.do(request{}, "GET", where); a.status != 403 {
				h.failf("the second = %v, want 403", a)
			}
		})
		add(fmt.Sprintf("S9 two tabs %d", i), func(h *client) {
			v := h.visitor()
			one, _ := v.begin("/oauth2/start?rd=%2Fone")
			two, _ := v.begin("/oauth2/start?rd=%2Ftwo")
			if a := v.finish("zhangsan", two); a.header.Get("Location") != "/two" {
				h.failf("the second tab = %v", a)
			}
			if a := v.finish("zhangsan", one); a.header.Get("Location") != "/one" {
				h.failf("the first tab = %v", a)
			}
		})
		add(fmt.Sprintf("S18 at once %d", i), func(h *client) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			text := requestText("GET", "/oauth2/callback?authCode="+v.code("zhangsan")+"&state="+state, h.id,
				"Accept: text/html", v.cookie())
			h.env.budget.Add(callsPerSignIn)
			var all sync.WaitGroup
			var mu sync.Mutex
			sessions, others := 0, map[int]int{}
			for range 50 {
				all.Go(func() {
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					a, err := w.send(request{raw: text, from: v.from, to: h.env.addr, fresh: true})
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err != nil:
						h.failf("%v", err)
					case strings.Contains(strings.Join(a.header["Set-Cookie"], "\n"), sessionCookie+"="):
						sessions++
					case a.status == 303 && strings.Contains(a.header.Get("Location"), "code="):
						h.failf("a refusal contains the code: %v", a)
					default:
						others[a.status]++
					}
				})
			}
			all.Wait()
			if sessions != 1 || others[303]+others[429] != 49 {
				h.failf("%d sessions of one code, others %v", sessions, others)
			}
		})
	}
	add("S10 200 pages, then 200 fetches", func(h *client) {
		v := h.visitor()
		for range 200 {
			v.do(request{}, "GET", "/page")
			live, size := 0, len(v.cookie())
			for _, c := range v.jar {
				if strings.HasPrefix(c.Name, attemptCookie) {
					live++
				}
			}
			if live > 5 || size > 8<<10 {
				h.failf("%d attempts of %d bytes live", live, size)
				return
			}
		}
		for range 200 {
			if a := v.h.send(request{
				from: v.from,
				raw:  requestText("GET", "/api", h.id, "Sec-Fetch-Mode: cors", v.cookie()),
			}); a.status != 401 || a.header["Set-Cookie"] != nil {
				h.failf("a fetch got %v", a)
				return
			}
		}
	})
	add("S16 1,000 other browsers", func(h *client) {
		mine := h.visitor()
		state, _ := mine.begin("/oauth2/start?rd=%2Fmine")
		for range 1000 {
			v := h.visitor()
			v.begin("/oauth2/start")
		}
		if a := mine.finish("zhangsan", state); a.header.Get("Location") != "/mine" {
			h.failf("the attempt is lost: %v", a)
		}
	})
	for _, lines := range [][]string{{"Sec-Fetch-Site: cross-site"}, {"Origin: https://evil.test"}, {"Origin: null"},
		{"Sec-Fetch-Site: same-site", "Origin: https://x.app.test"}, {"Origin: https://app.test.evil.test"},
		{"Sec-Fetch-Site: cross-site", "Origin: https://app.test"}, {"Origin: http://app.test"},
		{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}} {
		add(fmt.Sprintf("S15 %q", lines), func(h *client) {
			v := h.visitor().signIn("zhangsan")
			before := v.value(sessionCookie)
			if a := v.do(request{}, "GET", "/oauth2/sign_out", lines...); a.status != 200 ||
				v.value(sessionCookie) != before {
				h.failf("GET = %v", a)
			}
			if a := v.do(request{}, "POST", "/oauth2/sign_out",
				append(lines, "Content-Length: 0")...); a.status != 403 || v.value(sessionCookie) != before {
				h.failf("POST = %v", a)
			}
			if a := v.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
				h.failf("the session ended: %v", a)
			}
		})
	}
	// S19
	for _, body := range []string{"", "code=x", `{"code":"x"}`, "code=CODE&state=x",
		`{"code":"CODE","corpId":"` + simulator.DemoCorpID + `"}`} {
		for _, lines := range [][]string{{"Sec-Fetch-Site: cross-site"}, {"Origin: https://evil.test"},
			{"Origin: null"}, {"Sec-Fetch-Site: same-origin"}, {}} {
			add(fmt.Sprintf("S19 %.20q %q", body, lines), func(h *client) {
				text := strings.ReplaceAll(body, "CODE", h.env.sim.SilentCode("zhangsan"))
				for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain"} {
					v := h.visitor()
					a := h.send(request{
						from:   v.from,
						method: "POST",
						raw: requestText("POST", "/oauth2/silent", h.id,
							append(lines, "Content-Type: "+kind, fmt.Sprintf("Content-Length: %d", len(text)))...) +
							text,
					})
					if a.status < 400 {
						h.failf("a silent sign-in without an attempt = %v", a)
					}
				}
			})
		}
	}
	return list
}
