package hostile

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
)

// ssoTokens covers T16, T17, T19 and T22: the tokens that userinfo accepts.
func ssoTokens() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	var once sync.Once
	var good tokens
	var unused string
	have := func(h *client) {
		once.Do(func() { good, unused = h.redeem(h.grant("s"), "s"), h.grant("s") })
	}
	var first sync.Once
	var same string // the 401 that all responses must equal
	for _, text := range []string{"", "A-", "Bearer", "Bearer ", "bearer:A", "Basic A", "Token A", "Digest A", `"A"`,
		"'A'", "A, A", "A A", "Bearer A A", "Bearer Bearer A", "Bearer\tA\tx", "Ax", "xA", "CUT", "UPPER", "lower",
		"FLIP0", "FLIP9", "FLIP30", "FLIPL", "REFRESH", "Bearer REFRESH", "CODE", "Bearer CODE",
		strings.Repeat("A", 1), strings.Repeat("x", 60_000), "A\x00", "A%20", "null", "undefined", "Bearer null",
		"eyJhbGciOiJub25lIn0.e30.", "A=", "A==", "PADDED", "SESSION"} {
		add(fmt.Sprintf("T16 T17 T19 %.40q", text), func(h *client) {
			have(h)
			flip := func(i int) string {
				b := []byte(good.Access)
				if b[i] ^= 1; b[i] == good.Access[i] {
					b[i] = 'A'
				}
				return string(b)
			}
			_, session, _ := strings.Cut(h.member("zhangsan"), sessionCookie+"=")
			value := strings.NewReplacer("REFRESH", good.Refresh, "CODE", unused, "CUT",
				good.Access[:len(good.Access)-1], "UPPER", strings.ToUpper(good.Access), "lower",
				strings.ToLower(good.Access), "FLIP0", flip(0), "FLIP9", flip(9), "FLIP30", flip(30), "FLIPL",
				respelled(good.Access), "PADDED", good.Access+"=", "SESSION", session).Replace(text)
			if value == text && text != "A" {
				value = strings.ReplaceAll(text, "A", good.Access)
			}
			if text == "A" { // the bare token is the contract's own form
				return
			}
			a := h.userinfo("Authorization: " + value)
			if a.bare || a.status == 431 {
				return
			}
			first.Do(func() { same = a.body })
			if a.status != 401 || a.body != same {
				h.failf("got %v, want 401 and %q", a, same)
			}
		})
	}
	for _, lines := range [][]string{{"Authorization: A", "Authorization: A"}, {"X-Authorization: A"},
		{"Cookie: access_token=A"}, {"Proxy-Authorization: A"}, {}} {
		add(fmt.Sprintf("T16 %.40q", lines), func(h *client) {
			have(h)
			var with []string
			for _, line := range lines {
				with = append(with, strings.Replace(line, ": A", ": "+good.Access, 1))
			}
			if a := h.userinfo(append(with, h.member("lisi"))...); a.status != 401 {
				h.failf("got %v, want 401", a)
			}
			a := h.send(request{
				from: h.env.newAddress(),
				raw:  requestText("GET", "/dingtalk/userinfo?access_token="+good.Access, h.id),
			})
			if a.status != 401 {
				h.failf("in the query = %v", a)
			}
		})
	}
	for _, form := range []string{"", "Bearer ", "bearer ", "BEARER "} {
		add("T16 good "+form, func(h *client) {
			have(h)
			if a := h.userinfo("Authorization: " + form + good.Access); a.status != 200 ||
				!strings.Contains(a.body, `"username":"zhangsan"`) {
				h.failf("got %v", a)
			}
		})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		add("T16 "+method, func(h *client) {
			have(h)
			if a := h.send(request{
				from:   h.env.newAddress(),
				method: method,
				raw: requestText(method, "/dingtalk/userinfo", h.id, "Authorization: "+good.Access,
					"Origin: https://evil.test", "Content-Length: 0"),
			}); a.status != 405 || a.header["Access-Control-Allow-Origin"] != nil {
				h.failf("got %v, want 405", a)
			}
		})
	}
	add("T22 without mail", func(h *client) {
		a := h.get(authorizeFor(appOne, oneCallback, "s"), h.member("wangwu"))
		to, _ := url.Parse(a.header.Get("Location"))
		if a := h.userinfo("Authorization: " +
			h.redeem(to.Query().Get("code"), "s").Access); !strings.Contains(a.body, `"email":""`) {
			h.failf("got %v", a)
		}
	})
	return list
}

// ssoReuse covers T7–T9 and T18–T20: each code and token works once and only for its client.
func ssoReuse() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	refresh := func(h *client, token, auth string) *answer {
		return h.token("grant_type=refresh_token&refresh_token="+token, auth, "Content-Type: text/plain")
	}
	for i := range 5 {
		add(fmt.Sprintf("T7 another client's %d", i), func(h *client) {
			code := h.grant("s")
			if a := h.token("code="+code+"&state=s", authTwo); a.status != 400 ||
				!strings.Contains(a.body, "invalid_grant") {
				h.failf("got %v", a)
			}
			if a := h.token("code="+code+"&state=s", authOne); a.status != 400 {
				h.failf("the code is still valid: %v", a)
			}
		})
		add(fmt.Sprintf("T7 another client's, used %d", i), func(h *client) {
			code := h.grant("s")
			got := h.redeem(code, "s")
			for range 2 {
				if a := h.token("code="+code+"&state=s", authTwo); a.status != 400 ||
					!strings.Contains(a.body, "invalid_grant") {
					h.failf("got %v", a)
				}
			}
			if a := h.userinfo("Authorization: " + got.Access); a.status != 200 {
				h.failf("another client ended the access token: %v", a)
			}
			if a := refresh(h, got.Refresh, authOne); a.status != 200 {
				h.failf("another client ended the refresh token: %v", a)
			}
		})
		add(fmt.Sprintf("T8 twice %d", i), func(h *client) {
			code := h.grant("s")
			got := h.redeem(code, "s")
			if a := h.token("code="+code+"&state=s", authOne); a.status != 400 {
				h.failf("again = %v", a)
			}
			if a := h.userinfo("Authorization: " + got.Access); a.status != 401 {
				h.failf("the first access token is still valid: %v", a)
			}
			if a := refresh(h, got.Refresh, authOne); a.status != 400 {
				h.failf("its refresh token is still valid: %v", a)
			}
		})
		add(fmt.Sprintf("T9 50 at once %d", i), func(h *client) {
			code := h.grant("s")
			body := "code=" + code + "&state=s"
			text := requestText("POST", "/dingtalk/token", h.id, authOne,
				fmt.Sprintf("Content-Length: %d", len(body))) + body
			var all sync.WaitGroup
			var mu sync.Mutex
			statuses := map[int]int{}
			for range 50 {
				all.Go(func() {
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					a, err := w.send(request{
						raw:    text,
						method: "POST",
						from:   h.env.newAddress(),
						to:     h.env.addr,
						fresh:  true,
					})
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						h.failf("%v", err)
						return
					}
					statuses[a.status]++
				})
			}
			all.Wait()
			if statuses[200] > 1 || statuses[200]+statuses[400] != 50 {
				h.failf("statuses %v", statuses)
			}
		})
		add(fmt.Sprintf("T20 rotation %d", i), func(h *client) {
			got := h.redeem(h.grant("s"), "s")
			if a := refresh(h, got.Refresh, authTwo); a.status != 400 {
				h.failf("another client refreshed: %v", a)
			}
			got = h.redeem(h.grant("s"), "s")
			if a := refresh(h, got.Access, authOne); a.status != 400 {
				h.failf("an access token refreshed: %v", a)
			}
			a := refresh(h, got.Refresh, authOne)
			var next tokens
			if json.Unmarshal([]byte(a.body), &next); a.status != 200 || next.Refresh == got.Refresh {
				h.failf("refresh = %v", a)
				return
			}
			if a := refresh(h, got.Refresh, authOne); a.status != 400 {
				h.failf("the old one again = %v", a)
			}
			if a := h.userinfo("Authorization: " + next.Access); a.status != 401 {
				h.failf("reuse did not end the family: %v", a)
			}
		})
		add(fmt.Sprintf("T20 after a sign-out %d", i), func(h *client) {
			v := h.visitor().signIn("zhangsan")
			a := v.do(request{}, "GET", authorizeFor(appOne, oneCallback, "s"))
			to, _ := url.Parse(a.header.Get("Location"))
			got := h.redeem(to.Query().Get("code"), "s")
			v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin",
				"Content-Length: 0")
			if a := h.userinfo("Authorization: " + got.Access); a.status != 401 {
				h.failf("userinfo after the sign-out = %v", a)
			}
			if a := refresh(h, got.Refresh, authOne); a.status != 400 {
				h.failf("refresh after the sign-out = %v", a)
			}
		})
	}
	return list
}
