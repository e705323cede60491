package server

import (
	"os"

	"dinggate/dingtalk"
	"dinggate/session"
)

// singlySeconds is how long the budget of calls may take to look everybody up one by one.
// If it would take longer, the lists of the directory are read.
const singlySeconds = 8

// newSessions returns the sessions. They share revocations, people and open connections with
// those of the current gateway.
func newSessions(c settings, st *State, client *dingtalk.Client, people identityProvider, accounts Accounts) *session.Manager {
	m := &session.Manager{
		Keyring:  c.keyring,
		Store:    st.Stores.Sessions,
		Journal:  st.Stores.Journal,
		Index:    st.Stores.Index,
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
		Recheck:          people.recheck,
		Refresh:          people.refresh,
		Mirror:           newMirror(c, st, client),
		Limits: session.Limits{
			MaxSessions: sessionsIn(goMemory(), groupMemory(os.DirFS("/"))),
			MaxSingly:   c.DingTalk.Rate * singlySeconds,
		},
	}
	if before := st.Serving(); before != nil {
		m.Inherit(before.Sessions)
	}
	return m
}
