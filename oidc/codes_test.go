package oidc

import (
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/oidc/keys"
)

// TestCodeReuse: a second use of a code ends the grant of the first (threats E2).
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
	if _, r := e.tokens("grant_type=refresh_token&refresh_token="+first["refresh_token"].(string), "app",
		appSecret); r["error"] != "invalid_grant" {
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
		name              string
		authorize, redeem []string
		id, secret        string
		after             time.Duration
		want              string
		codeIsStillOne    bool
	}{
		{"another client", nil, nil, "other", "another-secret-of-another", 0, "invalid_grant", false},
		{"another address", nil, []string{"redirect_uri", callback + "?x=1"}, "app", appSecret, 0, "invalid_grant", true},
		{"no address", nil, []string{"redirect_uri", "-"}, "app", appSecret, 0, "invalid_grant", true},
		{"too old", nil, nil, "app", appSecret, time.Minute, "invalid_grant", false},
		{"a verifier without a challenge", nil, []string{"code_verifier", verifier}, "app", appSecret, 0, "invalid_grant",
			true},
		{"a challenge without a verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"}, nil,
			"app", appSecret, 0, "invalid_grant", false},
		{"another verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"},
			[]string{"code_verifier", verifier + "x"}, "app", appSecret, 0, "invalid_grant", false},
		{"the challenge as verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"},
			[]string{"code_verifier", challenge}, "app", appSecret, 0, "invalid_grant", false},
		{"a wrong secret", nil, nil, "app", "wrong", 0, "invalid_client", true},
		{"no code", nil, []string{"code", "-"}, "app", appSecret, 0, "invalid_request", true},
		{"a code that was made up", nil, []string{"code", strings.Repeat("A", 43)}, "app", appSecret, 0, "invalid_grant",
			true},
		{"another grant type", nil, []string{"grant_type", "password"}, "app", appSecret, 0, "unsupported_grant_type", true},
		{"no grant type", nil, []string{"grant_type", "-"}, "app", appSecret, 0, "invalid_request", true},
	} {
		e := newEnv(t)
		code := e.code(e.login(zhangsan), c.authorize...)
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
	if second["refresh_token"] == nil || second["refresh_token"] == first ||
		claimsOf(t, second["id_token"].(string), keys.TypeID)["sub"] == nil {
		t.Fatalf("refresh = %v", second)
	}
	if again := refresh(first); again["refresh_token"] != second["refresh_token"] {
		t.Errorf("a lost answer gave %v, want the same successor", again)
	}
	third := refresh(second["refresh_token"])
	if third["refresh_token"] == nil {
		t.Fatalf("the successor = %v", third)
	}
	if a, v := e.tokens("grant_type=refresh_token&scope=openid+admin&refresh_token="+third["refresh_token"].(string),
		"app", appSecret); a.status != 200 || v["scope"] != "openid" {
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
