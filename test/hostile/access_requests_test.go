package hostile

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"dinggate/dingtalk/simulator"
)

// hostileRequests covers G2: the return target, the route, the duration and the requester of an
// access request.
func hostileRequests(f *fixtures) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"G2 " + name, do}) }
	checkNotNotified := func(h *client, s *accessRequest, before int) {
		if got := h.env.sim.Inbox(s.approverID); len(got) > before {
			h.failf("the approver got %+v", got[0])
		}
	}
	for _, target := range hostileTargets() {
		for _, method := range []string{"GET", "POST"} {
			add(fmt.Sprintf("%s rd %.100q", method, target), func(h *client) {
				s := f.pending(h)
				before := len(h.env.sim.Inbox(s.approverID))
				fields := url.Values{"rd": {target}, "reason": {"x"}, "for": {"1h0m0s"}}
				var a *answer
				if method == "GET" {
					a = s.requester.do(request{}, "GET", "/oauth2/requests?"+url.Values{"rd": {target}}.Encode())
				} else {
					a = s.requester.submit("/oauth2/requests", fields)
				}
				if !slices.Contains([]int{303, 404, 400, 414, 431}, a.status) || strings.HasPrefix(a.header.Get("Location"), "/oauth2/requests/") {
					h.failf("got %v, want 404 or back to a page of dinggate", a)
				}
				checkNotNotified(h, s, before)
			})
		}
	}
	for _, target := range []string{"/admin/", "/admin/x", "/", "/public/", "/office/", "/open", "/none", "/gateway/", "/barred/x",
		"/both-of/x", "/grant/below/x", "/oauth2/sign_out", "/oauth2/requests", "/oauth2/requests/x", "/oauth2/auth", "/GRANT/x",
		"/grant/../admin/", "/grant/%2e%2e/admin/", "/grant;x/y", "//app.test/grant/x", "/%67rant%2fx", "/grant%00/", "https://friend.test/grant/x",
		"https://evil.test/grant/x", "https://app.test:8443/grant/x", "https://app.test@evil.test/grant/x", "grant/x", "/grant\\x"} {
		add(fmt.Sprintf("a target without requests: %q", target), func(h *client) {
			s := f.pair(h)
			before := len(h.env.sim.Inbox(s.approverID))
			a := s.requester.submit("/oauth2/requests", url.Values{"rd": {target}, "reason": {"x"}, "for": {"1h0m0s"}})
			if strings.HasPrefix(a.header.Get("Location"), "/oauth2/requests/") && target != "/oauth2/requests/x" || a.status < 300 {
				h.failf("got %v, want no request", a)
			}
			checkNotNotified(h, s, before)
		})
	}
	for _, life := range []string{"", "2h", "8h0m1s", "7h59m59s", "-1h", "0", "0s", "999999h", "1e9h", "NaN", "1h0m0s1ns", "1h ", " 1h",
		"٤h", "24h0m0s", "1h0m0s\x00", "h", "3600", "3600s0", "1H", "1h,8h", "+1h1ns", "9223372036854775807ns",
		"99999999999999999999h", "1h;8h", "0x1h", "1d", "30d", "720h", "8h0m0.000000001s"} {
		add(fmt.Sprintf("for %q", life), func(h *client) {
			s := f.pair(h)
			a := s.requester.submit("/oauth2/requests", url.Values{"rd": {"/many/1/"}, "reason": {"x"}, "for": {life}})
			if a.status != 422 {
				h.failf("got %v, want 422", a)
			}
			checkNotNotified(h, s, 0)
		})
	}
	for _, reason := range []string{"", " ", "\t\n", "\u200b", "\u202e", strings.Repeat("x", 201), strings.Repeat("汉", 201), "\xff\xfe",
		strings.Repeat("x", 100_000), "\x00", "\u2060\ufeff"} {
		add(fmt.Sprintf("reason %.20q", reason), func(h *client) {
			s := f.pair(h)
			a := s.requester.submit("/oauth2/requests", url.Values{"rd": {"/grant/"}, "reason": {reason}, "for": {"1h0m0s"}})
			if a.status != 422 && (a.status != 413 || len(reason) < 10_000) {
				h.failf("got %v, want 422", a)
			}
			checkNotNotified(h, s, 0)
		})
	}
	for _, other := range []url.Values{{"user": {"lisi"}}, {"userid": {"lisi"}}, {"person": {"lisi"}}, {"username": {"lisi"}},
		{"approvers": {"ME"}}, {"approver": {"ME"}}, {"manager": {"ME"}}, {"id": {"x"}}, {"state": {"granted"}}, {"until": {"2099-01-01"}},
		{"decision": {"approve"}}, {"route": {"/admin/"}}, {"host": {"evil.test"}}, {"rd": {"/grant/page", "/admin/"}}} {
		add(fmt.Sprintf("a field %v", other), func(h *client) {
			s := h.pair()
			fields := url.Values{"rd": {"/grant/page"}, "reason": {"x"}, "for": {"1h0m0s"}}
			for name, values := range other {
				if fields[name] = values; values[0] == "ME" {
					fields[name] = []string{s.requesterID}
				}
			}
			a := s.requester.submit("/oauth2/requests", fields, "X-Forwarded-User: lisi")
			s.page, s.target = a.header.Get("Location"), "/grant/page"
			if page := s.requester.do(request{}, "GET", s.page); a.status != 303 || page.status != 200 ||
				!strings.Contains(page.body, s.requesterID) || strings.Contains(page.body, `name="decision"`) {
				h.failf("got %v and %v, want a pending request of the same person", a, page)
				return
			}
			s.checkPending("a field")
			if got := h.env.sim.Inbox(s.approverID); len(got) != 1 {
				h.failf("the approver got %d notifications", len(got))
			}
		})
	}
	return list
}

// repeatedRequests covers G2: repeated requests do not flood an approver with notifications.
func repeatedRequests() (list []try) {
	for i := range 2 {
		list = append(list, try{fmt.Sprintf("G2 hundreds of requests %d", i), func(h *client) {
			s := h.pair()
			open := map[string]bool{}
			for n := range 120 {
				target := fmt.Sprintf("/many/%d/", n%manyRoutes)
				a := s.requester.submit("/oauth2/requests", url.Values{"rd": {target}, "for": {"1h0m0s"}})
				if page := a.header.Get("Location"); a.status == 303 {
					open[page] = true
				} else if a.status != 429 {
					h.failf("%s: got %v", target, a)
				}
			}
			if got := h.env.sim.Inbox(s.approverID); len(open) != 5 || len(got) != 5 {
				h.failf("%d requests are pending, %d notifications were sent: want 5", len(open), len(got))
			}
		}}, try{fmt.Sprintf("G2 one after another, each denied %d", i), func(h *client) {
			s := h.pair()
			created := 0
			for n := range 40 {
				a := s.requester.submit("/oauth2/requests", url.Values{"rd": {fmt.Sprintf("/many/%d/", n%manyRoutes)}, "for": {"1h0m0s"}})
				if a.status == 429 {
					continue
				}
				created++
				s.page = a.header.Get("Location")
				s.decide("deny")
			}
			if got := h.env.sim.Inbox(s.approverID); created != 20 || len(got) != 20 {
				h.failf("%d requests in a day, %d notifications: want 20", created, len(got))
			}
		}}, try{fmt.Sprintf("G2 the same at once %d", i), func(h *client) {
			s := h.pair()
			pages := make(chan string, 16)
			var all sync.WaitGroup
			for range cap(pages) {
				all.Go(func() {
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					mine := s.of(&client{env: h.env, conns: w, id: h.id})
					pages <- mine.requester.submit("/oauth2/requests", url.Values{"rd": {"/many/3/"}, "for": {"1h0m0s"}}).header.Get("Location")
				})
			}
			all.Wait()
			close(pages)
			seen := map[string]bool{}
			for page := range pages {
				seen[page] = true
			}
			if got := h.env.sim.Inbox(s.approverID); len(seen) != 1 || len(got) != 1 {
				h.failf("%d requests, %d notifications: want one", len(seen), len(got))
			}
		}})
	}
	return list
}

// typedTexts are inputs that would be interpreted as more than text.
var typedTexts = []string{"[urgent](http://evil.test)", "![x](http://evil.test/x.png)", "http://evil.test/a", "https://evil.test", "evil.test",
	"www.evil.test/x", "dingtalk://dingtalkclient/page/link?url=http://evil.test", "<script>alert(1)</script>", "<img/src=x/onerror=alert(1)>",
	"<a/href=//evil.test>x</a>", "\"><svg onload=alert(1)>", "'-alert(1)-'", "</dd></dl><form/action=//evil.test><button>", "{{.Name}}", "${7*7}",
	"@all", "@所有人", "<at id=all></at>", "@13800000001", "# heading", "\n# heading", "x\n\n#### 申请访问\n\n理由：", "- [ ] list", "> quote",
	"```\ncode\n```", "`code`", "**bold**", "~~x~~", "| a | b |\n|---|---|", "<font color=red>x</font>", "&lt;b&gt;", "&#91;x&#93;(http://evil.test)",
	"\u202etset.live", "ev\u200bil.test", "evil\u2024test", "\u2028# x", "\x1b[31mred", "<!-- -->", "javascript:alert(1)", "mailto:x@evil.test",
	"\\[x\\](http://evil.test)", "<http://evil.test>", "[1]: http://evil.test", "***\n---\n___", "理由：\n\n时长：30 天"}

var (
	markup   = regexp.MustCompile("[][()<>*_`~|!@\\\\{}&]|://|[a-zA-Z0-9]\\.[a-zA-Z]")
	reversed = regexp.MustCompile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u2028\u2029\x00-\x09\x0b-\x1f\x7f-\u009f]")
)

// notified checks that a notification is plain text with this number of paragraphs.
func (h *client) notified(m simulator.Message, paragraphs int) {
	text := strings.TrimPrefix(m.Markdown, "#### ")
	if bad := markup.FindString(text) + reversed.FindString(text); bad != "" || strings.Contains(text, "#") {
		h.failf("the notification contains %q: %q", bad, m.Markdown)
	}
	if got := strings.Split(m.Markdown, "\n\n"); len(got) != paragraphs || strings.Contains(strings.Join(got, ""), "\n") {
		h.failf("the notification has %d paragraphs, want %d: %q", len(got), paragraphs, m.Markdown)
	}
	if markup.MatchString(m.Title) || !strings.HasPrefix(m.URL, "https://app.test/oauth2/requests/") {
		h.failf("the notification is %q, and links to %q", m.Title, m.URL)
	}
}

// escapedTexts covers G3: typed input and directory data are shown as text.
func escapedTexts(f *fixtures) (list []try) {
	shown := func(h *client, a *answer, text string) {
		if a.status != 200 || strings.ContainsAny(text, "<>\"'") && strings.Contains(a.body, text) || reversed.MatchString(a.body[len(a.body)/2:]) {
			h.failf("the page shows %q unescaped: %v", text, a)
		}
	}
	add := func(field, text string, do func(h *client)) {
		list = append(list, try{fmt.Sprintf("G3 %s %q", field, text), func(h *client) {
			h.env.turn.RLock()
			defer h.env.turn.RUnlock()
			do(h)
		}})
	}
	department := int64(700_000)
	for _, text := range typedTexts {
		add("the reason", text, func(h *client) {
			s := h.pair()
			if a := s.submit("/grant/page", text); a.status != 303 {
				return
			}
			if got := h.env.sim.Inbox(s.approverID); len(got) != 1 {
				h.failf("%d notifications", len(got))
			} else {
				h.notified(got[0], 6)
			}
			shown(h, s.approver.do(request{}, "GET", s.page), text)
			shown(h, s.requester.do(request{}, "GET", s.page), text)
		})
		add("the comment", text, func(h *client) {
			s := h.newAccessRequest("/grant/page")
			if a := s.approver.submit(s.page, url.Values{"decision": {"deny"}, "word": {text}}); a.status != 303 {
				h.failf("denying: %v", a)
			}
			if got := h.env.sim.Inbox(s.requesterID); len(got) != 1 {
				h.failf("%d notifications", len(got))
			} else if n := strings.Count(got[0].Markdown, "\n\n") + 1; n != 5 && n != 6 { // an empty word is omitted
				h.notified(got[0], 6)
			} else {
				h.notified(got[0], n)
			}
			shown(h, s.requester.do(request{}, "GET", s.page), text)
		})
		add("the name", text, func(h *client) {
			s := h.newAccessRequest("/grant/page", func(who *simulator.Person) { who.Name = text })
			if got := h.env.sim.Inbox(s.approverID); len(got) == 1 {
				h.notified(got[0], 6)
			}
			shown(h, s.approver.do(request{}, "GET", s.page), text)
			s.approve() // the log then contains the name of the person
		})
		add("the department", text, func(h *client) {
			id := department + h.env.seq.Add(1)
			if err := h.env.sim.AddDepartment(simulator.Department{ID: id, Parent: 42, Name: text}); err != nil {
				h.failf("%v", err)
			}
			s := h.newAccessRequest("/grant/page", func(who *simulator.Person) { who.Departments = []int64{id} })
			if got := h.env.sim.Inbox(s.approverID); len(got) == 1 {
				h.notified(got[0], 6)
			} else {
				h.failf("%d notifications", len(got))
			}
			shown(h, s.approver.do(request{}, "GET", s.page), text)
		})
		list = append(list, try{fmt.Sprintf("G3 the form %q", text), func(h *client) { // the form with its error
			s := f.pair(h)
			a := s.requester.submit("/oauth2/requests", url.Values{"rd": {"/grant/page"}, "reason": {text}, "for": {"bad"}})
			if a.status != 422 {
				h.failf("got %v, want 422", a)
			}
			a.status = 200
			shown(h, a, text)
		}})
	}
	return list
}

// guessedIDs covers G6: for an uninvolved person a request does not exist.
func guessedIDs(f *fixtures) (list []try) {
	add := func(name string, change func(id string) string) {
		for _, method := range []string{"GET", "POST"} {
			list = append(list, try{fmt.Sprintf("G6 %s %s", method, name), func(h *client) {
				s, other := f.pending(h), f.pair(h)
				id := strings.TrimPrefix(s.page, "/oauth2/requests/")
				target := "/oauth2/requests/" + change(id)
				var a *answer
				if method == "GET" {
					a = other.requester.do(request{}, "GET", target)
				} else {
					a = other.requester.submit(target, url.Values{"decision": {"approve"}})
				}
				if a.status != 404 && a.status != 400 && a.status != 414 || strings.Contains(a.body, s.requesterID) {
					h.failf("%s is %v, want 404", target, a)
				}
				if mine := s.approver.do(request{}, "GET", target); change(id) != id && mine.status == 200 {
					h.failf("an approver gets the request at %s: %v", target, mine)
				}
			}})
		}
	}
	add("the id itself", func(id string) string { return id })
	for i := range 40 {
		add(fmt.Sprintf("changed at %d", i), func(id string) string {
			other := "A"
			if id[i] == 'A' {
				other = "B"
			}
			return id[:i] + other + id[i+1:]
		})
	}
	for i, change := range []func(string) string{strings.ToUpper, strings.ToLower, func(id string) string { return id[:39] },
		func(id string) string { return id + "A" }, func(id string) string { return id[:16] + strings.Repeat("A", 24) },
		func(id string) string { return id[16:] }, func(id string) string { return id[:16] }, func(id string) string { return id + "/" },
		func(id string) string { return "./" + id + "/x" }, func(string) string { return strings.Repeat("A", 40) },
		func(string) string { return "*" }, func(string) string { return "%00" }, func(id string) string { return id + "%00" },
		func(id string) string { return id + "%0a" }, func(string) string { return strings.Repeat("A", 5000) },
		func(string) string { return "access:person:x" }, func(string) string { return "<script>alert(1)</script>" },
		func(id string) string { return id + ";x" }, func(id string) string { return id + "=" }} {
		add(fmt.Sprintf("shape %d", i), change)
	}
	return list
}

// failedNotifications covers G2: DingTalk's quota and its errors. The request stays open, and the page
// says that the approver may not have been notified.
func failedNotifications(s *env) (list []try) {
	for _, verb := range []simulator.Verb{simulator.Code(90018), simulator.Code(90002), simulator.Code(88), simulator.Code(-1), simulator.Code(40056),
		simulator.Code(60011), simulator.Status(500), simulator.Status(429), simulator.Status(403), simulator.Body("{}"), simulator.Body(""),
		simulator.Body("null"), simulator.Flood(4 << 20), simulator.Refuse(),
		simulator.Reset(), simulator.Cut(3)} {
		list = append(list, try{fmt.Sprintf("G2 DingTalk refuses a notification with %v", verb), func(h *client) {
			one := h.pair()
			s.turn.Lock()
			s.sim.Fault(simulator.Fault{On: "/topapi/message/corpconversation/asyncsend_v2", Do: verb})
			one.submit("/grant/page", "x")
			s.sim.ClearFaults()
			s.turn.Unlock()
			a := one.requester.do(request{}, "GET", one.page)
			if len(h.env.sim.Inbox(one.approverID)) == 0 && !strings.Contains(a.body, `id="wrong"`) {
				h.failf("no notification was sent, and the page does not show it: %v", a)
			}
			one.checkPending("a failed notification")
			if one.approve(); !one.served() { // the requester sent the approver the address
				h.failf("approved, but without access")
			}
		}})
	}
	return list
}
