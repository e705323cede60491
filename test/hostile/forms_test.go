package hostile

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// formOrigins covers W13: the origins that may post our forms when the browser sends no fetch
// metadata. No browser sends it on plain http, and WebKit did not send it before 16.4. The
// Referrer-Policy of the page makes the browser send its origin, and only the origin decides.
func formOrigins() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"W13 " + name, do}) }
	typed := func(name string) string {
		return url.Values{"username": {name}, "password": {password(name)}}.Encode()
	}
	page := func(h *client, v *visitor, target string) {
		a := v.do(request{session: true}, "GET", target)
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
			a := v.do(request{session: true, cleared: true}, "POST", "/oauth2/sign_out",
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
				a := v.post(query, typed("erin"), append(slices.Clone(lines), formType)...)
				if want := map[bool]int{true: 303, false: 403}[ours]; a.status != want ||
					(v.value(sessionCookie) != "") != ours {
					h.failf("got %v, want %d", a, want)
				}
			})
		}
		if !ours {
			add("binding, "+name, func(h *client) {
				v, token := h.offeredLink("ouyang")
				page(h, v, "/oauth2/sign_in?link="+url.QueryEscape(token))
				if a := v.post("?link="+url.QueryEscape(token), typed("dora"),
					append(slices.Clone(lines), formType)...); a.status != 403 || v.value(sessionCookie) != "" {
					h.failf("got %v, want 403", a)
				}
			})
		}
	}
	return list
}

// The parts in which two sign-in pages may differ: the request id and the input fields, which
// repeat the submitted name.
var (
	ticket = regexp.MustCompile(`[0-9a-f]{24}`)
	inputs = regexp.MustCompile(`<input[^>]*>`)
)

// formType is the content type that the sign-in form accepts.
const formType = "Content-Type: application/x-www-form-urlencoded"

// formPosts covers the sign-in form: the origins that may post it, its fields, and its return target
// (class R at one more endpoint).
func formPosts() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T6 W3a " + name, do}) }
	good := url.Values{"username": {"erin"}, "password": {password("erin")}}.Encode()
	const ours = "Sec-Fetch-Site: same-origin"
	for name, c := range map[string]struct {
		body  string
		lines []string
		want  []int
	}{
		"as a browser posts it":          {good, []string{formType, ours, "Origin: null"}, []int{303}},
		"without a browser":              {good, []string{formType}, []int{303}},
		"our Origin":                     {good, []string{formType, "Origin: https://app.test"}, []int{303}},
		"typed in":                       {good, []string{formType, "Sec-Fetch-Site: none"}, []int{303}},
		"with a charset":                 {good, []string{formType + "; charset=utf-8", ours}, []int{303}},
		"cross-site":                     {good, []string{formType, "Sec-Fetch-Site: cross-site"}, []int{403}},
		"a sibling's":                    {good, []string{formType, "Sec-Fetch-Site: same-site"}, []int{403}},
		"a foreign Origin":               {good, []string{formType, "Origin: https://evil.test"}, []int{403}},
		"Origin null only":               {good, []string{formType, "Origin: null"}, []int{403}},
		"an Origin that looks like ours": {good, []string{formType, "Origin: https://app.test.evil.test"}, []int{403}},
		"http":                           {good, []string{formType, "Origin: http://app.test"}, []int{403}},
		"two Origins": {good,
			[]string{formType, "Origin: https://app.test", "Origin: https://evil.test"}, []int{403}},
		"two sites": {good, []string{formType, ours, "Sec-Fetch-Site: cross-site"}, []int{403}},
		"a Referer only": {good, []string{formType, "Sec-Fetch-Site: cross-site", "Referer: https://app.test/"},
			[]int{403}},
		"text/plain": {good, []string{"Content-Type: text/plain", ours}, []int{415}},
		"multipart":  {good, []string{"Content-Type: multipart/form-data; boundary=x", ours}, []int{415}},
		"JSON": {`{"username":"erin","password":"` + password("erin") + `"}`,
			[]string{"Content-Type: application/json", ours}, []int{415}},
		"no type":       {good, []string{ours}, []int{415}},
		"compressed":    {good, []string{formType, ours, "Content-Encoding: gzip"}, []int{415}},
		"two types":     {good, []string{formType + ", text/plain", ours}, []int{415}},
		"empty":         {"", []string{formType, ours}, []int{400}},
		"a name only":   {"username=erin", []string{formType, ours}, []int{400}},
		"two names":     {good + "&username=dora", []string{formType, ours}, []int{400}},
		"two passwords": {good + "&password=x", []string{formType, ours}, []int{400}},
		"an array":      {strings.ReplaceAll(good, "username", "username[]"), []string{formType, ours}, []int{400}},
		"semicolons":    {strings.ReplaceAll(good, "&", ";"), []string{formType, ours}, []int{400}},
		"a bad escape":  {good + "&x=%zz", []string{formType, ours}, []int{400}},
		"8 KiB":         {good + "&x=" + strings.Repeat("x", 8<<10), []string{formType, ours}, []int{413}},
		"60 KiB":        {good + "&x=" + strings.Repeat("x", 60<<10), []string{formType, ours}, []int{413}},
		"in the query":  {"x=y", []string{formType, ours}, []int{400}},
	} {
		add(name, func(h *client) {
			v, query := h.visitor(), ""
			if name == "in the query" {
				query = "?" + good
			}
			a := v.post(query, c.body, c.lines...)
			if !slices.Contains(c.want, a.status) && !a.bare || (a.status == 303) != (v.value(sessionCookie) != "") {
				h.failf("got %v, want %d", a, c.want)
			}
		})
	}
	var same string
	for _, who := range [][2]string{{"erin", "wrong"}, {"unknown", "wrong"}, {"unknown", password("erin")},
		{"ERIN", password("erin")}, {"Erin", password("erin")}, {"ｅrin", password("erin")},
		{"erin\x00", password("erin")}, {"erin\x00x", password("erin")}, {"erin:", password("erin")},
		{"er\u200bin", password("erin")}, {"erіn", password("erin")}, {"../erin", password("erin")},
		{"erin", password("dora")}, {"erin", password("erin") + " "}, {"erin", " " + password("erin")},
		{"erin", password("erin")[:len(password("erin"))-1]}, {"erin", password("erin") + "\x00"},
		{"erin", strings.ToLower(password("erin"))}, {"erin", password("erin") + "x"},
		{"erin", strings.Repeat("x", 73)}, {"erin", strings.Repeat("x", 1025)}, {"erin", ""}, {"", password("erin")},
		{"", ""}, {"zhangsan", "x"}, {"alice' OR '1'='1", "x"}, {"*", "*"}, {"admin", "admin"},
		{strings.Repeat("n", 129), "x"}, {"<script>alert(1)</script>", "x"}, {"\r\nSet-Cookie: x", "x"},
		{"{{7*7}}", "x"}, {"管理", "x"}} {
		add(fmt.Sprintf("%.40q %d bytes", who[0], len(who[1])), func(h *client) {
			v := h.visitor()
			a := v.form("", who[0], who[1])
			if a.status != 401 || v.value(sessionCookie) != "" || strings.Contains(a.body, "<script>alert") ||
				a.header["Www-Authenticate"] != nil {
				h.failf("got %v, want 401", a)
			}
			// The pages are equal except for the submitted name. The page does not reveal which
			// accounts exist.
			text := ticket.ReplaceAllString(inputs.ReplaceAllString(a.body, ""), "")
			h.env.partnerMu.Lock()
			defer h.env.partnerMu.Unlock()
			if same == "" {
				same = text
			}
			if text != same {
				h.failf("the page differs: %.3000q, for other names %.3000q", text, same)
			}
		})
	}
	add("blanks around a name", func(h *client) { // phone keyboards append blanks
		if a := h.visitor().form("", " erin ", password("erin")); a.status != 303 {
			h.failf("got %v", a)
		}
	})
	add("guesses end", func(h *client) {
		v := h.visitor()
		for busy, guesses := 0, 0; guesses < 40 && busy < 20; {
			switch a := v.form("", "dora", "guess"); a.status {
			case 429:
				h.visitor().account("dora") // the account is not locked out for other clients
				return
			case 401:
				guesses++
			case 503: // busy with other password checks; nothing was verified
				busy++
			default:
				h.failf("got %v", a)
				return
			}
		}
		h.failf("40 guesses are not limited")
	})
	add("guesses over many names end", func(h *client) {
		v := h.visitor()
		began, guesses := time.Now(), 0
		// 60 at once and one more every two seconds; some more while an answer is on its way
		allowed := func() int { return 75 + int(time.Since(began)/(2*time.Second)) }
		for busy := 0; guesses < min(allowed(), 400) && busy < 20; {
			switch a := v.form("", fmt.Sprint("name", guesses), "guess"); a.status {
			case 429:
				return
			case 503:
				busy++
			default:
				guesses++
			}
		}
		h.failf("%d guesses are not limited in %v", guesses, time.Since(began))
	})
	for _, target := range hostileTargets() {
		for _, form := range []string{"raw", "escaped"} {
			query := "?rd=" + url.QueryEscape(target)
			if form == "raw" {
				if strings.ContainsAny(target, " \r\n\x00\t#") || len(target) > 5000 ||
					strings.ContainsFunc(target, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					continue
				}
				query = "?rd=" + target
			}
			list = append(list, try{fmt.Sprintf("R1 the form redirects to %s %.80q", form, target), func(h *client) {
				v := h.visitor()
				a := v.form(query, "erin", password("erin"))
				if a.status != 303 && a.status != 400 && a.status != 431 && a.status != 414 ||
					a.status == 303 && v.value(sessionCookie) == "" {
					h.failf("got %v", a)
				}
			}})
		}
	}
	return list
}
