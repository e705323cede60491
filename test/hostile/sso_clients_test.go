package hostile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ssoClients covers T1–T3, T23, T25 and T26.
func ssoClients() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, id := range []string{"evil", "app-one\r\nX: y", "app-one\x00", "аpp-one", "app-one\u200b", "app_one",
		"App-One", "../app-one", "<script>alert(1)</script>", "\u202eeno-ppa", strings.Repeat("a", 60_000),
		"app-one,app-two", "*", "%", "null", "app-one'--", "{{7*7}}", "${x}", " app-one", "app-one "} {
		add(fmt.Sprintf("T26 %.40q", id), func(h *client) {
			a := h.get(authorizeFor(id, oneCallback, "s"))
			if a.status != 400 && a.status != 431 || strings.Contains(a.body, "<script>alert") {
				h.failf("got %v", a)
			}
			if a := h.token("code=x&state=s", basic(id, canary+"-one"+longSecret)); a.status != 401 && !a.bare {
				h.failf("token = %v, want 401", a)
			}
			if a := h.token("client_id="+url.QueryEscape(id)+"&code=x&state=s", authOne); len(id) < 5000 &&
				a.status != 400 {
				h.failf("one client in Basic, another in the body = %v, want 400", a)
			}
		})
	}
	for _, state := range []string{"plain", "with space", "a&b=c", "张三", "<svg onload=1>", "a+b", "%2B", "\"'",
		strings.Repeat("s", 200)} {
		add(fmt.Sprintf("T2 T3 %.20q", state), func(h *client) {
			code := h.grant(state)
			if len(code) < 22 || strings.Contains(code, "code-") {
				h.failf("the code is %q", code)
			}
			if raw, err := base64.RawURLEncoding.DecodeString(code); err != nil ||
				strings.Contains(string(raw), "zhangsan") || strings.Contains(string(raw), appOne) {
				h.failf("the code can be read: %q", raw)
			}
		})
	}
	add("T2 a whole sign-in", func(h *client) {
		v := h.visitor()
		state, _ := v.begin(authorizeFor(appOne, oneCallback, "theirs"))
		h.env.budget.Add(callsPerSignIn)
		where := "/dingtalk/callback?forward_url=" + url.QueryEscape(oneCallback) + "&authCode=" +
			v.code("zhangsan") + "&state=" + state
		a := v.do(request{session: true}, "GET", where)
		to, _ := url.Parse(a.header.Get("Location"))
		if a.status != 302 || to.Query().Get("state") != "theirs" || to.Query().Get("code") == "" {
			h.failf("got %v", a)
		}
		if a := v.do(request{}, "GET", where); a.status != 403 {
			h.failf("the callback again = %v", a)
		}
	})
	// S8: an attempt is valid only for its own purpose.
	for _, kind := range []string{"/oauth2/callback", "/dingtalk/callback"} {
		add("T28 an attempt for another purpose at "+kind, func(h *client) {
			v := h.visitor()
			start := authorizeFor(appOne, oneCallback, "theirs")
			if kind == "/dingtalk/callback" {
				start = "/oauth2/start?rd=%2F"
			}
			state, _ := v.begin(start)
			if a := v.do(request{}, "GET",
				kind+"?forward_url="+url.QueryEscape(oneCallback)+"&authCode="+v.code("zhangsan")+"&state="+
					state); a.status != 403 && a.status != 400 || a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		})
	}
	for i := range 5 {
		add(fmt.Sprintf("T23 without an authorize %d", i), func(h *client) {
			other := h.visitor()
			state, _ := other.begin(authorizeFor(appOne, oneCallback, "theirs"))
			v := h.visitor()
			if a := v.do(request{}, "GET",
				"/dingtalk/callback?forward_url="+url.QueryEscape(oneCallback)+"&authCode="+v.code("lisi")+"&state="+
					state); a.status != 403 || a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		})
	}
	add("T25 500 authorizes", func(h *client) {
		for range 500 {
			v := h.visitor()
			if state, a := v.begin(authorizeFor(appOne, oneCallback, "s")); state == "" {
				h.failf("got %v", a)
				return
			}
		}
	})
	return list
}

// ssoBasic covers T4, T5 and T14: the authentication of clients at the token endpoint.
func ssoBasic() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	raw := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := strings.TrimPrefix(authOne, "Authorization: ")
	for _, lines := range [][]string{{}, {"Authorization:"}, {"Authorization: Basic"}, {"Authorization: Basic "},
		{"Authorization: Basic !!!"}, {"Authorization: Basic " + raw("app-one")},
		{"Authorization: Basic " + raw(":"+canary+"-one"+longSecret)}, {"Authorization: Basic " + raw("app-one:")},
		{"Authorization: Basic " + raw(":")},
		{"Authorization: Basic " + raw("app-one:"+canary+"-one"+longSecret+" ")},
		{"Authorization: Basic " + raw("app-one: "+canary+"-one"+longSecret)},
		{"Authorization: Basic " + raw("app-one:"+canary+"-two"+longSecret)},
		{"Authorization: Basic " + raw("app-two:"+canary+"-one"+longSecret)},
		{"Authorization: Basic " + raw("app-one:"+canary+"-one"+longSecret[1:])},
		{"Authorization: Basic " + raw("app-one:"+canary+"-one"+longSecret+"e")},
		{"Authorization: Basic " + raw("app-one:"+strings.ToUpper(canary+"-one"+longSecret))},
		{"Authorization: Bearer " + good[6:]}, {"Authorization: " + good[6:]},
		{"Authorization: Basic " + strings.TrimRight(good[6:], "=") + "\x00"},
		{"Authorization: Basic " + good[6:] + ", Basic x"}, {"Authorization: Basic " + strings.Repeat("A", 60_000)},
		{"Authorization: Digest username=\"app-one\""}, {"Proxy-Authorization: " + good},
		{"X-Authorization: " + good}, {"Authorization: Basic  " + good[6:] + "x"},
		{"Authorization: Basic " + raw("app-one\x00:"+canary+"-one"+longSecret)},
		{"Authorization: Basic " + raw("app-one:"+canary+"-one"+longSecret+"\x00")},
		{"Authorization: Basic " + raw("app-one:"+canary+"-one"+longSecret+"\n")},
		{"Authorization: Basic x", authOne}, {authOne, "Authorization: Basic x"}, {authOne, authTwo}} {
		add(fmt.Sprintf("T4 %.60q", lines), func(h *client) {
			code := h.grant("s")
			a := h.token("code="+code+"&state=s", append(slices.Clone(lines), "Content-Type: text/plain")...)
			if !a.bare && (a.status != 401 || !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic")) &&
				!(len(lines) > 1 && a.status == 400) && a.status != 431 {
				h.failf("got %v, want 401 with WWW-Authenticate", a)
			}
			h.redeem(code, "s") // nothing was used up
		})
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		add("T14 "+method, func(h *client) {
			code := h.grant("s")
			a := h.send(request{
				from:   h.env.newAddress(),
				method: method,
				raw:    requestText(method, "/dingtalk/token?code="+code+"&state=s", h.id, authOne),
			})
			if a.status != 405 || a.header.Get("Allow") != "POST" {
				h.failf("got %v, want 405", a)
			}
		})
	}
	add("T14 in the query", func(h *client) {
		code := h.grant("s")
		for _, query := range []string{"?code=" + code + "&state=s",
			"?client_id=app-one&client_secret=" + canary + "-one"} {
			a := h.send(request{
				from:   h.env.newAddress(),
				method: "POST",
				raw:    requestText("POST", "/dingtalk/token"+query, h.id, authOne, "Content-Length: 0"),
			})
			if a.status != 400 {
				h.failf("got %v, want 400", a)
			}
		}
		h.redeem(code, "s")
	})
	add("T6 the time of a refusal", func(h *client) { // only reported, since a busy machine distorts the figure
		n := 200
		if night() {
			n = 2000
		}
		secret := canary + "-one" + longSecret
		took := map[string][]time.Duration{}
		kinds := map[string]string{"wrong first byte": basic(appOne, "X"+secret[1:]),
			"wrong last byte": basic(appOne, secret[:len(secret)-1]+"X"), "unknown client": basic("app-none", secret)}
		for range n {
			for kind, line := range kinds {
				a := h.token("code=x&state=s", line)
				if a.status != 401 {
					h.failf("%s = %v", kind, a)
					return
				}
				took[kind] = append(took[kind], a.took)
			}
		}
		text := fmt.Sprintf("T6: medians of %d:", n)
		for _, kind := range slices.Sorted(maps.Keys(took)) {
			slices.Sort(took[kind])
			text += fmt.Sprintf(" %s %v;", kind, took[kind][n/2].Round(time.Microsecond))
		}
		h.env.addNote("%s", strings.TrimSuffix(text, ";"))
	})
	add("T5 30 wrong secrets", func(h *client) {
		from := h.env.newAddress()
		for i := range 30 {
			a := h.send(request{
				from:   from,
				slow:   true,
				method: "POST",
				fresh:  true,
				raw: requestText("POST", "/dingtalk/token", h.id, basic(appTwo, fmt.Sprint("wrong", i)),
					"Content-Length: 14") + "code=x&state=s",
			})
			if a.status != 401 && a.status != 429 {
				h.failf("wrong secret %d = %v", i, a)
				return
			}
			if a.status == 429 {
				break
			}
		}
		if a := h.token("code=x&state=s", authTwo); a.status != 400 { // the client is still served from other addresses
			h.failf("the client is refused from other addresses too: %v", a)
		}
	})
	return list
}

// ssoBodies covers T11–T13 and T15.
func ssoBodies() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for kind, want := range map[string]int{"text/plain": 200, "text/plain; charset=utf-8": 200,
		"application/x-www-form-urlencoded": 200, "-": 200, "TEXT/PLAIN": 200, "application/json": 415,
		"multipart/form-data; boundary=x": 415, "text/html": 415, "application/xml": 415, "text/plain;;": 0,
		"text/plain, application/json": 415, "*/*": 415, "text": 415, "application/x-www-form-urlencodedx": 415} {
		add("T11 "+kind, func(h *client) {
			lines := []string{authOne}
			if kind != "-" {
				lines = append(lines, "Content-Type: "+kind)
			}
			if a := h.token("code="+h.grant("s")+"&state=s", lines...); want != 0 && a.status != want {
				h.failf("got %v, want %d", a, want)
			}
		})
	}
	for _, line := range []string{"Content-Encoding: gzip", "Content-Encoding: identity, br", "Content-Encoding: x"} {
		add("T11 M16 "+line, func(h *client) {
			if a := h.token("code="+h.grant("s")+"&state=s", authOne, line); a.status != 415 {
				h.failf("got %v, want 415", a)
			}
		})
	}
	for _, body := range []string{"", "x", "code=CODE", "state=s", "code=&state=s", "code=CODE&state=",
		"code=CODE&code=CODE&state=s", "code=CODE&code=b&state=s", "code=CODE&state=s&state=s", "code[]=CODE&state=s",
		"code=CODE;state=s", "CODE=CODE&state=s", "Code=CODE&State=s", "\xef\xbb\xbfcode=CODE&state=s",
		" code=CODE&state=s", "code=CODE&state=s\n\n", "\ncode=CODE&state=s", "code=CODE&state=s\x00",
		"code=CODE%00&state=s", "code=CODE%20&state=s", "code=CODE &state=s", "code=%zz&state=s",
		"code=CODE&state=%zz", `{"code":"CODE","state":"s"}`, "code=CODE&amp;state=s",
		"grant_type=password&code=CODE&state=s", "grant_type=client_credentials",
		"grant_type=authorization_code&grant_type=refresh_token&code=CODE&state=s", "grant_type=refresh_token",
		"grant_type=refresh_token&refresh_token=CODE", "grant_type=refresh_token&refresh_token=", "code=CODE&state=S",
		"code=CODE&state=s%0a", "code=CODE&state=t", "code=code&state=s", "code=CODEx&state=s",
		"code=" + strings.Repeat("a", 8<<10) + "&state=s", strings.Repeat("&", 8000), "code=CODE&state=s\r\n\r\n",
		"code=CODE&state=s&client_id=app-two", "code=CODE\r\n&state=s"} {
		add(fmt.Sprintf("T10 T12 T13 %.60q", body), func(h *client) {
			code := h.grant("s")
			a := h.token(strings.ReplaceAll(body, "CODE", code), authOne, "Content-Type: text/plain")
			if a.status != 400 && a.status != 413 && a.status != 0 {
				h.failf("got %v, want 400", a)
			}
			h.redeem(code, "s") // nothing was used up
		})
	}
	// The authorization request had no state.
	for sent, want := range map[string]int{"": 200, "made": 200, "%20": 400, "s": 400, "x": 400} {
		add(fmt.Sprintf("T2 T10 state %q after an authorize without one", sent), func(h *client) {
			code, made := h.grantMade()
			if sent == "made" {
				sent = url.QueryEscape(made)
			}
			if a := h.token("code="+code+"&state="+sent, authOne, "Content-Type: text/plain"); a.status != want {
				h.failf("got %v, want %d", a, want)
			}
			if a := h.token("code="+code, authOne, "Content-Type: text/plain"); a.status != 400 {
				h.failf("without any state %v, want 400", a)
			}
			if want != 200 {
				h.redeem(code, "")
			}
		})
	}
	for _, size := range []int{8<<10 + 1, 1 << 20, 100 << 20} {
		add(fmt.Sprintf("T13 %d bytes announced", size), func(h *client) {
			a := h.send(request{
				from:   h.env.newAddress(),
				method: "POST",
				fresh:  true,
				raw: requestText("POST", "/dingtalk/token", h.id, authOne,
					fmt.Sprintf("Content-Length: %d", size)) + "code=x",
			})
			if a.status != 413 {
				h.failf("got %v, want 413", a)
			}
		})
	}
	add("T13 one final newline, T15", func(h *client) {
		a := h.token("code="+h.grant("s")+"&state=s\n", authOne, "Content-Type: text/plain")
		var fields map[string]any
		json.Unmarshal([]byte(a.body), &fields)
		for name := range fields {
			if !slices.Contains([]string{"access_token", "refresh_token", "token_type", "expiry_in", "expires_in"},
				name) {
				h.failf("the response has %q", name)
			}
		}
		if a.status != 200 || fields["expiry_in"] != 7200.0 {
			h.failf("got %v", a)
		}
	})
	return list
}
