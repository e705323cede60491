package server

import (
	"context"

	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/proxy/login"
	"dinggate/session"
)

var (
	_ login.Provider = (*dingtalk.WebLogin)(nil)
	_ login.Provider = ssoService{}
	_ login.Provider = noting{}
)

type (
	recheckFunc = func(context.Context, *session.Session) (identity.User, error)

	// judgeFunc returns the person whom an access token of the service names, as a recheck of
	// their session does.
	judgeFunc = func(context.Context, identity.User) (identity.User, error)

	// noteFunc is called with every person whom the identity provider has just described.
	noteFunc = func(context.Context, identity.User)
)

// identityProvider is what identifies people: DingTalk, or an SSO service. The sign-in uses Provider and
// silent, the sessions use recheck and refresh.
//
//	sign-in, silent sign-in, recheck ─► DingTalk or SSO service ─► note: migrations, mailboxes ─► person
//	                                                                  └─ recheck: local accounts, bindings
type identityProvider struct {
	login.Provider
	silent    *login.Silent // inside the DingTalk client; nil behind an SSO service
	service   *sso.Client   // nil: DingTalk itself
	judge     judgeFunc     // nil without service
	attemptIn string        // login.Flow.AttemptIn
	queue     login.Queue   // nil: sign-ins are not queued
	recheck   recheckFunc
	refresh   func(context.Context, string) (identity.Token, error) // nil: tokens are not refreshed
	close     func()                                                // closes idle connections
}

// newIdentityProvider returns the identity provider of a configuration.
func newIdentityProvider(c settings, st *State, client *dingtalk.Client, accounts Accounts, moves *migrations) identityProvider {
	mailboxes := newMailboxes(c, st)
	note := func(ctx context.Context, u identity.User) {
		moves.settle(ctx, u)
		if mailboxes != nil && u.OrgEmail {
			mailboxes.Learn(ctx, u)
		}
	}
	if c.SSO.On() {
		return newSSOService(c, st, accounts, note)
	}
	return newDingTalk(c, st, client, accounts, note)
}

// newDingTalk returns DingTalk as the provider. The sign-in inside its client has the same
// membership check as one in a browser.
func newDingTalk(c settings, st *State, client *dingtalk.Client, accounts Accounts, note noteFunc) identityProvider {
	directory := &dingtalk.Directory{Client: client, Username: c.DingTalk.Username, Ancestors: c.NamesDepartments()}
	web := &dingtalk.WebLogin{Client: client, Directory: directory}
	in := &dingtalk.SilentLogin{Client: client, Directory: directory}
	return identityProvider{
		Provider: noting{web, note},
		silent: &login.Silent{
			CorpID:   c.DingTalk.CorpID,
			ClientID: c.DingTalk.ClientID,
			Exchange: notingExchange(in.Exchange, note),
			Queue:    in,
		},
		queue:   web,
		recheck: accounts.Recheck(notingRecheck(st.counted(recheck(c.Config, client)), note)),
		close:   client.CloseIdleConnections,
	}
}

// newSSOService returns an SSO service as the provider. It has no silent sign-in: only the
// service's own pages may use the DingTalk client.
func newSSOService(c settings, st *State, accounts Accounts, note noteFunc) identityProvider {
	service := ssoService{&sso.Client{Config: c.SSO, Observe: st.callSSO}, newUnionIDs(c, st)}
	return identityProvider{
		Provider: noting{service, note},
		service:  service.Client,
		judge: func(ctx context.Context, u identity.User) (identity.User, error) {
			u, err := service.ids.judge(ctx, u)
			if err != nil {
				return u, err
			}
			return accounts.policy.Resolve(ctx, u)
		},
		attemptIn: sso.AttemptParameter,
		recheck:   accounts.Recheck(notingRecheck(st.counted(service.recheck), note)),
		refresh:   service.Refresh,
		close:     service.CloseIdleConnections,
	}
}

// ssoService is an SSO service with verified unionids.
type ssoService struct {
	*sso.Client
	ids *unionIDs
}

func (s ssoService) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	user, token, err := s.Client.Exchange(ctx, code, state)
	if err != nil {
		return user, token, err
	}
	user, err = s.ids.judge(ctx, user)
	if err != nil {
		token = identity.Token{}
	}
	return user, token, err
}

// recheck reads the person from the service again. The service identifies them by their
// access token only.
func (s ssoService) recheck(ctx context.Context, one *session.Session) (identity.User, error) {
	user, err := s.Person(ctx, one.Token.Access)
	if err != nil {
		return user, err
	}
	return s.ids.judge(ctx, user)
}

// noting is a Provider that passes every person who signs in to note.
type noting struct {
	login.Provider
	note noteFunc
}

func (n noting) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	u, token, err := n.Provider.Exchange(ctx, code, state)
	if err == nil {
		n.note(ctx, u)
	}
	return u, token, err
}

// notingExchange is noting for login.Silent.Exchange.
func notingExchange(next func(context.Context, string) (identity.User, error),
	note noteFunc) func(context.Context, string) (identity.User, error) {
	return func(ctx context.Context, code string) (identity.User, error) {
		u, err := next(ctx, code)
		if err == nil {
			note(ctx, u)
		}
		return u, err
	}
}

// notingRecheck is noting for rechecks.
func notingRecheck(next recheckFunc, note noteFunc) recheckFunc {
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := next(ctx, s)
		if err == nil {
			note(ctx, u)
		}
		return u, err
	}
}
