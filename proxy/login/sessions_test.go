package login

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/session"
)

// sessions requests the JSON of the browser's own sessions.
func (b *browser) sessions() (list []ownSession) {
	b.t.Helper()
	a := b.send("GET", "/oauth2/sessions", "Accept", "application/json")
	var got struct {
		Since    time.Time
		Sessions []ownSession
	}
	if err := json.Unmarshal([]byte(a.text), &got); err != nil || a.StatusCode != 200 || got.Since.IsZero() ||
		a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
		b.t.Fatalf("sessions = %d %q %s, %v", a.StatusCode, a.Header, a.text, err)
	}
	return got.Sessions
}

// in reports whether the browser is signed in.
func (b *browser) in() bool { return b.send("GET", "/").StatusCode == 200 }

func TestOwnSessions(t *testing.T) {
	h := build(t, plan{})
	desk, phone, other := h.browser(), h.browser(), h.browser()
	for _, b := range []*browser{desk, phone, other} {
		if a := b.send("GET", "/oauth2/sessions"); a.StatusCode != 401 || !strings.Contains(a.text, `"error":"unauthenticated"`) {
			t.Fatalf("sessions without a session = %d %s", a.StatusCode, a.text)
		}
	}
	if a := desk.visit("/oauth2/sessions", "Accept-Language", "en"); a.StatusCode != 401 || !strings.Contains(a.text, "rd=%2Foauth2%2Fsessions") {
		t.Errorf("the page without a session = %d %s", a.StatusCode, a.text)
	}
	if a := desk.post("/oauth2/sessions", url.Values{"all": {"yes"}}); a.StatusCode != 401 {
		t.Errorf("the form without a session = %d, want 401", a.StatusCode)
	}
	desk.signIn("zhangsan")
	phone.signIn("zhangsan")
	other.signIn("lisi")
	for _, b := range []*browser{desk, phone, other} {
		if !b.in() {
			t.Fatal("a browser is not signed in")
		}
	}
	list := desk.sessions()
	if len(list) != 2 || !list[0].Current || list[1].Current || list[0].ID == list[1].ID || !list[1].Ends.After(list[1].SignedIn) ||
		list[1].LastSeen.Before(list[1].SignedIn.Truncate(time.Second)) || len(other.sessions()) != 1 {
		t.Fatalf("sessions = %+v", list)
	}
	a := desk.visit("/oauth2/sessions", "Accept-Language", "en")
	if a.StatusCode != 200 || strings.Count(a.text, `name="session"`) != 2 || strings.Count(a.text, "This browser") != 1 ||
		!strings.Contains(a.text, "since "+session.List(t.Context(), h.Sessions).Since.Local().Format("2006-01-02 15:04")) || strings.Contains(a.text, list[1].ID) ||
		strings.Contains(a.text, "<script") || !strings.Contains(a.Header.Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("the page = %d %s", a.StatusCode, a.text)
	}
	if a := desk.visit("/oauth2/userinfo"); !strings.Contains(a.text, `href="/oauth2/sessions"`) {
		t.Errorf("userinfo has no link to the sessions: %s", a.text)
	}
	if a := desk.send("DELETE", "/oauth2/sessions"); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE = %d %q", a.StatusCode, a.Header.Get("Allow"))
	}

	victim := url.Values{"session": {list[1].End}}
	for what, c := range map[string]struct {
		by     *browser
		form   url.Values
		header []string
		status int
	}{
		"another person's":  {other, victim, nil, 404},
		"a guessed id":      {desk, url.Values{"session": {list[1].ID}}, nil, 404},
		"a cut value":       {desk, url.Values{"session": {list[1].End[:len(list[1].End)-3]}}, nil, 404},
		"a cookie":          {desk, url.Values{"session": {phone.session()}}, nil, 404},
		"an empty value":    {desk, url.Values{"session": {""}}, nil, 404},
		"nothing":           {desk, nil, nil, 400},
		"two sessions":      {desk, url.Values{"session": {list[1].End, list[0].End}}, nil, 400},
		"one and all":       {desk, url.Values{"session": {list[1].End}, "all": {"yes"}}, nil, 400},
		"all, but not so":   {desk, url.Values{"all": {"no"}}, nil, 400},
		"from another site": {desk, victim, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"all, from another": {desk, url.Values{"all": {"yes"}}, []string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if a := c.by.post("/oauth2/sessions", c.form, c.header...); a.StatusCode != c.status {
			t.Errorf("%s = %d %s, want %d", what, a.StatusCode, a.text, c.status)
		}
	}
	if !desk.in() || !phone.in() || !other.in() {
		t.Fatal("a refused form has ended a session")
	}

	if a := desk.post("/oauth2/sessions", victim); a.StatusCode != 303 || a.Header.Get("Location") != "/oauth2/sessions" {
		t.Fatalf("ending one = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := phone.send("GET", "/"); a.StatusCode != 401 {
		t.Errorf("the ended session = %d, want 401", a.StatusCode)
	}
	if a := phone.visit("/"); a.StatusCode != 302 {
		t.Errorf("a page of the ended session = %d, want 302", a.StatusCode)
	}
	if left := desk.sessions(); len(left) != 1 || left[0].ID != list[0].ID {
		t.Errorf("sessions after the end of one = %+v", left)
	}
	if a := desk.post("/oauth2/sessions", victim); a.StatusCode != 303 { // repeating it is no error
		t.Errorf("ending it again = %d", a.StatusCode)
	}
	if !slices.ContainsFunc(h.events, func(e Event) bool {
		return e.What == "sign_out" && e.How == "sessions" && e.User == "zhangsan" && e.Session == list[1].ID
	}) {
		t.Errorf("audit = %+v", h.events)
	}
}

// TestEndOwnSessions: after ending one's own session, or all, the signed-out page is shown.
func TestEndOwnSessions(t *testing.T) {
	h := build(t, plan{})
	one, two, other := h.browser(), h.browser(), h.browser()
	one.signIn("zhangsan")
	two.signIn("zhangsan")
	other.signIn("lisi")
	own := one.sessions()[0]
	if a := one.post("/oauth2/sessions", url.Values{"session": {own.End}}); a.StatusCode != 303 ||
		a.Header.Get("Location") != "/oauth2/sign_out" || one.session() != "" {
		t.Errorf("ending one's own = %d to %q, cookie %q", a.StatusCode, a.Header.Get("Location"), one.session())
	}
	if !two.in() {
		t.Error("ending one has ended another")
	}
	h.ahead.Add(int64(time.Second)) // the next sign-in begins after the revocation
	one.signIn("zhangsan")
	stolen := one.session()
	if a := two.post("/oauth2/sessions", url.Values{"all": {"yes"}}); a.StatusCode != 303 || two.session() != "" {
		t.Errorf("ending all = %d", a.StatusCode)
	}
	if one.in() || two.in() || !other.in() {
		t.Error("not exactly the person's sessions have ended")
	}
	one.plant(one.Sessions.CookieName(), stolen)
	if a := one.send("GET", "/oauth2/sessions"); a.StatusCode != 401 {
		t.Errorf("the sessions, by a cookie of one that ended = %d, want 401", a.StatusCode)
	}
	if e := h.events[len(h.events)-1]; e.What != "sessions_ended" || e.User != "zhangsan" || e.How != "sessions" {
		t.Errorf("audit = %+v", e)
	}
	h.store.Away.Store(true)
	if a := other.send("GET", "/oauth2/sessions"); a.StatusCode != 503 || other.session() == "" {
		t.Errorf("sessions with a failing store = %d", a.StatusCode)
	}
}

// TestEndOneAfterAll: a session that is ended from another one is over, also if the person had ended
// all their sessions before both began (threats C10).
func TestEndOneAfterAll(t *testing.T) {
	h := build(t, plan{})
	desk, phone := h.browser(), h.browser()
	desk.signIn("zhangsan")
	if a := desk.post("/oauth2/sessions", url.Values{"all": {"yes"}}); a.StatusCode != 303 || desk.in() {
		t.Fatalf("ending all = %d, still signed in: %v", a.StatusCode, desk.in())
	}
	desk.signIn("zhangsan")
	phone.signIn("zhangsan")
	if !desk.in() || !phone.in() {
		t.Fatal("a browser is not signed in")
	}
	for _, one := range desk.sessions() {
		if !one.Current {
			desk.post("/oauth2/sessions", url.Values{"session": {one.End}})
		}
	}
	if !desk.in() || phone.in() {
		t.Errorf("signed in at the desk: %v, on the phone: %v, want the desk only", desk.in(), phone.in())
	}
}
