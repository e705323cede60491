package clients

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	capoidc "github.com/hashicorp/cap/oidc"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	zoidc "github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

const callback = "http://127.0.0.1:9/callback"

var allScopes = []string{"openid", "profile", "email", "groups", "offline_access"}

type person struct {
	Sub      string   `json:"sub"`
	Name     string   `json:"name"`
	Username string   `json:"preferred_username"`
	Email    string   `json:"email"`
	Groups   []string `json:"groups"`
	SID      string   `json:"sid"`
}

func (p person) check(t *testing.T, what string) {
	t.Helper()
	if p.Sub == "" || p.Name != "张三" || p.Username != "zhangsan" || !strings.Contains(p.Email, "@") ||
		len(p.Groups) == 0 {
		t.Errorf("%s: %+v", what, p)
	}
}

// TestGoOIDC is coreos/go-oidc with golang.org/x/oauth2, as Argo CD, Kubernetes and
// Vault are built on it.
func TestGoOIDC(t *testing.T) {
	e, seen := open(t, callback), row(t, "coreos/go-oidc, golang.org/x/oauth2")
	ctx := t.Context()
	provider, err := oidc.NewProvider(ctx, e.issuer)
	if err != nil {
		t.Fatal(err)
	}
	conf := oauth2.Config{
		ClientID:     clientID,
		ClientSecret: clientSecret,
		Endpoint:     provider.Endpoint(),
		RedirectURL:  callback,
		Scopes:       allScopes,
	}
	b := e.browser("zhangsan")
	verifier := oauth2.GenerateVerifier()
	at, _ := b.visit(conf.AuthCodeURL("S", oidc.Nonce("N"), oauth2.S256ChallengeOption(verifier)), callback)
	q := at.Query()
	if q.Get("state") != "S" || q.Get("iss") != e.issuer {
		t.Fatalf("back with %v", q)
	}
	if _, err := conf.Exchange(ctx, q.Get("code")); err == nil {
		t.Errorf("without the verifier there are tokens")
	}
	token, err := conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: clientID}).Verify(ctx, raw)
	if err != nil || id.Nonce != "N" {
		t.Fatalf("ID token: %v, nonce %q", err, id.Nonce)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	var who person
	id.Claims(&who)
	who.check(t, "ID token")
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != id.Subject {
		t.Fatalf("userinfo: %v", err)
	}
	var claims person
	info.Claims(&claims)
	claims.check(t, "userinfo")
	if _, err := provider.Verifier(&oidc.Config{ClientID: "another"}).Verify(ctx, raw); err == nil {
		t.Errorf("another client takes the ID token")
	}
	again, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if err != nil || again.RefreshToken == token.RefreshToken {
		t.Errorf("refresh: %v", err)
	}
	if _, err := conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Errorf("the code works twice")
	}
	if _, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(again)); err == nil {
		t.Errorf("after the reuse the tokens live")
	}
	wrong := conf
	wrong.ClientSecret = "wrong"
	at, _ = b.visit(conf.AuthCodeURL("S"), callback)
	if _, err := wrong.Exchange(ctx, at.Query().Get("code")); err == nil ||
		!strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("with a wrong secret: %v", err)
	}
	if _, page := b.visit(strings.Replace(conf.AuthCodeURL("S"), url.QueryEscape(callback),
		url.QueryEscape(callback+"/x"), 1), ""); !strings.Contains(page, "oidc_redirect") {
		t.Errorf("a wrong redirect_uri: %s", page)
	}
	signOutGoOIDC(t, b, provider, conf)
	seen.ok(features...)
}

// signOutGoOIDC: who signs out is out of the application's tokens at once.
func signOutGoOIDC(t *testing.T, b *browser, provider *oidc.Provider, conf oauth2.Config) {
	t.Helper()
	ctx := t.Context()
	at, _ := b.visit(conf.AuthCodeURL("S"), callback)
	token, err := conf.Exchange(ctx, at.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	provider.Claims(&metadata)
	out := metadata.EndSession + "?" +
		url.Values{"id_token_hint": {token.Extra("id_token").(string)}, "post_logout_redirect_uri": {callback},
			"state": {"bye"}}.Encode()
	if at, _ := b.visit(out, callback); at.Query().Get("state") != "bye" {
		t.Errorf("after the sign-out: %v", at)
	}
	if _, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); err == nil {
		t.Errorf("after the sign-out there are new tokens")
	}
	if _, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token)); err == nil {
		t.Errorf("after the sign-out the access token lives")
	}
	if at, _ := b.visit(conf.AuthCodeURL("S", oauth2.SetAuthURLParam("prompt", "none")),
		callback); at.Query().Get("error") != "login_required" {
		t.Errorf("prompt=none after the sign-out: %v", at.Query())
	}
}

// TestDeviceOAuth2 is the device flow of golang.org/x/oauth2, as kubelogin has it.
func TestDeviceOAuth2(t *testing.T) {
	e, seen := open(t, callback), row(t, "golang.org/x/oauth2, RFC 8628")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, e.issuer)
	if err != nil {
		t.Fatal(err)
	}
	conf := oauth2.Config{ClientID: publicID, Endpoint: provider.Endpoint(), Scopes: allScopes}
	d, err := conf.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b := e.browser("zhangsan")
	_, page := b.visit(d.VerificationURIComplete, "")
	if !strings.Contains(page, publicID) || !strings.Contains(page, d.UserCode) {
		t.Fatalf("the page: %s", page)
	}
	b.submit(page, e.issuer, "decision", "allow")
	token, err := conf.DeviceAccessToken(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: publicID}).Verify(ctx,
		token.Extra("id_token").(string)); err != nil {
		t.Errorf("ID token: %v", err)
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	var who person
	info.Claims(&who)
	who.check(t, "userinfo")
	if _, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); err != nil {
		t.Errorf("refresh: %v", err)
	}
	wrong := conf
	wrong.ClientID = "unknown"
	if _, err := wrong.DeviceAuth(ctx); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("an unknown client: %v", err)
	}
	seen.ok("discovery", "userinfo", "groups", "refresh", "wrong")
}

// TestCap is hashicorp/cap, the client of Vault and Boundary.
func TestCap(t *testing.T) {
	e, seen := open(t, callback), row(t, "hashicorp/cap")
	ctx := t.Context()
	config, err := capoidc.NewConfig(e.issuer, clientID, capoidc.ClientSecret(clientSecret),
		[]capoidc.Alg{capoidc.RS256}, []string{callback})
	if err != nil {
		t.Fatal(err)
	}
	p, err := capoidc.NewProvider(config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Done()
	verifier, err := capoidc.NewCodeVerifier()
	if err != nil {
		t.Fatal(err)
	}
	request, err := capoidc.NewRequest(time.Minute, callback,
		capoidc.WithScopes("profile", "email", "groups", "offline_access"), capoidc.WithPKCE(verifier))
	if err != nil {
		t.Fatal(err)
	}
	address, err := p.AuthURL(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := e.browser("zhangsan").visit(address, callback)
	token, err := p.Exchange(ctx, request, at.Query().Get("state"), at.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	var id, info person
	if err := token.IDToken().Claims(&id); err != nil {
		t.Fatal(err)
	}
	id.check(t, "ID token")
	if err := p.UserInfo(ctx, token.StaticTokenSource(), id.Sub, &info); err != nil {
		t.Fatal(err)
	}
	info.check(t, "userinfo")
	if _, err := p.Exchange(ctx, request, "another", at.Query().Get("code")); err == nil {
		t.Errorf("another state is taken")
	}
	config.ClientSecret = "wrong"
	if _, err := p.Exchange(ctx, request, at.Query().Get("state"), at.Query().Get("code")); err == nil {
		t.Errorf("a wrong secret is taken")
	}
	seen.ok("discovery", "pkce", "nonce", "userinfo", "groups", "wrong")
}

// nonceOf is where a context has the nonce that is expected: a refresh has none.
type nonceOf struct{}

// TestZitadelRP is the relying party of zitadel/oidc.
func TestZitadelRP(t *testing.T) {
	e, seen := open(t, callback), row(t, "zitadel/oidc, `rp`")
	ctx := t.Context()
	nonce := rp.WithVerifierOpts(rp.WithNonce(func(ctx context.Context) string {
		nonce, _ := ctx.Value(nonceOf{}).(string)
		return nonce
	}))
	party, err := rp.NewRelyingPartyOIDC(ctx, e.issuer, clientID, clientSecret, callback, allScopes, nonce)
	if err != nil {
		t.Fatal(err)
	}
	verifier := oauth2.GenerateVerifier()
	b := e.browser("zhangsan")
	exchange := func(party rp.RelyingParty, expected string) (*zoidc.Tokens[*zoidc.IDTokenClaims], error) {
		ctx := context.WithValue(ctx, nonceOf{}, expected)
		at, _ := b.visit(rp.AuthURL("S", party, rp.WithCodeChallenge(oauth2.S256ChallengeFromVerifier(verifier)),
			rp.AuthURLOpt(rp.WithURLParam("nonce", "N"))), callback)
		return rp.CodeExchange[*zoidc.IDTokenClaims](ctx, at.Query().Get("code"), party, rp.WithCodeVerifier(verifier))
	}
	if _, err := exchange(party, "another"); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("another nonce: %v", err)
	}
	tokens, err := exchange(party, "N")
	if err != nil {
		t.Fatal(err)
	}
	if groups, _ := tokens.IDTokenClaims.Claims["groups"].([]any); !slices.Contains(groups, any("主管")) {
		t.Errorf("groups = %v", groups)
	}
	info, err := rp.Userinfo[*zoidc.UserInfo](ctx, tokens.AccessToken, "Bearer", tokens.IDTokenClaims.Subject, party)
	if err != nil || info.Name != "张三" || info.PreferredUsername != "zhangsan" {
		t.Fatalf("userinfo: %+v, %v", info, err)
	}
	again, err := rp.RefreshTokens[*zoidc.IDTokenClaims](ctx, party, tokens.RefreshToken, "", "")
	if err != nil || again.IDTokenClaims.Subject != tokens.IDTokenClaims.Subject {
		t.Fatalf("refresh: %v", err)
	}
	if err := rp.RevokeToken(ctx, party, again.RefreshToken, "refresh_token"); err != nil {
		t.Errorf("revocation: %v", err)
	}
	if _, err := rp.RefreshTokens[*zoidc.IDTokenClaims](ctx, party, again.RefreshToken, "", ""); err == nil {
		t.Errorf("after the revocation there are new tokens")
	}
	tokens, err = exchange(party, "N")
	if err != nil {
		t.Fatal(err)
	}
	to, err := rp.EndSession(ctx, party, tokens.IDToken, callback, "bye", "", nil)
	if err != nil || to == nil {
		t.Fatalf("end session: %v", err)
	}
	if !strings.HasPrefix(to.String(), callback) {
		t.Errorf("end session leads to %s", to)
	}
	if _, err := rp.RefreshTokens[*zoidc.IDTokenClaims](ctx, party, tokens.RefreshToken, "", ""); err != nil {
		t.Errorf("a call without the person's browser ended the session: %v", err)
	}
	out := url.Values{"id_token_hint": {tokens.IDToken}, "post_logout_redirect_uri": {callback}, "state": {"bye"}}
	if at, _ := b.visit(party.GetEndSessionEndpoint()+"?"+out.Encode(), callback); at.Query().Get("state") != "bye" {
		t.Errorf("after the sign-out: %v", at)
	}
	if _, err := rp.RefreshTokens[*zoidc.IDTokenClaims](ctx, party, tokens.RefreshToken, "", ""); err == nil {
		t.Errorf("after the sign-out there are new tokens")
	}
	wrong, err := rp.NewRelyingPartyOIDC(ctx, e.issuer, clientID, "wrong", callback, allScopes, nonce)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(wrong, "N"); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("with a wrong secret: %v", err)
	}
	seen.ok(features...)
}

// TestDiscovery is what every client reads first.
func TestDiscovery(t *testing.T) {
	e := open(t, callback)
	res, err := http.Get(e.issuer + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var m map[string]any
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || m["issuer"] != e.issuer {
		t.Fatalf("metadata: %v, %v", m, err)
	}
	var scopes []string
	for _, s := range m["scopes_supported"].([]any) {
		scopes = append(scopes, s.(string))
	}
	if !slices.Equal(scopes, allScopes) {
		t.Errorf("scopes_supported = %v", scopes)
	}
}
