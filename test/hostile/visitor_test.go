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

// callsPerSignIn is what a sign-in may ask of DingTalk, with a margin.
const callsPerSignIn = 12

// visitor is a browser: cookies, and an address of its own.
type visitor struct {
	h    *client
	from string
	to   string // host:port of another process than the env's, where they go
	jar  []*http.Cookie
}

func (h *client) visitor() *visitor { return &visitor{h: h, from: h.env.someone()} }

// cookie is the Cookie line, "" without any.
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

// value is that of a cookie, "" when there is none.
func (v *visitor) value(name string) string {
	for _, c := range v.jar {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// keep does what a browser does with Set-Cookie.
func (v *visitor) keep(a *answer) {
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

// ask sends a request with the visitor's cookies and keeps those that come. A
// refused callback sends the browser to an address without its code, which shows
// the refusal (threats S14).
func (v *visitor) ask(s request, method, target string, headers ...string) *answer {
	a := v.once(s, method, target, headers...)
	to := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(to, "refused=") {
		return a
	}
	if to, _, _ := strings.Cut(to, "refused="); strings.Contains(to, "ode=") || strings.Contains(to, "state=") {
		v.h.failf("%s leaves its code in %s", target, to)
	}
	return v.once(s, "GET", to, headers...)
}

func (v *visitor) once(s request, method, target string, headers ...string) *answer {
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
	v.keep(a)
	return a
}

// begin starts a sign-in and gives its state, "" when nothing began.
func (v *visitor) begin(target string, headers ...string) (state string, a *answer) {
	a = v.ask(request{}, "GET", target, headers...)
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return "", a
	}
	return to.Query().Get("state"), a
}

// code is what DingTalk would send the person back with.
func (v *visitor) code(person string) string {
	code, err := v.h.env.sim.Code(simulator.Browser, "", person)
	if err != nil {
		panic(err)
	}
	return code
}

// finish comes back from DingTalk.
func (v *visitor) finish(person, state string) *answer {
	v.h.env.budget.Add(callsPerSignIn)
	return v.ask(request{session: true}, "GET",
		"/oauth2/callback?authCode="+v.code(person)+"&state="+url.QueryEscape(state))
}

// signIn is a whole sign-in; it fails the try when there is no session then.
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

// member is the Cookie line of somebody who signed in once for all tries.
func (h *client) member(person string) string {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.people[person] == "" {
		h.env.people[person] = "Cookie: " + h.env.cookie() + "=" + h.visitor().signIn(person).value(h.env.cookie())
	}
	return h.env.people[person]
}

// arrival lets somebody with this name and address join, sign in, and ask for a
// page; it gives what the application saw, nil when they were refused.
func (h *client) arrival(id, name, mail string) *sighting {
	err := h.env.sim.Join(simulator.Person{
		ID:          id,
		UserID:      id,
		Name:        name,
		Nick:        name,
		OrgEmail:    mail,
		Departments: []int64{42},
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
	v.ask(request{right: true}, "GET", "/page")
	seen := h.env.up.of(h.id)
	if len(seen) == 0 {
		h.failf("the application saw nothing")
		return nil
	}
	return &seen[0]
}

// forms are the spellings in which a secret might be somewhere.
func forms(secret string) map[string]string {
	return map[string]string{
		"plain": secret, "percent-encoded": url.QueryEscape(secret), "hexadecimal": hex.EncodeToString([]byte(secret)),
		"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret[:len(secret)/3*3])), "="),
	}
}
