package signin

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/session"
)

// TestOneUnionIDForAllUsers: a unionid that two usernames claim identifies no person
// (threats T36). No person sees another person's page or gets another person's account,
// and log, status and doctor report it.
func TestOneUnionIDForAllUsers(t *testing.T) {
	for _, tt := range []struct {
		name, binding string
		redis         bool
		id            func(username string) string
		shared        bool
	}{
		{"shared by all", account.Off, false, func(string) string { return "shared" }, true},
		{"a placeholder", account.Optional, false, func(string) string { return "0" }, false},
		{"shared by all, optional", account.Optional, false, func(string) string { return "shared" }, true},
		{"shared by all, required, in Redis", account.Required, true, func(string) string { return "shared" }, true},
		{"each their own", account.Required, true, func(name string) string { return "union-" + name }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "htpasswd")
			servertest.WriteHtpasswd(t, file, "admin")
			h, s := servertest.NewBehindService(t, func(c *config.Config) {
				c.Session.Recheck = 50 * time.Millisecond
				c.Accounts.HtpasswdFile, c.Accounts.Binding = file, tt.binding
				if tt.redis {
					c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(realtool.StartRedis(t).URL())
				}
			})
			s.UnionID = tt.id
			signIn := func(name string) (*servertest.Client, servertest.Response) {
				v := h.NewClient()
				return v, v.SignInAtService(h.URL+"/oauth2/start?rd=%2F", name)
			}
			is := func(v *servertest.Client) string {
				if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
					return fmt.Sprint(a.StatusCode)
				}
				r := h.Upstream.Last(t)
				return r.Header.Get("X-Forwarded-User") + " " + r.Header.Get("X-Forwarded-Email")
			}
			zhangsan, a := signIn("zhangsan")
			link := servertest.LinkAddress.FindStringSubmatch(a.Text)
			want := "zhangsan zhangsan@yunfan.example"
			if tt.binding == account.Required { // they bind the account
				if link == nil {
					t.Fatalf("no way to bind: %d %s", a.StatusCode, a.Text)
				}
				zhangsan.SubmitPassword(h.URL+link[1], "admin", "pw-admin")
				want = "admin zhangsan@yunfan.example"
				zhangsan, _ = signIn("zhangsan")
			}
			if got := is(zhangsan); got != want {
				t.Fatalf("the first is %q, want %q", got, want)
			}
			lisi, a := signIn("lisi")
			switch {
			case tt.binding == account.Required && (a.StatusCode != 403 || servertest.SessionOf(a) != ""):
				t.Errorf("the second signs in: %d, is %q", a.StatusCode, is(lisi))
			case tt.binding == account.Required && tt.shared && servertest.LinkAddress.MatchString(a.Text):
				t.Error("the second is offered to bind an account by a unionid that is not theirs")
			case tt.binding != account.Required:
				servertest.Eventually(t, "rechecks of the second", func() bool {
					n := s.UserInfos.Load()
					is(lisi)
					return s.UserInfos.Load() > n
				})
				if got := is(lisi); !strings.HasPrefix(got, "lisi ") || strings.Contains(got, "zhangsan") {
					t.Errorf("the second is %q", got)
				}
			}
			again := zhangsan
			if tt.shared {
				if got := is(zhangsan); got != "302" {
					t.Errorf("the first, whose unionid it was not, is %q, want to sign in again", got)
				}
				again, a = signIn("zhangsan")
				want = "zhangsan zhangsan@yunfan.example"
				if tt.binding == account.Required {
					want = "302"
				}
			}
			if got := is(again); got != want {
				t.Errorf("the first, later, is %q, want %q; %d", got, want, a.StatusCode)
			}
			h.ReloadWith(func(*config.Config) {}) // the count is since the start
			if n := h.State.Status().SharedUnionIDs; (n == 1) != tt.shared {
				t.Errorf("%d unionids are reported as shared", n)
			}
			if tt.shared {
				servertest.Eventually(t, "the log's word on it", func() bool {
					return strings.Contains(h.Log.String(), "returns one unionid for several people")
				})
			}
		})
	}
}

// TestPlaceholders checks that placeholders are no unionids, and that real unionids are no
// placeholders.
func TestPlaceholders(t *testing.T) {
	for id, want := range map[string]bool{"0": true, "000": true, "null": true, "None": true, "undefined": true,
		"-1": true, "\"\"": true, "N/A": true, " ": true, "u0": false, "iS0x": false, "abc123iiEiE": false,
		"10": false, "nullable": false} {
		if got := server.Placeholder(id); got != want {
			t.Errorf("placeholder(%q) = %v, want %v", id, got, want)
		}
	}
}
