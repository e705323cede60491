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

// invariants asks what must hold of every answer, whatever was sent:
//
//	O1   what the application saw, the log says was allowed     (settle)
//	O2   a browser is sent to DingTalk, to us, or nowhere; links in pages too
//	O3   no 5xx, no panic
//	O4   the application's words reach nobody without the right
//	O5   our cookies have their attributes; the session's appears when it may
//	O6   our own answers carry the security headers
//	O7   no secret in logs, pages, metrics                      (also at the end)
//	O8   goroutines and descriptors return to where they were   (end)
//	O9   the answer comes within a second
//	O10  DingTalk was called no more often than asked for
//	O11  the application takes nobody for somebody else on the same connection
type invariants struct{ env *env }

// Origins that a browser may be sent to, beside DingTalk.
var ours = []string{"https://app.test", "https://friend.test"}

// judge gives everything that is wrong with one answer.
func (o *invariants) judge(s request, a *answer) (wrong []string) {
	say := func(rule, format string, args ...any) { wrong = append(wrong, rule+": "+fmt.Sprintf(format, args...)) }
	if calls, asked := o.env.calls(), o.env.budget.Load(); calls > asked {
		say("O10", "DingTalk was called %d times, %d were asked for", calls, asked)
		o.env.budget.Store(calls) // once is enough
	}
	if a.status == 0 || s.elsewhere {
		return wrong
	}
	theirs := a.header.Get("X-Upstream") != "" // the application's own answer
	if theirs && !s.right || !s.right && strings.Contains(a.body+a.rest, mark) {
		say("O4", "the application answered")
	}
	if a.status >= 500 && a.status != 501 && a.status != 505 && !s.failing && !theirs {
		say("O3", "status %d", a.status)
	}
	if strings.Contains(a.body+headLine(a.header), canary) {
		say("O7", "a secret is in the answer")
	}
	for _, name := range []string{"X-Auth-Request-User", "X-Forwarded-User"} {
		if v := a.header[name]; slices.Contains(v, "planted") {
			say("H12", "the application named somebody: %s: %q", name, v)
		}
	}
	if who := a.header.Get("X-Bound"); who != "" && !strings.Contains(s.raw, "X-Case: "+who+"\r\n") {
		say("O11", "the application takes this for a request of %s", who)
	}
	if v := a.header["X-Dinggate-Assertion"]; len(v) > 0 && s.from != gateway {
		say("W14", "a peer that is not trusted is given what proves a person: %.20q", v)
	}
	if !theirs {
		o.locations(a, say)
		o.headers(a, say)
	}
	o.cookies(s, a, theirs, say)
	return wrong
}

func (o *invariants) locations(a *answer, say func(rule, format string, args ...any)) {
	for _, to := range a.header["Location"] {
		if why := o.location(to); why != "" {
			say("O2", "Location %q %s", to, why)
		}
	}
	if len(a.header["Location"]) > 1 {
		say("O2", "%d Locations", len(a.header["Location"]))
	}
	for _, to := range links(a) {
		// this page, in the other language
		if strings.HasPrefix(to, "?lang=") &&
			!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == '\\' }) {
			to = "/" + to
		}
		if why := o.location(to); why != "" && !strings.HasPrefix(to, "mailto:it@app.test") {
			say("O2", "link %q %s", to, why)
		}
	}
}

var (
	attribute = regexp.MustCompile(
		`(?i)\s(?:href|src|action|formaction|srcset|poster|data)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)`,
	)
	jsonLink = regexp.MustCompile(`"(?:login_url|authorize_url|redirect_uri)":("(?:[^"\\]|\\.)*")`)
)

// links are the addresses that a page or a JSON answer offers.
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

// location tells what is wrong with an address that a browser is sent to.
func (o *invariants) location(to string) string {
	if rest, ok := strings.CutPrefix(to, o.env.service+"/dingtalk/authorize?"); ok && o.env.service != "" {
		if q, err := url.ParseQuery(rest); err != nil ||
			!strings.HasPrefix(q.Get("redirect_url"), "https://app.test/oauth2/callback?attempt=") ||
			!slices.Equal(q["client_id"], []string{"gate"}) {
			return "asks the service for something else"
		}
		return ""
	}
	if rest, ok := strings.CutPrefix(to, o.env.simURL+"/oauth2/auth?"); ok {
		q, err := url.ParseQuery(rest)
		if err != nil || !slices.Equal(q["client_id"], []string{clientID}) || len(q["redirect_uri"]) != 1 ||
			!ourCallback(q.Get("redirect_uri")) || len(q["state"]) != 1 {
			return "asks DingTalk for something else"
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
	if o.env.domain != "" && o.sibling(to) || o.placed(to) {
		return ""
	}
	if !ourText(to) {
		return "is none of our addresses by its text"
	}
	return leaves(to)
}

// sibling reports whether a browser stays on hosts that share our cookie: by the
// text and by a browser's reading.
func (o *invariants) sibling(to string) bool {
	u, err := whatwg.NewParser().Parse(to)
	rest, ok := strings.CutPrefix(to, "https://")
	host, _, _ := strings.Cut(rest, "/")
	return err == nil && ok && u.Host() == host && u.Username() == "" && strings.HasSuffix(host, "."+o.env.domain) &&
		!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

// placed reports whether a browser is sent to one of our hosts of other domains: by
// the text and by a browser's reading.
func (o *invariants) placed(to string) bool {
	u, err := whatwg.NewParser().Parse(to)
	rest, ok := strings.CutPrefix(to, "https://")
	host, _, _ := strings.Cut(rest, "/")
	return err == nil && ok && slices.Contains(o.env.places, host) && u.Host() == host && u.Username() == "" &&
		!strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

// ourCallback reports whether DingTalk is asked to send people back to us.
func ourCallback(to string) bool {
	forward, ok := strings.CutPrefix(to, "https://app.test/dingtalk/callback?forward_url=")
	target, err := url.QueryUnescape(forward)
	return to == "https://app.test/oauth2/callback" || ok && err == nil && slices.Contains(callbacks, target)
}

// ourText is our own rule, on the text alone.
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

// leaves is a browser's reading, by the WHATWG's rules.
func leaves(to string) string {
	u, err := whatwg.NewParser().ParseRef("https://app.test/some/page?q", to)
	if err != nil {
		return "is unreadable to a browser"
	}
	if origin := u.Protocol() + "//" + u.Host(); !slices.Contains(ours, origin) {
		return "leads a browser to " + origin
	}
	if u.Username() != "" || u.Password() != "" {
		return "carries a user name"
	}
	return ""
}

// headers are those of our own answers.
func (o *invariants) headers(a *answer, say func(rule, format string, args ...any)) {
	if a.bare || a.status == 101 || strings.Contains(a.body, "<center>nginx") ||
		a.header.Get("Server") != "" && a.body == "" && a.status == 400 {
		return
	}
	referrer := "no-referrer"
	if strings.Contains(a.body, "<form") { // W13
		referrer = "strict-origin"
	}
	if (a.status == 200 || a.status == 401) && len(a.header["Content-Type"]) == 0 {
		o.bareHeaders(a, say)
		return
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": referrer} {
		if got := a.header[name]; len(got) != 1 || got[0] != want {
			say("O6", "%s: %q on %d", name, got, a.status)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") ||
		strings.Contains(csp, "unsafe-inline") {
		say("O6", "Content-Security-Policy: %q", csp)
	}
	if len(a.header["X-Request-Id"]) != 1 {
		say("O6", "X-Request-Id: %q", a.header["X-Request-Id"])
	}
}

// bareHeaders are those of an answer without a body to a gateway's question: what
// browsers are told about a page would be said of the application's.
func (o *invariants) bareHeaders(a *answer, say func(rule, format string, args ...any)) {
	if got := a.header["Cache-Control"]; len(got) != 1 || got[0] != "no-store" || len(a.header["X-Request-Id"]) != 1 {
		say("O6", "Cache-Control: %q, X-Request-Id: %q on %d", got, a.header["X-Request-Id"], a.status)
	}
	for name := range a.header {
		framing := name == "Date" || name == "Content-Length" || name == "Connection"
		person := a.status == 200 &&
			(slices.Contains(responseNames, name) || name == "Set-Cookie" || name == "X-Dinggate-Assertion")
		if !framing && !person && name != "Cache-Control" && name != "X-Request-Id" &&
			(a.status != 401 || name != "Www-Authenticate") {
			say("O6", "%s: %q on a %d without a body", name, a.header[name], a.status)
		}
	}
}

const (
	sessionCookie = "__Host-dinggate"
	attemptCookie = "__Host-dinggate-attempt-"
	linkCookie    = "__Host-dinggate-link"
	hopCookie     = "__Host-dinggate-hand-over"
	sharedCookie  = "dinggate" // where a domain costs it the prefix
)

// resembling are names of an application's own cookies that have ours in them.
var resembling = []string{"mydinggate", "dinggate_theme", "dinggateway", "__Host-dinggateway", "dinggate-attempts",
	"dinggate-linked", "dinggate-language"}

func (o *invariants) cookies(s request, a *answer, theirs bool, say func(rule, format string, args ...any)) {
	for _, line := range a.header["Set-Cookie"] {
		if theirs && !strings.Contains(strings.ToLower(line), "dinggate") {
			continue // the application's own
		}
		c, err := http.ParseSetCookie(line)
		if err != nil {
			say("O5", "unreadable Set-Cookie %q", line)
			continue
		}
		if theirs && (!strings.Contains(strings.ToLower(c.Name), "dinggate") || slices.Contains(resembling, c.Name)) {
			continue
		}
		attempt := strings.HasPrefix(c.Name, attemptCookie) || c.Name == linkCookie || c.Name == hopCookie
		if c.Name != o.env.cookie() && !attempt {
			say("O5", "a cookie named %q", c.Name)
			continue
		}
		if !c.HttpOnly || !c.Secure || c.Path != "/" || c.Domain != map[bool]string{false: o.env.domain}[attempt] ||
			c.SameSite != http.SameSiteLaxMode || len(line) > 3500 {
			say("O5", "attributes of %.80s… (%d bytes)", strings.Replace(line, c.Value, "…", 1), len(line))
		}
		renewed := a.status == 200 && (strings.Contains(s.raw, "Cookie: "+o.env.cookie()+"=") ||
			strings.Contains(s.raw, "; "+o.env.cookie()+"="))
		if c.Name == o.env.cookie() && c.Value != "" && !s.session && !renewed ||
			c.Name == o.env.cookie() && c.Value == "" && !s.cleared && !s.session {
			say("O5", "the session cookie appears: MaxAge %d", c.MaxAge)
		}
		if attempt && theirs {
			say("O5", "an attempt rides on the application's answer")
		}
	}
}

// cookie is the name of the session's.
func (s *env) cookie() string {
	if s.domain != "" {
		return sharedCookie
	}
	return sessionCookie
}

// late is O9. A busy machine gets a second chance, and what a plain request
// takes at that moment on top.
func (o *invariants) late(s request, a *answer) bool { return !s.slow && a.took > time.Second }
