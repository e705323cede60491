package dingtalk_test

import (
	"errors"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/identity"
)

// TestConsent: users/me returns the same refusal for a person without consent and for an
// app without the permission. The list of the person's grants distinguishes them if it can
// be read.
func TestConsent(t *testing.T) {
	const rules = "/v1.0/oauth2/authRules/user"
	lacks := func(a *simulator.App) { a.Missing = []string{"Contact.User.Read"} }
	for _, tt := range []struct {
		name      string
		before    string // signs in first
		withholds bool
		app       func(*simulator.App)
		do        string // the fault of authRules/user
		class     identity.Class
		code      string
		hint      string
	}{
		{"did not agree", "lisi", true, nil, "", identity.Restart, "consent_missing", "没有同意"},
		{"did not agree, the first of all", "", true, nil, "", identity.Operator, "permission_missing", "或者此人没有同意"},
		{"the app lacks the permission", "", false, lacks, "", identity.Operator, "permission_missing", "通讯录个人信息读权限"},
		{"the app lost the permission", "lisi", false, lacks, `body {"x":[{"scope":"Contact.User.Read"}]}`, identity.Operator,
			"permission_missing", "此人已同意"},
		{"the list is empty", "lisi", true, nil, `body {"x":[]}`, identity.Restart, "consent_missing", ""},
		{"the list has other fields", "lisi", true, nil, `body {"x":[{"id":7}]}`, identity.Operator, "permission_missing", ""},
		{"there is no list", "lisi", true, nil, `body {"success":true}`, identity.Operator, "permission_missing", ""},
		{"DingTalk gives no answer", "lisi", true, nil, "status 503", identity.Operator, "permission_missing", ""},
		{"no JSON", "lisi", true, nil, "body <html>", identity.Operator, "permission_missing", ""},
		{"refused too", "lisi", true, nil, "code Forbidden.AccessDenied.AccessTokenPermissionDenied", identity.Operator,
			"permission_missing", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newEnv(t)
			if tt.before != "" {
				if _, _, err := g.signIn(t, tt.before); err != nil {
					t.Fatal(err)
				}
			}
			if tt.withholds {
				if err := g.Withhold("zhangsan"); err != nil {
					t.Fatal(err)
				}
			}
			if tt.app != nil {
				if err := g.ChangeApp("", tt.app); err != nil {
					t.Fatal(err)
				}
			}
			if tt.do != "" {
				var do simulator.Verb
				if err := do.UnmarshalText([]byte(tt.do)); err != nil {
					t.Fatal(err)
				}
				g.Fault(simulator.Fault{On: rules, Do: do})
			}
			_, _, err := g.signIn(t, "zhangsan")
			f, ok := errors.AsType[*identity.Failure](err)
			if !ok || f.Class != tt.class || f.Code != tt.code || !strings.Contains(f.Hint, tt.hint) {
				t.Errorf("the sign-in = %+v, want class %v, %s, hint …%s…", f, tt.class, tt.code, tt.hint)
			}
			if n := g.Calls(rules); n == 0 {
				t.Error("no request for what the person granted")
			}
		})
	}
}
