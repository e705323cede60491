package oidc

import (
	"net/http"
	"slices"

	"dinggate/internal/web"
	"dinggate/oidc/keys"
)

// Scopes that are known; each is harmless.
const (
	scopeOpenID  = "openid"
	scopeProfile = "profile"
	scopeEmail   = "email"
	scopeGroups  = "groups"
	scopeOffline = "offline_access"
)

var (
	// new ones at the end: access tokens contain the places
	scopes     = []string{scopeOpenID, scopeProfile, scopeEmail, scopeGroups, scopeOffline}
	claimNames = []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "sid",
		"name", "preferred_username", "username", "email", "email_verified", "groups"}
)

// scopeBits encodes scopes for grant.Terms, by their places in scopes.
func scopeBits(list []string) (bits byte) {
	for i, s := range scopes {
		if slices.Contains(list, s) {
			bits |= 1 << i
		}
	}
	return bits
}

func scopesOf(bits byte) (list []string) {
	for i, s := range scopes {
		if bits&(1<<i) != 0 {
			list = append(list, s)
		}
	}
	return list
}

// metadata is the provider's description (OpenID Connect Discovery, RFC 8414).
type metadata struct {
	addresses
	capabilities
}

type addresses struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Userinfo      string `json:"userinfo_endpoint"`
	JWKS          string `json:"jwks_uri"`
	Revocation    string `json:"revocation_endpoint"`
	Introspection string `json:"introspection_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
	Device        string `json:"device_authorization_endpoint"`
}

type capabilities struct {
	Scopes             []string `json:"scopes_supported"`
	ResponseTypes      []string `json:"response_types_supported"`
	ResponseModes      []string `json:"response_modes_supported"`
	GrantTypes         []string `json:"grant_types_supported"`
	Subjects           []string `json:"subject_types_supported"`
	Algorithms         []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth          []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth     []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuth  []string `json:"introspection_endpoint_auth_methods_supported"`
	Claims             []string `json:"claims_supported"`
	PKCE               []string `json:"code_challenge_methods_supported"`
	Prompts            []string `json:"prompt_values_supported"`
	Locales            []string `json:"ui_locales_supported"`
	ACR                []string `json:"acr_values_supported"`
	ClaimsParameter    bool     `json:"claims_parameter_supported"`
	Request            bool     `json:"request_parameter_supported"`
	RequestURI         bool     `json:"request_uri_parameter_supported"`
	Iss                bool     `json:"authorization_response_iss_parameter_supported"`
	Backchannel        bool     `json:"backchannel_logout_supported"`
	BackchannelSession bool     `json:"backchannel_logout_session_supported"`
}

// Discovery answers with the provider's metadata, at both well-known addresses (OpenID Connect
// Discovery, RFC 8414).
func (p *Provider) Discovery(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return methodNotAllowed("GET, HEAD")
	}
	auth := []string{"client_secret_basic", "client_secret_post", "none"}
	web.From(w).Endpoint = "oidc_discovery"
	return web.JSON(w, r, http.StatusOK, metadata{addresses{
		Issuer: p.Issuer, Authorization: p.Issuer + PathAuthorize, Token: p.Issuer + PathToken,
		Userinfo: p.Issuer + PathUserinfo, JWKS: p.Issuer + PathJWKS,
		Revocation: p.Issuer + PathRevoke, Introspection: p.Issuer + PathIntrospect, EndSession: p.Issuer + PathEndSession,
		Device: p.Issuer + PathDeviceCode,
	}, capabilities{
		Scopes: scopes, ResponseTypes: []string{"code"}, ResponseModes: []string{modeQuery, modeFormPost},
		GrantTypes: []string{grantCode, grantRefresh, grantDevice}, Subjects: []string{"public"}, Algorithms: keys.Algorithms,
		TokenAuth: auth, RevocationAuth: auth, IntrospectionAuth: auth[:2], Claims: claimNames, PKCE: []string{"S256"},
		Prompts: []string{promptNone, promptLogin, promptConsent, promptSelect},
		Locales: []string{"zh", "en"}, ACR: []string{acrValue},
		ClaimsParameter: true, Iss: true, Backchannel: true, BackchannelSession: true,
	}})
}

// JWKS answers with the public keys that verify ID tokens (RFC 7517).
func (p *Provider) JWKS(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return methodNotAllowed("GET, HEAD")
	}
	web.From(w).Endpoint = "oidc_jwks"
	set, err := p.Keys.Set(r.Context())
	if err != nil {
		return p.refuse(w, r, "jwks", nil, unavailable(err))
	}
	web.SecurityHeaders(w, "")
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Cache-Control"] = []string{"public, max-age=300"} // a new key is published a day before it signs
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(set.JWKS()) // an error means that the client has disconnected
	}
	return nil
}
