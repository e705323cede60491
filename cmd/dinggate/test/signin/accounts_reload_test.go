package signin

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
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/identity"
	"dinggate/session"
)

// localClient signs in at a site with the form.
type localClient struct {
	t      *testing.T
	s      *servertest.FileEnv
	client *http.Client
}

func newLocalClient(s *servertest.FileEnv, t *testing.T, name, password string) *localClient {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &localClient{t,
		s, &http.Client{
			Jar:           jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	r, err := http.NewRequest("POST", s.Public+"/oauth2/sign_in",
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

func (v *localClient) do(r *http.Request) int {
	v.t.Helper()
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// page requests the application: 200 for a signed-in person, otherwise 401.
func (v *localClient) page() int {
	v.t.Helper()
	r, err := http.NewRequest("GET", v.s.Public+"/x", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	return v.do(r)
}

// TestAccountsWhileServing: the sessions of an account end within moments if the account
// was removed from the file or has another password, or if the file is turned off.
// DingTalk, which is unavailable here, is not called for them. A file with a mistake
// changes nothing and is reported like any other mistake. Only the last change is a
// reload.
func TestAccountsWhileServing(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-User"))
	}))
	defer app.Close()
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "zs", "ls", "ww")
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
	s := servertest.NewFileEnv(t, upstream+"accounts: {htpasswd_file: "+file+"}\n")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log.String())
		}
	})
	zs, ls, ww := newLocalClient(s, t, "zs", "pw-zs"), newLocalClient(s, t, "ls", "pw-ls"), newLocalClient(s, t, "ww", "pw-ww")
	expect := func(when string, want ...int) {
		t.Helper()
		for i, v := range []*localClient{zs, ls, ww} {
			if got := v.page(); got != want[i] {
				t.Errorf("%s: client %d gets %d, want %d", when, i, got, want[i])
			}
		}
	}
	expect("at first", 200, 200, 200)

	put(lines[1], lines[2])
	servertest.Eventually(t, "zs, who is gone, is out", func() bool { return zs.page() == 401 })
	expect("without zs", 401, 200, 200)

	put(changed, lines[2])
	servertest.Eventually(t, "ls, whose password is another, is out", func() bool { return ls.page() == 401 })
	expect("with another password for ls", 401, 401, 200)

	put("ww:plain\n")
	servertest.Eventually(t,
		"a file with a mistake is reported", func() bool {
			return s.Metric(t, "dinggate_config_last_reload_successful") == "0"
		})
	if _, body := servertest.Fetch(t, http.DefaultClient, s.Admin+"/status"); !strings.Contains(body,
		"accounts.htpasswd_file is unchanged") || strings.Contains(body, "plain") {
		t.Errorf("/status does not show it, or more: %s", body)
	}
	if _, body := servertest.Fetch(t, http.DefaultClient, s.Admin+"/ready"); strings.Count(body, "\n") != 2 {
		t.Errorf("/ready does not show it: %q", body)
	}
	expect("with a mistake in the file", 401, 401, 200)
	put(changed, lines[2])
	servertest.Eventually(t,
		"the mended file is taken", func() bool { return s.Metric(t, "dinggate_config_last_reload_successful") == "1" })
	if n := s.Reloads(); n != 0 {
		t.Errorf("changes of the accounts were %d reloads, want none", n)
	}
	expect("mended", 401, 401, 200)

	s.Configure(t, upstream)
	servertest.Eventually(t, "without the file ww is out", func() bool { return ww.page() == 401 })
}

// TestRecheckOfLocalSessions: only the file decides about a session that began with a
// password, also if the file was removed. The sessions of an SSO service, which have no
// unionId either, depend on the service, with and without a valid token.
func TestRecheckOfLocalSessions(t *testing.T) {
	called := false
	recheck := (server.Accounts{}).Recheck(func(ctx context.Context, s *session.Session) (identity.User, error) {
		called = true
		return s.User, nil
	})
	_, err := recheck(t.Context(), &session.Session{User: identity.User{Username: "zs", Local: true}})
	if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Code != "account_gone" || called {
		t.Errorf("without a file the recheck of an account = %v, called %v; want a refusal of our own", err, called)
	}
	for _, token := range []identity.Token{{Access: "x"}, {}} {
		called = false
		if _, err = recheck(t.Context(), &session.Session{
			User:  identity.User{Username: "zs"},
			Token: token,
		}); err != nil || !called {
			t.Errorf("the recheck of an SSO session with the token %v = %v, called %v", token, err, called)
		}
	}
}
