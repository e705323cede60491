package login

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// followRefused follows the redirect of a refused callback to the URL without a code, as a browser
// does; the last answer has the cookies of both.
func (b *browser) followRefused(address string, a answer, header []string) answer {
	b.t.Helper()
	to := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.Contains(to, "refused=") {
		return a
	}
	if strings.Contains(to, "ode=") || strings.Contains(to, "state=") {
		b.t.Errorf("GET %s leads to %s, which still has a code", address, to)
	}
	here := must(url.Parse(b.Origins.Public())).ResolveReference(must(url.Parse(address)))
	lines := a.Header["Set-Cookie"]
	a = b.send("GET", here.ResolveReference(must(url.Parse(to))).String(), header...)
	a.Header["Set-Cookie"] = append(lines, a.Header["Set-Cookie"]...)
	return a
}

var (
	switchLink = regexp.MustCompile(`class="switch" href="([^"]*)"`)
	nextStep   = regexp.MustCompile(`href="([^"]*/start[^"]*)"`)
	requestID  = regexp.MustCompile(`data-copied="[^"]*">([^<]*)<`)
)

func found(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// TestRefusedCallbackLeavesNoCode: a refused callback leaves no valid code in the URL, and its
// page exists in both languages (threats S14).
func TestRefusedCallbackLeavesNoCode(t *testing.T) {
	unspent := &identity.Failure{Class: identity.Later, Code: "unavailable"}
	spent := &identity.Failure{Class: identity.Refused, Code: "not_member"}
	for _, c := range []struct {
		what   string
		fail   error
		query  string // STATE is the state of an attempt of this browser
		status int    // of the page
		code   string
		leave  string // how: by Location, by Refresh, or not at all
	}{
		{"no attempt", nil, "code=CODE&state=" + strings.Repeat("A", 43), 403, "state_unknown", "Location"},
		{"no state", nil, "authCode=CODE", 403, "state_unknown", "Location"},
		{"two codes", nil, "code=CODE&authCode=CODE2&state=STATE", 400, "bad_request", "Location"},
		{"a code twice", nil, "code=CODE&code=CODE&state=STATE", 400, "bad_request", "Location"},
		{"refused at DingTalk", nil, "error=access_denied&state=STATE", 403, "denied_at_dingtalk", ""},
		{"refused at DingTalk, with a code", nil, "error=access_denied&code=CODE&state=STATE", 403, "denied_at_dingtalk", "Location"},
		{"DingTalk is away", unspent, "code=CODE&state=STATE", 503, "unavailable", "Refresh"},
		{"a member of another organisation", spent, "code=CODE&state=STATE", 403, "not_member", ""},
	} {
		h := build(t, plan{})
		h.provider.fails(c.fail)
		b := h.browser()
		state := b.stateOf(b.visit("/page?x=1"))
		address := "/oauth2/callback?" + strings.ReplaceAll(c.query, "STATE", state)
		navigate := []string{"Accept", "text/html", "Accept-Language", "zh", "Sec-Fetch-Mode", "navigate"}
		a := b.send("GET", address, navigate...)
		to := a.Header.Get("Location")
		switch c.leave {
		case "Location":
			if a.StatusCode != http.StatusSeeOther {
				t.Errorf("%s = %d, want 303", c.what, a.StatusCode)
			}
		case "Refresh":
			to = strings.TrimPrefix(a.Header.Get("Refresh"), "0; url=")
			fallthrough
		default:
			b.refused(c.what, a, c.status, c.code, h.provider.calls.Load())
		}
		if c.leave == "" {
			if a.Header.Get("Refresh") != "" || to != "" {
				t.Errorf("%s leads away to %q", c.what, to)
			}
			to = found(switchLink, a.text)
		}
		for _, never := range []string{"CODE", state, "//"} {
			if strings.Contains(to, never) {
				t.Errorf("%s leads to %s, which has %s", c.what, to, never)
			}
		}
		id := a.Header.Get("X-Request-Id")
		page := b.send("GET", to, navigate...)
		b.refused(c.what+", the page", page, c.status, c.code, h.provider.calls.Load())
		if page.Header.Get("X-Request-Id") != id || found(requestID, page.text) != id || page.Header.Get("Refresh") != "" {
			t.Errorf("%s: the page names the request %q (%q), want %q", c.what, found(requestID, page.text), page.Header.Get("X-Request-Id"), id)
		}
		if c.status != 400 && c.code != "state_unknown" && !strings.Contains(page.text, url.QueryEscape("/page?x=1")) {
			t.Errorf("%s: the page forgot where the person wanted to go:\n%s", c.what, page.text)
		}
		other := found(switchLink, page.text)
		lang := regexp.MustCompile(`<html lang="([^"]*)"`)
		before, after := found(lang, page.text), ""
		if other != "" {
			second := b.send("GET", must(url.Parse("/oauth2/callback")).ResolveReference(must(url.Parse(other))).String(), navigate...)
			after = found(lang, second.text)
			b.refused(c.what+", in the other language", second, c.status, c.code, h.provider.calls.Load())
		}
		if before == "" || after == "" || before == after {
			t.Errorf("%s: the languages are %q and %q by %q", c.what, before, after, other)
		}
		if n := len(h.events); n != 1 {
			t.Errorf("%s: %d audit events, want one", c.what, n)
		}
	}
}

// TestRefusedCallbackKeepsTarget: the next step leads to the requested page, whatever its query is.
func TestRefusedCallbackKeepsTarget(t *testing.T) {
	for _, target := range []string{"/page?x=1", "/a?rd=x&y=2", "/a?rd=x&y=1+2%20z", "/a?b=1&rd=/b/c&lang=zh", "/a?rd=%2Fb%26c",
		"/rd=/x?u=%2F", "/%E5%BC%A0?rd=张", "/\xff?x=1"} {
		b := build(t, plan{}).browser()
		state := b.stateOf(b.visit("/oauth2/start?rd=" + url.QueryEscape(target)))
		page := b.visit("/oauth2/callback?error=access_denied&code=CODE&state=" + state)
		page = b.followRefused("/oauth2/callback", page, []string{"Accept", "text/html"})
		if want := "/oauth2/start?rd=" + url.QueryEscape(target); found(nextStep, page.text) != want {
			t.Errorf("after a refusal of a sign-in for %q the button leads to %q, want %q", target, found(nextStep, page.text), want)
		}
	}
}

// TestRefusedCallbackIsTriedAgain: a refusal that used nothing up is tried again by a reload of
// the URL without a code.
func TestRefusedCallbackIsTriedAgain(t *testing.T) {
	for _, way := range []string{"store", "limit"} {
		burst := map[string]int{"store": 9, "limit": 1}[way]
		h := build(t, plan{change: func(f *Flow) { f.Exchanges = ratelimit.Rate{Every: time.Minute, Burst: burst} }})
		b := h.browser()
		state := b.stateOf(b.visit("/page"))
		status := 503
		switch way {
		case "store":
			h.store.Away.Store(true)
		case "limit":
			status = 429
			h.provider.fails(&identity.Failure{Class: identity.Refused, Code: "not_member"})
			b.back("mallory", b.stateOf(b.visit("/other")))
			h.provider.fails(nil)
		}
		a := b.back("zhangsan", state)
		again := strings.TrimPrefix(a.Header.Get("Refresh"), "0; url=")
		if a.StatusCode != status || again == "" || strings.Contains(again, "zhangsan") || a.Header.Get("Retry-After") == "" {
			t.Fatalf("%s = %d, Refresh %q, Retry-After %q", way, a.StatusCode, again, a.Header.Get("Retry-After"))
		}
		if a = b.visit(again); a.StatusCode != status || a.Header.Get("Refresh") != "" {
			t.Errorf("%s, at once again = %d, Refresh %q, want %d and to stay", way, a.StatusCode, a.Header.Get("Refresh"), status)
		}
		if thief := h.browser().visit(again); thief.StatusCode != 403 {
			t.Errorf("%s, in another browser = %d, want 403", way, thief.StatusCode)
		}
		h.store.Away.Store(false)
		h.ahead.Store(int64(2 * time.Minute))
		if a = b.visit(again); a.StatusCode != 302 || a.Header.Get("Location") != "/page" || b.session() == "" {
			t.Errorf("%s, later = %d to %q, want 302 to /page", way, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

// TestRefusedPurposeKeepsItsAddress: forward_url, which identifies the end of a purpose, stays in
// the URL; a parameter that might be parsed as a code does not.
func TestRefusedPurposeKeepsItsAddress(t *testing.T) {
	b := build(t, plan{}).browser()
	a := b.send("GET", "/elsewhere/back?forward_url=https%3A%2F%2Fx.test%2F%3Fa&cod%65=CODE&code=CODE&state=x", "Accept", "text/html", "X-Kind", "elsewhere")
	const want = "/elsewhere/back?forward_url=https%3A%2F%2Fx.test%2F%3Fa&refused="
	if to := a.Header.Get("Location"); a.StatusCode != 303 || !strings.HasPrefix(to, want) || strings.Contains(to, "CODE") {
		t.Errorf("refused = %d to %s, want 303 to %s…", a.StatusCode, to, want)
	}
}

// TestRefusedCallbackIsSealed: no one else can write such a page, and it expires.
func TestRefusedCallbackIsSealed(t *testing.T) {
	h := build(t, plan{})
	b := h.browser()
	address := b.send("GET", "/oauth2/callback?code=CODE&state=x", "Accept", "text/html").Header.Get("Location")
	if a := b.send("GET", "/oauth2/callback?code=CODE&state=x"); a.StatusCode != 403 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a program gets %d %s, want 403 in JSON", a.StatusCode, a.Header.Get("Content-Type"))
	}
	attempt := b.attempts()
	b.visit("/page")
	if attempt = b.attempts(); len(attempt) != 1 {
		t.Fatalf("%d attempts", len(attempt))
	}
	for _, text := range []string{"x", address[strings.Index(address, "=")+1:] + "A", attempt[0].Value, strings.Repeat("A", 3000), "%00"} {
		if a := b.visit("/oauth2/callback?refused=" + text); a.StatusCode != 403 || !strings.Contains(a.text, "state_expired") {
			t.Errorf("refused=%.40s = %d, want 403 state_expired", text, a.StatusCode)
		}
	}
	if a := b.visit(address + "&refused=x"); a.StatusCode != 400 {
		t.Errorf("twice = %d, want 400", a.StatusCode)
	}
	h.ahead.Store(int64(refusalLife + time.Second))
	if a := b.visit(address); a.StatusCode != 403 || !strings.Contains(a.text, "state_expired") {
		t.Errorf("later = %d, want 403 state_expired", a.StatusCode)
	}
}
