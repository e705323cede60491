package hostile

import (
	"fmt"
	"net/url"
	"slices"
)

// forms13 are W13: who may post our forms where the browser sends no fetch
// metadata, as all do on plain http and WebKit did before 16.4. The page's
// policy has the browser send its origin, and that alone decides.
func forms13() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"W13 " + name, do}) }
	typed := func(name string) string {
		return url.Values{"username": {name}, "password": {password(name)}}.Encode()
	}
	page := func(h *client, v *visitor, target string) {
		a := v.ask(request{session: true}, "GET", target)
		if got := a.header["Referrer-Policy"]; a.status != 200 || !slices.Equal(got, []string{"strict-origin"}) {
			h.failf("the page with the form = %d, Referrer-Policy %q: %v", a.status, got, a)
		}
	}
	posters := map[string][]string{
		"our origin": {"Origin: https://app.test"}, "our origin in capitals": {"Origin: HTTPS://APP.TEST:443"},
		"no-referrer": {"Origin: null"}, "another site": {"Origin: https://evil.test"},
		"a sibling": {"Origin: https://x.app.test"}, "the plain-http path": {"Origin: http://app.test"},
		"another port": {"Origin: https://app.test:8443"}, "a look-alike": {"Origin: https://app.test.evil.test"},
		"two":    {"Origin: https://app.test", "Origin: null"},
		"a list": {"Origin: https://app.test, https://evil.test"}, "empty": {"Origin: "},
		"null and our Referer": {"Origin: null", "Referer: https://app.test/oauth2/sign_out"},
		"two sites": {"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin",
			"Origin: https://app.test"},
		"cross-site with our origin": {"Sec-Fetch-Site: cross-site", "Origin: https://app.test"},
	}
	for name, lines := range posters {
		ours := name == "our origin" || name == "our origin in capitals"
		add("sign-out, "+name, func(h *client) {
			v := h.visitor().account("dora")
			page(h, v, "/oauth2/sign_out")
			a := v.ask(request{session: true, cleared: true}, "POST", "/oauth2/sign_out",
				append(slices.Clone(lines), "Content-Length: 0")...)
			if want := map[bool]int{true: 303, false: 403}[ours]; a.status != want ||
				(v.value(sessionCookie) == "") != ours {
				h.failf("got %v, want %d", a, want)
			}
		})
		for _, query := range []string{"", "?rd=%2Fdeep", "?lang=xx"} {
			add(fmt.Sprintf("password %s, %s", query, name), func(h *client) {
				v := h.visitor()
				page(h, v, "/oauth2/sign_in"+query)
				a := v.post(query, typed("erin"), append(slices.Clone(lines), formed)...)
				if want := map[bool]int{true: 303, false: 403}[ours]; a.status != want ||
					(v.value(sessionCookie) != "") != ours {
					h.failf("got %v, want %d", a, want)
				}
			})
		}
		if !ours {
			add("binding, "+name, func(h *client) {
				v, token := h.offered("ouyang")
				page(h, v, "/oauth2/sign_in?link="+url.QueryEscape(token))
				if a := v.post("?link="+url.QueryEscape(token), typed("dora"),
					append(slices.Clone(lines), formed)...); a.status != 403 || v.value(sessionCookie) != "" {
					h.failf("got %v, want 403", a)
				}
			})
		}
	}
	return list
}
