package oidc

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/oidc/keys"
)

// TestEnds: after any kind of end the tokens are refused and the back channels notified (threats
// E18).
func TestEnds(t *testing.T) {
	both := []string{"https://app.test/logout", "https://other.test/logout"}
	all3 := []string{both[0], both[0], both[1]}
	for name, c := range map[string]struct {
		do       func(e *env, cookie string)
		notified []string
		others   bool // the tokens of the same person's other session stay valid
	}{
		"sign-out":           {func(e *env, cookie string) { e.revoke(t.Context(), cookie) }, both, true},
		"leaver":             {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{UserID: "zs"}) }, all3, false},
		"leaver, by unionid": {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{UnionID: "U1"}) }, all3, false},
		"all users":          {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{All: true}) }, all3, false},
		"found by a visit":   {func(e *env, _ string) { e.left["U1"] = true; e.VisitAll() }, all3, false},
		"rule": {func(e *env, _ string) {
			list := testClients()
			list[0].Access, list[1].Access = list[4].Access, list[4].Access
			e.Provider = e.provider(list)
			e.VisitAll()
		}, all3, false},
		"removed client": {func(e *env, _ string) { e.Provider = e.provider(testClients()[1:]); e.VisitAll() }, nil, false},
		"new facts": {func(e *env, _ string) {
			list := testClients()
			list[0].Access, list[1].Access = list[4].Access, list[4].Access
			list[0].Access.Users = []string{"zhangsan"}
			e.Provider = e.provider(list)
			renamed := zhangsan
			renamed.Username, renamed.UserID = "wangwu", "ww"
			e.facts["U1"] = renamed
			e.VisitAll()
		}, all3, false},
	} {
		e := newEnv(t)
		cookie, second := e.login(zhangsan), e.login(zhangsan)
		_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
		_, o := e.tokens(
			redemption(
				e.code(cookie, "client_id", "other", "redirect_uri", "https://other.test/cb"),
				"redirect_uri",
				"https://other.test/cb",
			),
			"other",
			"another-secret-of-another",
		)
		_, v2 := e.tokens(redemption(e.code(second)), "app", appSecret)
		flying := e.code(cookie)
		c.do(e, cookie)
		alive := func(v map[string]any, id, secret string) (access, refresh bool) {
			a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string))
			r, _ := e.tokens("grant_type=refresh_token&refresh_token="+v["refresh_token"].(string), id, secret)
			return a.status == 200, r.status == 200
		}
		if access, refresh := alive(v, "app", appSecret); access || refresh {
			t.Errorf("%s: access token %v, refresh token %v before the background ran", name, access, refresh)
		}
		if a, _ := e.tokens(redemption(flying), "app", appSecret); a.status == 200 {
			t.Errorf("%s: a code in flight gives tokens", name)
		}
		if got := e.settle(); !slices.Equal(got, c.notified) {
			t.Errorf("%s: notified %v, want %v", name, got, c.notified)
		}
		if access, refresh := alive(v2, "app", appSecret); access != c.others || refresh != c.others {
			t.Errorf("%s: the other session's tokens: %v, %v, want %v", name, access, refresh, c.others)
		}
		if name != "removed client" {
			if access, _ := alive(o, "other", "another-secret-of-another"); access {
				t.Errorf("%s: the other client's token lives", name)
			}
		}
		for _, l := range e.delivered {
			_, token, _ := strings.Cut(l, " ")
			claims := claimsOf(t, token, keys.TypeLogout)
			if claims["sub"] == nil || claims["sid"] == nil || claims["nonce"] != nil ||
				claims["events"].(map[string]any)[backchannelEvent] == nil || claims["jti"] == "" {
				t.Errorf("%s: the logout token says %v", name, claims)
			}
		}
	}
}

// TestNaturalEnd: the end of a session's lifetime ends its access tokens, but not a family with
// offline_access.
func TestNaturalEnd(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	e.offset = 23*time.Hour + 55*time.Minute
	_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	_, short := e.tokens(redemption(e.code(cookie, "scope", "openid")), "app", appSecret)
	if n := v["expires_in"].(float64); n > 300 || n < 290 {
		t.Errorf("an access token outlives its session: %v", n)
	}
	e.offset = 24*time.Hour + time.Minute
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+short["access_token"].(string)); a.status != 401 {
		t.Errorf("after the session's end: %d", a.status)
	}
	_, next := e.tokens("grant_type=refresh_token&refresh_token="+v["refresh_token"].(string), "app", appSecret)
	if next["access_token"] == nil || e.call("GET", PathUserinfo, "", "Authorization",
		"Bearer "+next["access_token"].(string)).status != 200 {
		t.Errorf("offline_access after the session's end: %v", next)
	}
	e.VisitAll()
	if got := e.settle(); len(got) > 0 {
		t.Errorf("a natural end notified %v", got)
	}
	e.away = true
	if a, v := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app",
		appSecret); a.status != 503 || v["error"] != "temporarily_unavailable" {
		t.Errorf("while no membership can be confirmed: %d %v", a.status, v)
	}
	e.away = false
	if a, _ := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app",
		appSecret); a.status != 200 {
		t.Errorf("afterwards: %d: the token was used up", a.status)
	}
	e.offset += 721 * time.Hour
	if a, _ := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app",
		appSecret); a.status != 400 {
		t.Errorf("after refresh_token: %d", a.status)
	}
}

// TestFamiliesAreBounded: if there are too many, the oldest ends.
func TestFamiliesAreBounded(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	var all []map[string]any
	for range maxFamilies + 2 {
		_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
		all = append(all, v)
	}
	for i, v := range all {
		a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string))
		if want := i >= 2; (a.status == 200) != want {
			t.Errorf("family %d: %d, want it to live: %v", i, a.status, want)
		}
	}
}

// TestReplacedSession: a sign-out also ends the session that prompt=login replaced; another
// person's sign-in ends it at once.
func TestReplacedSession(t *testing.T) {
	for _, same := range []bool{true, false} {
		e := newEnv(t)
		old := e.login(zhangsan)
		_, v := e.tokens(redemption(e.code(old)), "app", appSecret)
		a := e.browser("GET", PathAuthorize+"?"+authorizeURL("prompt", "login"), old, "")
		if !strings.Contains(a.header.Get("Location"), "login.dingtalk.test") {
			t.Fatalf("prompt=login = %d %s", a.status, a.header.Get("Location"))
		}
		if again := e.browser("GET", e.signIns[0], old, ""); !strings.Contains(again.header.Get("Location"),
			"login.dingtalk.test") {
			t.Errorf("back without a new sign-in = %s", again.header.Get("Location"))
		}
		who := zhangsan
		if !same {
			who = identity.User{UnionID: "U2", UserID: "ls", Username: "lisi"}
		}
		e.offset = time.Second
		fresh := e.login(who)
		if a := e.browser("GET", e.signIns[0], fresh, ""); a.location(t).Query().Get("code") == "" {
			t.Fatalf("after the sign-in: %d %s", a.status, a.header.Get("Location"))
		}
		live := func() bool {
			return e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)).status == 200
		}
		if live() != same {
			t.Errorf("same person %v: the replaced session's token lives: %v", same, live())
		}
		e.revoke(t.Context(), fresh)
		e.settle()
		if live() || !slices.Contains(e.revoked, old) {
			t.Errorf(
				"same person %v: after the sign-out the replaced session's token lives: %v, ended %v",
				same,
				live(),
				e.revoked,
			)
		}
	}
}

// TestRevokedAndSignedInAgain: a client that revokes its tokens and signs in again in the same
// session is notified of that session's end only.
func TestRevokedAndSignedInAgain(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	_, first := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	if a, _ := e.tokens("grant_type=refresh_token&refresh_token="+first["refresh_token"].(string), "app", appSecret); a.status != 200 {
		t.Fatalf("refresh = %d", a.status)
	}
	form := "client_id=app&client_secret=" + appSecret + "&token=" + first["refresh_token"].(string)
	if a := e.call("POST", PathRevoke, form); a.status != 200 {
		t.Fatalf("revoke = %d", a.status)
	}
	_, second := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	for range 2 {
		e.Provider.people().visitAll(t.Context(), settleAfter)
		e.offset += settleAfter + time.Second
	}
	if got := e.settle(); len(got) > 0 {
		t.Errorf("with a live session notified %v", got)
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+second["access_token"].(string)); a.status != 200 {
		t.Errorf("the second sign-in's token = %d", a.status)
	}
	e.revoke(t.Context(), cookie)
	if got := e.settle(); len(got) != 1 {
		t.Errorf("after the sign-out notified %v, want one", got)
	}
}
