package hostile

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"dinggate/dingtalk/simulator"
)

// recentSignIns covers T33: a binding requires a password that was verified within the last ten
// minutes and a page of dinggate.
func recentSignIns(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T33 " + name, do}) }
	for minutes, begins := range map[int]bool{0: true, 8: true, 11: false, 60: false, 600: false} {
		add(fmt.Sprintf("a sign-in of %d minutes ago", minutes), func(h *client) {
			v := h.visitor().account("heidi")
			state := v.beginLoginAPI("type=1")
			v.backdate(time.Duration(minutes) * time.Minute)
			a := v.do(request{}, "GET", "/oauth2/start?type=1", "Accept: application/json", "Sec-Fetch-Mode: cors")
			if (a.status == 200) != begins {
				h.failf("start = %v", a)
			}
			if begins { // the following requests would create the binding
				return
			}
			e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state)
			if *e.Success || *e.Code != 201 {
				h.failf("code %d: %s", *e.Code, *e.Message)
			}
			h.checkUnbound("heidi")
		})
	}
	for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
		"Sec-Fetch-Site: SAME-ORIGIN", "Origin: https://evil.test", "Origin: null",
		"Origin: https://app.test.evil.test", "Sec-Purpose: prefetch"} {
		add("another page's request, "+line, func(h *client) {
			v := h.visitor().account("heidi")
			if a := v.do(request{}, "GET", "/oauth2/start?type=1", "Accept: application/json", line); a.status == 200 {
				h.failf("an attempt began: %v", a)
			}
			if e, _ := v.loginAPI("type=1&code="+v.code("wangwu")+"&state="+v.beginLoginAPI("type=1"), line); *e.Success {
				h.failf("it succeeded")
			}
			h.checkUnbound("heidi")
		})
	}
	add("both people are notified once, and either removes it", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t33", Record: simulator.Record{UserID: "t33", Name: "T33", Departments: []int64{42}}})
		h.env.budget.Add(5 * callsPerSignIn)
		holder := h.visitor().account("ivan")
		if e, a := holder.loginAPI("type=1&code=" + holder.code("t33") + "&state=" +
			holder.beginLoginAPI("type=1")); !*e.Success {
			h.failf("a good binding = %v", a)
		}
		h.checkBound("t33", "ivan")
		const page = "/oauth2/userinfo?rd=%2Fpage"
		pageLoad := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none",
			"Accept-Language: en"}
		byPassword := func() (*visitor, string) {
			v := h.visitor()
			return v, v.form("?rd=%2Fpage", "ivan", password("ivan")).header.Get("Location")
		}
		byDingTalk := func() (*visitor, string) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start?rd=%2Fpage")
			return v, v.finish("t33", state).header.Get("Location")
		}
		var form string
		for name, signIn := range map[string]func() (*visitor, string){"ivan": byPassword, "T33": byDingTalk} {
			v, to := signIn()
			if to != page {
				h.failf("%s is redirected to %q", name, to)
			}
			v.do(request{}, "GET", page, "Accept: application/json", "Sec-Fetch-Mode: cors")
			v.do(request{}, "GET", page, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")
			if v, to = signIn(); to != page {
				h.failf("%s counts as notified without a page: redirected to %q", name, to)
			}
			a := v.do(request{}, "GET", page, pageLoad...)
			_, rest, _ := strings.Cut(a.body, `name="binding" value="`)
			form, _, _ = strings.Cut(rest, `"`)
			if a.status != 200 ||
				!strings.Contains(a.body, map[string]string{"ivan": "T33 (t33)", "T33": ">ivan<"}[name]) || form == "" {
				h.failf("%s gets %v", name, a)
			}
			if _, to = signIn(); to != "/page" {
				h.failf("%s is notified again: redirected to %q", name, to)
			}
		}
		for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
			"Origin: https://evil.test", "Origin: null", "Origin: https://app.test.evil.test"} {
			if a := holder.postTo("/oauth2/userinfo", "binding="+form, formType, line); a.status != 403 {
				h.failf("%s = %v", line, a)
			}
		}
		for _, other := range []*visitor{h.visitor(), h.visitor().account("dora")} {
			other.postTo("/oauth2/userinfo", "binding="+form, formType, "Sec-Fetch-Site: same-origin")
		}
		for _, body := range []string{"", "binding=", "binding=x", "binding=" + form + "&binding=" + form,
			"Binding=" + form, "%00=x", "binding=%zz", "{}"} {
			holder.postTo("/oauth2/userinfo", body, formType, "Sec-Fetch-Site: same-origin")
		}
		h.checkBound("t33", "ivan")
		if a := holder.postTo("/oauth2/userinfo", "binding="+form, formType,
			"Sec-Fetch-Site: same-origin"); a.status != 303 {
			h.failf("removing it = %v", a)
		}
		h.checkUnbound("ivan")
	})
	return list
}

// backdate backdates the visitor's sign-in by the given duration. It reseals the session with the
// program's own key.
func (v *visitor) backdate(by time.Duration) {
	for _, c := range v.jar {
		if c.Name != sessionCookie {
			continue
		}
		plain, _, err := productKeyring().Open("session", sessionCookie, c.Value)
		if err != nil {
			v.h.failf("opening our own session: %v", err)
			return
		}
		const realm = 1 + 16 // the length byte and the text follow the version and the id
		at := realm + 1 + int(plain[realm])
		moment, n := binary.Uvarint(plain[at:])
		changed := append(binary.AppendUvarint(slices.Clone(plain[:at]), moment-uint64(by.Milliseconds())),
			plain[at+n:]...)
		if c.Value, err = productKeyring().Seal("session", sessionCookie, changed); err != nil {
			v.h.failf("%v", err)
		}
	}
}

// checkUnbound checks in the store that no person is bound to the account.
func (h *client) checkUnbound(account string) {
	if out, err := h.env.bindings("list"); err != nil || strings.Contains(out, ","+account+"\n") {
		h.failf("bindings are %q (%v), want none of %s", out, err, account)
	}
}

// bindPurposes covers T28: an attempt is valid only for the purpose and the session that it was
// begun for.
func bindPurposes(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T28 " + name, do}) }
	add("an attempt to sign in, used to bind", func(h *client) {
		v := h.visitor().account("dora")
		state := v.beginLoginAPI("rd=%2F")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it succeeded")
		}
	})
	for _, path := range []string{"/dingtalk/login/callback?", "/dingtalk/login/callback?type=0&", "/oauth2/callback?",
		"/dingtalk/callback?forward_url=" + url.QueryEscape(oneCallback) + "&"} {
		add("an attempt to bind, used at "+path, func(h *client) {
			v := h.visitor().account("dora")
			before := v.value(sessionCookie)
			state := v.beginLoginAPI("type=1")
			a := v.do(request{failing: true, cleared: true}, "GET", path+"code="+v.code("wangwu")+"&state="+state)
			if a.status < 400 && !strings.Contains(a.body, `"success":false`) || v.value(sessionCookie) != before {
				h.failf("got %v", a)
			}
		})
	}
	add("in another browser", func(h *client) {
		state := h.visitor().account("dora").beginLoginAPI("type=1")
		v := h.visitor().account("dora")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it succeeded")
		}
	})
	for _, c := range []struct{ name, later string }{{"under another account's session", "erin"},
		{"under a later session of the same account", "dora"}} {
		add(c.name, func(h *client) {
			v := h.visitor().account("dora")
			state := v.beginLoginAPI("type=1")
			v.account(c.later)
			if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
				h.failf("it succeeded")
			}
		})
	}
	add("the attacker's attempt planted beside the victim's session", func(h *client) {
		attacker := h.visitor().account("erin")
		state := attacker.beginLoginAPI("type=1")
		victim := h.visitor().account("dora")
		victim.jar = append(victim.jar, attacker.attempt())
		if e, _ := victim.loginAPI("type=1&code=" + victim.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it succeeded")
		}
	})
	add("after the session's end", func(h *client) {
		v := h.visitor().account("dora")
		state := v.beginLoginAPI("type=1")
		v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it succeeded")
		}
	})
	for name, lines := range map[string][]string{"an anonymous client": nil, "a DingTalk session": {"member"}} {
		add("begun by "+name, func(h *client) {
			if lines != nil {
				lines = []string{h.member("zhangsan")}
			}
			v := h.visitor()
			a := v.do(request{}, "GET", "/oauth2/start?type=1",
				append(lines, "Accept: application/json", "Sec-Fetch-Mode: cors")...)
			if a.status != 403 || strings.Contains(a.body, "authorize_url") {
				h.failf("got %v", a)
			}
			if e, _ := v.loginAPI("type=1&code="+v.code("wangwu")+"&state="+strings.Repeat("A", 43),
				lines...); *e.Success {
				h.failf("it succeeded")
			}
		})
	}
	add("a person who is bound already", func(h *client) {
		v := h.visitor().account("dora")
		h.env.budget.Add(callsPerSignIn)
		if e, _ := v.loginAPI("type=1&code=" + v.code("lisi") + "&state=" + v.beginLoginAPI("type=1")); *e.Success {
			h.failf("it succeeded")
		}
		h.checkBound("lisi", "bob")
	})
	add("an account that is bound already", func(h *client) {
		v := h.visitor().account("alice")
		h.env.budget.Add(callsPerSignIn)
		if e, _ := v.loginAPI("type=1&code=" + v.code("ouyang") + "&state=" + v.beginLoginAPI("type=1")); *e.Success {
			h.failf("it succeeded")
		}
		h.checkBound("zhangsan", "alice")
	})
	add("once, and then it is in effect", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t28", Record: simulator.Record{UserID: "t28", Name: "T28", Departments: []int64{42}}})
		v := h.visitor().account("carol")
		state, code := v.beginLoginAPI("type=1"), v.code("t28")
		jar := slices.Clone(v.jar)
		h.env.budget.Add(2 * callsPerSignIn)
		if e, a := v.loginAPI("type=1&code=" + code + "&state=" + state); !*e.Success {
			h.failf("a good binding = %v", a)
		}
		v.jar = jar
		if e, _ := v.loginAPI("type=1&code=" + code + "&state=" + state); *e.Success {
			h.failf("it succeeded twice")
		}
		h.checkBound("t28", "carol")
		w := h.visitor()
		w.loginAPI("code=" + w.code("t28") + "&state=" + w.beginLoginAPI("rd=%2F"))
		if a := w.do(request{}, "GET", "/oauth2/userinfo", "Accept: application/json"); !strings.Contains(a.body,
			`"carol"`) {
			h.failf("the person is %v", a)
		}
	})
	return list
}

// checkBound checks in the store that the person is bound to the account and that each is bound once.
func (h *client) checkBound(person, account string) {
	out, err := h.env.bindings("list")
	if want := h.env.unionID(person) + "," + account; err != nil ||
		strings.Count(out, h.env.unionID(person)+",") != 1 || strings.Count(out, ","+account+"\n") != 1 ||
		!strings.Contains(out, want+"\n") {
		h.failf("bindings are %q (%v), want %s once", out, err, want)
	}
}
