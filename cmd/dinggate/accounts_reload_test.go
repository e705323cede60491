package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/identity"
	"dinggate/session"
)

// localVisitor signs in at a site by the form.
type localVisitor struct {
	t      *testing.T
	s      *site
	client *http.Client
}

func (s *site) localVisitor(t *testing.T, name, password string) *localVisitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &localVisitor{t,
		s, &http.Client{
			Jar:           jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	r, err := http.NewRequest("POST", s.gate+"/oauth2/sign_in",
		strings.NewReader(url.Values{"username": {name}, "password": {password}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if status := v.do(r); status != http.StatusSeeOther {
		t.Fatalf("%s signs in: %d, want 303", name, status)
	}
	return v
}

func (v *localVisitor) do(r *http.Request) int {
	v.t.Helper()
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// page asks for the application: 200 for somebody who is signed in, otherwise 401.
func (v *localVisitor) page() int {
	v.t.Helper()
	r, err := http.NewRequest("GET", v.s.gate+"/x", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	return v.do(r)
}

// TestAccountsWhileServing: anyone who is gone from the file, has another password,
// or whose file is turned off, is out within moments, and DingTalk, which is
// away here, is not asked about them. A file with a mistake changes nothing and
// is told like any other mistake. None of it but the last is a reload.
func TestAccountsWhileServing(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-User"))
	}))
	defer app.Close()
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "zs", "ls", "ww")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines, changed := strings.SplitAfter(string(text), "\n"), "ls:$2a$04$"+strings.Repeat("a", 53)+"\n"
	put := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	upstream := "upstream: " + app.URL + "\n"
	s := newSite(t, upstream+"accounts: {htpasswd_file: "+file+"}\n")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	zs, ls, ww := s.localVisitor(t, "zs", "pw-zs"), s.localVisitor(t, "ls", "pw-ls"), s.localVisitor(t, "ww", "pw-ww")
	expect := func(when string, want ...int) {
		t.Helper()
		for i, v := range []*localVisitor{zs, ls, ww} {
			if got := v.page(); got != want[i] {
				t.Errorf("%s: visitor %d gets %d, want %d", when, i, got, want[i])
			}
		}
	}
	expect("at first", 200, 200, 200)

	put(lines[1], lines[2])
	eventually(t, "zs, who is gone, is out", func() bool { return zs.page() == 401 })
	expect("without zs", 401, 200, 200)

	put(changed, lines[2])
	eventually(t, "ls, whose password is another, is out", func() bool { return ls.page() == 401 })
	expect("with another password for ls", 401, 401, 200)

	put("ww:plain\n")
	eventually(t,
		"a file with a mistake is told", func() bool {
			return s.metric(t, "dinggate_config_last_reload_successful") == "0"
		})
	if _, body := fetch(t, http.DefaultClient, s.admin+"/status"); !strings.Contains(body,
		"accounts.htpasswd_file stays as it was") || strings.Contains(body, "plain") {
		t.Errorf("/status does not tell of it, or more: %s", body)
	}
	if _, body := fetch(t, http.DefaultClient, s.admin+"/ready"); strings.Count(body, "\n") != 2 {
		t.Errorf("/ready does not tell of it: %q", body)
	}
	expect("with a mistake in the file", 401, 401, 200)
	put(changed, lines[2])
	eventually(t,
		"the mended file is taken", func() bool { return s.metric(t, "dinggate_config_last_reload_successful") == "1" })
	if n := s.reloads(); n != 0 {
		t.Errorf("changes of the accounts were %d reloads, want none", n)
	}
	expect("mended", 401, 401, 200)

	s.configure(t, upstream)
	eventually(t, "without the file ww is out", func() bool { return ww.page() == 401 })
}

// TestRecheckOfLocalSessions: a session that was begun with a password is
// judged by the file alone, also when there is none any more; an SSO service's
// sessions, which have no unionId either, are the service's, with and without a
// token that still fits.
func TestRecheckOfLocalSessions(t *testing.T) {
	asked := false
	ask := (server.Accounts{}).Recheck(func(ctx context.Context, s *session.Session) (identity.User, error) {
		asked = true
		return s.User, nil
	})
	_, err := ask(t.Context(), &session.Session{User: identity.User{Username: "zs", Local: true}})
	if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Code != "account_gone" || asked {
		t.Errorf("without a file the recheck of an account = %v, asked %v; want a refusal of our own", err, asked)
	}
	for _, token := range []identity.Token{{Access: "x"}, {}} {
		asked = false
		if _, err = ask(t.Context(), &session.Session{
			User:  identity.User{Username: "zs"},
			Token: token,
		}); err != nil || !asked {
			t.Errorf("the recheck of an SSO session with the token %v = %v, asked %v", token, err, asked)
		}
	}
}
