package hostile

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// pages covers class W: WebSockets, pages, and the data that other origins and caches may read.
func pages(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	payloads := []string{`"><svg onload=1>`, `{{7*7}}`, `';alert(1)//`, "<script>alert(1)</script>", "\u202e",
		"javascript:alert(1)", strings.Repeat("A", 5000), "\x00", "${7*7}", "<!--", "]]>", "&lt;script&gt;",
		"\u2028alert(1)"}
	for _, page := range []string{"/oauth2/sign_in", "/oauth2/sign_out", "/oauth2/start", "/oauth2/callback",
		"/oauth2/silent", "/oauth2/userinfo", "/dingtalk/authorize", "/oauth2/nowhere", "/admin/x"} {
		for _, name := range []string{"rd", "error", "state", "lang", "link", "title", "error_description", "reason",
			"client_id"} {
			for _, payload := range payloads {
				for _, member := range []bool{false, true} {
					if member && name != "rd" {
						continue
					}
					add(fmt.Sprintf("W7 %s?%s=%.20q", page, name, payload), func(h *client) {
						lines := []string{"Accept: text/html",
							"Referer: https://app.test/" + strings.Map(plain, payload), "User-Agent: DingTalk"}
						if member {
							lines = append(lines, h.member("zhangsan"))
						}
						a := h.send(request{raw: requestText("GET",
							page+"?"+name+"="+strings.ReplaceAll(url.QueryEscape(payload), "+", "%20"), h.id,
							lines...)})
						if strings.ContainsAny(payload, "<>\"'{$") && strings.Contains(a.body, payload) ||
							strings.Contains(a.body, "49") && payload == "{{7*7}}" &&
								!strings.Contains(a.body, "7*7") && strings.Contains(a.body, ">49<") {
							h.failf("the payload is on the page: %v", a)
						}
						if strings.Contains(a.body, "\u202e") {
							h.failf("a bidi mark is on the page")
						}
					})
				}
			}
		}
	}
	for _, path := range []string{"/act/tunnel", "/ws", "/admin/ws", "/oauth2/userinfo", "/nowhere"} {
		for _, cookie := range []string{"", "Cookie: " + sessionCookie + "=expired", "Cookie: " + sessionCookie + "="} {
			add("W1 "+path+" "+cookie, func(h *client) {
				lines := handshake
				if cookie != "" {
					lines = append([]string{cookie}, lines...)
				}
				if a := h.send(request{
					raw: requestText("GET", path, h.id,
						append(lines, "Accept: text/html", "Sec-Fetch-Mode: websocket")...),
					fresh:   true,
					cleared: strings.HasPrefix(path, "/oauth2/"),
				}); a.status != 401 {
					h.failf("got %v, want 401", a)
				}
			})
		}
	}
	for origin, want := range map[string]int{"https://evil.test": 403, "https://friend.test": 403, "null": 403,
		"https://app.test.evil.test": 403, "http://app.test": 403, "https://app.test:8443": 403,
		"https://xapp.test": 403, "": 403, "https://app.test, https://evil.test": 403, "app.test": 403,
		"https://user@app.test": 403, "https://app.test/": 403, "file://": 403, "https://HTTPS.APP.TEST": 403,
		"https://APP.TEST:443": 101, "https://app.test": 101, "https://App.Test": 101} {
		add("W3 "+origin, func(h *client) {
			a := h.send(request{
				raw: requestText("GET", "/act/tunnel", h.id,
					append([]string{h.member("zhangsan"), "Origin: " + origin}, handshake[:4]...)...),
				authorized: want == 101,
				fresh:      true,
			})
			if a.status != want {
				h.failf("got %v, want %d", a, want)
			}
		})
	}
	add("W2 sign-out under an open WebSocket", func(h *client) {
		v := h.visitor().signIn("zhangsan")
		w, err := dial(v.from, h.env.addr)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer w.c.Close()
		io.WriteString(w.c, requestText("GET", "/act/open", h.id, append([]string{v.cookie()}, handshake...)...))
		a, err := w.read(request{})
		if err != nil || a.status != 101 {
			h.failf("the handshake = %v, %v", a, err)
			return
		}
		v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		w.c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, w.br); err != nil {
			h.failf("20 s after the sign-out the WebSocket is open: %v", err)
		}
	})
	for _, origin := range []string{"https://evil.test", "null", "https://app.test", "https://one.partner.test"} {
		for _, where := range []string{"/oauth2/userinfo", "/dingtalk/userinfo", "/dingtalk/token", "/oauth2/sign_in",
			"/oauth2/auth", "/oauth2/start", "/oauth2/silent"} {
			for _, method := range []string{"GET", "OPTIONS", "POST"} {
				add("W5 "+method+" "+where+" from "+origin, func(h *client) {
					a := h.send(request{
						method: method,
						from:   h.env.newAddress(),
						raw: requestText(method, where, h.id, "Origin: "+origin,
							"Access-Control-Request-Method: POST", "Content-Length: 0", h.member("zhangsan")),
						cleared: true,
					})
					for name := range a.header {
						if strings.HasPrefix(name, "Access-Control-") {
							h.failf("%s: %q", name, a.header[name])
						}
					}
				})
			}
		}
	}
	for _, path := range []string{"/oauth2/userinfo/x.css", "/oauth2/userinfo%2fx.css", "/oauth2/userinfo;x.css",
		"/oauth2/userinfo.css", "/oauth2/sign_in/x.js", "/oauth2/auth.css", "/oauth2/static/",
		"/oauth2/static/..%2f..%2fetc%2fpasswd", "/oauth2/style.css%00", "/oauth2/pages/"} {
		add("W6 W8 "+path, func(h *client) {
			if a := h.send(request{raw: requestText("GET", path, h.id, h.member("zhangsan"))}); a.status != 404 &&
				a.status != 400 {
				h.failf("got %v, want 404", a)
			}
		})
	}
	for _, lines := range [][]string{{"Accept: application/json"},
		{"X-Requested-With: XMLHttpRequest", "Accept: text/html"}, {"Sec-Fetch-Mode: cors", "Accept: text/html"},
		{"Sec-Fetch-Mode: no-cors"}, {"Accept: */*"}, {}, {"Sec-Purpose: prefetch", "Accept: text/html"},
		{"Sec-Fetch-Mode: cors", "Sec-Fetch-Mode: navigate"}} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			add(fmt.Sprintf("W9 W10 %s %q", method, lines), func(h *client) {
				a := h.send(request{
					method: method,
					raw:    requestText(method, "/api/x", h.id, append(lines, "Content-Length: 0")...),
				})
				if a.status != 401 || a.header["Set-Cookie"] != nil ||
					!strings.Contains(a.body, `"login_url":"https://app.test/oauth2/start?rd=`) {
					h.failf("got %v, want 401 JSON and no cookie", a)
				}
			})
		}
	}
	add("W11 the callback only redirects", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		if a := v.finish("zhangsan", state); a.status != 302 && a.status != 303 || a.body != "" ||
			strings.Contains(a.header.Get("Location"), "state") || strings.Contains(a.header.Get("Location"), "Code") {
			h.failf("got %v", a)
		}
	})
	return append(list, rebinding(s)...)
}

// plain drops characters that a header must not contain.
func plain(r rune) rune {
	if r < ' ' {
		return -1
	}
	return r
}
