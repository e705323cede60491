package servertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
)

// WithSSOApp makes dinggate the SSO service of a third party.
func WithSSOApp(p *SSOApp, change ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.SSOServer.Clients = []sso.App{
			{ClientID: p.ID, ClientSecret: conf.NewSecret(p.Secret),
				RedirectURLs: []string{p.CallbackURL(), p.URL + "/callback?tenant=1&code=old"}},
			{ClientID: "other", ClientSecret: conf.NewSecret("other-secret-0123456789"),
				RedirectURLs: []string{"https://other.test/callback"}, AllowQuery: true},
		}
		for _, f := range change {
			f(c)
		}
	}
}

// NewSSO returns an Env that is the SSO service of a third party.
func NewSSO(t testing.TB, change ...func(*config.Config)) (*Env, *SSOApp) {
	p := NewSSOApp(t)
	h := New(t,
		WithSSOApp(p,
			append([]func(*config.Config){func(c *config.Config) { c.DingTalk.Events = false }}, change...)...))
	p.Service = h.URL
	return h, p
}

// StartSSO opens authorize as a third party does, and returns the URL of DingTalk.
func (v *Client) StartSSO(p *SSOApp) string {
	v.T.Helper()
	return v.StartSignIn(p.AuthorizeURL())
}

// Follow follows redirects and returns the first response that is not a redirect.
func (v *Client) Follow(a Response) Response {
	v.T.Helper()
	for range 12 {
		at, err := a.Location()
		if a.StatusCode/100 != 3 || err != nil {
			return a
		}
		a = v.Get(at.String())
	}
	v.T.Fatalf("redirects without end, the last to %s", a.Header.Get("Location"))
	return a
}

// SSOCode makes a signed-in browser return a code to the platform.
func (v *Client) SSOCode(p *SSOApp, more ...string) (code, state string) {
	v.T.Helper()
	a := v.Get(p.AuthorizeURL() + strings.Join(more, ""))
	q := ParseURL(v.T, a.Header.Get("Location")).Query()
	if a.StatusCode != http.StatusFound || q.Get("code") == "" || q.Get("state") == "" {
		v.T.Fatalf("authorize of a signed-in user = %d to %q %s, want 302 with a code", a.StatusCode,
			a.Header.Get("Location"), a.Text)
	}
	return q.Get("code"), q.Get("state")
}

// SSOApp is a platform that was written from the document of the SSO service alone. It
// uses net/http and implements exactly the four documented steps.
type SSOApp struct {
	T            testing.TB
	Service      string // base URL of the SSO service
	ID, Secret   string
	URL          string // of the platform
	mu           sync.Mutex
	tokens       []SSOToken
	LastCallback string
}

// SSOToken is the response of the token endpoint.
type SSOToken struct {
	AccessToken  string `json:"access_token"`
	ExpiryIn     int    `json:"expiry_in"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

// NewSSOApp serves the platform; service and credentials may be set later.
func NewSSOApp(t testing.TB) *SSOApp {
	p := &SSOApp{T: t, ID: "platform", Secret: Canary + "-platform-secret"}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// CallbackURL is the address to which a sign-in of the third party returns.
func (p *SSOApp) CallbackURL() string { return p.URL + "/callback" }

// AuthorizeURL is the address at which a sign-in of the third party begins.
func (p *SSOApp) AuthorizeURL() string {
	return p.Service + "/dingtalk/authorize?redirect_url=" + url.QueryEscape(p.CallbackURL()) + "&client_id=" +
		url.QueryEscape(p.ID)
}

func (p *SSOApp) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/callback" {
		http.Redirect(w, r, p.AuthorizeURL(), http.StatusFound)
		return
	}
	p.mu.Lock()
	p.LastCallback = r.URL.String()
	p.mu.Unlock()
	q := r.URL.Query()
	status, body := p.Token(q.Get("code"), q.Get("state"))
	if status != http.StatusOK {
		http.Error(w, fmt.Sprintf("PLATFORM token %d %s", status, body), http.StatusBadGateway)
		return
	}
	var token SSOToken
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		http.Error(w, "PLATFORM "+err.Error(), http.StatusBadGateway)
		return
	}
	p.mu.Lock()
	p.tokens = append(p.tokens, token)
	p.mu.Unlock()
	status, body = p.UserInfo(token.AccessToken)
	var who struct{ Username, Email string }
	if err := json.Unmarshal([]byte(body), &who); err != nil || status != http.StatusOK {
		http.Error(w, fmt.Sprintf("PLATFORM userinfo %d %s", status, body), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><p id=who>PLATFORM %s %s</p>", who.Username, who.Email)
}

// Token is step 3 exactly: Basic, text/plain, code={{code}}&state={{state}}.
func (p *SSOApp) Token(code, state string) (int, string) {
	return p.Post("code=" + code + "&state=" + state)
}

// Post sends a body to the token endpoint.
func (p *SSOApp) Post(body string) (int, string) { return p.send(p.request(body)) }

func (p *SSOApp) request(body string) *http.Request {
	r, err := http.NewRequest("POST", p.Service+"/dingtalk/token", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.ID+":"+p.Secret)))
	r.Header.Set("Content-Type", "text/plain")
	return r
}

// TryRefresh is Refresh for a service that may be unavailable.
func (p *SSOApp) TryRefresh(token string) (int, string, error) {
	return p.try(p.request("grant_type=refresh_token&refresh_token=" + token))
}

// UserInfo is step 4 exactly: the bare token.
func (p *SSOApp) UserInfo(token string) (int, string) {
	r, err := http.NewRequest("GET", p.Service+"/dingtalk/userinfo", nil)
	if err != nil {
		p.T.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", token)
	return p.send(r)
}

func (p *SSOApp) send(r *http.Request) (int, string) {
	status, body, err := p.try(r)
	if err != nil {
		p.T.Error(err)
	}
	return status, body
}

func (p *SSOApp) try(r *http.Request) (int, string, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// Last returns the tokens of the latest sign-in at the platform.
func (p *SSOApp) Last() SSOToken {
	p.T.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tokens) == 0 {
		p.T.Fatal("the platform got no token")
	}
	return p.tokens[len(p.tokens)-1]
}

// Redeem redeems a code for tokens.
func (p *SSOApp) Redeem(code, state string) SSOToken {
	p.T.Helper()
	status, body := p.Token(code, state)
	return p.Read(status, body)
}

// Read reads the response of a successful token call.
func (p *SSOApp) Read(status int, body string) (token SSOToken) {
	p.T.Helper()
	if err := json.Unmarshal([]byte(body), &token); err != nil || status != http.StatusOK ||
		token.AccessToken == "" || token.RefreshToken == "" {
		p.T.Fatalf("the token call = %d %s, want tokens", status, body)
	}
	return token
}

// Refresh sends a refresh token.
func (p *SSOApp) Refresh(token string) (int, string) {
	return p.Post("grant_type=refresh_token&refresh_token=" + token)
}

// WantDead checks that a token is refused at userinfo and for a refresh.
func (p *SSOApp) WantDead(what string, token SSOToken) {
	p.T.Helper()
	if status, body := p.UserInfo(token.AccessToken); status != 401 {
		p.T.Errorf("%s: userinfo = %d %s, want 401", what, status, body)
	}
	if status, body := p.Refresh(token.RefreshToken); status != 400 || !strings.Contains(body, "invalid_grant") {
		p.T.Errorf("%s: refresh = %d %s, want 400 invalid_grant", what, status, body)
	}
}

// WantAlive checks that userinfo accepts a token.
func (p *SSOApp) WantAlive(what string, token SSOToken) {
	p.T.Helper()
	if status, body := p.UserInfo(token.AccessToken); status != 200 {
		p.T.Errorf("%s: userinfo = %d %s, want 200", what, status, body)
	}
}

// As returns the same platform with another client's credentials.
func (p *SSOApp) As(id, secret string) *SSOApp {
	return &SSOApp{T: p.T, Service: p.Service, URL: p.URL, ID: id, Secret: secret}
}

// NewSSOSignedIn is NewSSO with a client that is signed in as zhangsan.
func NewSSOSignedIn(t *testing.T, change ...func(*config.Config)) (*Env, *SSOApp, *Client) {
	h, p := NewSSO(t, change...)
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	return h, p, v
}
