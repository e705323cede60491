package login

import (
	"errors"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

var linkHref = regexp.MustCompile(`href="(/oauth2/sign_in\?link=[^"]+)"`)

// unbound signs in at DingTalk as a person without an account and returns the URL at which they
// can be bound.
func (b *browser) unbound(who, target string) string {
	b.t.Helper()
	calls := b.provider.calls.Load()
	a := b.back(who, b.stateOf(b.visit("/oauth2/start?rd="+url.QueryEscape(target))))
	b.refused("sign-in of "+who+", who is not bound", a, 403, account.NotBound, calls+1)
	m := linkHref.FindStringSubmatch(a.text)
	if m == nil {
		b.t.Fatalf("the page leads nowhere:\n%s", a.text)
	}
	return m[1]
}

func (h *env) bound(t *testing.T, want ...account.Binding) {
	t.Helper()
	got, err := h.People.Bindings.List(t.Context())
	if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("bound are %v, %v, want %v", got, err, want)
	}
}

func TestLink(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	at := b.unbound("zhangsan", "/deep?x=1")
	a := b.visit(at)
	if a.StatusCode != 200 || !strings.Contains(a.text, "张三") || !strings.Contains(a.text, `action="`+at+`"`) || strings.Contains(a.text, "/oauth2/start") {
		t.Errorf("the page of the link = %d:\n%s", a.StatusCode, a.text)
	}
	if a := b.submit(at, "zs", "wrong"); a.StatusCode != 401 || !strings.Contains(a.text, "张三") || !strings.Contains(a.text, `action="`+at+`"`) {
		t.Errorf("a wrong password = %d:\n%s", a.StatusCode, a.text)
	}
	h.bound(t)
	if a := b.submit(at, "zs", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != "/deep?x=1" || b.session() == "" {
		t.Fatalf("the right password = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
	again := h.browser()
	again.signIn("zhangsan")
	if a := again.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zs ") {
		t.Errorf("DingTalk signs zhangsan in as %q, want zs", a.text)
	}
	if a := b.submit(at, "ls", "pw-ls"); a.StatusCode != 403 {
		t.Errorf("the link, used again = %d, want 403", a.StatusCode)
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
}

// TestLinkedSession: a binding by the form begins a session of the DingTalk person, with their
// departments and roles, which ends with the binding.
func TestLinkedSession(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	at := b.unbound("zhangsan", "/")
	h.ahead.Store(int64(time.Minute))
	if a := b.submit(at, "zs", "pw-zs"); a.StatusCode != 303 {
		t.Fatalf("binding = %d", a.StatusCode)
	}
	s, err := h.Sessions.Load(t.Context(), []string{b.session()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.User{UnionID: "union-zhangsan", UserID: "user-zhangsan", Username: "zs", Name: "张三", Email: "zhangsan@example.com",
		Departments: []int64{42}, Roles: []identity.Role{{ID: 1, Name: "主管"}}}
	if !reflect.DeepEqual(s.User, want) || s.Token.Access != "CANARY-access" {
		t.Errorf("signed in is %+v, %v, want %+v and the token", s.User, s.Token, want)
	}
	if h.now().Sub(s.SignedIn) < time.Minute {
		t.Errorf("signed in at %v: a revocation since the call to DingTalk would not apply", s.SignedIn)
	}
	if err := h.Sessions.RevokeUser(t.Context(), session.Person{UnionID: "union-zhangsan"}, "unbound"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Sessions.Load(t.Context(), []string{b.session()}, 0); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("without the binding = %v, want %v", err, session.ErrRevoked)
	}
}

// TestLinkIsRefused: a link used twice, expired, in another browser, altered, or of another kind;
// a person or an account that is bound already (threats T29, S8).
func TestLinkIsRefused(t *testing.T) {
	h := withAccounts(t, account.Required)
	attacker, victim := h.browser(), h.browser()
	at := attacker.unbound("mallory", "/")
	token := mustQuery(t, at).Get("link")
	for name, address := range map[string]string{
		"another browser": at, "garbage": "/oauth2/sign_in?link=AAAA", "empty parts": "/oauth2/sign_in?link=%3D", "twice": at + "&link=x",
		"an attempt's cookie": "/oauth2/sign_in?link=" + url.QueryEscape(must(h.Keyring.Seal(attemptPurpose, attemptPurpose, []byte("x")))), "cut": at[:len(at)-8],
	} {
		status, code := 403, "link_invalid"
		if name == "twice" {
			status, code = 400, "bad_request"
		}
		victim.refused(name+": page", victim.visit(address), status, code, 1)
		victim.refused(name+": form", victim.submit(address, "zs", "pw-zs"), status, code, 1)
	}
	own := victim.unbound("zhangsan", "/") // now with the victim's own cookie
	victim.refused("another's link beside one's own", victim.submit(at, "zs", "pw-zs"), 403, "link_invalid", 2)
	for i := 0; i < len(token); i += 7 {
		altered := []byte(token)
		altered[i] = map[bool]byte{true: 'B', false: 'A'}[altered[i] == 'A']
		if a := attacker.submit("/oauth2/sign_in?link="+url.QueryEscape(string(altered)), "zs", "pw-zs"); a.StatusCode != 403 {
			t.Fatalf("altered at %d = %d, want 403", i, a.StatusCode)
		}
	}
	h.bound(t)
	h.ahead.Store(int64(locallogin.LinkLife))
	victim.refused("late", victim.submit(own, "zs", "pw-zs"), 403, "link_invalid", 2)
	h.ahead.Store(0)
	h.bound(t)
	if a := victim.submit(own, "zs", "pw-zs"); a.StatusCode != 303 {
		t.Fatalf("the link itself = %d", a.StatusCode)
	}
	third := h.browser()
	at = third.unbound("wangwu", "/")
	third.refused("an account that is bound", third.submit(at, "zs", "pw-zs"), 403, "already_bound", 3)
	if a := third.submit(at, "ls", "pw-ls"); a.StatusCode != 403 {
		t.Errorf("after that the link = %d, want used up", a.StatusCode)
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
}

func mustQuery(t *testing.T, address string) url.Values {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// TestLinkOnce: of many concurrent uses of one link, one binds.
func TestLinkOnce(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	at := b.unbound("zhangsan", "/")
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			name := []string{"zs", "ls"}[i%2]
			if a := b.submit(at, name, "pw-"+name); a.StatusCode == 303 {
				won.Add(1)
			}
		})
	}
	all.Wait()
	bound, err := h.People.Bindings.List(t.Context())
	if won.Load() != 1 || err != nil || len(bound) != 1 {
		t.Errorf("%d won and %v are bound, %v; want one", won.Load(), bound, err)
	}
}

// TestLinkStoreFails: nothing is bound and no session is created.
func TestLinkStoreFails(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	at := b.unbound("zhangsan", "/")
	h.store.Away.Store(true)
	b.refused("with a failing store", b.submit(at, "zs", "pw-zs"), 503, "store_unavailable", 1)
	h.store.Away.Store(false)
	h.bound(t)
	if a := b.submit(at, "zs", "pw-zs"); a.StatusCode != 303 {
		t.Errorf("afterwards = %d, want bound", a.StatusCode)
	}
}

// TestOptional: a person who is not bound has their own username, unless an account has it.
func TestOptional(t *testing.T) {
	h := withAccounts(t, account.Optional)
	b := h.browser()
	b.signIn("zhangsan")
	if a := b.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zhangsan ") {
		t.Errorf("not bound = %q, want zhangsan", a.text)
	}
	c := h.browser()
	at := c.unbound("ls", "/") // has the name of an account
	if a := c.submit(at, "ls", "pw-ls"); a.StatusCode != 303 {
		t.Errorf("binding = %d", a.StatusCode)
	}
	c.signIn("ls")
	h.bound(t, account.Binding{UnionID: "union-ls", Username: "ls"})
}

// TestUnboundWithoutAccounts: if bindings are only imported, the page offers no form.
func TestUnboundWithoutAccounts(t *testing.T) {
	h := build(t, plan{change: func(f *Flow) {
		f.People = &account.Policy{Binding: account.Required, Bindings: new(account.Memory)}
	}})
	b := h.browser()
	a := b.back("zhangsan", b.stateOf(b.visit("/oauth2/start")))
	b.refused("not bound", a, 403, account.NotBound, 1)
	if strings.Contains(a.text, "link=") {
		t.Errorf("the page offers an unusable link:\n%s", a.text)
	}
	for _, c := range b.cookies() {
		if strings.HasSuffix(c.Name, "-link") {
			t.Errorf("it left the cookie %s", c.Name)
		}
	}
	if a := b.visit("/oauth2/sign_in?link=" + "x"); a.StatusCode != 403 {
		t.Errorf("a link there = %d, want 403", a.StatusCode)
	}
}
