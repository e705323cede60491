package hostile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"dinggate/dingtalk/simulator"
)

// bindings33 is T33: a binding wants a password of the last ten minutes and a page
// of dinggate.
func bindings33(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T33 " + name, do}) }
	for minutes, begins := range map[int]bool{0: true, 8: true, 11: false, 60: false, 600: false} {
		add(fmt.Sprintf("a sign-in of %d minutes ago", minutes), func(h *client) {
			v := h.visitor().account("heidi")
			state := v.begun("type=1")
			v.older(time.Duration(minutes) * time.Minute)
			a := v.ask(request{}, "GET", "/oauth2/start?type=1", "Accept: application/json", "Sec-Fetch-Mode: cors")
			if (a.status == 200) != begins {
				h.failf("start = %v", a)
			}
			if begins { // the rest of the way would bind
				return
			}
			e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state)
			if *e.Success || *e.Code != 201 {
				h.failf("code %d: %s", *e.Code, *e.Message)
			}
			h.unbound("heidi")
		})
	}
	for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
		"Sec-Fetch-Site: SAME-ORIGIN", "Origin: https://evil.test", "Origin: null",
		"Origin: https://app.test.evil.test", "Sec-Purpose: prefetch"} {
		add("another page's request, "+line, func(h *client) {
			v := h.visitor().account("heidi")
			if a := v.ask(request{}, "GET", "/oauth2/start?type=1", "Accept: application/json", line); a.status == 200 {
				h.failf("an attempt began: %v", a)
			}
			if e, _ := v.loginAPI("type=1&code="+v.code("wangwu")+"&state="+v.begun("type=1"), line); *e.Success {
				h.failf("it worked")
			}
			h.unbound("heidi")
		})
	}
	add("both people are told once, and either removes it", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t33", UserID: "t33", Name: "T33", Departments: []int64{42}})
		h.env.budget.Add(5 * callsPerSignIn)
		holder := h.visitor().account("ivan")
		if e, a := holder.loginAPI("type=1&code=" + holder.code("t33") + "&state=" +
			holder.begun("type=1")); !*e.Success {
			h.failf("a good binding = %v", a)
		}
		h.bound("t33", "ivan")
		const page = "/oauth2/userinfo?rd=%2Fpage"
		see := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none",
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
		for name, side := range map[string]func() (*visitor, string){"ivan": byPassword, "T33": byDingTalk} {
			v, to := side()
			if to != page {
				h.failf("%s is sent to %q", name, to)
			}
			v.ask(request{}, "GET", page, "Accept: application/json", "Sec-Fetch-Mode: cors")
			v.ask(request{}, "GET", page, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")
			if v, to = side(); to != page {
				h.failf("%s was told by what nobody saw: sent to %q", name, to)
			}
			a := v.ask(request{}, "GET", page, see...)
			_, rest, _ := strings.Cut(a.body, `name="binding" value="`)
			form, _, _ = strings.Cut(rest, `"`)
			if a.status != 200 ||
				!strings.Contains(a.body, map[string]string{"ivan": "T33 (t33)", "T33": ">ivan<"}[name]) || form == "" {
				h.failf("%s sees %v", name, a)
			}
			if _, to = side(); to != "/page" {
				h.failf("%s is told again: sent to %q", name, to)
			}
		}
		for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
			"Origin: https://evil.test", "Origin: null", "Origin: https://app.test.evil.test"} {
			if a := holder.postTo("/oauth2/userinfo", "binding="+form, formed, line); a.status != 403 {
				h.failf("%s = %v", line, a)
			}
		}
		for _, other := range []*visitor{h.visitor(), h.visitor().account("dora")} {
			other.postTo("/oauth2/userinfo", "binding="+form, formed, "Sec-Fetch-Site: same-origin")
		}
		for _, body := range []string{"", "binding=", "binding=x", "binding=" + form + "&binding=" + form,
			"Binding=" + form, "%00=x", "binding=%zz", "{}"} {
			holder.postTo("/oauth2/userinfo", body, formed, "Sec-Fetch-Site: same-origin")
		}
		h.bound("t33", "ivan")
		if a := holder.postTo("/oauth2/userinfo", "binding="+form, formed,
			"Sec-Fetch-Site: same-origin"); a.status != 303 {
			h.failf("removing it = %v", a)
		}
		h.unbound("ivan")
	})
	return list
}

// older makes the visitor's sign-in one of so long ago, under our own seal.
func (v *visitor) older(by time.Duration) {
	for _, c := range v.jar {
		if c.Name != sessionCookie {
			continue
		}
		plain, _, err := productKeyring().Open("session", sessionCookie, c.Value)
		if err != nil {
			v.h.failf("opening our own session: %v", err)
			return
		}
		const realm = 1 + 16 // behind version and id: a length, and the text
		at := realm + 1 + int(plain[realm])
		moment, n := binary.Uvarint(plain[at:])
		changed := append(binary.AppendUvarint(slices.Clone(plain[:at]), moment-uint64(by.Milliseconds())),
			plain[at+n:]...)
		if c.Value, err = productKeyring().Seal("session", sessionCookie, changed); err != nil {
			v.h.failf("%v", err)
		}
	}
}

// unbound looks into the store: the account is nobody's.
func (h *client) unbound(account string) {
	if out, err := h.env.bindings("list"); err != nil || strings.Contains(out, ","+account+"\n") {
		h.failf("bindings are %q (%v), want none of %s", out, err, account)
	}
}
