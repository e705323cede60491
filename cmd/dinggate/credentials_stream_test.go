package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/realtool"

	"github.com/coder/websocket"
)

// withStreams lets /ws and /events lead to an application with both.
func withStreams(t *testing.T) func(*config.Config) {
	app := ticking(t)
	return func(c *config.Config) {
		for _, path := range []string{"/events", "/ws"} {
			r := config.DefaultRoute()
			r.Path, r.Upstream = path, app.URL
			c.Routes = append([]config.Route{r}, c.Routes...)
		}
	}
}

// opensWith opens a WebSocket and an event stream with a credential.
func opensWith(ctx context.Context, t *testing.T, base, line string) *streams {
	t.Helper()
	name, value, _ := strings.Cut(line, ": ")
	ws, res, err := websocket.Dial(ctx, base+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{name: {value}}})
	if err != nil {
		t.Fatalf("WebSocket: %v %v", res, err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(name, value)
	events, err := http.DefaultClient.Do(r)
	if err != nil || events.StatusCode != 200 {
		t.Fatalf("event stream: %v %v", events, err)
	}
	t.Cleanup(func() { events.Body.Close() })
	if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
		t.Fatalf("WebSocket: %q %v", hello, err)
	}
	return &streams{ws, events, bufio.NewReader(events.Body)}
}

// TestStreamsEndWithTheirCredential: what a credential opened ends when the
// credential does, and not before (threats W2); the token opens nothing from that
// moment on.
func TestStreamsEndWithTheirCredential(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, p, v := signedIn(t, withStreams(t), apiTokens)
	other := h.visitor()
	other.signIn(h.base+"/", "lisi")
	stays := opensWith(ctx, t, h.base, bearer+p.redeem(other.codeFor(p)).AccessToken)
	for _, tt := range []struct {
		how string
		end func(token platformToken, code, state string)
	}{
		{"a refresh token used twice", func(token platformToken, _, _ string) {
			p.refresh(token.RefreshToken)
			p.refresh(token.RefreshToken)
		}},
		{"a code used twice", func(_ platformToken, code, state string) { p.token(code, state) }},
		{"a sign-out", func(platformToken, string, string) {
			v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
		}},
	} {
		code, state := v.codeFor(p)
		token := p.redeem(code, state)
		open := opensWith(ctx, t, h.base, bearer+token.AccessToken)
		open.alive(ctx, t, tt.how)
		tt.end(token, code, state)
		refusedAPI(t, "a page after "+tt.how, h.visitor().get(h.base+"/api/x", bearer+token.AccessToken))
		open.gone(ctx, t, tt.how)
		stays.alive(ctx, t, tt.how+" of another")
	}
}

// TestStreamsEndWithTheServicesWord: behind a service a token's streams end when
// userinfo takes it no more, and go on while the service is away, for
// session.grace.
func TestStreamsEndWithTheServicesWord(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, s := behindService(t, withStreams(t),
		apiTokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.knows("first", "zhangsan")
	s.knows("second", "lisi")
	first, second := opensWith(ctx, t, h.base, bearer+"first"), opensWith(ctx, t, h.base, bearer+"second")
	s.answerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	asked := s.userinfos.Load()
	waitFor(t, "questions while the service is away", func() bool { return s.userinfos.Load() > asked+1 })
	first.alive(ctx, t, "while the service is away")
	second.alive(ctx, t, "while the service is away")
	s.revoke("zhangsan")
	s.answerUser.Store((func(http.ResponseWriter))(nil))
	first.gone(ctx, t, "after the service took the token back")
	second.alive(ctx, t, "another's token taken back")
}

// TestStreamsEndWithTheirPassword: a password's streams end when the account has
// another one.
func TestStreamsEndWithTheirPassword(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci", "cd")
	h := newTestEnv(t, func(c *config.Config) {
		withStreams(t)(c)
		c.APITokens, c.Accounts.HtpasswdFile = true, file
	})
	gone, stays := opensWith(ctx, t, h.base, basic("ci", "pw-ci")), opensWith(ctx, t, h.base, basic("cd", "pw-cd"))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kept := strings.Join(strings.Split(string(text), "\n")[1:], "\n")
	if err := os.WriteFile(file, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	gone.gone(ctx, t, "after the account is gone")
	stays.alive(ctx, t, "another account is gone")
}

// TestStreamsEndOverRedis: a token that one replica takes back opens nothing at the
// other, and its open WebSocket there ends.
func TestStreamsEndOverRedis(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	redis, app := realtool.StartRedis(t), ticking(t)
	f, p := ssoFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://"+redis.Addr,
		"DINGGATE_API_TOKENS=true", "DINGGATE_API_TOKEN_CLIENTS=platform")
	one, two := f.replica("DINGGATE_UPSTREAM="+app.URL), f.replica("DINGGATE_UPSTREAM="+app.URL)
	c := f.caller(one)
	at := func(r *program, token platformToken) int {
		q, err := http.NewRequestWithContext(ctx, "GET", r.gate+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = strings.TrimPrefix(fleetURL, "http://")
		q.Header.Set("Authorization", "Bearer "+token.AccessToken)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for i := range 2 {
		token := p.at(one).redeem(c.code(p, one))
		dial := f.caller(two)
		ws, res, err := websocket.Dial(ctx,
			fleetURL+"/ws", &websocket.DialOptions{
				HTTPClient: dial.client,
				HTTPHeader: http.Header{"Authorization": {"Bearer " + token.AccessToken}},
			})
		if err != nil {
			t.Fatalf("WebSocket: %v %v\n%s", res, err, two.log)
		}
		if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
			t.Fatalf("WebSocket: %q %v", hello, err)
		}
		p.at(one).refresh(token.RefreshToken)
		p.at(one).refresh(token.RefreshToken)
		if status := at(one, token); status != 401 {
			t.Errorf("round %d: the token where it was taken back = %d, want 401 at once", i, status)
		}
		eventually(t,
			fmt.Sprint("the token at the other replica, round ", i), func() bool { return at(two, token) == 401 })
		if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("round %d: the WebSocket at the other replica is open: %v", i, err)
		}
		ws.CloseNow()
	}
}
