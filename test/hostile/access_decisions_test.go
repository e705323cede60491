package hostile

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// grants covers class G.
func grants(s *env) []try {
	f := &fixtures{once: map[string]*sync.Once{}, requests: map[string]*accessRequest{}}
	return slices.Concat(crossSiteDecisions(f), unauthorizedDecisions(f), malformedDecisions(f), concurrentDecisions(), endedSessions(s), hostileRequests(f),
		repeatedRequests(), escapedTexts(f), grantScope(f), guessedIDs(f), failedNotifications(s))
}

// crossSiteDecisions covers G1: forms of other pages that are sent with the approver's session.
func crossSiteDecisions(f *fixtures) (list []try) {
	posters := [][]string{{"Origin: null"}, {"Origin: https://evil.test"}, {"Origin: https://x.app.test"},
		{"Origin: http://app.test"}, {"Origin: https://app.test:8443"}, {"Origin: https://app.test.evil.test"},
		{"Origin: https://app.test", "Origin: null"}, {"Origin: https://app.test, https://evil.test"}, {"Origin: "},
		{"Origin: null", "Referer: https://app.test/oauth2/requests/x"}, {"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"}, {"Sec-Fetch-Site: cross-site", "Origin: https://app.test"},
		{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: "},
		{"Sec-Fetch-Site: cross-site", "Referer: https://app.test/"}, {"Origin: https://friend.test"}}
	for _, lines := range posters {
		for _, decision := range []string{"approve", "deny"} {
			list = append(list, try{fmt.Sprintf("G1 %s by %q", decision, lines), func(h *client) {
				s := f.pending(h)
				a := s.approver.send("POST", s.page, "decision="+decision, append([]string{formType}, lines...)...)
				if a.status != 403 && a.status != 400 {
					h.failf("got %v, want 403", a)
				}
				s.checkPending("a foreign form")
			}})
		}
		list = append(list, try{fmt.Sprintf("G1 revoked by %q", lines), func(h *client) {
			s := f.granted(h)
			a := s.approver.send("POST", s.page, "decision=end", append([]string{formType}, lines...)...)
			if a.status != 403 && a.status != 400 || !s.served() {
				h.failf("got %v, want 403 and a valid grant", a)
			}
		}}, try{fmt.Sprintf("G1 a request by %q", lines), func(h *client) {
			s := f.pending(h)
			body := url.Values{"rd": {"/many/0/"}, "reason": {"x"}, "for": {"1h0m0s"}}.Encode()
			a := s.requester.send("POST", "/oauth2/requests", body, append([]string{formType}, lines...)...)
			if a.status != 403 && a.status != 400 {
				h.failf("got %v, want 403", a)
			}
		}})
	}
	return list
}

// unauthorizedDecisions covers G1: every person who is not an approver.
func unauthorizedDecisions(f *fixtures) (list []try) {
	others := &fixtures{once: map[string]*sync.Once{}, requests: map[string]*accessRequest{}}
	people := map[string]func(h *client, s *accessRequest) (v *visitor, statuses []int){
		"the requester": func(_ *client, s *accessRequest) (*visitor, []int) { return s.requester, []int{403} },
		"anonymous":     func(h *client, _ *accessRequest) (*visitor, []int) { return h.visitor(), []int{401} },
		"an uninvolved person": func(h *client, _ *accessRequest) (*visitor, []int) {
			return others.pending(h).requester, []int{404}
		},
		"an approver of others": func(h *client, _ *accessRequest) (*visitor, []int) { return others.pending(h).approver, []int{404} },
		"a person of the rule": func(h *client, _ *accessRequest) (*visitor, []int) {
			v := h.visitor()
			_, value, _ := strings.Cut(h.member("lisi"), "=")
			v.jar = []*http.Cookie{{Name: sessionCookie, Value: value}}
			return v, []int{404}
		},
	}
	claims := [][]string{nil, {"X-Forwarded-User: lisi"}, {"X-Auth-Request-User: lisi", "X-Auth-Request-Preferred-Username: lisi"},
		{"Authorization: Basic bGlzaTpsaXNp"}, {"Authorization: Bearer x"}, {"X-Http-Method-Override: POST"}}
	for who, of := range people {
		for _, decision := range []string{"approve", "deny", "end"} {
			for i, lines := range claims {
				list = append(list, try{fmt.Sprintf("G1 %s: %s %d", who, decision, i), func(h *client) {
					s := f.pending(h)
					v, statuses := of(h, s)
					a := v.submit(s.page, url.Values{"decision": {decision}, "word": {"x"}}, lines...)
					if !slices.Contains(statuses, a.status) {
						h.failf("got %v, want %v", a, statuses)
					}
					s.checkPending(who)
				}})
			}
		}
	}
	return list
}

// malformedDecisions covers G1: requests from an approver's own browser that none of our forms sends.
func malformedDecisions(f *fixtures) (list []try) {
	add := func(name, method, query, body string, statuses []int, lines ...string) {
		list = append(list, try{"G1 " + name, func(h *client) {
			s := f.pending(h)
			if lines == nil {
				lines = []string{formType}
			}
			a := s.approver.send(method, s.page+query, body, append(lines, "Sec-Fetch-Site: same-origin")...)
			if !slices.Contains(statuses, a.status) {
				h.failf("got %v, want %v", a, statuses)
			}
			s.checkPending(name)
		}})
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "POSTX"} {
		statuses := []int{405, 400}
		if method == "GET" {
			statuses = []int{200}
		}
		for _, query := range []string{"?decision=approve", "?decision=deny&word=x", "?_method=POST&decision=approve"} {
			add(method+" "+query, method, query, "", statuses)
		}
	}
	for _, value := range []string{"", "Approve", "APPROVE", "approve ", " approve", "approve%00", "approve%0a", "yes", "true", "1",
		"approved", "grant", "granted", "deny,approve", "appr%6fve%20", "%ff", "拒绝", "<script>", "ａｐｐｒｏｖｅ"} {
		add(fmt.Sprintf("decision %q", value), "POST", "", "decision="+value, []int{400})
	}
	for _, body := range []string{"", "Decision=approve", "decision[]=approve", "decision[0]=approve", "decision;=approve", "%64ecision",
		"{\"decision\":\"approve\"}", "decision", "=approve", "word=approve", "decision=%zz"} {
		add(fmt.Sprintf("body %q", body), "POST", "", body, []int{400})
		add(fmt.Sprintf("JSON %q", body), "POST", "", body, []int{400}, "Content-Type: application/json")
		add(fmt.Sprintf("text %q", body), "POST", "?decision=approve", body, []int{400}, "Content-Type: text/plain")
	}
	add("a decision in the query only", "POST", "?decision=approve", "word=x", []int{400})
	add("a comment of 201", "POST", "", "decision=approve&word="+strings.Repeat("x", 201), []int{400})
	add("a comment that is not UTF-8", "POST", "", "decision=approve&word=%ff%fe", []int{400})
	add("a body of megabytes", "POST", "", "decision=approve&word="+strings.Repeat("x", 11<<20), []int{400, 413, 0})
	return list
}

// concurrentDecisions covers G1: of many simultaneous answers one counts. A repeated answer shows the
// recorded result.
func concurrentDecisions() (list []try) {
	for i := range 12 {
		list = append(list, try{fmt.Sprintf("G1 two approvers at once %d", i), func(h *client) {
			s := h.pair()
			s.submit("/both/page", "x")
			type outcome struct {
				yes    bool
				status int
			}
			results := make(chan outcome, 8)
			var all sync.WaitGroup
			for n := range cap(results) {
				all.Go(func() {
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					one := &client{env: h.env, conns: w, id: h.id}
					v := one.visitor()
					_, value, _ := strings.Cut(one.member([]string{"lisi", "zhangsan"}[n%2]), "=")
					v.jar = []*http.Cookie{{Name: sessionCookie, Value: value}}
					yes := n%4 < 2
					decision := map[bool]string{true: "approve", false: "deny"}[yes]
					results <- outcome{yes, v.submit(s.page, url.Values{"decision": {decision}}).status}
				})
			}
			all.Wait()
			close(results)
			var won []bool
			for one := range results {
				if one.status == 303 {
					won = append(won, one.yes)
				} else if one.status != 200 {
					h.failf("a late decision is %d", one.status)
				}
			}
			if len(won) != 1 || s.served() != won[0] {
				h.failf("%v of 8 decisions succeeded", won)
			}
		}})
	}
	for i, end := range []string{"revoked", "denied", "still pending"} {
		list = append(list, try{"G1 G4 a decision sent again, " + end, func(h *client) {
			s := h.newAccessRequest("/grant/page")
			switch i {
			case 0:
				s.approve()
				if !s.served() {
					h.failf("approved, but without access")
				}
				if a := s.decide("end"); a.status != 303 {
					h.failf("revoking: %v", a)
				}
			case 1:
				s.decide("deny")
			}
			if i < 2 {
				for _, decision := range []string{"approve", "deny", "end", "approve"} {
					if a := s.decide(decision); a.status != 200 || !strings.Contains(a.body, `id="wrong"`) {
						h.failf("%s again: got %v", decision, a)
					}
				}
			}
			if s.served() {
				h.failf("the page is served")
			}
		}})
	}
	return list
}
