package hostile

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"dinggate/dingtalk/simulator"
)

// grantRoutes are routes of openGrants that accept access requests, and two routes that do not.
const grantRoutes = `  - {path: /grant/below/, access: {users: [lisi]}, upstream: "UP"}
  - {path: /grant/, access: {users: [lisi]}, upstream: "UP", request: {approvers: {manager: true}}}
  - {path: /both/, access: {users: [ouyang-xiu_01.A@yunfan]}, upstream: "UP", request: {approvers: {users: [lisi, zhangsan]}}}
  - {path: /act/, websocket: true, access: {users: [lisi]}, upstream: "UP", request: {approvers: {manager: true}}}
  - {path: /barred/, access: {users: [lisi], deny: {departments: [42]}}, upstream: "UP", request: {approvers: {manager: true}}}
  - {path: /both-of/, access: {users: [lisi], all: [{roles: [总监]}]}, upstream: "UP", request: {approvers: {manager: true}}}
`

// manyRoutes is the number of further routes that accept requests: /many/0/ and so on.
const manyRoutes = 24

// openGrants starts the env with access requests.
func openGrants(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		routes := grantRoutes
		for i := range manyRoutes {
			routes += fmt.Sprintf("  - {path: /many/%d/, access: {users: [lisi]}, upstream: \"UP\", "+
				"request: {reason: optional, approvers: {manager: true}}}\n", i)
		}
		return strings.NewReplacer("events: false", "events: true", "  - {path: /gateway/,", routes+"  - {path: /gateway/,").
			Replace(text) + fmt.Sprintf("access_requests: {agent_id: %d}\n", simulator.DemoAgentID)
	})
	s.t, s.excused = t, []string{"The configuration has no mistakes, but", "access_requests is used without state_dir"}
	s.budget.Store(1 << 40) // requesters and approvers are looked up
	s.up.handle("stay", func(c net.Conn, _ *upstreamRequest) {
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	return s
}

// accessRequest is a request for access with its requester and an approver.
type accessRequest struct {
	requester, approver     *visitor
	requesterID, approverID string
	page                    string // of the request
	target                  string
}

// fixtures are requests that many tries share. Those tries must not change them.
type fixtures struct {
	mu       sync.Mutex
	once     map[string]*sync.Once
	requests map[string]*accessRequest
}

// pending returns a request that stays open.
func (f *fixtures) pending(h *client) *accessRequest { return f.get(h, "pending", false) }

// granted returns a request that was approved.
func (f *fixtures) granted(h *client) *accessRequest { return f.get(h, "granted", true) }

func (f *fixtures) get(h *client, name string, approved bool) *accessRequest {
	f.mu.Lock()
	if f.once[name] == nil {
		f.once[name] = new(sync.Once)
	}
	once := f.once[name]
	f.mu.Unlock()
	once.Do(func() {
		one := h.newAccessRequest("/grant/page?x=1")
		if approved && one != nil {
			one.approve()
		}
		f.mu.Lock()
		f.requests[name] = one
		f.mu.Unlock()
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.requests[name]
	if s == nil || s.page == "" {
		h.failf("there is no request %s", name)
		return nil
	}
	return s.of(h)
}

// of returns the same request for use by another try.
func (s *accessRequest) of(h *client) *accessRequest {
	mine := *s
	requester, approver := *s.requester, *s.approver
	requester.h, approver.h = h, h
	mine.requester, mine.approver = &requester, &approver
	return &mine
}

// addMember adds a member and signs them in. The sign-in uses another process if to names one.
func (h *client) addMember(who simulator.Person, to string) *visitor {
	if who.Departments == nil {
		who.Departments = []int64{42}
	}
	if err := h.env.sim.Join(who); err != nil {
		h.failf("joining: %v", err)
	}
	v := h.visitor()
	v.to = to
	return v.signIn(who.UserID)
}

// pair returns two people. One of them is an approver for the other.
func (h *client) pair(change ...func(*simulator.Person)) *accessRequest {
	return h.pairAt("", change...)
}

func (h *client) pairAt(to string, change ...func(*simulator.Person)) *accessRequest {
	n := h.env.seq.Add(1)
	s := &accessRequest{requesterID: fmt.Sprint("requester", n), approverID: fmt.Sprint("approver", n)}
	s.approver = h.addMember(simulator.Person{
		ID:     s.approverID,
		Record: simulator.Record{UserID: s.approverID, Name: fmt.Sprint("审批人", n)},
	}, to)
	requester := simulator.Person{
		ID:     s.requesterID,
		Record: simulator.Record{UserID: s.requesterID, Name: fmt.Sprint("申请人", n), Manager: s.approverID},
	}
	for _, one := range change {
		one(&requester)
	}
	s.requester = h.addMember(requester, to)
	return s
}

// newAccessRequest returns a pair with an open request.
func (h *client) newAccessRequest(target string, change ...func(*simulator.Person)) *accessRequest {
	s := h.pair(change...)
	s.submit(target, "线上故障")
	return s
}

func (s *accessRequest) submit(target, reason string) *answer {
	a := s.requester.submit("/oauth2/requests", url.Values{"rd": {target}, "reason": {reason}, "for": {"1h0m0s"}})
	s.target, s.page = target, a.header.Get("Location")
	if a.status != 303 || !strings.HasPrefix(s.page, "/oauth2/requests/") {
		s.requester.h.failf("requesting %s: got %v", target, a)
		s.page = ""
	}
	return a
}

func (s *accessRequest) approve() {
	if a := s.decide("approve"); a.status != 303 {
		s.approver.h.failf("approving: got %v", a)
	}
}

func (s *accessRequest) decide(decision string) *answer {
	return s.approver.submit(s.page, url.Values{"decision": {decision}})
}

// submit posts a form with the headers that our own page sends.
func (v *visitor) submit(target string, fields url.Values, lines ...string) *answer {
	return v.send("POST", target, fields.Encode(), append(lines, formType, "Sec-Fetch-Site: same-origin")...)
}

// send sends a body with these header lines and the cookies.
func (v *visitor) send(method, target, body string, lines ...string) *answer {
	if c := v.cookie(); c != "" {
		lines = append(lines, c)
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "Accept: text/html")
	a := v.h.send(request{from: v.from, to: v.to, method: method, slow: true, raw: requestText(method, target, v.h.id, lines...) + body})
	v.storeCookies(a)
	return a
}

// served requests the page as an authorized person and reports whether the page was served.
func (s *accessRequest) served() bool {
	a := s.requester.do(request{authorized: true}, "GET", s.target)
	if a.status != 200 && a.status != 403 {
		s.requester.h.failf("the page is %v, want 200 or 403", a)
	}
	return a.status == 200
}

// checkPending checks that the request is still open.
func (s *accessRequest) checkPending(after string) {
	if a := s.requester.do(request{}, "GET", s.page); a.status != 200 || a.header.Get("Refresh") == "" {
		s.requester.h.failf("after %s the request is not pending: %v", after, a)
	}
	if a := s.requester.do(request{}, "GET", s.target); a.status != 403 {
		s.requester.h.failf("after %s the page is %v, want 403", after, a)
	}
}

// pair returns people without an access request.
func (f *fixtures) pair(h *client) *accessRequest {
	f.mu.Lock()
	once := f.once["pair"]
	if once == nil {
		once = new(sync.Once)
		f.once["pair"] = once
	}
	f.mu.Unlock()
	once.Do(func() {
		one := h.pair()
		f.mu.Lock()
		f.requests["pair"] = one
		f.mu.Unlock()
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests["pair"].of(h)
}
