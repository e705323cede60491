package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/oidc/keys"
)

// claimsOf verifies an ID token or a logout token.
func claimsOf(t testing.TB, token, typ string) map[string]any {
	t.Helper()
	body, err := fixedKeys().Verify(token, typ)
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	return object(t, answer{body: string(body)})
}

func pkce() (verifier, challenge string) {
	verifier = strings.Repeat("v", 50)
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestSignIn(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	a := e.browser("GET", PathAuthorize+"?"+ask(), cookie, "")
	q := a.location(t).Query()
	if a.status != http.StatusFound || q.Get("state") != "S&t=1 ä" || q.Get("iss") != e.url || !strings.HasPrefix(a.header.Get("Location"), callback+"?") {
		t.Fatalf("authorize = %d %s", a.status, a.header.Get("Location"))
	}
	a, tokens := e.tokens(redemption(q.Get("code")), "app", appSecret)
	if a.status != 200 || tokens["token_type"] != "Bearer" || tokens["refresh_token"] == nil || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("token = %d %s %v", a.status, a.body, e.errs)
	}
	id := claimsOf(t, tokens["id_token"].(string), keys.TypeID)
	sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
	for name, want := range map[string]any{"iss": e.url, "aud": "app", "azp": "app", "nonce": "N", "name": "张三", "preferred_username": "zhangsan", "username": "zhangsan", "email": "zhangsan@corp.test",
		"email_verified": true, "acr": "1", "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]), "sid": sidOf(cookie)} {
		if id[name] != want {
			t.Errorf("ID token: %s = %v, want %v", name, id[name], want)
		}
	}
	if groups := id["groups"].([]any); !slices.Equal(groups, []any{"主管", "ops", "42", "2", "1"}) {
		t.Errorf("groups = %v", groups)
	}
	for _, method := range []string{"GET", "POST"} {
		u := object(t, e.call(method, PathUserinfo, "", "Authorization", "Bearer "+tokens["access_token"].(string)))
		if u["sub"] != id["sub"] || u["name"] != "张三" || u["email"] != "zhangsan@corp.test" {
			t.Errorf("%s userinfo = %v", method, u)
		}
	}
	if e.events[0].What != "oidc_sign_in" || e.events[0].Application != "app" || e.events[0].User != "zhangsan" {
		t.Errorf("audit: %+v", e.events)
	}
}

// TestCodeReuse is threats E2: a second use ends what the first gave.
func TestCodeReuse(t *testing.T) {
	e := newEnv(t)
	code := e.code(e.login(zhangsan))
	_, first := e.tokens(redemption(code), "app", appSecret)
	a, second := e.tokens(redemption(code), "app", appSecret)
	if a.status != 400 || second["error"] != "invalid_grant" {
		t.Errorf("second use = %d %v", a.status, second)
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+first["access_token"].(string)); a.status != 401 {
		t.Errorf("userinfo after a reuse = %d", a.status)
	}
	if _, r := e.tokens("grant_type=refresh_token&refresh_token="+first["refresh_token"].(string), "app", appSecret); r["error"] != "invalid_grant" {
		t.Errorf("refresh after a reuse = %v", r)
	}
	code = e.code(e.login(zhangsan))
	var won, lost int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			a, _ := e.tokens(redemption(code), "app", appSecret)
			mu.Lock()
			defer mu.Unlock()
			switch a.status {
			case 200:
				won++
			case 400:
				lost++
			}
		})
	}
	all.Wait()
	if won != 1 || lost != 19 {
		t.Errorf("%d redemptions won and %d lost, want 1 and 19", won, lost)
	}
}

func TestCodeRefusals(t *testing.T) {
	verifier, challenge := pkce()
	for _, c := range []struct {
		name           string
		ask, redeem    []string
		id, secret     string
		after          time.Duration
		want           string
		codeIsStillOne bool
	}{
		{"another client", nil, nil, "other", "another-secret-of-another", 0, "invalid_grant", false},
		{"another address", nil, []string{"redirect_uri", callback + "?x=1"}, "app", appSecret, 0, "invalid_grant", true},
		{"no address", nil, []string{"redirect_uri", "-"}, "app", appSecret, 0, "invalid_grant", true},
		{"too old", nil, nil, "app", appSecret, time.Minute, "invalid_grant", false},
		{"a verifier without a challenge", nil, []string{"code_verifier", verifier}, "app", appSecret, 0, "invalid_grant", true},
		{"a challenge without a verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"}, nil, "app", appSecret, 0, "invalid_grant", false},
		{"another verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"}, []string{"code_verifier", verifier + "x"}, "app", appSecret, 0, "invalid_grant", false},
		{"the challenge as verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"}, []string{"code_verifier", challenge}, "app", appSecret, 0, "invalid_grant", false},
		{"a wrong secret", nil, nil, "app", "wrong", 0, "invalid_client", true},
		{"no code", nil, []string{"code", "-"}, "app", appSecret, 0, "invalid_request", true},
		{"a code that was made up", nil, []string{"code", strings.Repeat("A", 43)}, "app", appSecret, 0, "invalid_grant", true},
		{"another grant type", nil, []string{"grant_type", "password"}, "app", appSecret, 0, "unsupported_grant_type", true},
		{"no grant type", nil, []string{"grant_type", "-"}, "app", appSecret, 0, "invalid_request", true},
	} {
		e := newEnv(t)
		code := e.code(e.login(zhangsan), c.ask...)
		e.offset = c.after
		a, v := e.tokens(redemption(code, c.redeem...), c.id, c.secret)
		if v["error"] != c.want || a.status != 400 && a.status != 401 {
			t.Errorf("%s: %d %v, want %s", c.name, a.status, v, c.want)
		}
		if c.codeIsStillOne {
			if a, _ := e.tokens(redemption(code), "app", appSecret); a.status != 200 {
				t.Errorf("%s: it used the code up: %d", c.name, a.status)
			}
		}
	}
	e := newEnv(t)
	code := e.code(e.login(zhangsan), "code_challenge", challenge, "code_challenge_method", "S256")
	if a, v := e.tokens(redemption(code, "code_verifier", verifier), "app", appSecret); a.status != 200 {
		t.Errorf("with the verifier: %v", v)
	}
}

// TestRefresh is threats E5.
func TestRefresh(t *testing.T) {
	e := newEnv(t)
	_, v := e.tokens(redemption(e.code(e.login(zhangsan))), "app", appSecret)
	refresh := func(token any) map[string]any {
		_, v := e.tokens("grant_type=refresh_token&refresh_token="+token.(string), "app", appSecret)
		return v
	}
	first := v["refresh_token"]
	second := refresh(first)
	if second["refresh_token"] == nil || second["refresh_token"] == first || claimsOf(t, second["id_token"].(string), keys.TypeID)["sub"] == nil {
		t.Fatalf("refresh = %v", second)
	}
	if again := refresh(first); again["refresh_token"] != second["refresh_token"] {
		t.Errorf("a lost answer gave %v, want the same successor", again)
	}
	third := refresh(second["refresh_token"])
	if third["refresh_token"] == nil {
		t.Fatalf("the successor = %v", third)
	}
	if a, v := e.tokens("grant_type=refresh_token&scope=openid+admin&refresh_token="+third["refresh_token"].(string), "app", appSecret); a.status != 200 || v["scope"] != "openid" {
		t.Errorf("with less scope, and one that is unknown: %v", v)
	} else {
		third = v
	}
	if v := refresh(first); v["error"] != "invalid_grant" {
		t.Errorf("the first one again = %v", v)
	}
	if v := refresh(third["refresh_token"]); v["error"] != "invalid_grant" {
		t.Errorf("the newest after a reuse = %v", v)
	}
	if last := e.events[len(e.events)-1]; last.What != "oidc_reuse" || last.Reason != "refresh_reused" {
		t.Errorf("audit: %+v", last)
	}
	_, v = e.tokens(redemption(e.code(e.login(zhangsan), "scope", "openid")), "app", appSecret)
	if v["refresh_token"] != nil {
		t.Errorf("without offline_access there is a refresh token")
	}
}

// TestEnds is threats E18: whatever ends, its tokens refuse and the back channels
// are told.
func TestEnds(t *testing.T) {
	both := []string{"https://app.test/logout", "https://other.test/logout"}
	all3 := []string{both[0], both[0], both[1]}
	for name, c := range map[string]struct {
		do     func(e *env, cookie string)
		told   []string
		others bool // the tokens of the same person's other session go on
	}{
		"sign-out":           {func(e *env, cookie string) { e.revoke(t.Context(), cookie) }, both, true},
		"leaver":             {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{UserID: "zs"}) }, all3, false},
		"leaver, by unionid": {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{UnionID: "U1"}) }, all3, false},
		"everybody":          {func(e *env, _ string) { e.left["U1"] = true; e.Ended(End{All: true}) }, all3, false},
		"found by a visit":   {func(e *env, _ string) { e.left["U1"] = true; e.LookAtAll() }, all3, false},
		"rule": {func(e *env, _ string) {
			list := testClients()
			list[0].Access, list[1].Access = list[4].Access, list[4].Access
			e.Provider = e.provider(list)
			e.LookAtAll()
		}, all3, false},
		"removed client": {func(e *env, _ string) { e.Provider = e.provider(testClients()[1:]); e.LookAtAll() }, nil, false},
		"new facts": {func(e *env, _ string) {
			list := testClients()
			list[0].Access, list[1].Access = list[4].Access, list[4].Access
			list[0].Access.Users = []string{"zhangsan"}
			e.Provider = e.provider(list)
			renamed := zhangsan
			renamed.Username, renamed.UserID = "wangwu", "ww"
			e.facts["U1"] = renamed
			e.LookAtAll()
		}, all3, false},
	} {
		e := newEnv(t)
		cookie, second := e.login(zhangsan), e.login(zhangsan)
		_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
		_, o := e.tokens(redemption(e.code(cookie, "client_id", "other", "redirect_uri", "https://other.test/cb"), "redirect_uri", "https://other.test/cb"), "other", "another-secret-of-another")
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
		if got := e.settle(); !slices.Equal(got, c.told) {
			t.Errorf("%s: told %v, want %v", name, got, c.told)
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
			if claims["sub"] == nil || claims["sid"] == nil || claims["nonce"] != nil || claims["events"].(map[string]any)[backchannelEvent] == nil || claims["jti"] == "" {
				t.Errorf("%s: the logout token says %v", name, claims)
			}
		}
	}
}

// TestNaturalEnd: a session's lifetime ends its access tokens, not a family with
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
	if next["access_token"] == nil || e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+next["access_token"].(string)).status != 200 {
		t.Errorf("offline_access after the session's end: %v", next)
	}
	e.LookAtAll()
	if told := e.settle(); len(told) > 0 {
		t.Errorf("a natural end told %v", told)
	}
	e.away = true
	if a, v := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app", appSecret); a.status != 503 || v["error"] != "temporarily_unavailable" {
		t.Errorf("while nobody can be confirmed: %d %v", a.status, v)
	}
	e.away = false
	if a, _ := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app", appSecret); a.status != 200 {
		t.Errorf("afterwards: %d: the token was used up", a.status)
	}
	e.offset += 721 * time.Hour
	if a, _ := e.tokens("grant_type=refresh_token&refresh_token="+next["refresh_token"].(string), "app", appSecret); a.status != 400 {
		t.Errorf("after refresh_token: %d", a.status)
	}
}

// TestFamiliesAreBounded: of too many the oldest ends.
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

// TestSubjects is threats E17.
func TestSubjects(t *testing.T) {
	e := newEnv(t)
	ctx := t.Context()
	sub := func(u identity.User) string {
		t.Helper()
		s, err := e.subjects().of(ctx, &u)
		if err != nil {
			return "error: " + err.Error()
		}
		return s
	}
	first := sub(zhangsan)
	renamed := zhangsan
	renamed.UserID, renamed.Username = "zs2", "zhang.san"
	if got := sub(renamed); got != first {
		t.Errorf("with another userid: %q, want %q", got, first)
	}
	migrated := map[string]string{"U1-new": "U1"}
	e.People.Migrated = func(_ context.Context, id string) (string, error) { return migrated[id], nil }
	moved := renamed
	moved.UnionID = "U1-new"
	if got := sub(moved); got != first {
		t.Errorf("after the account's migration: %q, want %q", got, first)
	}
	hired := identity.User{UnionID: "U2", UserID: "zs2", Username: "zhang.san"}
	if got := sub(hired); got == first || strings.HasPrefix(got, "error") {
		t.Errorf("another person with the same userid: %q", got)
	}
	if got := sub(moved); got != first {
		t.Errorf("the first person, seen again: %q", got)
	}
	e.People.Migrated = func(context.Context, string) (string, error) { return "", errors.New("no permission") }
	if _, err := e.subjects().of(ctx, &identity.User{UnionID: "U3", UserID: "zs2", Username: "x"}); !errors.Is(err, errUnsettled) {
		t.Errorf("where DingTalk does not say: %v, want errUnsettled", err)
	}
	if _, err := e.subjects().of(ctx, &identity.User{Username: "x"}); !errors.Is(err, errNoSubject) {
		t.Errorf("without any id: %v", err)
	}
	local := identity.User{Username: "zhangsan", Local: true}
	own := sub(local)
	if own == first || sub(local) != own {
		t.Errorf("a local account of that name: %q", own)
	}
	bound := map[string]string{"zhangsan": "U9"}
	e.People.Binding = func(_ context.Context, u *identity.User) (string, error) {
		if u.Local {
			return bound[u.Username], nil
		}
		for name, union := range bound {
			if union == u.UnionID {
				return name, nil
			}
		}
		return "", nil
	}
	person := identity.User{UnionID: "U9", UserID: "u9", Username: "zhangsan"}
	if a, b := sub(person), sub(local); a != own || b != own {
		t.Errorf("once bound: %q and %q, want %q", a, b, own)
	}
	bound["zhangsan"] = "U10"
	next := identity.User{UnionID: "U10", UserID: "u10", Username: "zhangsan"}
	if a, b := sub(next), sub(local); a == own || a != b {
		t.Errorf("bound to somebody else: %q and %q, and not %q", a, b, own)
	}
	if got := sub(person); got != own {
		t.Errorf("the person who was bound first: %q, want %q", got, own)
	}
	delete(bound, "zhangsan")
	if got := sub(local); got == own || got != sub(local) {
		t.Errorf("bound no more: %q", got)
	}
	other := newEnv(t)
	if got, _ := other.subjects().of(ctx, &zhangsan); got != first {
		t.Errorf("with an empty store: %q, want %q", got, first)
	}
	other.Realm = "another"
	other.store.all = map[string][]byte{}
	if got, _ := other.subjects().of(ctx, &zhangsan); got == first {
		t.Errorf("two organisations have one subject")
	}
}

// TestReplacedSession: a sign-out ends what prompt=login replaced, another person's
// sign-in ends it at once.
func TestReplacedSession(t *testing.T) {
	for _, same := range []bool{true, false} {
		e := newEnv(t)
		old := e.login(zhangsan)
		_, v := e.tokens(redemption(e.code(old)), "app", appSecret)
		a := e.browser("GET", PathAuthorize+"?"+ask("prompt", "login"), old, "")
		if !strings.Contains(a.header.Get("Location"), "login.dingtalk.test") {
			t.Fatalf("prompt=login = %d %s", a.status, a.header.Get("Location"))
		}
		if again := e.browser("GET", e.signIns[0], old, ""); !strings.Contains(again.header.Get("Location"), "login.dingtalk.test") {
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
			t.Errorf("same person %v: after the sign-out the replaced session's token lives: %v, ended %v", same, live(), e.revoked)
		}
	}
}

func TestPendingRequestSurvivesTheSignIn(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		name, state string
		method      string
	}{{"short", "s", "GET"}, {"long", strings.Repeat("x", 7000), "GET"}, {"posted", "s", "POST"}, {"posted, long", strings.Repeat("x", 7000), "POST"}} {
		e.signIns = nil
		query := ask("state", c.state)
		var a answer
		if c.method == "GET" {
			a = e.browser("GET", PathAuthorize+"?"+query, "", "")
		} else {
			a = e.browser("POST", PathAuthorize, "", query, "Origin", "https://app.test", "Sec-Fetch-Site", "cross-site")
			if a.status != http.StatusSeeOther {
				t.Fatalf("%s: %d", c.name, a.status)
			}
			a = e.browser("GET", a.header.Get("Location"), "", "")
		}
		if len(e.signIns) != 1 || len(e.signIns[0]) > maxTarget {
			t.Fatalf("%s: %d %s; sign-ins %v", c.name, a.status, a.body, e.signIns)
		}
		a = e.browser("GET", e.signIns[0], e.login(zhangsan), "")
		if q := a.location(t).Query(); q.Get("state") != c.state || q.Get("code") == "" {
			t.Errorf("%s: back at %.200s", c.name, a.header.Get("Location"))
		}
	}
	if a := e.browser("GET", PathAuthorize+"?"+ask("state", strings.Repeat("x", 9000)), "", ""); a.status != 400 {
		t.Errorf("9,000 bytes: %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+requestParam+"=nothing", "", ""); a.status != 400 {
		t.Errorf("a request that is not there: %d", a.status)
	}
}

func TestConsent(t *testing.T) {
	verifier, challenge := pkce()
	e := newEnv(t)
	cookie := e.login(zhangsan)
	change := []string{"client_id", "strict", "redirect_uri", "https://strict.test/cb", "code_challenge", challenge, "code_challenge_method", "S256", "scope", "openid profile"}
	get := func(more ...string) answer {
		return e.browser("GET", PathAuthorize+"?"+ask(append(slices.Clone(change), more...)...), cookie, "")
	}
	if q := get("prompt", "none").location(t).Query(); q.Get("error") != "consent_required" {
		t.Errorf("prompt=none = %v", q)
	}
	a := get()
	form := fields(a.body)
	csp := a.header.Get("Content-Security-Policy")
	if a.status != 200 || form.Get(consentField) == "" || !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "form-action 'self' https://strict.test") || a.header.Get("Referrer-Policy") != "strict-origin" {
		t.Fatalf("the page: %d %s\n%s", a.status, csp, a.body)
	}
	post := func(cookie string, f url.Values, headers ...string) answer {
		return e.browser("POST", PathAuthorize, cookie, f.Encode(), append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
	}
	form.Set(decision, "deny")
	if q := post(cookie, form).location(t).Query(); q.Get("error") != "access_denied" || q.Get("state") == "" {
		t.Errorf("denied: %v", q)
	}
	form.Set(decision, allow)
	if a := e.browser("POST", PathAuthorize, cookie, form.Encode(), "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("another site's form = %d", a.status)
	}
	if a := e.browser("POST", PathAuthorize, cookie, form.Encode(), "Origin", "https://evil.test"); a.status != 403 {
		t.Errorf("another site's form, of an old browser = %d", a.status)
	}
	if a := post(e.login(zhangsan), form); a.status != 400 {
		t.Errorf("in another session = %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+form.Encode(), cookie, ""); a.status == 302 {
		t.Errorf("consent by GET = %d", a.status)
	}
	code := post(cookie, form).location(t).Query().Get("code")
	if a, v := e.tokens(redemption(code, "redirect_uri", "https://strict.test/cb", "code_verifier", verifier), "strict", appSecret); a.status != 200 {
		t.Fatalf("token = %v", v)
	}
	if q := get().location(t).Query(); q.Get("code") == "" {
		t.Errorf("asked again: %v", q)
	}
	if a := get("scope", "openid profile email"); a.status != 200 {
		t.Errorf("with more scope, not asked: %d", a.status)
	}
	if a := get("claims", `{"userinfo":{"groups":null}}`); a.status != 200 {
		t.Errorf("with more claims, not asked: %d", a.status)
	}
	if a := get("prompt", "consent"); a.status != 200 {
		t.Errorf("prompt=consent, not asked: %d", a.status)
	}
	e.offset = questionLife + time.Second
	if a := post(cookie, form); a.status != 400 {
		t.Errorf("a quarter of an hour later = %d", a.status)
	}
}
