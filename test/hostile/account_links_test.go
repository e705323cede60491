package hostile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"dinggate/dingtalk/simulator"
)

// offeredLink returns the browser of a person who has to bind an account, and the token of the account
// link.
func (h *client) offeredLink(person string) (v *visitor, token string) {
	v = h.visitor()
	h.env.budget.Add(callsPerSignIn)
	e, a := v.loginAPI("code=" + v.code(person) + "&state=" + v.beginLoginAPI("rd=%2F"))
	token, _ = e.Data.(string)
	if token == "" || v.value(linkCookie) == "" || v.value(sessionCookie) != "" {
		h.failf("no link was issued: %v", a)
	}
	return v, token
}

// accountLinks covers T29: the account link opens once, within its lifetime, in its own browser and for
// its own person.
func accountLinks(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T29 " + name, do}) }
	// refused checks that neither the page nor the form accepts the token.
	refused := func(h *client, v *visitor, token, account string) {
		if a := v.do(request{}, "GET", "/oauth2/sign_in?link="+url.QueryEscape(token)); a.status == 200 {
			h.failf("the page accepts it: %v", a)
		}
		if a := v.form("?link="+url.QueryEscape(token), account, password(account)); a.status == 303 {
			h.failf("the form accepts it: %v", a)
		}
	}
	add("in another browser", func(h *client) {
		_, token := h.offeredLink("ouyang")
		refused(h, h.visitor(), token, "dora")
	})
	add("with another link's cookie", func(h *client) {
		_, token := h.offeredLink("ouyang")
		v, _ := h.offeredLink("ouyang")
		refused(h, v, token, "dora")
	})
	add("by another site's page", func(h *client) {
		v, token := h.offeredLink("ouyang")
		for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
			body := url.Values{"username": {"dora"}, "password": {password("dora")}}.Encode()
			if a := v.post("?link="+url.QueryEscape(token), body, "Content-Type: application/x-www-form-urlencoded",
				line); a.status != 403 {
				h.failf("%s = %v", line, a)
			}
		}
	})
	add("an account that is bound already", func(h *client) {
		v, token := h.offeredLink("ouyang")
		refusedForm(h, v, token, "alice")
		h.checkBound("zhangsan", "alice")
	})
	add("only the correct password uses it up", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t29", Record: simulator.Record{UserID: "t29", Name: "T29", Departments: []int64{42}}})
		v, token := h.offeredLink("t29")
		jar := slices.Clone(v.jar)
		for range 3 {
			if a := v.form("?link="+url.QueryEscape(token), "frank", "wrong"); a.status != 401 {
				h.failf("a wrong password = %v", a)
			}
		}
		if a := v.form("?link="+url.QueryEscape(token), "frank", password("frank")); a.status != 303 ||
			v.value(sessionCookie) == "" {
			h.failf("the correct password = %v", a)
		}
		h.checkBound("t29", "frank")
		v.jar = jar
		refusedForm(h, v, token, "grace")
		h.checkBound("t29", "frank")
	})
	add("50 at once", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t29b", Record: simulator.Record{UserID: "t29b", Name: "T29b", Departments: []int64{42}}})
		v, token := h.offeredLink("t29b")
		done := make(chan int, 10)
		for i := range 10 {
			go func() {
				w := &rawConns{idle: map[string]*rawConn{}}
				defer w.close()
				name := []string{"grace", "heidi"}[i%2]
				body := url.Values{"username": {name}, "password": {password(name)}}.Encode()
				a, err := w.send(request{
					from:   v.from,
					to:     h.env.addr,
					method: "POST",
					fresh:  true,
					raw: requestText("POST", "/oauth2/sign_in?link="+url.QueryEscape(token), h.id, v.cookie(),
						"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin",
						fmt.Sprintf("Content-Length: %d", len(body))) + body,
				})
				if err != nil {
					h.failf("%v", err)
					done <- 0
					return
				}
				done <- a.status
			}()
		}
		signedIn := 0
		for range 10 {
			if <-done == 303 {
				signedIn++
			}
		}
		out, _ := h.env.bindings("list")
		if signedIn != 1 || strings.Count(out, h.env.unionID("t29b")) != 1 {
			h.failf("%d signed in; bindings are %q", signedIn, out)
		}
	})
	for i := range 60 {
		add(fmt.Sprintf("changed at %d of 60", i), func(h *client) {
			v, token := h.sharedLink()
			at := i * len(token) / 60
			b := []byte(token)
			if b[at] = 'A'; token[at] == 'A' {
				b[at] = 'B'
			}
			refused(h, v, string(b), "dora")
		})
	}
	for name, change := range map[string]func(string) string{"cut": func(s string) string { return s[:len(s)-1] },
		"half": func(s string) string { return s[:len(s)/2] }, "doubled": func(s string) string { return s + s },
		"padded":       func(s string) string { return s + "=" },
		"a line break": func(s string) string { return s[:9] + "\n" + s[9:] },
		"a NUL":        func(s string) string { return s + "\x00" }, "upper": strings.ToUpper,
		"another text": func(string) string { return "x" }, "long": func(string) string { return strings.Repeat("x", 9000) }} {
		add(name, func(h *client) {
			v, token := h.sharedLink()
			refused(h, v, change(token), "dora")
		})
	}
	const purpose = "account link"
	for name, change := range map[string]func([]byte) []byte{
		"eleven minutes old": func(b []byte) []byte { return stamped(b, 65, -11*time.Minute) },
		"an hour old":        func(b []byte) []byte { return stamped(b, 65, -time.Hour) },
		"from the future":    func(b []byte) []byte { return stamped(b, 65, 10*time.Minute) },
		"another app's": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), clientID, "dingother"+clientID[9:], 1))
		},
		"another version":   func(b []byte) []byte { b[0]++; return b },
		"longer":            func(b []byte) []byte { return append(b, 0) },
		"shorter":           func(b []byte) []byte { return b[:len(b)-1] },
		"another browser's": func(b []byte) []byte { b[40] ^= 1; return b },
	} {
		add("sealed by us, "+name, func(h *client) {
			v, token := h.sharedLink()
			plain, _, err := productKeyring().Open(purpose, purpose, token)
			if err != nil {
				h.failf("opening our own link: %v", err)
				return
			}
			text, err := productKeyring().Seal(purpose, purpose, change(plain))
			if err != nil {
				h.failf("%v", err)
				return
			}
			refused(h, v, text, "dora")
		})
	}
	add("sealed by us, for another purpose", func(h *client) {
		v, token := h.sharedLink()
		plain, _, _ := productKeyring().Open(purpose, purpose, token)
		text, _ := productKeyring().Seal("login attempt", purpose, plain)
		refused(h, v, text, "dora")
	})
	return list
}

func refusedForm(h *client, v *visitor, token, account string) {
	if a := v.form("?link="+url.QueryEscape(token), account, password(account)); a.status == 303 ||
		v.value(sessionCookie) != "" {
		h.failf("the form accepts it: %v", a)
	}
}

// sharedLink returns one link for all tries that must not open it.
func (h *client) sharedLink() (*visitor, string) {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.link == "" {
		v, token := h.offeredLink("ouyang")
		h.env.link, h.env.sessions[linkCookie] = token, v.value(linkCookie)
	}
	v := h.visitor()
	v.storeCookies(&answer{header: map[string][]string{"Set-Cookie": {linkCookie + "=" + h.env.sessions[linkCookie] +
		"; Path=/; Secure"}}})
	return v, h.env.link
}
