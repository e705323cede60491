package sso

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"

	"golang.org/x/oauth2"
)

// TestOAuth2Client: Go's own OAuth client redeems a code, opens a route with the token, is
// refused with another client's token, and refreshes by itself (threats T7, T30).
func TestOAuth2Client(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t, servertest.APITokens)
	config := func(id, secret string) *oauth2.Config {
		return &oauth2.Config{ClientID: id, ClientSecret: secret, RedirectURL: p.CallbackURL(),
			Endpoint: oauth2.Endpoint{TokenURL: h.URL + "/dingtalk/token", AuthStyle: oauth2.AuthStyleInHeader}}
	}
	get := func(c *oauth2.Config, token *oauth2.Token) (int, string) {
		t.Helper()
		res, err := c.Client(t.Context(), token).Get(h.URL + "/api/x")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	mine, theirs := config(p.ID, p.Secret), config("other", "other-secret-0123456789")
	code, state := v.SSOCode(p)
	token, err := mine.Exchange(t.Context(), code, oauth2.SetAuthURLParam("state", state))
	if err != nil || token.Type() != "Bearer" || token.RefreshToken == "" {
		t.Fatalf("Exchange = %v, %v", token, err)
	}
	if status, body := get(mine, token); status != 200 || h.Upstream.Last(t).Header.Get("X-Forwarded-User") != "zhangsan" {
		t.Errorf("a route with the token = %d %s, want 200 as zhangsan", status, body)
	}
	_, err = theirs.Exchange(t.Context(), code, oauth2.SetAuthURLParam("state", state))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || refused.ErrorCode != "invalid_grant" {
		t.Errorf("another client's Exchange of the used code = %v, want invalid_grant", err)
	}
	if status, body := get(mine, token); status != 200 {
		t.Errorf("a route afterwards = %d %s, want 200 still", status, body)
	}
	over := *token
	over.Expiry = time.Now().Add(-time.Minute)
	if status, body := get(mine, &over); status != 200 { // it refreshes first
		t.Errorf("a route with a refreshed token = %d %s, want 200", status, body)
	}
	q := servertest.ParseURL(t,
		v.Get(h.URL+
			"/dingtalk/authorize?client_id=other&redirect_url=https://other.test/callback").Header.Get("Location")).
		Query()
	if token, err = theirs.Exchange(t.Context(), q.Get("code"),
		oauth2.SetAuthURLParam("state", q.Get("state"))); err != nil {
		t.Fatal(err)
	}
	if status, body := get(theirs, token); status != 401 || !strings.Contains(body, "invalid_credentials") {
		t.Errorf("a route with a token of a client that is not listed = %d %s, want 401", status, body)
	}
}

// TestCurl checks that the credentials of curl --user do not reach the application of a
// public page, once they cannot be verified any more (threats T31).
func TestCurl(t *testing.T) {
	curl := realtool.Path(t, "curl")
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci")
	h := servertest.New(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	run := func(path, user string) string {
		t.Helper()
		out, err := exec.Command(curl, "--silent", "--max-time", "20", "--write-out", " %{http_code}", "--user", user,
			h.URL+path).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v %s", err, out)
		}
		return string(out)
	}
	for i := range 10 { // the usual limit
		run("/api/x", fmt.Sprint("ci:guess", i))
	}
	if out := run("/api/x", "ci:pw-ci"); !strings.HasSuffix(out, " 429") {
		t.Fatalf("after ten guesses = %s, want 429", out)
	}
	out := run("/public/x", "ci:pw-ci")
	if got := h.Upstream.Last(t); !strings.HasSuffix(out, " 200") || got.URL.Path != "/public/x" ||
		len(got.Header["Authorization"]) > 0 {
		t.Errorf("a public page = %s, the application got %d Authorization headers at %s; want 200 and none", out,
			len(got.Header["Authorization"]), got.URL.Path)
	}
}
