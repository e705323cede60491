package hostile

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dinggate/dingtalk/simulator"
)

// callsPerSignIn is the maximum number of calls to DingTalk during a sign-in, with a margin.
const callsPerSignIn = 12

// visitor is a browser with cookies and a source address of its own.
type visitor struct {
	h    *client
	from string
	to   string // host:port of a process other than the env's
	jar  []*http.Cookie
}

func (h *client) visitor() *visitor { return &visitor{h: h, from: h.env.newAddress()} }

// cookie returns the Cookie line. It returns "" without cookies.
func (v *visitor) cookie() string {
	var pairs []string
	for _, c := range v.jar {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	if pairs == nil {
		return ""
	}
	return "Cookie: " + strings.Join(pairs, "; ")
}

// value returns the value of a cookie. It returns "" if there is none.
func (v *visitor) value(name string) string {
	for _, c := range v.jar {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// storeCookies processes Set-Cookie as a browser does.
func (v *visitor) storeCookies(a *answer) {
	for _, line := range a.header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			continue
		}
		v.jar = slices.DeleteFunc(slices.Clone(v.jar), func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 && c.Value != "" {
			v.jar = append(v.jar, c)
		}
	}
}

// do sends a request with the visitor's cookies and stores those of the response. A refused
// callback redirects the browser to an address without the code, which shows the refusal (threats
// S14).
func (v *visitor) do(s request, method, target string, headers ...string) *answer {
	a := v.doOnce(s, method, target, headers...)
	to := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(to, "refused=") {
		return a
	}
	if to, _, _ := strings.Cut(to, "refused="); strings.Contains(to, "ode=") || strings.Contains(to, "state=") {
		v.h.failf("%s keeps its code in %s", target, to)
	}
	return v.doOnce(s, "GET", to, headers...)
}

func (v *visitor) doOnce(s request, method, target string, headers ...string) *answer {
	s.from = v.from
	if s.to == "" {
		s.to = v.to
	}
	if s.method = method; method == "" {
		s.method = "GET"
	}
	if c := v.cookie(); c != "" {
		headers = append(headers, c)
	}
	if !slices.ContainsFunc(headers, func(line string) bool { return strings.HasPrefix(line, "Accept:") }) {
		headers = append(headers, "Accept: text/html")
	}
	s.raw = requestText(s.method, target, v.h.id, headers...)
	a := v.h.send(s)
	v.storeCookies(a)
	return a
}

// begin starts a sign-in and returns its state. The state is "" if no sign-in began.
func (v *visitor) begin(target string, headers ...string) (state string, a *answer) {
	a = v.do(request{}, "GET", target, headers...)
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return "", a
	}
	return to.Query().Get("state"), a
}

// code returns a code with which DingTalk would redirect the person back.
func (v *visitor) code(person string) string {
	code, err := v.h.env.sim.Code(simulator.Browser, "", person)
	if err != nil {
		panic(err)
	}
	return code
}

// finish sends the callback with a new code.
func (v *visitor) finish(person, state string) *answer {
	v.h.env.budget.Add(callsPerSignIn)
	return v.do(request{session: true}, "GET",
		"/oauth2/callback?authCode="+v.code(person)+"&state="+url.QueryEscape(state))
}

// signIn runs an entire sign-in. The try fails if it creates no session.
func (v *visitor) signIn(person string) *visitor {
	state, a := v.begin("/oauth2/start?rd=%2F")
	if state == "" {
		v.h.failf("no sign-in began: %v", a)
		return v
	}
	if a = v.finish(person, state); a.status != 302 || v.value(v.h.env.cookie()) == "" {
		v.h.failf("%s did not get a session: %v", person, a)
	}
	return v
}

// member returns the Cookie line of a person who signed in once for all tries.
func (h *client) member(person string) string {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.sessions[person] == "" {
		h.env.sessions[person] = "Cookie: " + h.env.cookie() + "=" + h.visitor().signIn(person).value(h.env.cookie())
	}
	return h.env.sessions[person]
}

// newMember adds a person with this name and mail address to the organisation, signs them in and
// requests a page. It returns the request that the application received, or nil if the sign-in was
// refused.
func (h *client) newMember(id, name, mail string) *upstreamRequest {
	err := h.env.sim.Join(simulator.Person{
		ID:      id,
		Account: simulator.Account{Nick: name},
		Record: simulator.Record{
			UserID:      id,
			Name:        name,
			OrgEmail:    mail,
			Departments: []int64{42},
		},
	})
	if err != nil {
		h.failf("joining: %v", err)
		return nil
	}
	v := h.visitor()
	state, _ := v.begin("/oauth2/start")
	if a := v.finish(id, state); a.status != 302 {
		if a.status != 403 {
			h.failf("the sign-in ended with %v", a)
		}
		return nil
	}
	v.do(request{authorized: true}, "GET", "/page")
	seen := h.env.up.received(h.id)
	if len(seen) == 0 {
		h.failf("the application received no request")
		return nil
	}
	return &seen[0]
}

// forms returns the encodings in which a secret might appear.
func forms(secret string) map[string]string {
	return map[string]string{
		"plain": secret, "percent-encoded": url.QueryEscape(secret), "hexadecimal": hex.EncodeToString([]byte(secret)),
		"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret[:len(secret)/3*3])), "="),
	}
}
