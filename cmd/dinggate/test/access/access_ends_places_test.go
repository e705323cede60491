package access

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/oidc"
	"dinggate/proxy/access"
)

// endPlaces are the places where a person can have access that ends, in the order of the
// pages.
var endPlaces = []string{"page", "WebSocket", "SSE", "gateway", "SSO token", "OIDC", "grant"}

// insider is one person, zhaoliu, with access in every place, and wangwu, whose access
// continues.
type insider struct {
	h        *servertest.Env
	p        *servertest.SSOApp
	v        *servertest.Client
	stays    *servertest.Client
	approver *servertest.Client // lisi
	boss     *servertest.Client // zhangsan, who uses the console
	token    servertest.SSOToken
	access   string // of OpenID Connect
	refresh  string
	streams  *servertest.Streams
	cookie   string // as a header line

	checkEnvoy func(peer, host, path, header string) string
}

// ruled sets the rule of every route to the application, and of the OpenID Connect client.
func ruled(c *config.Config, rule *access.RuleConfig) {
	routes := make([]config.Route, len(c.Routes))
	copy(routes, c.Routes)
	for i := range routes {
		if path := routes[i].Path; path == "/" || path == "/ws" || path == "/events" {
			routes[i].Access = rule
		}
	}
	c.Routes = routes
	clients := make([]oidc.ClientConfig, len(c.OIDC.Clients))
	copy(clients, c.OIDC.Clients)
	for i := range clients {
		clients[i].Access = rule
	}
	c.OIDC.Clients = clients
}

// newInsider signs all of them in; change alters the configuration.
func newInsider(ctx context.Context, t *testing.T, change func(*config.Config), bound bool) *insider {
	t.Helper()
	p := servertest.NewSSOApp(t)
	h := servertest.New(t, func(c *config.Config) {
		servertest.StreamRoutes(t)(c)
		servertest.AccessRequests(c)
		servertest.Administrators(c)
		c.SSOServer.Clients = []sso.App{
			{ClientID: p.ID, ClientSecret: conf.NewSecret(p.Secret), RedirectURLs: []string{p.CallbackURL()}},
		}
		c.OIDC.Clients = []oidc.ClientConfig{
			{ClientID: "app", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{"http://127.0.0.1/back"}},
		}
		change(c)
	})
	p.Service = h.URL
	if err := h.Platform.WaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	in := &insider{h: h, p: p, v: h.NewClient(), stays: h.NewClient(), approver: h.NewClient(), boss: h.NewClient()}
	if bound {
		who, _ := h.Platform.Who("zhaoliu")
		done(t, h.Stores.Bindings.Add(ctx, account.Binding{UnionID: who.UnionID, Username: "zs"}))
	}
	in.v.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhaoliu")
	in.stays.SignIn(h.URL+"/oauth2/start?rd=%2F", "wangwu")
	in.approver.SignIn(h.URL+"/oauth2/start?rd=%2F", "lisi")
	in.boss.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhangsan")
	request := in.v.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"x"}, "for": {"4h0m0s"}})
	in.approver.Submit(h.URL+request.Header.Get("Location"), url.Values{"decision": {"approve"}})
	in.token = p.Redeem(in.v.SSOCode(p))
	in.connect(t)
	in.cookie = "Cookie: dinggate=" + servertest.SessionCookie(t, in.v, h)
	in.checkEnvoy = servertest.NewEnvoyClient(t, h)
	in.streams = servertest.OpenStreams(ctx, t, h.URL, in.cookie)
	for _, place := range endPlaces {
		if in.ended(place) != nil && in.ended(place)() {
			t.Fatalf("%s: is over before anything happened", place)
		}
	}
	return in
}

// connect signs in with OpenID Connect.
func (in *insider) connect(t *testing.T) {
	t.Helper()
	const back = "http://127.0.0.1/back"
	a := in.v.Get(in.h.URL + "/oidc/authorize?" + url.Values{"client_id": {"app"}, "response_type": {"code"},
		"scope": {"openid email offline_access"}, "redirect_uri": {back}, "state": {"s"}, "nonce": {"n"}}.Encode())
	code := servertest.ParseURL(t, a.Header.Get("Location")).Query().Get("code")
	if code == "" || !in.redeems(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}}) {
		t.Fatalf("OpenID Connect = %d to %q %s", a.StatusCode, a.Header.Get("Location"), a.Text)
	}
}

// redeems calls the token endpoint and stores the tokens.
func (in *insider) redeems(form url.Values) bool {
	a := in.h.NewClient().Submit(in.h.URL+"/oidc/token", form, servertest.BasicAuth("app", servertest.OIDCSecret))
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if a.StatusCode != http.StatusOK || json.Unmarshal([]byte(a.Text), &got) != nil || got.Refresh == "" {
		return false
	}
	in.access, in.refresh = got.Access, got.Refresh
	return true
}

// ended returns a func that reports whether access has ended in a place; nil for open
// streams.
func (in *insider) ended(place string) func() bool {
	h := in.h
	switch place {
	case "page":
		return func() bool { return in.v.Get(h.URL+"/x").StatusCode != http.StatusOK }
	case "gateway":
		return func() bool {
			for _, passes := range in.subrequests() {
				if passes {
					return false
				}
			}
			return true
		}
	case "SSO token":
		return func() bool { status, _ := in.p.UserInfo(in.token.AccessToken); return status != http.StatusOK }
	case "OIDC":
		return func() bool {
			userinfo := h.NewClient().Get(h.URL+"/oidc/userinfo", "Authorization: Bearer "+in.access)
			renewed := in.redeems(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {in.refresh}})
			return userinfo.StatusCode != http.StatusOK && !renewed
		}
	case "grant":
		return func() bool { return in.v.Get(h.URL+"/admin/x").StatusCode != http.StatusOK }
	}
	return nil
}

// until measures how long access lasts in each place, up to the given time.
func (in *insider) until(ctx context.Context, places []string, most time.Duration) map[string]time.Duration {
	began := time.Now()
	took := map[string]time.Duration{}
	type end struct {
		place string
		after time.Duration
	}
	ends := make(chan end, 2)
	waits := map[string]bool{}
	for _, place := range places {
		waits[place] = true
	}
	go func() {
		for {
			if _, _, err := in.streams.WebSocket.Read(ctx); err != nil {
				ends <- end{"WebSocket", time.Since(began)}
				return
			}
		}
	}()
	go func(lines *bufio.Reader) {
		io.Copy(io.Discard, lines)
		ends <- end{"SSE", time.Since(began)}
	}(in.streams.Lines)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for len(waits) > 0 && time.Since(began) < most {
		for place := range waits {
			if over := in.ended(place); over != nil && over() {
				took[place] = time.Since(began)
				delete(waits, place)
			}
		}
		select {
		case e := <-ends:
			if waits[e.place] {
				took[e.place] = e.after
				delete(waits, e.place)
			}
		case <-again.C:
		case <-ctx.Done():
			return took
		}
	}
	return took
}

// unbinds removes a binding as `dinggate bindings remove` does.
func (in *insider) unbinds(t *testing.T, name string) {
	t.Helper()
	w := httptest.NewRecorder()
	in.desk().ServeHTTP(w, httptest.NewRequest("DELETE", "/bindings?name="+name, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("removing the binding = %d %s", w.Code, w.Body)
	}
}
