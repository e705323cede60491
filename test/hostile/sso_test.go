package hostile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The service's clients, as the configuration of the env has them.
const (
	appOne, appTwo, appQuery = "app-one", "app-two", "app-query"
	oneCallback              = "https://one.partner.test/callback"
	twoCallback              = "https://two.partner.test/callback"
	queryCallback            = "https://query.partner.test/callback?keep=1&code=old&state=old"
)

var callbacks = []string{oneCallback, twoCallback, queryCallback}

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

const longSecret = "-with-thirty-two-bytes-and-more"

var authOne, authTwo = basic(appOne, canary+"-one"+longSecret), basic(appTwo, canary+"-two"+longSecret)

// authorize asks for a sign-in on behalf of a client.
func authorizeFor(client, redirect, state string) string {
	return "/dingtalk/authorize?client_id=" + url.QueryEscape(client) + "&redirect_url=" + url.QueryEscape(redirect) +
		"&state=" + url.QueryEscape(state)
}

// grant is a fresh code of somebody who is signed in, for client one.
func (h *client) grant(state string) (code string) {
	return h.grantFor(appOne, oneCallback, state)
}

// grantMade is grant for an authorize call without a state, and the state that
// was made up for it.
func (h *client) grantMade() (code, state string) {
	v := h.visitor()
	v.jar = nil
	a := h.send(request{
		from: v.from,
		raw:  requestText("GET", authorizeFor(appOne, oneCallback, ""), h.id, "Accept: text/html", h.partner()),
	})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || len(to.Query().Get("state")) < 22 {
		h.failf("no code came: %v", a)
		return "", ""
	}
	return to.Query().Get("code"), to.Query().Get("state")
}

func (h *client) grantFor(client, redirect, state string) string {
	v := h.visitor()
	v.jar = nil
	a := h.send(request{
		from: v.from,
		raw:  requestText("GET", authorizeFor(client, redirect, state), h.id, "Accept: text/html", h.partner()),
	})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != state {
		h.failf("no code came: %v", a)
		return ""
	}
	return to.Query().Get("code")
}

// partner is somebody new each few codes: one sign-in gives only so many.
func (h *client) partner() string {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.partnerUses++; h.env.partnerUses%100 == 1 {
		h.env.partner = "Cookie: " + sessionCookie + "=" + h.visitor().signIn("zhangsan").value(sessionCookie)
	}
	return h.env.partner
}

// token asks for tokens; every answer is JSON that no cache keeps.
func (h *client) token(body string, lines ...string) *answer {
	a := h.send(request{
		from:   h.env.someone(),
		method: "POST",
		fresh:  true,
		raw: requestText("POST", "/dingtalk/token", h.id,
			append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...) + body,
	})
	if !a.bare && a.status != 0 && a.header.Get("Content-Type") != "application/json" {
		h.failf("token answered %v", a)
	}
	if a.status != 200 && strings.Contains(a.body, "access_token\"") {
		h.failf("a refusal with a token: %v", a)
	}
	return a
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expiry  int    `json:"expiry_in"`
	Expires int    `json:"expires_in"`
}

// redeem is the contract's step 3, which must work.
func (h *client) redeem(code, state string) (t tokens) {
	a := h.token("code="+code+"&state="+state, authOne, "Content-Type: text/plain")
	if err := json.Unmarshal([]byte(a.body), &t); a.status != 200 || err != nil || t.Access == "" ||
		t.Refresh == "" || t.Type != "Bearer" || t.Expiry != 7200 || t.Expires != 7200 {
		h.failf("redeeming a good code = %v", a)
	}
	return t
}

func (h *client) userinfo(lines ...string) *answer {
	return h.send(request{
		from:  h.env.someone(),
		fresh: true,
		raw:   requestText("GET", "/dingtalk/userinfo", h.id, lines...),
	})
}

// ssoService is class T, and the ways of class R that lead through it.
func ssoService(s *env) []try {
	return slices.Concat(ssoTargets(), ssoClients(), ssoBasic(), ssoBodies(), ssoTokens(), ssoReuse())
}

// ssoTargets are R14–R16 and R18: where the service sends a browser.
func ssoTargets() (list []try) {
	refused := func(h *client, target string) {
		a := h.get(target)
		if a.status != 400 && a.status != 431 || a.header["Location"] != nil || len(a.header["Set-Cookie"]) > 0 {
			h.failf("got %v, want a 400 page", a)
		}
	}
	targets := hostileTargets()
	for _, change := range []string{"?", "?x=1", "#", "#x", "/", "/x", "/..", "/../callback", "%2f", "%20", "\x00",
		"x", ".", ";", "?code=x", "&x", "//", "\\", "%00", "\t", "\n", "@evil.test"} {
		targets = append(targets, oneCallback+change)
	}
	targets = append(targets, "", "http://one.partner.test/callback", "HTTPS://one.partner.test/callback",
		"https://One.partner.test/callback", "https://one.partner.test:443/callback",
		"https://one.partner.test/Callback", "https://one.partner.test/callbac", "https://one.partner.test",
		"//one.partner.test/callback", "https://one.partner.test./callback", "https://user@one.partner.test/callback",
		"https://one.partner.test/%63allback", "https://one.partner.test/./callback",
		"https://one.partner.test//callback", " https://one.partner.test/callback", twoCallback, queryCallback,
		"https://app.test/", "/")
	for _, target := range targets {
		list = append(list, try{fmt.Sprintf("R14 R15 redirect_url %.100q", target), func(h *client) {
			refused(h, authorizeFor(appOne, target, "s"))
		}})
	}
	for _, target := range targets {
		list = append(list, try{fmt.Sprintf("R16 forward_url %.100q", target), func(h *client) {
			v := h.visitor()
			state, _ := v.begin(authorizeFor(appOne, oneCallback, "theirs"))
			a := v.ask(request{}, "GET",
				"/dingtalk/callback?forward_url="+strings.ReplaceAll(url.QueryEscape(target), "+", "%20")+
					"&authCode="+v.code("zhangsan")+"&state="+state)
			if a.status != 400 && a.status != 431 || a.header["Location"] != nil {
				h.failf("got %v, want 400", a)
			}
		}})
	}
	good := url.QueryEscape(oneCallback)
	for _, query := range []string{"client_id=app-one&redirect_url=" + good + "&redirect_url=" + good,
		"client_id=app-one&redirect_url=" + good + "&redirect_url=https://evil.test",
		"client_id=app-one&redirect_url[]=" + good, "client_id=app-one", "redirect_url=" + good,
		"client_id=app-one&client_id=app-two&redirect_url=" + good,
		"client_id=app-one&client_id=app-one&redirect_url=" + good, "client_id=&redirect_url=" + good,
		"client_id=app-one;redirect_url=" + good, "client_id=APP-ONE&redirect_url=" + good,
		"client_id=app-one%20&redirect_url=" + good, "client_id=app-two&redirect_url=" + good,
		"client_id=app-one&redirect_uri=" + good, "client_id=app-one&REDIRECT_URL=" + good,
		"client_id=app-one&redirect_url=%zz", "client_id=%zz&redirect_url=" + good, "",
		"client_id=app-one&redirect_url=" + good + "&state=a&state=b",
		"client_id=app-one&redirect_url=" + good + "&state=%0d%0a",
		"client_id=app-one&redirect_url=" + good + "&state=%00",
		"client_id=app-one&redirect_url=" + good + "&state=%ff",
		"client_id=app-one&redirect_url=" + good + "&state=" + strings.Repeat("s", 5000)} {
		list = append(list,
			try{fmt.Sprintf("R14 T1 %.100q", query), func(h *client) { refused(h, "/dingtalk/authorize?"+query) }})
		list = append(list, try{fmt.Sprintf("R14 T1 signed in %.100q", query), func(h *client) {
			if a := h.get("/dingtalk/authorize?"+query, h.partner()); a.status != 400 && a.status != 431 ||
				a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		}})
	}
	list = append(list, try{"R18 a callback with a query of its own", func(h *client) {
		a := h.get(authorizeFor(appQuery, queryCallback, "mine"), h.partner())
		to, err := url.Parse(a.header.Get("Location"))
		if q := to.Query(); err != nil || len(q["code"]) != 1 || len(q["state"]) != 1 || q.Get("state") != "mine" ||
			q.Get("code") == "old" || q.Get("keep") != "1" {
			h.failf("got %v", a)
		}
	}})
	return list
}

// ssoClients are T1–T3, T23, T25, T26.
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
		a := v.ask(request{session: true}, "GET", where)
		to, _ := url.Parse(a.header.Get("Location"))
		if a.status != 302 || to.Query().Get("state") != "theirs" || to.Query().Get("code") == "" {
			h.failf("got %v", a)
		}
		if a := v.ask(request{}, "GET", where); a.status != 403 {
			h.failf("the callback again = %v", a)
		}
	})
	// S8: the attempt of one purpose ends nowhere else
	for _, kind := range []string{"/oauth2/callback", "/dingtalk/callback"} {
		add("T28 an attempt for another end at "+kind, func(h *client) {
			v := h.visitor()
			start := authorizeFor(appOne, oneCallback, "theirs")
			if kind == "/dingtalk/callback" {
				start = "/oauth2/start?rd=%2F"
			}
			state, _ := v.begin(start)
			if a := v.ask(request{}, "GET",
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
			if a := v.ask(request{}, "GET",
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

// ssoBasic are T4, T5, T14: who calls the token endpoint, and how.
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
				from:   h.env.someone(),
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
				from:   h.env.someone(),
				method: "POST",
				raw:    requestText("POST", "/dingtalk/token"+query, h.id, authOne, "Content-Length: 0"),
			})
			if a.status != 400 {
				h.failf("got %v, want 400", a)
			}
		}
		h.redeem(code, "s")
	})
	add("T6 how long a refusal takes", func(h *client) { // told, and nobody is held to it: a busy machine would lie
		n := 200
		if night() {
			n = 2000
		}
		right := canary + "-one" + longSecret
		took := map[string][]time.Duration{}
		kinds := map[string]string{"wrong first byte": basic(appOne, "X"+right[1:]),
			"wrong last byte": basic(appOne, right[:len(right)-1]+"X"), "unknown client": basic("app-none", right)}
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
		h.env.say("%s", strings.TrimSuffix(text, ";"))
	})
	add("T5 30 wrong secrets", func(h *client) {
		from := h.env.someone()
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
		if a := h.token("code=x&state=s", authTwo); a.status != 400 { // from elsewhere, the client is served
			h.failf("others of that client are locked out: %v", a)
		}
	})
	return list
}

// ssoBodies are T11–T13, T15.
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
	// the authorize call had no state
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
				from:   h.env.someone(),
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
				h.failf("the answer has %q", name)
			}
		}
		if a.status != 200 || fields["expiry_in"] != 7200.0 {
			h.failf("got %v", a)
		}
	})
	return list
}

// ssoTokens are T16, T17, T19, T22: what stands for a person at userinfo.
func ssoTokens() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	var once sync.Once
	var good tokens
	var unused string
	have := func(h *client) {
		once.Do(func() { good, unused = h.redeem(h.grant("s"), "s"), h.grant("s") })
	}
	var first sync.Once
	var same string // one and the same 401
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
				second(good.Access), "PADDED", good.Access+"=", "SESSION", session).Replace(text)
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
				from: h.env.someone(),
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
				from:   h.env.someone(),
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

// ssoReuse are T7–T9, T18–T20: everything works once, for whom it was made.
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
				h.failf("the code lives on: %v", a)
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
				h.failf("another client ended what the first was given: %v", a)
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
				h.failf("what the first gave lives on: %v", a)
			}
			if a := refresh(h, got.Refresh, authOne); a.status != 400 {
				h.failf("its refresh token lives on: %v", a)
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
					w := &rawConns{kept: map[string]*rawConn{}}
					defer w.close()
					a, err := w.send(request{
						raw:    text,
						method: "POST",
						from:   h.env.someone(),
						to:     h.env.gate,
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
			a := v.ask(request{}, "GET", authorizeFor(appOne, oneCallback, "s"))
			to, _ := url.Parse(a.header.Get("Location"))
			got := h.redeem(to.Query().Get("code"), "s")
			v.ask(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin",
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
