package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
	"dinggate/store/storetest"
)

// look loads userinfo as a browser does when a person opens it.
func (b *browser) look(query string, header ...string) answer {
	b.t.Helper()
	return b.visit("/oauth2/userinfo"+query, append([]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document", "Accept-Language", "en"}, header...)...)
}

var unbindForm = regexp.MustCompile(`action="([^"]+)"><input type="hidden" name="binding" value="([^"]+)">`)

// unbinds posts the form on the page of look.
func (b *browser) unbinds(page answer, header ...string) answer {
	b.t.Helper()
	m := unbindForm.FindStringSubmatch(page.text)
	if m == nil {
		b.t.Fatalf("the page has no form:\n%s", page.text)
	}
	return b.post(strings.ReplaceAll(m[1], "&amp;", "&"), url.Values{"binding": {m[2]}}, header...)
}

func (b *browser) post(address string, form url.Values, header ...string) answer {
	b.t.Helper()
	return b.sendBody("POST", address, strings.NewReader(form.Encode()),
		append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site",
			"same-origin"}, header...)...)
}

// bindBy binds the DingTalk person to the account as a page with type=1 does.
func (h *env) bindBy(account, person string) *browser {
	h.t.Helper()
	b := h.browser()
	if a := b.submit("/oauth2/sign_in", account, "pw-"+account); a.StatusCode != 303 {
		h.t.Fatalf("sign-in of %s = %d", account, a.StatusCode)
	}
	state, _, _ := b.attemptOf("?type=1")
	if e := b.api("?type=1&code=" + person + "&state=" + state); !e.Success {
		h.t.Fatalf("binding %s to %s: %+v", person, account, e)
	}
	return b
}

// TestBindingIsShown: both people of a binding see it at their next sign-in, once, before the page
// they requested (threats T33).
func TestBindingIsShown(t *testing.T) {
	h := withAccounts(t, account.Optional)
	h.bindBy("zs", "mallory")
	byPassword := func() (*browser, answer) {
		b := h.browser()
		return b, b.submit("/oauth2/sign_in?rd=%2Fdeep%3Fa%3Db", "zs", "pw-zs")
	}
	byDingTalk := func() (*browser, answer) {
		b := h.browser()
		return b, b.back("mallory", b.stateOf(b.visit("/oauth2/start?rd=%2Fdeep%3Fa%3Db")))
	}
	const page = "/oauth2/userinfo?rd=%2Fdeep%3Fa%3Db"
	for name, side := range map[string]struct {
		signIn func() (*browser, answer)
		shows  []string
	}{
		"the account's holder": {byPassword, []string{"张三 (mallory)", "Linked DingTalk user", "Since your last sign-in", "change your password"}},
		"the DingTalk person":  {byDingTalk, []string{"Linked account</dt><dd><bdi>zs<", "Since your last sign-in your DingTalk"}},
	} {
		for range 2 { // a note that was not viewed is shown again
			b, a := side.signIn()
			if a.Header.Get("Location") != page || b.session() == "" {
				t.Fatalf("%s: the sign-in leads to %q, want the page that shows the binding", name, a.Header.Get("Location"))
			}
			b.send("GET", page, "Accept", "application/json", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin")
			for _, unseen := range [][]string{{"Sec-Fetch-Dest", "iframe"}, {"Sec-Purpose", "prefetch"}} {
				b.send("GET", page, append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, unseen...)...)
			}
			if a := b.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zs ") {
				t.Errorf("%s: nothing but the page is in the way: %q", name, a.text)
			}
		}
		b, _ := side.signIn()
		a := b.look("?rd=%2Fdeep%3Fa%3Db")
		for _, want := range append(side.shows, `id="continue" href="/deep?a=b"`, "Linked since", `name="binding"`) {
			if !strings.Contains(a.text, want) {
				t.Errorf("%s: the page does not hold %q:\n%s", name, want, a.text)
			}
		}
		if a.StatusCode != 200 || a.Header.Get("Referrer-Policy") != "strict-origin" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the page = %d %v", name, a.StatusCode, a.Header)
		}
		if a := b.look(""); strings.Contains(a.text, "Since your last") || !strings.Contains(a.text, `name="binding"`) ||
			strings.Contains(a.text, `id="continue"`) {
			t.Errorf("%s: looking again shows\n%s", name, a.text)
		}
		if _, a := side.signIn(); a.Header.Get("Location") != "/deep?a=b" {
			t.Errorf("%s: the sign-in after that leads to %q", name, a.Header.Get("Location"))
		}
	}
}

// TestLinkIsShown: a binding made by a link is shown too; after a sign-in with a JSON answer, the
// next sign-in with a page shows it.
func TestLinkIsShown(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	if a := b.submit(b.unbound("zhangsan", "/deep"), "zs", "pw-zs"); a.Header.Get("Location") != "/deep" {
		t.Fatalf("the binding itself leads to %q", a.Header.Get("Location"))
	}
	c := h.browser()
	state, _, _ := c.attemptOf("")
	if e := c.api("?code=zhangsan&state=" + state); !e.Success || e.Data != nil {
		t.Fatalf("by the API: %+v", e)
	}
	if a := c.back("zhangsan", c.stateOf(c.visit("/oauth2/start?rd=%2Fa"))); a.Header.Get("Location") != "/oauth2/userinfo?rd=%2Fa" {
		t.Errorf("the next sign-in leads to %q", a.Header.Get("Location"))
	}
	if a := h.browser().submit("/oauth2/sign_in?rd=%2Fa", "zs", "pw-zs"); a.Header.Get("Location") != "/oauth2/userinfo?rd=%2Fa" {
		t.Errorf("the account's next sign-in leads to %q", a.Header.Get("Location"))
	}
}

// TestNoteOutlivesTheBindingSession: whatever the session that made a binding, or an older one,
// opens, the next sign-in is shown the binding, once (threats T33).
func TestNoteOutlivesTheBindingSession(t *testing.T) {
	const page, notice = "/oauth2/userinfo?rd=%2Fa", "Since your last sign-in"
	for name, binds := range map[string]func(*env) *browser{
		"type=1": func(h *env) *browser { return h.bindBy("zs", "mallory") },
		"a link": func(h *env) *browser {
			b := h.browser()
			if a := b.submit(b.unbound("mallory", "/deep"), "zs", "pw-zs"); a.StatusCode != 303 {
				t.Fatalf("binding by a link = %d", a.StatusCode)
			}
			return b
		},
	} {
		h := withAccounts(t, account.Required)
		older := h.browser()
		older.submit("/oauth2/sign_in", "zs", "pw-zs")
		h.ahead.Add(int64(time.Second))
		maker := binds(h)
		h.ahead.Add(int64(time.Second))
		for _, b := range []*browser{maker, older} {
			for _, path := range []string{"/oauth2/userinfo", page, "/oauth2/sign_in"} {
				if a := b.visit(path, "Accept-Language", "en"); a.StatusCode != 200 || path != "/oauth2/sign_in" && !strings.Contains(a.text, notice) {
					t.Errorf("%s: %s in the session before = %d\n%s", name, path, a.StatusCode, a.text)
				}
			}
		}
		owner := h.browser()
		if a := owner.submit("/oauth2/sign_in?rd=%2Fa", "zs", "pw-zs"); a.Header.Get("Location") != page {
			t.Errorf("%s: the next sign-in leads to %q, want %q", name, a.Header.Get("Location"), page)
		}
		if a := owner.look("?rd=%2Fa"); !strings.Contains(a.text, notice) {
			t.Errorf("%s: the next sign-in is shown\n%s", name, a.text)
		}
		if a := h.browser().submit("/oauth2/sign_in?rd=%2Fa", "zs", "pw-zs"); a.Header.Get("Location") != "/a" {
			t.Errorf("%s: the sign-in after that leads to %q, want /a", name, a.Header.Get("Location"))
		}
	}
}

// TestUserInfoKeepsRefusals: if a credential was not verified, the page and the JSON have the
// status of Authenticate's error; an error without a status is a failure of the store.
func TestUserInfoKeepsRefusals(t *testing.T) {
	const html, script = "text/html,application/xhtml+xml", "application/json"
	limited := &web.Error{Status: 429, Code: "too_many_attempts", RetryAfter: 7 * time.Second}
	for _, tt := range []struct {
		err        error
		credential bool
		status     int
		code       string
	}{
		{limited, true, 429, "too_many_attempts"},
		{limited, false, 429, "too_many_attempts"},
		{fmt.Errorf("verifying: %w", limited), true, 429, "too_many_attempts"},
		{&web.Error{Status: 400, Code: "bad_request"}, true, 400, "bad_request"},
		{storetest.ErrAway, true, 503, "store_unavailable"},
		{session.ErrUnconfirmed, false, 503, "unconfirmed"},
	} {
		h := withAccounts(t, account.Off)
		h.find = func(context.Context, netip.Addr, string, http.Header, time.Duration) (*session.Session, bool, error) {
			return nil, tt.credential, tt.err
		}
		for _, accept := range []string{html, script} {
			b := h.browser()
			a := b.send("GET", "/oauth2/userinfo", "Accept", accept)
			b.refused(fmt.Sprintf("%v as %s", tt.err, accept), a, tt.status, tt.code, 0)
			if want := map[int]string{429: "7", 503: "5"}[tt.status]; a.Header.Get("Retry-After") != want {
				t.Errorf("%v as %s: Retry-After %q, want %q", tt.err, accept, a.Header.Get("Retry-After"), want)
			}
		}
	}
}

// TestUnbindWithoutStore: a binding is not removed if the person's sessions cannot be revoked.
func TestUnbindWithoutStore(t *testing.T) {
	h := withAccounts(t, account.Optional)
	h.Sessions.Config.StoreGrace = session.Defaults().StoreGrace
	local := h.bindBy("zs", "zhangsan")
	page := local.look("")
	bound := account.Binding{UnionID: "union-zhangsan", Username: "zs"}
	h.store.Away.Store(true)
	if a := local.unbinds(page); a.StatusCode != 503 {
		t.Errorf("with a failing store = %d, want 503", a.StatusCode)
	}
	h.bound(t, bound)
	h.store.Away.Store(false)
	if a := local.unbinds(page); a.StatusCode != 303 {
		t.Errorf("afterwards = %d, want 303", a.StatusCode)
	}
	h.bound(t)
}

// TestUnbind: each of the two people can remove the binding on the page, and no one else can; the
// DingTalk person is signed out, the account is not.
func TestUnbind(t *testing.T) {
	for _, who := range []string{"zs", "zhangsan"} {
		h := withAccounts(t, account.Optional)
		local := h.bindBy("zs", "zhangsan")
		person := h.browser()
		person.back("zhangsan", person.stateOf(person.visit("/oauth2/start")))
		other := h.bindBy("ls", "lisi")
		b := map[string]*browser{"zs": local, "zhangsan": person}[who]
		page := b.look("")
		both := []account.Binding{{UnionID: "union-lisi", Username: "ls"}, {UnionID: "union-zhangsan", Username: "zs"}}
		for name, a := range map[string]answer{
			"cross-site": b.unbinds(page, "Sec-Fetch-Site", "cross-site"),
			"a foreign page": b.sendBody("POST", "/oauth2/userinfo", strings.NewReader("binding=x"), "Content-Type", "application/x-www-form-urlencoded",
				"Origin", "https://evil.test"),
			"another's":  other.unbinds(page),
			"no session": h.browser().unbinds(page),
			"no id":      b.post("/oauth2/userinfo", nil),
			"two ids":    b.post("/oauth2/userinfo", url.Values{"binding": {"x", "y"}}),
			"JSON": b.sendBody("POST", "/oauth2/userinfo", strings.NewReader(`{}`), "Content-Type", "application/json", "Sec-Fetch-Site",
				"same-origin"),
			"more than 8 KiB": b.post("/oauth2/userinfo", url.Values{"binding": {strings.Repeat("x", locallogin.MaxForm)}}),
		} {
			if want := map[string]int{"cross-site": 403, "a foreign page": 403, "no session": 401, "JSON": 415, "more than 8 KiB": 413}[name]; want > 0 &&
				a.StatusCode != want || want == 0 && a.StatusCode != 303 {
				t.Errorf("%s: %s = %d", who, name, a.StatusCode)
			}
			h.bound(t, both...)
		}
		h.store.Away.Store(true)
		if a := b.unbinds(page); a.StatusCode != 503 {
			t.Errorf("%s: with a failing store = %d, want 503", who, a.StatusCode)
		}
		h.store.Away.Store(false)
		h.bound(t, both...)
		if a := b.unbinds(page); a.StatusCode != 303 || a.Header.Get("Location") != "/oauth2/userinfo" {
			t.Fatalf("%s: the form = %d to %q", who, a.StatusCode, a.Header.Get("Location"))
		}
		h.bound(t, both[0])
		if !slices.ContainsFunc(h.events, func(e Event) bool { return e.What == "unbound" && e.User == "zs" && e.UnionID == "union-zhangsan" }) {
			t.Errorf("%s: no record of it in %v", who, h.events)
		}
		if a := person.visit("/x"); strings.Contains(a.text, "UPSTREAM-MARK") {
			t.Errorf("%s: the DingTalk person is still the account: %q", who, a.text)
		}
		if a := local.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zs ") {
			t.Errorf("%s: the account itself sees %q", who, a.text)
		}
		if a := local.look(""); a.StatusCode != 200 || strings.Contains(a.text, `name="binding"`) {
			t.Errorf("%s: the page afterwards = %d\n%s", who, a.StatusCode, a.text)
		}
		if a := person.look(""); a.StatusCode != 401 || !strings.Contains(a.text, "/oauth2/start?rd=%2Foauth2%2Fuserinfo") {
			t.Errorf("%s: the page without a session = %d\n%s", who, a.StatusCode, a.text)
		}
		h.bindBy("zs", "zhangsan")
	}
}

// TestUserInfoPage: a browser's navigation gets the page, any other request JSON.
func TestUserInfoPage(t *testing.T) {
	h := withAccounts(t, account.Off)
	b := h.browser()
	b.signIn("zhangsan")
	for _, tt := range []struct {
		header []string
		page   bool
	}{
		{[]string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
			true},
		{[]string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, true}, // plain http: no fetch metadata
		{[]string{"Accept", "text/html"}, false},
		{[]string{"Accept", "*/*"}, false}, {nil, false},
		{[]string{"Accept", "*/*", "Sec-Fetch-Mode", "cors"}, false},
		{[]string{"Accept", "application/json", "Sec-Fetch-Mode", "navigate"}, false},
		{[]string{"Accept", "application/json, text/plain, */*"}, false},
		{[]string{"Accept", "text/html,application/xhtml+xml", "X-Requested-With", "XMLHttpRequest"}, false},
	} {
		a := b.send("GET", "/oauth2/userinfo", tt.header...)
		kind := map[bool]string{true: "text/html; charset=utf-8", false: "application/json"}[tt.page]
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != kind || !strings.Contains(a.text, "zhangsan") {
			t.Errorf("%q = %d %s", tt.header, a.StatusCode, a.Header.Get("Content-Type"))
		}
		if a := h.browser().send("GET", "/oauth2/userinfo", tt.header...); a.StatusCode != 401 || a.Header.Get("Content-Type") != kind {
			t.Errorf("%q without a session = %d %s", tt.header, a.StatusCode, a.Header.Get("Content-Type"))
		}
	}
	for binding, allow := range map[string]string{account.Off: "GET, HEAD", account.Optional: "GET, HEAD, POST", account.Required: "GET, HEAD, POST"} {
		a := withAccounts(t, binding).browser().send("DELETE", "/oauth2/userinfo")
		if a.StatusCode != 405 || a.Header.Get("Allow") != allow {
			t.Errorf("DELETE with binding %s = %d, Allow %q, want 405 and %q", binding, a.StatusCode, a.Header.Get("Allow"), allow)
		}
	}
	if a := b.post("/oauth2/userinfo", nil); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST without binding = %d, Allow %q", a.StatusCode, a.Header.Get("Allow"))
	}
}

// TestImportedBinding: a binding that was not made here is not announced, and without accounts to
// sign in with it cannot be removed.
func TestImportedBinding(t *testing.T) {
	h := withAccounts(t, account.Optional)
	if err := h.People.Bindings.Add(t.Context(), account.Binding{UnionID: "union-zhangsan", Username: "zs"}); err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	if a := b.submit("/oauth2/sign_in?rd=%2Fa", "zs", "pw-zs"); a.Header.Get("Location") != "/a" {
		t.Errorf("the sign-in leads to %q", a.Header.Get("Location"))
	}
	if a := b.look(""); !strings.Contains(a.text, "union-zhangsan") || !strings.Contains(a.text, `name="binding"`) || strings.Contains(a.text, "Linked since") {
		t.Errorf("the page shows\n%s", a.text)
	}
	alone := build(t, plan{change: func(f *Flow) {
		f.People = &account.Policy{Binding: account.Required, Bindings: h.People.Bindings}
	}})
	c := alone.browser()
	c.signIn("zhangsan")
	if a := c.look(""); !strings.Contains(a.text, ">zs<") || strings.Contains(a.text, "<form") {
		t.Errorf("without accounts the page shows\n%s", a.text)
	}
}

// TestNoBindingWithoutNote: without a stored note no binding is made.
func TestNoBindingWithoutNote(t *testing.T) {
	h := withAccounts(t, account.Optional)
	b := h.browser()
	b.submit("/oauth2/sign_in", "zs", "pw-zs")
	state, _, _ := b.attemptOf("?type=1")
	h.store.NoPut.Store(true)
	e, status := b.apiStatus("?type=1&code=zhangsan&state=" + state)
	if status != 500 || e.Success {
		t.Errorf("binding without a note = %d %+v, want 500", status, e)
	}
	h.bound(t)
	h.store.NoPut.Store(false)
	n, err := h.bindings().Note(t.Context(), account.Binding{UnionID: "union-zhangsan", Username: "zs"})
	if err != nil || n != (locallogin.Note{}) {
		t.Errorf("a note without a binding: %+v, %v", n, err)
	}
	h.bindBy("zs", "zhangsan")
	for _, e := range h.events {
		if e.Err != nil && !errors.Is(e.Err, storetest.ErrAway) {
			t.Errorf("an event with %v", e.Err)
		}
	}
}
