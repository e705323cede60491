package oidc

import "testing"

// TestLoginHint: with a hint at another person the browser signs in again, once; a hint at the
// person who is signed in, or one that cannot be compared, changes nothing.
func TestLoginHint(t *testing.T) {
	for _, tt := range []struct {
		hint    string
		another bool
	}{
		{"zhangsan", false}, {"zs", false}, {"ZhangSan", false},
		{"zhangsan@corp.test", false}, {" zhangsan ", false}, {"", false},
		{"lisi", true}, {"lisi@corp.test", true}, {"zhangsan@evil.test", true},
	} {
		e := newEnv(t)
		cookie := e.login(zhangsan)
		a := e.browser("GET", PathAuthorize+"?"+authorizeURL("login_hint", tt.hint), cookie, "")
		if again := len(e.signIns) == 1; again != tt.another {
			t.Errorf("login_hint=%q: a sign-in: %v, want %v", tt.hint, again, tt.another)
			continue
		}
		if tt.another { // any member may then sign in, also the same person
			a = e.browser("GET", e.signIns[0], e.login(zhangsan), "")
		}
		if a.location(t).Query().Get("code") == "" {
			t.Errorf("login_hint=%q = %d %s", tt.hint, a.status, a.header.Get("Location"))
		}
		want := ""
		if tt.another {
			want = "login_required"
		}
		a = e.browser("GET", PathAuthorize+"?"+authorizeURL("login_hint", tt.hint, "prompt", "none"), cookie, "")
		if got := a.location(t).Query().Get("error"); got != want {
			t.Errorf("login_hint=%q, prompt=none: error %q, want %q", tt.hint, got, want)
		}
	}
	e := newEnv(t)
	unknown := zhangsan
	unknown.Email = ""
	e.browser("GET", PathAuthorize+"?"+authorizeURL("login_hint", "lisi@corp.test"), e.login(unknown), "")
	if len(e.signIns) != 0 {
		t.Error("an e-mail address is compared with one that is not known")
	}
}
