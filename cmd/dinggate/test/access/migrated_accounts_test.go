package access

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

// subject is what OpenID Connect's applications know the person by.
func (in *insider) subject(t *testing.T) string {
	t.Helper()
	a := in.h.NewClient().Get(in.h.URL+"/oidc/userinfo", "Authorization: Bearer "+in.access)
	var got struct{ Sub string }
	if err := json.Unmarshal([]byte(a.Text), &got); err != nil || got.Sub == "" {
		t.Fatalf("userinfo = %d %s", a.StatusCode, a.Text)
	}
	return got.Sub
}

// TestMigratedAccount: a person whose ordinary account became an enterprise account has
// another unionId. Binding, grant and OpenID subject are found again where DingTalk says
// that the new one was migrated from the known one, and only there: otherwise the next
// owner of a userid would be taken for the one before (threats K10).
func TestMigratedAccount(t *testing.T) {
	const migrationPath = "/v1.0/contact/orgAccount/getUnionIdByMigrationUnionIds"
	for _, tt := range []struct {
		name   string
		do     func(*simulator.Platform) error
		found  bool
		reason string // for which the session before ends
		oidc   bool   // whether an OpenID sign-in is possible
	}{
		{"migrated", func(p *simulator.Platform) error { return p.Migrate("zhaoliu", "") }, true, "account_migrated", true},
		{"another unionid without a migration", func(p *simulator.Platform) error {
			return p.Change("zhaoliu", func(who *simulator.Person) { who.UnionID = "n" })
		}, false, "not_member", true},
		{"migrated from another account", func(p *simulator.Platform) error {
			if err := p.Change("zhaoliu", func(who *simulator.Person) { who.UnionID = "between" }); err != nil {
				return err
			}
			return p.Migrate("zhaoliu", "")
		}, false, "not_member", true},
		{"the permission is missing", func(p *simulator.Platform) error {
			if err := p.ChangeApp("", func(a *simulator.App) { a.Missing = []string{"Contact.OrgAccountMigration.Read"} }); err != nil {
				return err
			}
			return p.Migrate("zhaoliu", "")
		}, false, "account_unsettled", false},
		{"an unreadable answer", func(p *simulator.Platform) error {
			p.Fault(simulator.Fault{On: migrationPath, Do: simulator.Body(`{"migrationUnionIdList":[["a"]]}`)})
			return p.Migrate("zhaoliu", "")
		}, false, "not_member", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			in := newInsider(ctx, t, func(c *config.Config) {
				file := filepath.Join(t.TempDir(), "htpasswd")
				servertest.WriteHtpasswd(t, file, "zs")
				c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Optional
				c.Session.Recheck, c.Session.Grace = time.Hour, time.Hour
			}, true)
			h, before := in.h, in.subject(t)
			old, _ := h.Platform.Who("zhaoliu")
			done(t, tt.do(h.Platform))
			h.Platform.Emit("user_modify_org", map[string]any{"userId": []string{"zhaoliu"}})
			servertest.Eventually(t, "the session under the old unionid ends", func() bool { return in.v.Get(h.URL+"/x").StatusCode != 200 })
			servertest.Eventually(t, "the log says why", func() bool { return strings.Contains(h.Log.String(), `"reason":"`+tt.reason+`"`) })

			in.v = h.NewClient()
			in.v.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhaoliu")
			if a := in.v.Get(h.URL + "/x"); a.StatusCode != 200 {
				t.Fatalf("the page after a new sign-in = %d", a.StatusCode)
			}
			name, want := h.Upstream.Last(t).Header.Get("X-Forwarded-User"), map[bool]string{true: "zs", false: "zhaoliu"}[tt.found]
			if name != want {
				t.Errorf("the account after a new sign-in = %q, want %q", name, want)
			}
			if got := in.v.Get(h.URL + "/admin/x").StatusCode; (got == 200) != tt.found {
				t.Errorf("the page of the grant = %d, found again: %v", got, tt.found)
			}
			if tt.oidc {
				in.connect(t)
				if got := in.subject(t); (got == before) != tt.found {
					t.Errorf("the OpenID subject is the same: %v, want %v", got == before, tt.found)
				}
			}
			who, _ := h.Platform.Who("zhaoliu")
			_, err := h.Stores.Bindings.Find(ctx, account.Binding{UnionID: old.UnionID})
			if b, _ := h.Stores.Bindings.Find(ctx, account.Binding{Username: "zs"}); tt.found && (b.UnionID != who.UnionID || err == nil) ||
				!tt.found && b.UnionID != old.UnionID {
				t.Errorf("the binding is %+v, %v", b, err)
			}
			if logged := func() bool { return strings.Contains(h.Log.String(), `"audit":"account_migrated"`) }; tt.found {
				servertest.Eventually(t, "the audit names the migration", logged)
			} else if logged() {
				t.Error("the audit names a migration")
			}
			if n := h.Platform.Calls(migrationPath); n > 3 {
				t.Errorf("%d calls, which count against the quota", n)
			}
		})
	}
}

// TestMigratedAccount_BoundAnew: an administrator binds the new unionId to another account
// before the person signs in. Both bindings remain: removing the old one and then failing
// to add it would leave its account without one.
func TestMigratedAccount_BoundAnew(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in := newInsider(ctx, t, func(c *config.Config) {
		file := filepath.Join(t.TempDir(), "htpasswd")
		servertest.WriteHtpasswd(t, file, "zs", "other")
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Optional
		c.Session.Recheck, c.Session.Grace = time.Hour, time.Hour
	}, true)
	h := in.h
	old, _ := h.Platform.Who("zhaoliu")
	done(t, h.Platform.Migrate("zhaoliu", ""))
	who, _ := h.Platform.Who("zhaoliu")
	done(t, h.Stores.Bindings.Add(ctx, account.Binding{UnionID: who.UnionID, Username: "other"}))

	in.v = h.NewClient()
	in.v.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhaoliu")
	if a := in.v.Get(h.URL + "/x"); a.StatusCode != 200 {
		t.Fatalf("the page after a new sign-in = %d", a.StatusCode)
	}
	if name := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); name != "other" {
		t.Errorf("the account after a new sign-in = %q, want other", name)
	}
	if b, err := h.Stores.Bindings.Find(ctx, account.Binding{Username: "zs"}); err != nil || b.UnionID != old.UnionID {
		t.Errorf("the old binding is %+v, %v", b, err)
	}
}

// TestMigratedApprover: an approver whose account was migrated while a request waits can
// answer it if DingTalk confirms the migration, although they never signed in before. The
// next owner of their userid cannot (threats K10).
func TestMigratedApprover(t *testing.T) {
	another := func(p *simulator.Platform) error {
		return p.Change("lisi", func(who *simulator.Person) { who.UnionID = "n" })
	}
	for _, tt := range []struct {
		name   string
		do     func(*simulator.Platform) error
		status int // of the answer
	}{
		{"migrated", func(p *simulator.Platform) error { return p.Migrate("lisi", "") }, 303},
		{"another unionid without a migration", another, 404},
		{"the permission is missing", func(p *simulator.Platform) error {
			return errors.Join(p.ChangeApp("", func(a *simulator.App) { a.Missing = []string{"Contact.OrgAccountMigration.Read"} }),
				p.Migrate("lisi", ""))
		}, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := servertest.New(t, servertest.AccessRequests)
			requester, approver := h.NewClient(), h.NewClient()
			requester.SignIn(h.URL+"/", "zhaoliu")
			request := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"x"}, "for": {"4h0m0s"}})
			page := h.URL + request.Header.Get("Location")
			done(t, tt.do(h.Platform))
			approver.SignIn(h.URL+"/", "lisi")
			if a := approver.Get(page); (a.StatusCode == 200) != (tt.status == 303) {
				t.Errorf("the page of the request = %d %s", a.StatusCode, a.Text)
			}
			if a := approver.Submit(page, url.Values{"decision": {"approve"}}); a.StatusCode != tt.status {
				t.Errorf("the answer = %d %s, want %d", a.StatusCode, a.Text, tt.status)
			}
			if a := requester.Get(h.URL + "/admin/x"); (a.StatusCode == 200) != (tt.status == 303) {
				t.Errorf("the page that was requested = %d", a.StatusCode)
			}
			if logged := func() bool { return strings.Contains(h.Log.String(), `"audit":"account_migrated"`) }; tt.status == 303 {
				servertest.Eventually(t, "the audit names the migration", logged)
			} else if logged() {
				t.Error("the audit names a migration")
			}
		})
	}
}
