package oidc

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"dinggate/oidc/keys"
)

// TestNarrowRefresh: the scope of a refresh narrows the new tokens, and not the refresh token (RFC
// 6749 §6). The claims of a scope that is left out are left out too, also if the claims parameter
// requested them.
func TestNarrowRefresh(t *testing.T) {
	const (
		all       = "openid profile email groups offline_access"
		allClaims = "email email_verified groups name preferred_username sub username"
	)
	for _, tt := range []struct {
		granted, claims, scope string // "-" is none
		want, userinfo         string
	}{
		{all, "-", "-", all, allClaims},
		{all, "-", all, all, allClaims},
		{all, "-", "openid profile", "openid profile", "name preferred_username sub username"},
		{all, "-", "email openid", "openid email", "email email_verified sub"},
		{all, "-", "openid", "openid", "sub"},
		{all, "-", "email", "email", "403"},
		{all, "-", "unknown", "", "403"},
		{all, `{"userinfo":{"email":null},"id_token":{"email":null}}`, "openid", "openid", "sub"},
		{"openid offline_access", `{"userinfo":{"email":null},"id_token":{"email":null}}`, "openid", "openid", "email sub"},
	} {
		e := newEnv(t)
		_, first := e.tokens(redemption(e.code(e.login(zhangsan), "scope", tt.granted, "claims", tt.claims)), "app", appSecret)
		refresh := func(scope string) map[string]any {
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}}
			if scope != "-" {
				form.Set("scope", scope)
			}
			a, v := e.tokens(form.Encode(), "app", appSecret)
			if a.status != 200 {
				t.Fatalf("refresh with scope %q = %d %v", scope, a.status, v)
			}
			first = v
			return v
		}
		discloses := func(v map[string]any) string {
			a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string))
			if a.status != 200 {
				return fmt.Sprint(a.status)
			}
			return strings.Join(slices.Sorted(maps.Keys(object(t, a))), " ")
		}
		scopeOf := func(token any) any {
			_, v := e.tokensAt(PathIntrospect, "token="+url.QueryEscape(token.(string)), "app", appSecret)
			if v["active"] != true {
				t.Errorf("introspection = %v", v)
			}
			if v["scope"] == nil {
				return ""
			}
			return v["scope"]
		}
		v := refresh(tt.scope)
		if got := discloses(v); v["scope"] != tt.want || got != tt.userinfo {
			t.Errorf("granted %q, refresh with %q: scope %q, userinfo %q, want %q, %q", tt.granted, tt.scope, v["scope"], got,
				tt.want, tt.userinfo)
		}
		if id, ok := v["id_token"].(string); ok != strings.Contains(tt.want, "openid") {
			t.Errorf("refresh with %q: an ID token: %v", tt.scope, ok)
		} else if ok {
			email := claimsOf(t, id, keys.TypeID)["email"] != nil
			if email != strings.Contains(tt.userinfo, "email") {
				t.Errorf("refresh with %q: e-mail in the ID token: %v", tt.scope, email)
			}
		}
		if got := scopeOf(v["access_token"]); got != tt.want {
			t.Errorf("refresh with %q: introspection of the access token: %q", tt.scope, got)
		}
		if got := scopeOf(v["refresh_token"]); got != tt.granted {
			t.Errorf("refresh with %q: introspection of the refresh token: %q, want %q", tt.scope, got, tt.granted)
		}
		if v := refresh("-"); v["scope"] != tt.granted {
			t.Errorf("after %q, refresh without a scope: %q, want %q", tt.scope, v["scope"], tt.granted)
		}
		if tt.want == tt.granted {
			continue
		}
		if a := e.call("POST", PathRevoke, url.Values{"token": {v["access_token"].(string)}, "client_id": {"app"},
			"client_secret": {appSecret}}.Encode()); a.status != 200 || discloses(first) != "401" {
			t.Errorf("revocation with a narrow access token = %d", a.status)
		}
	}
}
