package demo

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

//go:embed oidcapp.html
var oidcPage string

var oidcTemplate = template.Must(template.New("oidcapp").Parse(oidcPage))

const (
	oidcCallback    = "/callback"
	oidcBackchannel = "/backchannel_logout"

	oidcAttemptCookie = "sample_attempt"
	oidcSessionCookie = "sample_session"
	oidcMaxSessions   = 1000
)

// oidcApp is the web application of demo --oidc. It uses coreos/go-oidc, as many
// applications do, and nothing of DingTalk.
type oidcApp struct {
	Issuer, URL, ID, Secret string

	mu       sync.Mutex
	provider *oidc.Provider
	sessions map[string]oidcSession
}

// oidcSession is a session of the application.
type oidcSession struct {
	SID, IDToken, Refresh string
	Claims                map[string]any
}

func (a *oidcApp) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET "+oidcCallback, a.callback)
	mux.HandleFunc("POST /refresh", a.refresh)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST "+oidcBackchannel, a.backchannel)
	return http.NewCrossOriginProtection().Handler(mux)
}

// discover reads the provider's metadata, once.
func (a *oidcApp) discover() (*oidc.Provider, *oauth2.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provider == nil {
		// The provider uses the context to fetch new keys for as long as it exists.
		ctx := oidc.ClientContext(context.Background(), &http.Client{Timeout: 10 * time.Second})
		provider, err := oidc.NewProvider(ctx, a.Issuer)
		if err != nil {
			return nil, nil, err
		}
		a.provider = provider
	}
	return a.provider, &oauth2.Config{
		ClientID:     a.ID,
		ClientSecret: a.Secret,
		Endpoint:     a.provider.Endpoint(),
		RedirectURL:  a.URL + oidcCallback,
		Scopes:       []string{oidc.ScopeOpenID, "profile", "email", "groups", oidc.ScopeOfflineAccess},
	}, nil
}

func (a *oidcApp) home(w http.ResponseWriter, r *http.Request) {
	_, s, _ := a.session(r)
	rows, _ := json.MarshalIndent(s.Claims, "", "  ")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	oidcTemplate.Execute(w, map[string]any{"Claims": s.Claims, "JSON": string(rows), "Issuer": a.Issuer})
}

// login redirects the browser to the provider. A cookie holds what the response must match.
func (a *oidcApp) login(w http.ResponseWriter, r *http.Request) {
	_, config, err := a.discover()
	if err != nil {
		http.Error(w, "the provider cannot be reached: "+err.Error(), http.StatusBadGateway)
		return
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	a.cookie(w, oidcAttemptCookie, strings.Join([]string{state, nonce, verifier}, "."), 600)
	http.Redirect(w, r, config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)),
		http.StatusFound)
}

func (a *oidcApp) callback(w http.ResponseWriter, r *http.Request) {
	s, err := a.redeem(r)
	a.cookie(w, oidcAttemptCookie, "", -1)
	if err != nil {
		http.Error(w, "no sign-in: "+err.Error(), http.StatusForbidden)
		return
	}
	id := rand.Text()
	a.mu.Lock()
	if a.sessions == nil || len(a.sessions) >= oidcMaxSessions {
		a.sessions = map[string]oidcSession{}
	}
	a.sessions[id] = s
	a.mu.Unlock()
	a.cookie(w, oidcSessionCookie, id, 0)
	http.Redirect(w, r, "/", http.StatusFound)
}

// redeem checks the response and exchanges the code.
func (a *oidcApp) redeem(r *http.Request) (s oidcSession, err error) {
	q := r.URL.Query()
	cookie, err := r.Cookie(oidcAttemptCookie)
	if err != nil {
		return s, errors.New("this browser has begun none")
	}
	parts := strings.Split(cookie.Value, ".")
	switch {
	case len(parts) != 3 || q.Get("state") != parts[0]:
		return s, errors.New("state is not that of this browser")
	case q.Get("iss") != a.Issuer: // RFC 9207
		return s, errors.New("the answer is another issuer's")
	case q.Get("error") != "":
		return s, errors.New(q.Get("error") + ": " + q.Get("error_description"))
	}
	provider, config, err := a.discover()
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	token, err := config.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(parts[2]))
	if err != nil {
		return s, err
	}
	return a.verified(ctx, provider, token, parts[1])
}

// verified verifies the ID token of a response of the token endpoint.
func (a *oidcApp) verified(ctx context.Context, p *oidc.Provider, token *oauth2.Token, nonce string) (s oidcSession,
	err error) {
	s.IDToken, _ = token.Extra("id_token").(string)
	id, err := p.Verifier(&oidc.Config{ClientID: a.ID}).Verify(ctx, s.IDToken)
	if err != nil {
		return s, err
	}
	if id.Nonce != nonce {
		return s, errors.New("nonce is not that of this browser")
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		return s, err
	}
	s.Refresh = token.RefreshToken
	if err := id.Claims(&s.Claims); err != nil {
		return s, err
	}
	s.SID, _ = s.Claims["sid"].(string)
	return s, nil
}

// refresh requests new tokens. If the session at the provider has ended, it ends here too.
func (a *oidcApp) refresh(w http.ResponseWriter, r *http.Request) {
	id, s, ok := a.session(r)
	provider, config, err := a.discover()
	if !ok || err != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	var next oidcSession
	token, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	if err == nil {
		next, err = a.verified(ctx, provider, token, "") // without a nonce, for the same person
		if err == nil && next.Claims["sub"] != s.Claims["sub"] {
			err = errors.New("another person's tokens")
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.sessions, id)
	} else if _, still := a.sessions[id]; still {
		a.sessions[id] = next
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends the session here and at the provider (RP-Initiated Logout).
func (a *oidcApp) logout(w http.ResponseWriter, r *http.Request) {
	id, s, ok := a.session(r)
	provider, _, err := a.discover()
	a.cookie(w, oidcSessionCookie, "", -1)
	if !ok || err != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	a.mu.Lock()
	delete(a.sessions, id)
	a.mu.Unlock()
	var at struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&at); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	http.Redirect(w, r, at.EndSession+"?"+url.Values{"id_token_hint": {s.IDToken},
		"post_logout_redirect_uri": {a.URL + "/"}}.Encode(), http.StatusSeeOther)
}

// backchannel ends sessions that ended at the provider (Back-Channel Logout).
func (a *oidcApp) backchannel(w http.ResponseWriter, r *http.Request) {
	provider, _, err := a.discover()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	token, err := provider.Verifier(&oidc.Config{ClientID: a.ID}).VerifyLogout(r.Context(), r.PostFormValue("logout_token"))
	if err != nil || token.SessionID == "" {
		http.Error(w, "no logout token", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.sessions {
		if s.SID == token.SessionID {
			delete(a.sessions, id)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
}

func (a *oidcApp) session(r *http.Request) (id string, s oidcSession, ok bool) {
	cookie, err := r.Cookie(oidcSessionCookie)
	if err != nil {
		return "", s, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok = a.sessions[cookie.Value]
	return cookie.Value, s, ok
}

func (a *oidcApp) cookie(w http.ResponseWriter, name, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}
