package hostile

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// invariants checks what must hold for every response, whatever the request was:
//
//	O1   every request that the application received was logged as allowed  (checkReceived)
//	O2   a browser is sent to DingTalk, to us, or nowhere; links in pages too
//	O3   no 5xx, no panic
//	O4   the application's content reaches only authorized clients
//	O5   our cookies have their attributes; the session cookie is set only when permitted
//	O6   our own responses carry the security headers
//	O7   no secret in logs, pages, metrics                      (also at the end)
//	O8   goroutines and descriptors return to their initial number (end)
//	O9   the response arrives within a second
//	O10  DingTalk was called no more often than expected
//	O11  the application attributes no request to another client of the same connection
type invariants struct{ env *env }

// ours are the origins that a browser may be sent to, besides DingTalk.
var ours = []string{"https://app.test", "https://friend.test"}

// check returns every violation in one response.
func (o *invariants) check(s request, a *answer) (wrong []string) {
	report := func(rule, format string, args ...any) { wrong = append(wrong, rule+": "+fmt.Sprintf(format, args...)) }
	if calls, budget := o.env.calls(), o.env.budget.Load(); calls > budget {
		report("O10", "DingTalk was called %d times, the budget is %d", calls, budget)
		o.env.budget.Store(calls) // report it once
	}
	if a.status == 0 || s.elsewhere {
		return wrong
	}
	fromApp := a.header.Get("X-Upstream") != "" // the application's own response
	if fromApp && !s.authorized || !s.authorized && strings.Contains(a.body+a.rest, mark) {
		report("O4", "the application responded")
	}
	if a.status >= 500 && a.status != 501 && a.status != 505 && !s.failing && !fromApp {
		report("O3", "status %d", a.status)
	}
	if strings.Contains(a.body+headLine(a.header), canary) {
		report("O7", "a secret is in the response")
	}
	for _, name := range []string{"X-Auth-Request-User", "X-Forwarded-User"} {
		if v := a.header[name]; slices.Contains(v, "planted") {
			report("H12", "the application set an identity: %s: %q", name, v)
		}
	}
	if who := a.header.Get("X-Bound"); who != "" && !strings.Contains(s.raw, "X-Case: "+who+"\r\n") {
		report("O11", "the application attributes this request to %s", who)
	}
	if v := a.header["X-Dinggate-Assertion"]; len(v) > 0 && s.from != gateway {
		report("W14", "an untrusted peer gets an assertion: %.20q", v)
	}
	if !fromApp {
		o.locations(a, report)
		o.headers(a, report)
	}
	o.cookies(s, a, fromApp, report)
	return wrong
}

func (o *invariants) locations(a *answer, report func(rule, format string, args ...any)) {
	for _, to := range a.header["Location"] {
		if why := o.location(to); why != "" {
			report("O2", "Location %q %s", to, why)
		}
	}
	if len(a.header["Location"]) > 1 {
		report("O2", "%d Locations", len(a.header["Location"]))
	}
	for _, to := range links(a) {
		// The same page in the other language.
		if strings.HasPrefix(to, "?lang=") &&
			!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == '\\' }) {
			to = "/" + to
		}
		if why := o.location(to); why != "" && !strings.HasPrefix(to, "mailto:it@app.test") {
			report("O2", "link %q %s", to, why)
		}
	}
}

var (
	attribute = regexp.MustCompile(
		`(?i)\s(?:href|src|action|formaction|srcset|poster|data)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)`,
	)
	jsonLink = regexp.MustCompile(`"(?:login_url|authorize_url|redirect_uri)":("(?:[^"\\]|\\.)*")`)
)

// links returns the addresses in a page or a JSON response.
func links(a *answer) (list []string) {
	switch kind := a.header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "text/html"):
		for _, m := range attribute.FindAllStringSubmatch(a.body, -1) {
			to := html.UnescapeString(strings.Trim(m[1], `"'`))
			if to != "data:," && !strings.HasPrefix(to, "data:image/") { // the icon, the logo
				list = append(list, to)
			}
		}
	case strings.HasPrefix(kind, "application/json"):
		for _, m := range jsonLink.FindAllStringSubmatch(a.body, -1) {
			list = append(list, unquote(m[1]))
		}
	}
	return list
}

// location describes why a browser must not be redirected to the address. It returns "" if the
// redirect is permitted.
func (o *invariants) location(to string) string {
	if rest, ok := strings.CutPrefix(to, o.env.service+"/dingtalk/authorize?"); ok && o.env.service != "" {
		if q, err := url.ParseQuery(rest); err != nil ||
			!strings.HasPrefix(q.Get("redirect_url"), "https://app.test/oauth2/callback?attempt=") ||
			!slices.Equal(q["client_id"], []string{"gate"}) {
			return "is another request to the service"
		}
		return ""
	}
	if rest, ok := strings.CutPrefix(to, o.env.simURL+"/oauth2/auth?"); ok {
		q, err := url.ParseQuery(rest)
		if err != nil || !slices.Equal(q["client_id"], []string{clientID}) || len(q["redirect_uri"]) != 1 ||
			!ourCallback(q.Get("redirect_uri")) || len(q["state"]) != 1 {
			return "is another request to DingTalk"
		}
		return ""
	}
	if strings.HasPrefix(to, oidcCallback) {
		return oidcAnswer(to)
	}
	for _, registered := range callbacks {
		base, _, _ := strings.Cut(registered, "?")
		if rest, ok := strings.CutPrefix(to, base+"?"); ok {
			if q, err := url.ParseQuery(rest); err != nil || len(q["code"]) != 1 || len(q["state"]) != 1 {
				return "is a callback without one code and one state"
			}
			return ""
		}
	}
	if o.env.domain != "" && o.onSubdomain(to) || o.onOtherHost(to) {
		return ""
	}
	if !ourText(to) {
		return "is none of our addresses by its text"
	}
	return outsideOrigins(to)
}

// onSubdomain reports whether the address is on a host that shares our cookie. The text and a
// browser's parsing of it must agree.
func (o *invariants) onSubdomain(to string) bool {
	u, err := whatwg.NewParser().Parse(to)
	rest, ok := strings.CutPrefix(to, "https://")
	host, _, _ := strings.Cut(rest, "/")
	return err == nil && ok && u.Host() == host && u.Username() == "" && strings.HasSuffix(host, "."+o.env.domain) &&
		!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

// onOtherHost reports whether the address is on one of our hosts of other domains. The text and a
// browser's parsing of it must agree.
func (o *invariants) onOtherHost(to string) bool {
	u, err := whatwg.NewParser().Parse(to)
	rest, ok := strings.CutPrefix(to, "https://")
	host, _, _ := strings.Cut(rest, "/")
	return err == nil && ok && slices.Contains(o.env.otherHosts, host) && u.Host() == host && u.Username() == "" &&
		!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

// ourCallback reports whether the address is a callback of dinggate to which DingTalk may redirect
// people.
func ourCallback(to string) bool {
	forward, ok := strings.CutPrefix(to, "https://app.test/dingtalk/callback?forward_url=")
	target, err := url.QueryUnescape(forward)
	return to == "https://app.test/oauth2/callback" || ok && err == nil && slices.Contains(callbacks, target)
}

// ourText reports whether the text alone is an address of dinggate.
func ourText(to string) bool {
	for i := 0; i < len(to); i++ {
		if to[i] <= ' ' || to[i] >= 0x7f || to[i] == '\\' {
			return false
		}
	}
	for _, origin := range ours {
		if rest, ok := strings.CutPrefix(to, origin); ok {
			return rest == "" || rest[0] == '/'
		}
	}
	return strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") || to == ""
}

// outsideOrigins parses the address as a browser does, by the WHATWG URL standard, and describes why it
// is outside of our origins.
func outsideOrigins(to string) string {
	u, err := whatwg.NewParser().ParseRef("https://app.test/some/page?q", to)
	if err != nil {
		return "is unreadable to a browser"
	}
	if origin := u.Protocol() + "//" + u.Host(); !slices.Contains(ours, origin) {
		return "redirects a browser to " + origin
	}
	if u.Username() != "" || u.Password() != "" {
		return "contains a user name"
	}
	return ""
}

// headers checks the headers of our own responses.
func (o *invariants) headers(a *answer, report func(rule, format string, args ...any)) {
	if a.bare || a.status == 101 || strings.Contains(a.body, "<center>nginx") ||
		a.header.Get("Server") != "" && a.body == "" && a.status == 400 {
		return
	}
	referrer := "no-referrer"
	if strings.Contains(a.body, "<form") { // W13
		referrer = "strict-origin"
	}
	if (a.status == 200 || a.status == 401) && len(a.header["Content-Type"]) == 0 {
		o.bareHeaders(a, report)
		return
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": referrer} {
		if got := a.header[name]; len(got) != 1 || got[0] != want {
			report("O6", "%s: %q on %d", name, got, a.status)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") ||
		strings.Contains(csp, "unsafe-inline") {
		report("O6", "Content-Security-Policy: %q", csp)
	}
	if len(a.header["X-Request-Id"]) != 1 {
		report("O6", "X-Request-Id: %q", a.header["X-Request-Id"])
	}
}

// bareHeaders checks the headers of a response without a body to an authorization subrequest.
// Headers that describe a page to browsers would apply to the application's page.
func (o *invariants) bareHeaders(a *answer, report func(rule, format string, args ...any)) {
	if got := a.header["Cache-Control"]; len(got) != 1 || got[0] != "no-store" || len(a.header["X-Request-Id"]) != 1 {
		report("O6", "Cache-Control: %q, X-Request-Id: %q on %d", got, a.header["X-Request-Id"], a.status)
	}
	for name := range a.header {
		framing := name == "Date" || name == "Content-Length" || name == "Connection"
		person := a.status == 200 &&
			(slices.Contains(responseNames, name) || name == "Set-Cookie" || name == "X-Dinggate-Assertion")
		if !framing && !person && name != "Cache-Control" && name != "X-Request-Id" &&
			(a.status != 401 || name != "Www-Authenticate") {
			report("O6", "%s: %q on a %d without a body", name, a.header[name], a.status)
		}
	}
}

const (
	sessionCookie = "__Host-dinggate"
	attemptCookie = "__Host-dinggate-attempt-"
	linkCookie    = "__Host-dinggate-link"
	hopCookie     = "__Host-dinggate-hand-over"
	sharedCookie  = "dinggate" // a cookie with a domain cannot have the __Host- prefix
)

// resembling are names of an application's cookies that contain names of dinggate's cookies.
var resembling = []string{"mydinggate", "dinggate_theme", "dinggateway", "__Host-dinggateway", "dinggate-attempts",
	"dinggate-linked", "dinggate-language"}

func (o *invariants) cookies(s request, a *answer, fromApp bool, report func(rule, format string, args ...any)) {
	for _, line := range a.header["Set-Cookie"] {
		if fromApp && !strings.Contains(strings.ToLower(line), "dinggate") {
			continue // the application's own cookie
		}
		c, err := http.ParseSetCookie(line)
		if err != nil {
			report("O5", "unreadable Set-Cookie %q", line)
			continue
		}
		if fromApp && (!strings.Contains(strings.ToLower(c.Name), "dinggate") || slices.Contains(resembling, c.Name)) {
			continue
		}
		attempt := strings.HasPrefix(c.Name, attemptCookie) || c.Name == linkCookie || c.Name == hopCookie
		if c.Name != o.env.cookie() && !attempt {
			report("O5", "a cookie named %q", c.Name)
			continue
		}
		if !c.HttpOnly || !c.Secure || c.Path != "/" || c.Domain != map[bool]string{false: o.env.domain}[attempt] ||
			c.SameSite != http.SameSiteLaxMode || len(line) > 3500 {
			report("O5", "attributes of %.80s… (%d bytes)", strings.Replace(line, c.Value, "…", 1), len(line))
		}
		renewed := a.status == 200 && (strings.Contains(s.raw, "Cookie: "+o.env.cookie()+"=") ||
			strings.Contains(s.raw, "; "+o.env.cookie()+"="))
		if c.Name == o.env.cookie() && c.Value != "" && !s.session && !renewed ||
			c.Name == o.env.cookie() && c.Value == "" && !s.cleared && !s.session {
			report("O5", "the session cookie is set: MaxAge %d", c.MaxAge)
		}
		if attempt && fromApp {
			report("O5", "an attempt is in the application's response")
		}
	}
}

// cookie returns the name of the session cookie.
func (s *env) cookie() string {
	if s.domain != "" {
		return sharedCookie
	}
	return sessionCookie
}

// late reports a violation of O9. The request is then repeated, and the limit grows with the
// duration of a plain request, because the machine may be busy.
func (o *invariants) late(s request, a *answer) bool { return !s.slow && a.took > time.Second }
