package sso

import (
	"net/http"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestUserinfoTable tests T16, T17, T19, and that every invalid token gets the same body.
func TestUserinfoTable(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t)
	s := &table{t: t, h: h}
	code, state := v.SSOCode(p)
	waiting, _ := v.SSOCode(p)
	given := p.Redeem(code, state)
	ended := p.Redeem(v.SSOCode(p))
	p.Post("grant_type=refresh_token&refresh_token=" + ended.RefreshToken)
	p.Post("grant_type=refresh_token&refresh_token=" + ended.RefreshToken)
	token := given.AccessToken
	flip := func(at int) string {
		b := []byte(token)
		b[at] ^= 1
		return string(b)
	}
	bodies := map[string]bool{}
	rows := []struct {
		name    string
		headers []string
		status  int
	}{
		{"bare", []string{"Authorization: " + token}, 200},
		{"Bearer", []string{"Authorization: Bearer " + token}, 200},
		{"bearer", []string{"Authorization: bearer " + token}, 200},
		{"two blanks", []string{"Authorization: Bearer  " + token}, 200},
		{"none", nil, 401}, {"empty", []string{"Authorization: "}, 401},
		{"scheme alone", []string{"Authorization: Bearer"}, 401},
		{"Basic", []string{"Authorization: Basic " + token}, 401},
		{"Basic of the client", []string{servertest.BasicAuth(p.ID, p.Secret)}, 401},
		{"Token", []string{"Authorization: Token " + token}, 401},
		{"Digest", []string{"Authorization: Digest " + token}, 401},
		{"quotes", []string{`Authorization: "` + token + `"`}, 401},
		{"Bearer quotes", []string{`Authorization: Bearer "` + token + `"`}, 401},
		{"capitals", []string{"Authorization: " + strings.ToUpper(token)}, 401},
		{"small", []string{"Authorization: " + strings.ToLower(token)}, 401},
		{"twice", []string{"Authorization: " + token, "Authorization: " + token}, 401},
		{"a list", []string{"Authorization: " + token + ", " + token}, 401},
		{"two tokens", []string{"Authorization: Bearer " + token + " " + token}, 401},
		{"another header", []string{"X-Authorization: " + token}, 401},
		{"access_token header", []string{"Access-Token: " + token}, 401},
		{"cut", []string{"Authorization: " + token[:len(token)-1]}, 401},
		{"longer", []string{"Authorization: " + token + "A"}, 401},
		{"padded", []string{"Authorization: " + token + "="}, 401},
		{"one bit", []string{"Authorization: " + flip(0)}, 401},
		{"one bit of the end", []string{"Authorization: " + flip(len(token)-1)}, 401},
		{"one bit in the middle", []string{"Authorization: " + flip(len(token)/2)}, 401},
		{"unknown", []string{"Authorization: " + strings.Repeat("A", len(token))}, 401},
		{"40 KiB", []string{"Authorization: " + strings.Repeat("A", 40_000)}, 401},
		{"refresh", []string{"Authorization: " + given.RefreshToken}, 401},
		{"used code", []string{"Authorization: " + code}, 401}, {"code", []string{"Authorization: " + waiting}, 401},
		{"taken back", []string{"Authorization: " + ended.AccessToken}, 401},
		{"session cookie", []string{"Authorization: " + servertest.SessionCookie(t, v, h)}, 401},
	}
	for _, row := range rows {
		a := s.quiet(row.name, func() servertest.Response {
			c := h.NewClient()
			c.Header = http.Header{"Origin": {"https://evil.test"}}
			return c.Do("GET", h.URL+"/dingtalk/userinfo", "", row.headers...)
		})
		if a.StatusCode != row.status || a.Header.Get("Location") != "" {
			t.Errorf("%s = %d %s, want %d", row.name, a.StatusCode, a.Text, row.status)
		}
		if row.status == 401 {
			bodies[a.Text] = true
			if !strings.HasPrefix(a.Header.Get("Www-Authenticate"), "Bearer ") {
				t.Errorf("%s: WWW-Authenticate %q", row.name, a.Header.Get("Www-Authenticate"))
			}
		}
	}
	for name, run := range map[string]func() servertest.Response{
		"in the query": func() servertest.Response {
			return h.NewClient().Get(h.URL + "/dingtalk/userinfo?access_token=" + token)
		},
		"the cookie alone":  func() servertest.Response { return v.Get(h.URL + "/dingtalk/userinfo") },
		"in a path segment": func() servertest.Response { return h.NewClient().Get(h.URL + "/dingtalk/userinfo?" + token) },
	} {
		a := s.quiet(name, run)
		bodies[a.Text] = true
		if a.StatusCode != 401 {
			t.Errorf("%s = %d %s, want 401", name, a.StatusCode, a.Text)
		}
	}
	if len(bodies) != 1 {
		t.Errorf("401 has %d bodies, want one: %v", len(bodies), bodies)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		a := s.quiet(method, func() servertest.Response {
			return h.NewClient().Do(method, h.URL+"/dingtalk/userinfo", "", "Authorization: "+token)
		})
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d with Allow %q, want 405", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
	if s.rows < 40 {
		t.Errorf("%d rows, want at least 40", s.rows)
	}
}
