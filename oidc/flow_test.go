package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

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
	a := e.browser("GET", PathAuthorize+"?"+authorizeURL(), cookie, "")
	q := a.location(t).Query()
	if a.status != http.StatusFound || q.Get("state") != "S&t=1 ä" || q.Get("iss") != e.url ||
		!strings.HasPrefix(a.header.Get("Location"), callback+"?") {
		t.Fatalf("authorize = %d %s", a.status, a.header.Get("Location"))
	}
	a, tokens := e.tokens(redemption(q.Get("code")), "app", appSecret)
	if a.status != 200 || tokens["token_type"] != "Bearer" || tokens["refresh_token"] == nil ||
		a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("token = %d %s %v", a.status, a.body, e.errs)
	}
	id := claimsOf(t, tokens["id_token"].(string), keys.TypeID)
	sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
	for name, want := range map[string]any{"iss": e.url, "aud": "app", "azp": "app", "nonce": "N", "name": "张三",
		"preferred_username": "zhangsan", "username": "zhangsan", "email": "zhangsan@corp.test",
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
	if _, err := e.subjects().of(ctx, &identity.User{UnionID: "U3", UserID: "zs2", Username: "x"}); !errors.Is(err,
		errUnsettled) {
		t.Errorf("where DingTalk does not answer: %v, want errUnsettled", err)
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
		t.Errorf("bound to another person: %q and %q, and not %q", a, b, own)
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

func TestPendingRequestSurvivesTheSignIn(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		name, state string
		method      string
	}{{"short", "s", "GET"}, {"long", strings.Repeat("x", 7000), "GET"}, {"posted", "s", "POST"},
		{"posted, long", strings.Repeat("x", 7000), "POST"}} {
		e.signIns = nil
		query := authorizeURL("state", c.state)
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
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL("state", strings.Repeat("x", 9000)), "", ""); a.status != 400 {
		t.Errorf("9,000 bytes: %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+requestParam+"=nothing", "", ""); a.status != 400 {
		t.Errorf("a request that is not there: %d", a.status)
	}
}
