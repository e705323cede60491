package oidc

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/store/grant"
)

// TestClientAuthentication is threats E9.
func TestClientAuthentication(t *testing.T) {
	e := newEnv(t)
	basic := func(id, secret string) []string {
		req, _ := http.NewRequest("POST", "http://x", nil)
		req.SetBasicAuth(id, secret)
		return []string{"Authorization", req.Header.Get("Authorization")}
	}
	refresh := "grant_type=refresh_token&refresh_token=x"
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		want             string
	}{
		{"basic", PathToken, refresh, basic("app", appSecret), 400, "invalid_grant"},
		{"post", PathToken, refresh + "&client_id=app&client_secret=" + appSecret, nil, 400, "invalid_grant"},
		{"public", PathToken, refresh + "&client_id=spa", nil, 400, "invalid_grant"},
		{"public, as basic", PathToken, refresh, basic("spa", ""), 400, "invalid_grant"},
		{"two methods", PathToken, refresh + "&client_id=app&client_secret=" + appSecret, basic("app", appSecret), 400,
			"invalid_request"},
		{"two clients", PathToken, refresh + "&client_id=other", basic("app", appSecret), 400, "invalid_request"},
		{"secret in the address", PathToken + "?client_secret=" + appSecret, refresh + "&client_id=app", nil, 400,
			"invalid_request"},
		{"public with a secret", PathToken, refresh + "&client_id=spa&client_secret=x", nil, 401, "invalid_client"},
		{"no secret", PathToken, refresh + "&client_id=app", nil, 401, "invalid_client"},
		{"wrong secret", PathToken, refresh, basic("app", "wrong"), 401, "invalid_client"},
		{"another's secret", PathToken, refresh, basic("other", appSecret), 401, "invalid_client"},
		{"unknown", PathToken, refresh, basic("unknown", appSecret), 401, "invalid_client"},
		{"no client", PathToken, refresh, nil, 401, "invalid_client"},
		{"bearer", PathToken, refresh, []string{"Authorization", "Bearer x"}, 401, "invalid_client"},
		{"no base64", PathToken, refresh, []string{"Authorization", "Basic !!"}, 401, "invalid_client"},
		{"JSON", PathToken, refresh, append(basic("app", appSecret), "Content-Type", "application/json"), 400,
			"invalid_request"},
		{"twice", PathToken, refresh + "&grant_type=refresh_token", basic("app", appSecret), 400, "invalid_request"},
		{"long", PathToken, refresh + "&x=" + strings.Repeat("x", maxForm), basic("app", appSecret), 413, "invalid_request"},
		{"introspection, public", PathIntrospect, "token=x&client_id=spa", nil, 401, "invalid_client"},
		{"introspection without a token", PathIntrospect, "x=y", basic("app", appSecret), 400, "invalid_request"},
		{"revocation, unknown client", PathRevoke, "token=x&client_id=unknown", nil, 401, "invalid_client"},
		{"device, unknown client", PathDeviceCode, "client_id=unknown", nil, 401, "invalid_client"},
	} {
		a := e.call("POST", c.path, c.body, c.headers...)
		if v := object(t, a); a.status != c.status || v["error"] != c.want || v["error_description"] == "" {
			t.Errorf("%s = %d %v, want %d %s", c.name, a.status, v, c.status, c.want)
		}
		if challenge := a.header.Get("WWW-Authenticate"); (a.status == 401) != strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s: WWW-Authenticate = %q", c.name, challenge)
		}
	}
	if a := e.call("GET", PathToken, ""); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("GET token = %d", a.status)
	}
	for _, event := range e.events {
		if event.What == "oidc_wrong_secret" && event.Application != "app" && event.Application != "other" &&
			event.Application != "spa" && event.Application != "" {
			t.Errorf("audit names an unknown client: %+v", event)
		}
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	e := newEnv(t)
	_, v := e.tokens(redemption(e.code(e.login(zhangsan))), "app", appSecret)
	post := func(path, token, id, secret string) answer {
		req, _ := http.NewRequest("POST", "http://x", nil)
		req.SetBasicAuth(id, secret)
		return e.call("POST", path, "token="+url.QueryEscape(token), "Authorization", req.Header.Get("Authorization"))
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		if got := object(t, post(PathIntrospect, v[name].(string), "app", appSecret)); got["active"] != true ||
			got["client_id"] != "app" || got["username"] != "zhangsan" || got["sub"] == nil {
			t.Errorf("introspection of the %s = %v", name, got)
		}
		if got := object(t, post(PathIntrospect, v[name].(string), "other", "another-secret-of-another")); len(got) != 1 ||
			got["active"] != false {
			t.Errorf("introspection of the %s by another client = %v", name, got)
		}
		if a := post(PathRevoke, v[name].(string), "other", "another-secret-of-another"); a.status != 400 {
			t.Errorf("revocation of the %s by another client = %d", name, a.status)
		}
	}
	for _, token := range []string{"x", strings.Repeat("A", 64), v["id_token"].(string)} {
		if got := object(t, post(PathIntrospect, token, "app", appSecret)); got["active"] != false {
			t.Errorf("introspection of %.10q = %v", token, got)
		}
		if a := post(PathRevoke, token, "app", appSecret); a.status != 200 {
			t.Errorf("revocation of %.10q = %d", token, a.status)
		}
	}
	if a := post(PathRevoke, v["refresh_token"].(string), "app", appSecret); a.status != 200 {
		t.Errorf("revocation = %d", a.status)
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)); a.status != 401 {
		t.Errorf("userinfo after the revocation = %d", a.status)
	}
}

func TestUserinfoRefusals(t *testing.T) {
	e := newEnv(t)
	_, v := e.tokens(redemption(e.code(e.login(zhangsan), "scope", "-")), "app", appSecret)
	if v["id_token"] != nil || v["access_token"] == nil {
		t.Fatalf("without a scope: %v", v)
	}
	token := v["access_token"].(string)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string
	}{
		{"no token", "GET", PathUserinfo, "", nil, 401, "Bearer realm"},
		{"in the address", "GET", PathUserinfo + "?access_token=" + token, "", nil, 401, "Bearer realm"},
		{"bad", "GET", PathUserinfo, "", []string{"Authorization", "Bearer x"}, 401, "invalid_token"},
		{"basic", "GET", PathUserinfo, "", []string{"Authorization", "Basic eDp5"}, 401, "invalid_token"},
		{"two", "POST", PathUserinfo, "access_token=" + token, []string{"Authorization", "Bearer " + token}, 400, ""},
		{"without openid", "GET", PathUserinfo, "", []string{"Authorization", "Bearer " + token}, 403, "insufficient_scope"},
		{"PUT", "PUT", PathUserinfo, "", []string{"Authorization", "Bearer " + token}, 405, ""},
		{"a refresh token", "GET", PathUserinfo, "",
			[]string{"Authorization", "Bearer " + e.Grants.Refresh(mustGrant(e, token))}, 401, "invalid_token"},
	} {
		a := e.call(c.method, c.path, c.body, c.headers...)
		if a.status != c.status || !strings.Contains(a.header.Get("WWW-Authenticate"), c.want) {
			t.Errorf("%s = %d %q, want %d %q", c.name, a.status, a.header.Get("WWW-Authenticate"), c.status, c.want)
		}
	}
}

func mustGrant(e *env, token string) *grant.Grant {
	g, _, err := e.Grants.ByAccess(context.Background(), token)
	if err != nil {
		e.t.Fatal(err)
	}
	return g
}

func TestCORS(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		path, origin, want string
	}{
		{PathConfiguration, "https://anybody.test", "*"}, {PathMetadata, "https://anybody.test", "*"},
		{PathJWKS, "https://anybody.test", "*"},
		{PathToken, "https://spa.test", "https://spa.test"}, {PathToken, "https://app.test", ""},
		{PathToken, "https://evil.test", ""}, {PathToken, "null", ""},
		{PathUserinfo, "https://spa.test", "https://spa.test"}, {PathRevoke, "https://spa.test", "https://spa.test"},
		{PathIntrospect, "https://spa.test", ""}, {PathAuthorize, "https://spa.test", ""},
	} {
		a := e.call("OPTIONS", c.path, "", "Origin", c.origin, "Access-Control-Request-Method", "POST")
		if got := a.header.Get("Access-Control-Allow-Origin"); got != c.want ||
			a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %s from %s = %d %q, want %q", c.path, c.origin, a.status, got, c.want)
		}
	}
}
