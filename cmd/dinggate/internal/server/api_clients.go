package server

import (
	"context"

	"dinggate/dingtalk/sso"
	"dinggate/proxy"
	"dinggate/proxy/apiauth"
	"dinggate/session"
)

type credentialFunc = func(context.Context, proxy.CredentialQuery) (proxy.Credential, error)

// newAuthenticator answers for the Authorization headers of API clients; nil when
// api_tokens is off. Where this process is an SSO service and the client of
// another one, only its own tokens count: the other's are for us as its client and
// not for others.
func newAuthenticator(c settings, st *State, sessions *session.Manager, people provider, service *sso.Server,
	tokens *apiauth.ServiceState, accounts Accounts) credentialFunc {
	if !c.APITokens {
		return nil
	}
	a := &apiauth.Authenticator{}
	if accounts.File != nil {
		a.Passwords = &apiauth.Passwords{PasswordState: accounts.verified, Accounts: accounts.File, Sessions: sessions}
	}
	switch client, external := people.Provider.(judgedClient); {
	case service != nil:
		a.OwnTokens = &apiauth.OwnTokens{
			Server:   service,
			Sessions: sessions,
			Clients:  c.TokenClients(),
			MaxWait:  gatewayMaxWait,
		}
	case external:
		a.ServiceTokens = &apiauth.ServiceTokens{
			ServiceState: tokens,
			Client:       client.Client,
			Sessions:     sessions,
			Clients:      c.TokenClients(),
			MaxWait:      gatewayMaxWait,
			OnNoAudience: func() {
				st.Log.Warn("the SSO service names no aud: a token that it gave any of its clients opens routes here",
					"hint", "api_token_clients")
			},
		}
	}
	return a.Find
}
