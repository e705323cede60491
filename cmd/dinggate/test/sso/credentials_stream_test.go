package sso

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"

	"github.com/coder/websocket"
)

// TestStreamsEndWithTheirCredential checks that streams end when their credential ends,
// and not before (threats W2). From that moment on the token is refused.
func TestStreamsEndWithTheirCredential(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, p, v := servertest.NewSSOSignedIn(t, servertest.StreamRoutes(t), servertest.APITokens)
	other := h.NewClient()
	other.SignIn(h.URL+"/", "lisi")
	stays := servertest.OpenStreams(ctx, t, h.URL, bearer+p.Redeem(other.SSOCode(p)).AccessToken)
	for _, tt := range []struct {
		how string
		end func(token servertest.SSOToken, code, state string)
	}{
		{"a refresh token used twice", func(token servertest.SSOToken, _, _ string) {
			p.Refresh(token.RefreshToken)
			p.Refresh(token.RefreshToken)
		}},
		{"a code used twice", func(_ servertest.SSOToken, code, state string) { p.Token(code, state) }},
		{"a sign-out", func(servertest.SSOToken, string, string) {
			v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
		}},
	} {
		code, state := v.SSOCode(p)
		token := p.Redeem(code, state)
		open := servertest.OpenStreams(ctx, t, h.URL, bearer+token.AccessToken)
		open.Alive(ctx, t, tt.how)
		tt.end(token, code, state)
		servertest.WantRefusedAPI(t, "a page after "+tt.how, h.NewClient().Get(h.URL+"/api/x", bearer+token.AccessToken))
		open.Gone(ctx, t, tt.how)
		stays.Alive(ctx, t, tt.how+" of another")
	}
}

// TestStreamsEndWithTheServicesWord: behind a service a token's streams end when userinfo
// refuses the token, and continue during session.grace while the service is unavailable.
func TestStreamsEndWithTheServicesWord(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, s := servertest.NewBehindService(t, servertest.StreamRoutes(t),
		servertest.APITokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.AddToken("first", "zhangsan")
	s.AddToken("second", "lisi")
	first, second := servertest.OpenStreams(ctx, t, h.URL, bearer+"first"), servertest.OpenStreams(ctx, t, h.URL, bearer+"second")
	s.AnswerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	before := s.UserInfos.Load()
	servertest.Eventually(t, "calls while the service is away", func() bool { return s.UserInfos.Load() > before+1 })
	first.Alive(ctx, t, "while the service is away")
	second.Alive(ctx, t, "while the service is away")
	s.Revoke("zhangsan")
	s.AnswerUser.Store((func(http.ResponseWriter))(nil))
	first.Gone(ctx, t, "after the service took the token back")
	second.Alive(ctx, t, "another's token taken back")
}

// TestStreamsEndWithTheirPassword checks that the streams of a password end when the
// account's password changes.
func TestStreamsEndWithTheirPassword(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci", "cd")
	h := servertest.New(t, func(c *config.Config) {
		servertest.StreamRoutes(t)(c)
		c.APITokens, c.Accounts.HtpasswdFile = true, file
	})
	gone, stays := servertest.OpenStreams(ctx, t, h.URL, servertest.BasicAuth("ci",
		"pw-ci")), servertest.OpenStreams(ctx, t, h.URL, servertest.BasicAuth("cd", "pw-cd"))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.Join(strings.Split(string(text), "\n")[1:], "\n")
	if err := os.WriteFile(file, []byte(rest), 0o600); err != nil {
		t.Fatal(err)
	}
	gone.Gone(ctx, t, "after the account is gone")
	stays.Alive(ctx, t, "another account is gone")
}

// TestStreamsEndOverRedis checks that a token that one replica revokes is refused at the
// other one, and that its open WebSocket there ends.
func TestStreamsEndOverRedis(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	redis, app := realtool.StartRedis(t), servertest.TickingUpstream(t)
	f, p := ssoFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://"+redis.Addr,
		"DINGGATE_API_TOKENS=true", "DINGGATE_API_TOKEN_CLIENTS=platform")
	one, two := f.Replica("DINGGATE_UPSTREAM="+app.URL), f.Replica("DINGGATE_UPSTREAM="+app.URL)
	c := f.NewClient(one)
	at := func(r *servertest.Program, token servertest.SSOToken) int {
		q, err := http.NewRequestWithContext(ctx, "GET", r.Public+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = strings.TrimPrefix(servertest.FleetURL, "http://")
		q.Header.Set("Authorization", "Bearer "+token.AccessToken)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for i := range 2 {
		token := atReplica(p, one).Redeem(codeAt(c, p, one))
		dial := f.NewClient(two)
		ws, res, err := websocket.Dial(ctx,
			servertest.FleetURL+"/ws", &websocket.DialOptions{
				HTTPClient: dial.HTTP,
				HTTPHeader: http.Header{"Authorization": {"Bearer " + token.AccessToken}},
			})
		if err != nil {
			t.Fatalf("WebSocket: %v %v\n%s", res, err, two.Log)
		}
		if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
			t.Fatalf("WebSocket: %q %v", hello, err)
		}
		atReplica(p, one).Refresh(token.RefreshToken)
		atReplica(p, one).Refresh(token.RefreshToken)
		if status := at(one, token); status != 401 {
			t.Errorf("round %d: the token where it was taken back = %d, want 401 at once", i, status)
		}
		servertest.Eventually(t,
			fmt.Sprint("the token at the other replica, round ", i), func() bool { return at(two, token) == 401 })
		if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("round %d: the WebSocket at the other replica is open: %v", i, err)
		}
		ws.CloseNow()
	}
}
