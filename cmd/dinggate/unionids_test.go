package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/session"
)

// TestOneUnionIDForEverybody: a unionid that two usernames claim identifies nobody
// (threats T36): nobody sees another's page, nobody is another's account, and log,
// status and doctor say so.
func TestOneUnionIDForEverybody(t *testing.T) {
	for _, tt := range []struct {
		name, binding string
		redis         bool
		id            func(username string) string
		shared        bool
	}{
		{"everybody's", account.Off, false, func(string) string { return "everybodys" }, true},
		{"a placeholder", account.Optional, false, func(string) string { return "0" }, false},
		{"everybody's, optional", account.Optional, false, func(string) string { return "everybodys" }, true},
		{"everybody's, required, in Redis", account.Required, true, func(string) string { return "everybodys" }, true},
		{"each their own", account.Required, true, func(name string) string { return "union-" + name }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "htpasswd")
			htpasswd(t, file, "admin")
			h, s := behindService(t, func(c *config.Config) {
				c.Session.Recheck = 50 * time.Millisecond
				c.Accounts.HtpasswdFile, c.Accounts.Binding = file, tt.binding
				if tt.redis {
					c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(realtool.StartRedis(t).URL())
				}
			})
			s.unionID = tt.id
			enters := func(name string) (*visitor, answer) {
				v := h.visitor()
				return v, v.signInSSO(h.base+"/oauth2/start?rd=%2F", name)
			}
			is := func(v *visitor) string {
				if a := v.get(h.base + "/"); a.StatusCode != 200 {
					return fmt.Sprint(a.StatusCode)
				}
				r := h.app.last(t)
				return r.Header.Get("X-Forwarded-User") + " " + r.Header.Get("X-Forwarded-Email")
			}
			zhangsan, a := enters("zhangsan")
			link := linkAddress.FindStringSubmatch(a.body)
			want := "zhangsan zhangsan@yunfan.example"
			if tt.binding == account.Required { // they bind the account
				if link == nil {
					t.Fatalf("no way to bind: %d %s", a.StatusCode, a.body)
				}
				zhangsan.password(h.base+link[1], "admin", "pw-admin")
				want = "admin zhangsan@yunfan.example"
				zhangsan, _ = enters("zhangsan")
			}
			if got := is(zhangsan); got != want {
				t.Fatalf("the first is %q, want %q", got, want)
			}
			lisi, a := enters("lisi")
			switch {
			case tt.binding == account.Required && (a.StatusCode != 403 || sessionOf(a) != ""):
				t.Errorf("the second gets in: %d, is %q", a.StatusCode, is(lisi))
			case tt.binding == account.Required && tt.shared && linkAddress.MatchString(a.body):
				t.Error("the second is offered to bind an account by a unionid that is not theirs")
			case tt.binding != account.Required:
				waitFor(t, "rechecks of the second", func() bool {
					n := s.userinfos.Load()
					is(lisi)
					return s.userinfos.Load() > n
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
				again, a = enters("zhangsan")
				want = "zhangsan zhangsan@yunfan.example"
				if tt.binding == account.Required {
					want = "302"
				}
			}
			if got := is(again); got != want {
				t.Errorf("the first, later, is %q, want %q; %d", got, want, a.StatusCode)
			}
			if n := h.gate.Provider.Ids.Voids(); (n == 1) != tt.shared {
				t.Errorf("%d unionids are told to be shared", n)
			}
			if tt.shared {
				waitFor(t, "the log's word on it", func() bool {
					return strings.Contains(h.log.String(), "gives one unionid to several people")
				})
			}
		})
	}
}

// TestPlaceholders are no unionids; real ones are none.
func TestPlaceholders(t *testing.T) {
	for id, want := range map[string]bool{"0": true, "000": true, "null": true, "None": true, "undefined": true,
		"-1": true, "\"\"": true, "N/A": true, " ": true, "u0": false, "iS0x": false, "abc123iiEiE": false,
		"10": false, "nullable": false} {
		if got := server.Placeholder(id); got != want {
			t.Errorf("placeholder(%q) = %v, want %v", id, got, want)
		}
	}
}
