package hostile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"dinggate/dingtalk/simulator"
)

// endedSessions covers G1 and G4: approvers and requesters who leave, and sessions that end.
func endedSessions(env *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for i := range 3 {
		add(fmt.Sprintf("G1 an approver who left %d", i), func(h *client) {
			s := h.newAccessRequest("/grant/page")
			if err := h.env.sim.Leave(s.approverID); err != nil {
				h.failf("%v", err)
			}
			if !until(func() bool { return s.approver.do(request{cleared: true}, "GET", "/oauth2/userinfo").status == 401 }) {
				h.failf("still signed in")
			}
			if a := s.decide("approve"); a.status != 401 || s.served() {
				h.failf("got %v, want 401", a)
			}
		})
		add(fmt.Sprintf("G1 an approver who signed out %d", i), func(h *client) {
			s := h.newAccessRequest("/grant/page")
			old := slices.Clone(s.approver.jar)
			s.approver.doOnce(request{cleared: true, session: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin",
				"Content-Length: 0")
			s.approver.jar = old
			if a := s.decide("approve"); a.status != 401 || s.served() {
				h.failf("got %v, want 401", a)
			}
		})
		add(fmt.Sprintf("G4 a requester who left and comes back %d", i), func(h *client) {
			s := h.newAccessRequest("/grant/page")
			s.approve()
			if !s.served() {
				h.failf("approved, but without access")
			}
			if err := h.env.sim.Leave(s.requesterID); err != nil {
				h.failf("%v", err)
			}
			if !until(func() bool {
				return s.requester.do(request{authorized: true, cleared: true}, "GET", s.target).status == 302
			}) {
				h.failf("still served")
			}
			if err := h.env.sim.Join(simulator.Person{
				ID: s.requesterID,
				Record: simulator.Record{
					UserID:      s.requesterID,
					Name:        "回来",
					Departments: []int64{42},
					Manager:     s.approverID,
				},
			}); err != nil {
				h.failf("%v", err)
			}
			s.requester = h.visitor().signIn(s.requesterID)
			if s.served() {
				h.failf("served by the old grant")
			}
		})
		add(fmt.Sprintf("G4 the userid is reassigned %d", i), func(h *client) {
			s := h.newAccessRequest("/grant/page")
			s.approve()
			next := fmt.Sprint("next", h.env.seq.Add(1))
			if err := h.env.sim.Reassign(s.requesterID, simulator.Person{
				ID:     next,
				Record: simulator.Record{Name: "新人", Departments: []int64{42}},
			}); err != nil {
				h.failf("%v", err)
			}
			// Until it is processed, the event ends all sessions of the userid, including the new
			// member's session.
			if !until(func() bool {
				return s.requester.do(request{authorized: true, cleared: true}, "GET", s.target).status == 302
			}) {
				h.failf("the previous person is still signed in")
			}
			s.requester = h.visitor().signIn(next)
			if s.served() {
				h.failf("served by another person's grant")
			}
			if a := s.requester.do(request{}, "GET", s.page); a.status != 404 {
				h.failf("the page of another's request is %v", a)
			}
		})
		add(fmt.Sprintf("G4 an open WebSocket when the grant is revoked %d", i), func(h *client) {
			s := h.newAccessRequest("/act/stay")
			s.approve()
			began := time.Now()
			done := make(chan *answer, 1)
			go func() {
				w := &rawConns{idle: map[string]*rawConn{}}
				defer w.close()
				a, err := w.send(request{to: h.env.addr, from: s.requester.from, fresh: true, more: true, secure: h.env.secure,
					raw: requestText("GET", "/act/stay", h.id, append([]string{"Upgrade: websocket", s.requester.cookie()},
						handshake[1:]...)...)})
				if err != nil {
					a = &answer{}
				}
				done <- a
			}()
			if !until(func() bool { return len(h.env.up.received(h.id)) > 0 }) {
				h.failf("the WebSocket does not arrive")
			}
			if a := s.decide("end"); a.status != 303 {
				h.failf("revoking: %v", a)
			}
			select {
			case a := <-done:
				if a.status != 101 || !a.closed {
					h.failf("the WebSocket: %v", a)
				}
			case <-time.After(20 * time.Second):
				h.failf("open %v after the grant was revoked", time.Since(began))
			}
		})
	}
	add("G4 another rule, and requests disabled and enabled", func(h *client) { changedRules(env, h) })
	return list
}

// changedRules checks that a reload with another rule, or without access requests, ends grants.
// They stay ended when the old configuration is restored.
func changedRules(s *env, h *client) {
	p := s.another(func(text string) string { return text })
	defer p.kill()
	h.env.foreign.Store(h.id, true)
	one := h.pairAt(p.addr)
	reload := func(text string) {
		done := strings.Count(p.output(), "the changed configuration")
		write(s.t, p.file, text)
		p.cmd.Process.Signal(syscall.SIGHUP)
		if !until(func() bool { return strings.Count(p.output(), "the changed configuration") > done }) {
			h.failf("the log has no record of the reload")
		}
		if strings.Contains(p.output(), "was refused") {
			h.failf("the reload is refused: %s", p.output())
		}
	}
	disabled := regexp.MustCompile(`, request: \{.*\}\}`).ReplaceAllString(s.text, "}")
	disabled = strings.Replace(disabled, "access_requests:", "# access_requests:", 1)
	other := strings.Replace(s.text, "{path: /grant/, access: {users: [lisi]}", "{path: /grant/, access: {users: [lisi, wujiu]}", 1)
	for name, text := range map[string]string{"without requests": disabled, "another rule": other} {
		one.submit("/grant/page", "x")
		one.approve()
		if !one.served() {
			h.failf("%s: approved, but without access", name)
		}
		if reload(text); one.served() {
			h.failf("%s: the grant is still valid", name)
		}
		if reload(s.text); one.served() {
			h.failf("%s and back: the grant is valid again", name)
		}
		if time.Sleep(2 * time.Second); one.served() {
			h.failf("%s and back: the grant is valid again after 2 s", name)
		}
	}
}

// grantScope covers G4: a grant is valid for its person, its route and its duration.
func grantScope(f *fixtures) (list []try) {
	add := func(name, method, target string, lines ...string) {
		list = append(list, try{"G4 " + name, func(h *client) {
			s := f.granted(h)
			a := s.requester.do(request{}, method, target, lines...)
			if a.status == 200 && target != "/oauth2/auth" {
				h.failf("got %v, want a refusal", a)
			}
			if target == "/oauth2/auth" && a.status != 401 && a.status != 403 {
				h.failf("got %v, want 401 or 403", a)
			}
		}})
	}
	for _, path := range []string{"/admin/", "/admin/x", "/both/", "/act/x", "/many/0/", "/grant/below/", "/grant/below/x", "/barred/", "/both-of/",
		"/office/", "/report.php", "/GRANT/page", "/Grant/page", "/grant/../admin/", "/grant/%2e%2e/admin/x", "/grant/..%2fadmin/", "/grant;x/../admin/",
		"/grant/..;/admin/", "/grant/%252e%252e/admin/", "/grant%2f..%2fadmin/", "//grant/page", "/./admin/", "/grant/./../admin/x", "/grant\\..\\admin",
		"/grant/below%2fx", "/grant/%62elow/x", "/grant//below/x", "/grant/x/../below/x", "/grant/below;x/y", "/grant/BELOW/x", "/strip/../admin/"} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			if path == "/GRANT/page" || method == "POST" && strings.Contains(path, "office") {
				continue
			}
			add(fmt.Sprintf("%s %s with a grant for /grant/", method, path), method, path)
		}
	}
	for _, host := range []string{"evil.test", "x.app.test", "app.test.evil.test", "localhost", "friend.test", "wiki.other.test"} {
		add("on host "+host, "GET", "/grant/page", "Host: "+host)
	}
	for _, uri := range []string{"/admin/x", "/both/", "/grant/below/x", "/grant/../admin/", "/barred/"} {
		add("a subrequest for "+uri, "GET", "/oauth2/auth", "X-Original-URI: "+uri, "X-Original-Method: GET")
	}
	for i, lines := range [][]string{{"X-Grant: ID"}, {"Cookie: grant=ID"}, {"X-Forwarded-User: WHO"}, {"Authorization: Bearer ID"},
		{"X-Dinggate-Assertion: ID"}, {"X-Dinggate-Grant: ID"}} {
		list = append(list, try{fmt.Sprintf("G4 another's grant %d", i), func(h *client) {
			s, other := f.granted(h), f.pair(h)
			id := strings.TrimPrefix(s.page, "/oauth2/requests/")
			line := strings.NewReplacer("ID", id, "WHO", s.requesterID).Replace(lines[0])
			for _, target := range []string{s.target, s.target + "&grant=" + id, s.target + "&request=" + id} {
				if a := other.requester.do(request{}, "GET", target, line); a.status != 403 && a.status != 302 {
					h.failf("got %v, want 403", a)
				}
			}
		}})
	}
	return list
}
