package server

import (
	"context"
	"errors"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/proxy/login"
	"dinggate/session"

	"golang.org/x/time/rate"
)

var _ login.Provider = (*dingtalk.WebLogin)(nil)

type recheckFunc = func(context.Context, *session.Session) (identity.User, error)

// provider is where people sign in: DingTalk, or an SSO service.
type provider struct {
	login.Provider
	attemptIn string
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
		OnRevoked:        st.auditEnded,
		OnTokenTruncated: st.tokenTruncated(c.Config),
	}
	people := newProvider(c, st, client, m.RevokeUser)
	m.Recheck = accounts.Recheck(st.counted(st.Stores.paced(c.Config, people.recheck)))
	m.Refresh = people.refresh
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
	return provider{
		Provider: &dingtalk.WebLogin{Client: client, Directory: directory},
		recheck:  recheck(c.Config, client, st.rechecks),
		Close:    client.CloseIdleConnections,
	}
}

// recheck looks members up again, paced.
func recheck(cfg *config.Config, client *dingtalk.Client, pace *rate.Limiter) recheckFunc {
	directory := &dingtalk.Directory{
		Client:    client,
		Username:  cfg.DingTalk.Username,
		Ancestors: cfg.NamesDepartments(),
		Pace:      pace,
	}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := directory.Person(ctx, s.User.UnionID)
		if err == nil && u.UserID != s.User.UserID { // a userid given to another person (threats K10)
			err = &identity.Failure{
				Class: identity.Refused,
				Code:  "not_member",
				Err:   errors.New("the organisation knows this person under another userid now"),
			}
		}
		return u, err
	}
}
