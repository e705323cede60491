package login

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
)

// TestStateOfAnotherBrowser: a state is valid only in the browser that received it (S1–S3, R17).
func TestStateOfAnotherBrowser(t *testing.T) {
	h := build(t, plan{})
	attacker, victim := h.browser(), h.browser()
	state := attacker.stateOf(attacker.visit("/"))
	victim.refused("without any attempt", victim.back("attacker", state), 403, "state_unknown", 0)
	victim.visit("/")
	victim.refused("with an attempt of its own", victim.back("attacker", state), 403, "state_unknown", 0)
	if a := victim.back("attacker", state); !strings.Contains(a.text, `href="/oauth2/start?rd=%2F"`) {
		t.Errorf("the page offers no new start: %s", a.text)
	}
	if a := attacker.back("attacker", state); a.StatusCode != 302 {
		t.Errorf("in its own browser = %d, want 302", a.StatusCode)
	}
}

func TestCallbackTwice(t *testing.T) { // S4
	b := build(t, plan{}).browser()
	state := b.stateOf(b.visit("/page"))
	planted := b.attempts()[0]
	if a := b.back("zhangsan", state); a.StatusCode != 302 {
		t.Fatalf("first = %d", a.StatusCode)
	}
	a := b.back("zhangsan", state) // the browser no longer has the attempt
	if a.StatusCode != 403 || b.provider.calls.Load() != 1 || !strings.Contains(a.text, `href="/"`) {
		t.Errorf("second = %d after %d exchanges, want 403, 1, and a way to the site: %s", a.StatusCode, b.provider.calls.Load(), a.text)
	}
	b.plant(planted.Name, planted.Value) // a browser that ignored the deletion
	a = b.back("zhangsan", state)
	if a.StatusCode != 403 || b.provider.calls.Load() != 1 || !strings.Contains(a.text, `href="/page"`) {
		t.Errorf("replayed = %d after %d exchanges, want 403, 1, and a way to the page: %s", a.StatusCode, b.provider.calls.Load(), a.text)
	}
	if b.session() == "" {
		t.Errorf("a replay ended the session")
	}
	again := b.env.browser()
	again.plant(planted.Name, planted.Value)
	again.refused("replayed in another browser", again.back("zhangsan", state), 403, "state_used", 1)
}

func TestParallelCallbacks(t *testing.T) { // S18
	b := build(t, plan{}).browser()
	release := make(chan struct{})
	b.provider.release = release
	state := b.stateOf(b.visit("/page"))
	attempt := b.attempts()[0]
	results := make(chan int, 50)
	var all sync.WaitGroup
	for range 50 {
		tab := b.env.browser()
		tab.plant(attempt.Name, attempt.Value)
		all.Go(func() {
			status := 0
			defer func() { results <- status }()
			status = tab.back("zhangsan", state).StatusCode
		})
	}
	for range 49 { // all but the one whose exchange is running
		if got := <-results; got != 403 {
			t.Errorf("a callback beside the first = %d, want 403", got)
		}
	}
	close(release)
	all.Wait()
	if got := <-results; got != 302 || b.provider.calls.Load() != 1 {
		t.Errorf("the first = %d after %d exchanges, want 302 after 1", got, b.provider.calls.Load())
	}
}

func TestAge(t *testing.T) { // S5
	for _, c := range []struct {
		begun, ended time.Duration
		code         string
	}{
		{0, 9 * time.Minute, ""},
		{0, 10 * time.Minute, "state_expired"},
		{0, 24 * time.Hour, "state_expired"},
		{50 * time.Second, 0, ""}, // a replica's clock is ahead
		{2 * time.Minute, 0, "state_expired"},
		{10 * time.Minute, 0, "state_expired"},
	} {
		b := build(t, plan{}).browser()
		b.ahead.Store(int64(c.begun))
		state := b.stateOf(b.visit("/page"))
		b.ahead.Store(int64(c.ended))
		what := fmt.Sprintf("begun at %v, ended at %v", c.begun, c.ended)
		a := b.back("zhangsan", state)
		if c.code == "" {
			if a.StatusCode != 302 {
				t.Errorf("%s = %d, want 302", what, a.StatusCode)
			}
			continue
		}
		b.refused(what, a, 403, c.code, 0)
		if !strings.Contains(a.text, `href="/oauth2/start?rd=%2Fpage"`) {
			t.Errorf("%s: no way to restart: %s", what, a.text)
		}
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// flip replaces the character at i by its neighbour in the alphabet: the last one by its second
// spelling.
func flip(text string, i int) string {
	at := strings.IndexByte(alphabet, text[i])
	return text[:i] + string(alphabet[at^1]) + text[i+1:]
}

func TestForgedStates(t *testing.T) { // S6, S7
	h := build(t, plan{})
	b := h.browser()
	state := b.stateOf(b.visit("/"))
	attempt := *b.attempts()[0]
	queries := []string{
		"", "state=", "state[]=" + state, "State=" + state, "state=" + state + "=",
		"state=" + state + "A", "state=" + state[:42], "state=%20" + state, "state=" + state + "%0A",
		"state=" + strings.Repeat("A", 43), "state=" + strings.Repeat("A", 4000), "stat%65=" + state, ";state=" + state, "x;state=" + state,
		"state=" + base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\xff", 32))),
	}
	for i := range state {
		queries = append(queries, "state="+flip(state, i))
	}
	for _, q := range queries {
		b.refused("state "+q, b.visit("/oauth2/callback?authCode=zhangsan&"+q), 403, "state_unknown", 0)
	}
	for _, q := range []string{"state=" + state + "&state=" + state, "state=" + state + "&state=", "state=%zz",
		"state=" + state + "&x=" + strings.Repeat("a", 1<<16)} {
		b.refused("state "+q[:min(len(q), 100)], b.visit("/oauth2/callback?authCode=zhangsan&"+q), 400, "bad_request", 0)
	}
	var texts []string
	for i := 0; i < len(attempt.Value); i++ {
		if strings.IndexByte(alphabet, attempt.Value[i]) >= 0 {
			texts = append(texts, flip(attempt.Value, i))
		}
		texts = append(texts, attempt.Value[:i])
	}
	texts = append(texts, attempt.Value+"A", attempt.Value+"====", `"`+attempt.Value+`"`, " "+attempt.Value,
		strings.NewReplacer("-", "+", "_", "/").Replace(attempt.Value)+"+")
	for _, text := range texts {
		forger := h.browser()
		forger.refused("attempt "+text, forger.back("zhangsan", state, "Cookie", attempt.Name+"="+text), 403, "state_unknown", 0)
	}
	if a := b.back("zhangsan", state); a.StatusCode != 302 {
		t.Errorf("the attempt itself = %d, want 302", a.StatusCode)
	}
}

// TestAttemptsOfOthers: the seal covers purpose, app, host and the cookie's name (S8).
func TestAttemptsOfOthers(t *testing.T) {
	h := build(t, plan{})
	a := newAttempt("", "ding-app", "app.test", "/", time.Now())
	name := h.attempts().slotName(0)
	seal := func(purpose, name string, a attempt, change func([]byte) []byte) string {
		return must(h.Keyring.Seal(purpose, name, change(a.encode())))
	}
	same := func(b []byte) []byte { return b }
	otherApp, otherHost := a, a
	otherApp.app, otherHost.host = "ding-other", "route.test"
	for _, c := range []struct{ what, text string }{
		{"another purpose", seal("sso attempt", name, a, same)},
		{"the session's purpose", seal("session", name, a, same)},
		{"another slot", seal(attemptPurpose, h.attempts().slotName(1), a, same)},
		{"the session's name", seal(attemptPurpose, h.Sessions.CookieName(), a, same)},
		{"another app", seal(attemptPurpose, name, otherApp, same)},
		{"another host", seal(attemptPurpose, name, otherHost, same)},
		{"a newer version", seal(attemptPurpose, name, a, func(b []byte) []byte { b[0]++; return b })},
		{"a tail", seal(attemptPurpose, name, a, func(b []byte) []byte { return append(b, 0) })},
		{"cut", seal(attemptPurpose, name, a, func(b []byte) []byte { return b[:len(b)-1] })},
		{"another installation's secret", must(must(keyring.New([]conf.Secret{secret(9)})).Seal(attemptPurpose, name, a.encode()))},
	} {
		b := h.browser()
		b.plant(name, c.text)
		b.refused(c.what, b.back("zhangsan", a.stateText()), 403, "state_unknown", 0)
	}
	b := h.browser()
	b.plant(name, seal(attemptPurpose, name, a, same))
	if got := b.back("zhangsan", a.stateText()); got.StatusCode != 302 {
		t.Errorf("the real one = %d, want 302", got.StatusCode)
	}
}

// TestTargetIsCheckedAgain: a sealed target that is not, or no longer, ours is not followed.
func TestTargetIsCheckedAgain(t *testing.T) {
	h := build(t, plan{})
	for _, target := range []string{"//evil.test/", "https://evil.test/", "/oauth2/start", ""} {
		b := h.browser()
		a := newAttempt("", "ding-app", "app.test", target, time.Now())
		b.plant(h.attempts().slotName(0), must(h.Keyring.Seal(attemptPurpose, h.attempts().slotName(0), a.encode())))
		if got := b.back("zhangsan", a.stateText()); got.Header.Get("Location") != "/" {
			t.Errorf("sealed target %q leads to %q, want /", target, got.Header.Get("Location"))
		}
	}
}

func TestCallbackMethods(t *testing.T) { // S13
	b := build(t, plan{}).browser()
	state := b.stateOf(b.visit("/page"))
	path := "/oauth2/callback?authCode=zhangsan&state=" + state
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		a := b.send(method, path)
		b.refused(method, a, 405, "method_not_allowed", 0)
		if a.Header.Get("Allow") != "GET" {
			t.Errorf("%s: Allow = %q", method, a.Header.Get("Allow"))
		}
	}
	b.refused("prefetch", b.visit(path, "Sec-Purpose", "prefetch"), 400, "bad_request", 0)
	if a := b.visit(path); a.Header.Get("Location") != "/page" {
		t.Errorf("after all of them = %d, want the code unburnt", a.StatusCode)
	}
}

func TestCallbackParameters(t *testing.T) { // S11, S12, S7
	for _, c := range []struct {
		query  string
		status int
		code   string
	}{
		{"error=access_denied&error_description=<script>alert(1)</script>", 403, "denied_at_dingtalk"},
		{"error=access_denied&code=zhangsan", 403, "denied_at_dingtalk"},
		{"error=", 403, "denied_at_dingtalk"},
		{"", 400, "bad_request"},
		{"code=", 400, "bad_request"},
		{"code=a&authCode=b", 400, "bad_request"},
		{"code=a&code=a", 400, "bad_request"},
		{"authCode=a&authCode=b", 400, "bad_request"},
		{"code=a%0d%0ab", 400, "bad_request"},
		{"code=%zz", 400, "bad_request"},
		{"code=" + strings.Repeat("a", 2000), 400, "bad_request"},
		{"error=a&error=b", 400, "bad_request"},
	} {
		b := build(t, plan{}).browser()
		state := b.stateOf(b.visit("/page"))
		a := b.visit("/oauth2/callback?state=" + state + "&" + c.query)
		b.refused(c.query, a, c.status, c.code, 0)
		if strings.Contains(a.text, "alert(1)") || strings.Contains(a.text, state) {
			t.Errorf("%s: the page repeats what it got", c.query)
		}
	}
	for _, query := range []string{"code=zhangsan", "authCode=zhangsan", "code=zhangsan&authCode=zhangsan", "authCode=zhangsan&code=",
		"authCode=zhangsan&appId=x&loginTmpCode=y"} {
		b := build(t, plan{}).browser()
		if a := b.visit("/oauth2/callback?" + query + "&state=" + b.stateOf(b.visit("/page"))); a.Header.Get("Location") != "/page" {
			t.Errorf("%s = %d %s, want a sign-in", query, a.StatusCode, a.text)
		}
	}
	b := build(t, plan{}).browser()
	b.refused("an error without a state", b.visit("/oauth2/callback?error=access_denied"), 403, "state_unknown", 0)
}

func TestFailures(t *testing.T) {
	class := func(c identity.Class, code string) error {
		return fmt.Errorf("dingtalk: exchanging: %w", &identity.Failure{Class: c, Code: code, Hint: "CANARY-hint", Err: errors.New("CANARY-detail")})
	}
	for _, c := range []struct {
		err           error
		status        int
		code          string
		retry, repeat bool
	}{
		{class(identity.Refused, "not_member"), 403, "not_member", false, false},
		{class(identity.Restart, "code_rejected"), 403, "code_rejected", true, false},
		{class(identity.Operator, "permission_missing"), 503, "permission_missing", true, false},
		{class(identity.Later, "unavailable"), 503, "unavailable", true, true},
		{class(identity.Internal, "bad_answer"), 502, "bad_answer", true, false},
		{class(identity.Internal, ""), 502, "bad_answer", true, false},
		{errors.New("CANARY-detail"), 502, "bad_answer", true, false},
		{context.DeadlineExceeded, 503, "unavailable", true, true},
	} {
		b := build(t, plan{}).browser()
		b.provider.fails(c.err)
		state := b.stateOf(b.visit("/page"))
		b.plant(b.Sessions.CookieName(), "dead")
		a := b.back("zhangsan", state)
		what := fmt.Sprint(c.err)
		b.refused(what, a, c.status, c.code, 1)
		if got := strings.Contains(a.text, `href="/oauth2/start?rd=%2Fpage"`); got != c.retry {
			t.Errorf("%s: a way to restart %v, want %v: %s", what, got, c.retry, a.text)
		}
		if got := a.Header.Get("Retry-After") != ""; got != c.repeat {
			t.Errorf("%s: Retry-After %v, want %v", what, got, c.repeat)
		}
		if strings.Contains(a.text, "CANARY") {
			t.Errorf("%s: the page shows it", what)
		}
		if !strings.Contains(a.cookieLine(b.Sessions.CookieName()), "Max-Age=0") || len(b.attempts()) > 0 { // C2
			t.Errorf("%s: cookies = %q, want session and attempt cleared", what, a.Header["Set-Cookie"])
		}
		if len(b.events) != 1 || b.events[0].What != "refused" || b.events[0].Code != c.code {
			t.Errorf("%s: audit = %+v", what, b.events)
		}
		b.provider.fails(nil)
		if again := b.back("zhangsan", state); again.StatusCode != 403 || b.provider.calls.Load() != 1 {
			t.Errorf("%s, again = %d after %d exchanges, want 403 after 1", what, again.StatusCode, b.provider.calls.Load())
		}
	}
}

func TestIncompleteAnswer(t *testing.T) { // an answer without a person
	b := build(t, plan{}).browser()
	b.refused("a person without a username", b.back("nameless", b.stateOf(b.visit("/"))), 502, "bad_answer", 1)
}

func TestFailingStore(t *testing.T) {
	b := build(t, plan{}).browser()
	state := b.stateOf(b.visit("/page"))
	b.store.Away.Store(true)
	a := b.back("zhangsan", state)
	b.refused("the store fails", a, 503, "store_unavailable", 0)
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After")
	}
	b.store.Away.Store(false)
	if a := b.back("zhangsan", state); a.Header.Get("Location") != "/page" {
		t.Errorf("reload = %d, want the sign-in to go on", a.StatusCode)
	}
}

func TestNewSession(t *testing.T) { // C1
	h := build(t, plan{})
	attacker, victim := h.browser(), h.browser()
	attacker.signIn("attacker")
	planted := attacker.session()
	victim.plant(victim.Sessions.CookieName(), planted)
	victim.signIn("zhangsan")
	if victim.session() == planted {
		t.Errorf("the planted session lives on")
	}
	if a := victim.visit("/"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zhangsan ") {
		t.Errorf("victim is %s", a.text)
	}
	if a := attacker.visit("/"); !strings.HasPrefix(a.text, "UPSTREAM-MARK attacker ") {
		t.Errorf("attacker is %s", a.text)
	}
}

func TestDeadSession(t *testing.T) { // C2
	for _, path := range []string{"/", "/oauth2/start", "/oauth2/sign_in", "/oauth2/signed_in", "/oauth2/sign_out", "/oauth2/userinfo",
		"/oauth2/callback?code=a&state=b"} {
		b := build(t, plan{}).browser()
		b.signIn("zhangsan")
		b.ahead.Store(int64(25 * time.Hour))
		if a := b.visit(path); !strings.Contains(a.cookieLine(b.Sessions.CookieName()), "Max-Age=0") {
			t.Errorf("GET %s with a dead session = %d with %q, want it cleared", path, a.StatusCode, a.Header["Set-Cookie"])
		}
		b = build(t, plan{}).browser()
		b.signIn("zhangsan")
		b.store.Away.Store(true)
		if a := b.visit(path); a.cookieLine(b.Sessions.CookieName()) != "" {
			t.Errorf("GET %s with a failing store = %d with %q, want the session unchanged", path, a.StatusCode, a.Header["Set-Cookie"])
		}
	}
}

// TestRotation: a previous key opens attempts in progress while secrets rotate (C6).
func TestRotation(t *testing.T) {
	b := build(t, plan{}).browser()
	state := b.stateOf(b.visit("/page"))
	rotated := must(keyring.New([]conf.Secret{secret(7), secret(1)}))
	b.Keyring = rotated
	if a := b.back("zhangsan", state); a.StatusCode != http.StatusFound {
		t.Errorf("callback after a rotation = %d %s", a.StatusCode, a.text)
	}
}
