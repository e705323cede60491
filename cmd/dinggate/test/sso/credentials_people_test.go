package sso

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/identity"
)

// TestServiceTokenPeople: an access token of the service identifies the person as their sign-in in
// a browser does: by no unionid that others have too (threats T36), by the account that they are
// bound to, and never as a local account of the same name (threats T32).
func TestServiceTokenPeople(t *testing.T) {
	shared := func(string) string { return "shared" }
	own := func(name string) string { return "union-" + name }
	for _, tt := range []struct {
		name, binding string
		unionID       func(username string) string
		bound, want   string // the account that zhangsan is bound to; what the application gets for both
	}{
		{"their own", account.Off, own, "", "zhangsan union-zhangsan, admin union-admin"},
		{"one for all", account.Off, shared, "", "zhangsan , admin "},
		{"none", account.Optional, nil, "", "zhangsan , 401"},
		{"an account's name", account.Optional, own, "", "zhangsan union-zhangsan, 401"},
		{"bound", account.Optional, own, "admin", "admin union-zhangsan, 401"},
		{"required", account.Required, own, "", "401, 401"},
		{"required and bound", account.Required, own, "admin", "admin union-zhangsan, 401"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "htpasswd")
			servertest.WriteHtpasswd(t, file, "admin")
			h, s := servertest.NewBehindService(t, servertest.APITokens, func(c *config.Config) {
				c.Session.Recheck = 50 * time.Millisecond
				c.Accounts.Binding, c.Accounts.HtpasswdFile = tt.binding, file
				c.Headers.Request = append(c.Headers.Request, identity.HeaderRule{Name: "X-Forwarded-Unionid", Field: "unionid"})
			})
			s.UnionID = tt.unionID
			s.Mu.Lock()
			s.Tokens["token-z"], s.Tokens["token-a"] = servertest.SSOUser{Username: "zhangsan"}, servertest.SSOUser{Username: "admin"}
			s.Mu.Unlock()
			if tt.bound != "" {
				b := account.Binding{UnionID: tt.unionID("zhangsan"), Username: tt.bound}
				if err := h.State.Stores.Bindings.Add(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			api := h.NewClient()
			is := func(token string) string {
				if a := api.Get(h.URL+"/api/x", "Authorization: Bearer "+token); a.StatusCode != 200 {
					return fmt.Sprint(a.StatusCode)
				}
				got := h.Upstream.Last(t).Header
				return got.Get("X-Forwarded-User") + " " + got.Get("X-Forwarded-Unionid")
			}
			got := ""
			servertest.Eventually(t, "both people", func() bool { // the first is looked up again after the second
				got = is("token-z") + ", " + is("token-a")
				return got == tt.want
			})
			if again := is("token-z") + ", " + is("token-a"); again != tt.want {
				t.Errorf("the application gets %q, then %q, want %q", got, again, tt.want)
			}
		})
	}
}
