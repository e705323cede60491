package server

import (
	"context"

	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/proxy/login"
	"dinggate/session"
)

var _ login.Provider = (*dingtalk.WebLogin)(nil)

type recheckFunc = func(context.Context, *session.Session) (identity.User, error)

// provider is where people sign in: DingTalk, or an SSO service.
type provider struct {
	login.Provider
	attemptIn string
	queue     login.Queue // nil: sign-ins do not wait
	recheck   recheckFunc
	refresh   func(context.Context, string) (identity.Token, error) // nil: tokens are left to expire
	Close     func()
	Ids       *unionIDs // nil: DingTalk's are each person's own
}

// newSessions makes the sessions and the provider that they ask about their people;
// the provider in turn ends the sessions of a unionid that several people have.
func newSessions(c settings, st *State, client *dingtalk.Client, accounts Accounts) (*session.Manager, provider) {
	m := &session.Manager{
		Keyring:  c.keyring,
		Store:    st.Stores.Sessions,
		Journal:  st.Stores.Journal,
		Config:   c.Session,
		Cookie:   c.Cookie,
		Realm:    c.Realm(),
		Secure:   c.Secure(),
		Service:  c.SSO.On(),
		Accounts: accounts.known(),
		Headers: session.Headers{
			Request:  c.Headers.Request.Rules(),
			Response: c.Headers.Response.Rules(),
		},
		OnRevoked:        st.revoked,
		OnEnd:            st.ended,
		OnTokenTruncated: st.tokenTruncated(c.Config),
	}
	people := newProvider(c, st, client, m.RevokeUser)
	m.Recheck = accounts.Recheck(st.counted(people.recheck))
	m.Refresh = people.refresh
	m.Mirror = newMirror(c, st, client, m)
	if before := st.Serving(); before != nil {
		m.Inherit(before.Sessions)
	}
	return m, people
}

func newProvider(c settings, st *State, client *dingtalk.Client, revoke revokeFunc) provider {
	if c.SSO.On() {
		service := judgedClient{&sso.Client{Config: c.SSO, Observe: st.callSSO}, newUnionIDs(c, st, revoke)}
		return provider{
			Provider:  service,
			attemptIn: sso.AttemptParameter,
			recheck:   service.recheck,
			refresh:   service.Refresh,
			Close:     service.CloseIdleConnections,
			Ids:       service.ids,
		}
	}
	directory := &dingtalk.Directory{Client: client, Username: c.DingTalk.Username, Ancestors: c.NamesDepartments()}
	web := &dingtalk.WebLogin{Client: client, Directory: directory}
	return provider{
		Provider: web,
		queue:    web,
		recheck:  recheck(c.Config, client),
		Close:    client.CloseIdleConnections,
	}
}
