package main

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
)

// thirdParty is a platform that was written from the document of the SSO
// service alone: net/http, the four steps as they stand there, nothing else.
type thirdParty struct {
	t            testing.TB
	service      string // base URL of the SSO service
	id, secret   string
	base         string // of the platform
	mu           sync.Mutex
	tokens       []platformToken
	lastCallback string
}

type platformToken struct {
	AccessToken  string `json:"access_token"`
	ExpiryIn     int    `json:"expiry_in"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

// newThirdParty serves the platform; service and credentials may be set later.
func newThirdParty(t testing.TB) *thirdParty {
	p := &thirdParty{t: t, id: "platform", secret: canary + "-platform-secret"}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.base = server.URL
	return p
}

func (p *thirdParty) callback() string { return p.base + "/callback" }

func (p *thirdParty) authorize() string {
	return p.service + "/dingtalk/authorize?redirect_url=" + url.QueryEscape(p.callback()) + "&client_id=" +
		url.QueryEscape(p.id)
}

func (p *thirdParty) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/callback" {
		http.Redirect(w, r, p.authorize(), http.StatusFound)
		return
	}
	p.mu.Lock()
	p.lastCallback = r.URL.String()
	p.mu.Unlock()
	q := r.URL.Query()
	status, body := p.token(q.Get("code"), q.Get("state"))
	if status != http.StatusOK {
		http.Error(w, fmt.Sprintf("PLATFORM token %d %s", status, body), http.StatusBadGateway)
		return
	}
	var token platformToken
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		http.Error(w, "PLATFORM "+err.Error(), http.StatusBadGateway)
		return
	}
	p.mu.Lock()
	p.tokens = append(p.tokens, token)
	p.mu.Unlock()
	status, body = p.userinfo(token.AccessToken)
	var who struct{ Username, Email string }
	if err := json.Unmarshal([]byte(body), &who); err != nil || status != http.StatusOK {
		http.Error(w, fmt.Sprintf("PLATFORM userinfo %d %s", status, body), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><p id=who>PLATFORM %s %s</p>", who.Username, who.Email)
}

// token is step 3 to the letter: Basic, text/plain, code={{code}}&state={{state}}.
func (p *thirdParty) token(code, state string) (int, string) {
	return p.post("code=" + code + "&state=" + state)
}

func (p *thirdParty) post(body string) (int, string) { return p.send(p.request(body)) }

func (p *thirdParty) request(body string) *http.Request {
	r, err := http.NewRequest("POST", p.service+"/dingtalk/token", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.id+":"+p.secret)))
	r.Header.Set("Content-Type", "text/plain")
	return r
}

// tryRefresh is a refresh whose service may be gone.
func (p *thirdParty) tryRefresh(token string) (int, string, error) {
	return p.try(p.request("grant_type=refresh_token&refresh_token=" + token))
}

// userinfo is step 4 to the letter: the bare token.
func (p *thirdParty) userinfo(token string) (int, string) {
	r, err := http.NewRequest("GET", p.service+"/dingtalk/userinfo", nil)
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", token)
	return p.send(r)
}

func (p *thirdParty) send(r *http.Request) (int, string) {
	status, body, err := p.try(r)
	if err != nil {
		p.t.Error(err)
	}
	return status, body
}

func (p *thirdParty) try(r *http.Request) (int, string, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// last is what the platform got at the newest sign-in.
func (p *thirdParty) last() platformToken {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tokens) == 0 {
		p.t.Fatal("the platform got no token")
	}
	return p.tokens[len(p.tokens)-1]
}
