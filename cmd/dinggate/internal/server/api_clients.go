package server

import (
	"context"

	"dinggate/dingtalk/sso"
	"dinggate/proxy"
	"dinggate/proxy/apiauth"
	"dinggate/session"
)

type credentialFunc = func(context.Context, proxy.CredentialQuery) (proxy.Credential, error)

// newAuthenticator checks the Authorization headers of API clients; nil if api_tokens is
// off. If this process is both an SSO service and the client of another one, it accepts
// only its own tokens: the other service issues tokens to this client, not for API
// clients.
func newAuthenticator(c settings, st *State, sessions *session.Manager, people identityProvider, service *sso.Server,
	tokens *apiauth.ServiceState, accounts Accounts) credentialFunc {
	if !c.APITokens {
		return nil
	}
	a := &apiauth.Authenticator{}
	if accounts.File != nil {
		a.Passwords = &apiauth.Passwords{PasswordState: accounts.verified, Accounts: accounts.File, Sessions: sessions}
	}
	switch {
	case service != nil:
		a.OwnTokens = &apiauth.OwnTokens{
			Server:   service,
			Sessions: sessions,
			Clients:  c.TokenClients(),
			MaxWait:  gatewayMaxWait,
		}
	case people.service != nil:
		a.ServiceTokens = &apiauth.ServiceTokens{
			ServiceState: tokens,
			Client:       people.service,
			Sessions:     sessions,
			Clients:      c.TokenClients(),
			MaxWait:      gatewayMaxWait,
			Judge:        people.judge,
			OnNoAudience: func() {
				st.Log.Warn("the SSO service reports no aud: tokens of all its clients open routes here",
					"hint", "api_token_clients")
			},
		}
	}
	return a.Find
}
