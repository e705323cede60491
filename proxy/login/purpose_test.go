package login

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestPurpose(t *testing.T) { // S8: the state of one purpose completes no sign-in of another
	b := build(t, plan{}).browser()
	kind := []string{"X-Kind", "elsewhere"}
	state := b.stateOf(b.visit("/elsewhere?for=a"))
	page := b.stateOf(b.visit("/mine"))
	b.refused("a state with a purpose at the callback", b.back("zhangsan", state), http.StatusForbidden, "state_unknown", 0)
	b.refused("a page's state at the end of the purpose", b.visit("/elsewhere/back?code=zhangsan&state="+page, kind...), http.StatusForbidden,
		"state_unknown", 0)
	b.refused("the end of another purpose", b.visit("/elsewhere/back?code=zhangsan&state="+state, "X-Kind", "other"), http.StatusForbidden, "state_unknown", 0)
	b.refused("another browser", b.env.browser().visit("/elsewhere/back?code=zhangsan&state="+state, kind...), http.StatusForbidden, "state_unknown", 0)
	b.refused("a target that is refused", b.visit("/elsewhere/back?wrong&code=zhangsan&state="+state, kind...), http.StatusBadRequest, "bad_request", 0)
	b.refused("HEAD", b.send("HEAD", "/elsewhere/back?code=zhangsan&state="+state, kind...), http.StatusMethodNotAllowed, "method_not_allowed", 0)
	b.refused("a target that overfills the cookie", b.visit("/elsewhere?"+strings.Repeat("x", maxPurposeTarget+1)), http.StatusBadRequest, "bad_request", 0)
	if a := b.visit("/elsewhere/back?code=zhangsan&state="+state, kind...); a.text != "ELSEWHERE zhangsan for=a" || b.session() == "" {
		t.Errorf("the end of the purpose = %d %q with session %q, want its target and a session", a.StatusCode, a.text, b.session())
	}
	if a := b.visit("/elsewhere/back?code=zhangsan&state="+state, kind...); a.StatusCode != http.StatusForbidden {
		t.Errorf("the end of the purpose twice = %d, want 403", a.StatusCode)
	}
	long := b.visit("/elsewhere?" + strings.Repeat("x", maxPurposeTarget))
	for _, line := range long.Header["Set-Cookie"] {
		if len(line) > 3500 {
			t.Errorf("the longest purpose makes a cookie of %d bytes, want at most 3,500 (R12)", len(line))
		}
	}
	b.stateOf(long)
}

func TestAttemptIn(t *testing.T) {
	b := build(t, plan{change: func(f *Flow) { f.AttemptIn = "attempt" }}).browser()
	for _, query := range []string{ // the last two: a service that appends `?` to a URL with a query
		"attempt=%s&code=zhangsan&state=theirs", "code=zhangsan&state=theirs&attempt=%s", "attempt=%s&code=zhangsan",
		"attempt=%s?code=zhangsan&state=theirs", "x=1&attempt=%s?code=zhangsan",
	} {
		state := b.stateOf(b.visit("/oauth2/start"))
		if a := b.visit("/oauth2/callback?" + fmt.Sprintf(query, state)); a.StatusCode != http.StatusFound || b.session() == "" {
			t.Errorf("callback?%s = %d %s, want signed in", query, a.StatusCode, a.text)
		}
	}
	for _, query := range []string{
		"state=%s&code=zhangsan", "attempt=%[1]s&attempt=%[1]s&code=zhangsan", "attempt=%s&code=zhangsan&state=a&state=b",
		"attempt=%s%%3Fcode=zhangsan", "attempt=%s&code=zhangsan&state=a%%0ab",
	} {
		n := b.provider.calls.Load()
		state := b.stateOf(b.visit("/oauth2/start"))
		if a := b.visit("/oauth2/callback?" + fmt.Sprintf(query, state)); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusBadRequest ||
			b.provider.calls.Load() != n {
			t.Errorf("callback?%s = %d with %d exchanges, want refused with none", query, a.StatusCode, b.provider.calls.Load()-n)
		}
	}
}
