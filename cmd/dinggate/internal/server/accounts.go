package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/identity"
	"dinggate/proxy/apiauth"
	"dinggate/session"
	"dinggate/store/boltstore"
	"dinggate/store/redisstore"
)

var (
	_ account.Bindings = (*boltstore.Bindings)(nil)
	_ account.Bindings = (*redisstore.Bindings)(nil)
)

// Accounts is who can sign in with a password, and which DingTalk person is which
// of them. The zero value is nobody.
type Accounts struct {
	File     *account.File          // nil: no local accounts
	policy   *account.Policy        // nil: DingTalk people keep their names
	gone     []string               // accounts that the file before has and this one has not, or with another password
	verified *apiauth.PasswordState // goes with the file; nil without one
}

// newAccounts reads the accounts that cfg names. A file that the gateway which
// serves has already is shared: what it knows of failed attempts stays known.
func newAccounts(cfg *config.Config, st *State) (a Accounts, err error) {
	var before Accounts
	if g := st.Serving(); g != nil {
		before = g.Accounts
	}
	switch path := cfg.Accounts.HtpasswdFile; {
	case before.File != nil && before.File.Path == path:
		a.File, a.verified = before.File, before.verified
	case path != "":
		if a.File, err = account.Open(path); err != nil {
			return a, fmt.Errorf("accounts.htpasswd_file: %w", err)
		}
		a.File.Client, a.File.Limited = cfg.Limits.Passwords, func() { st.limited.refused("passwords") }
		a.verified = apiauth.NewPasswordState()
		file := a.File
		file.Changed = func(names []string) {
			if g := st.Serving(); g != nil { // whose sessions are those of all gateways
				endAccounts(g.Sessions, names, file, st.Observability)
			}
		}
		file.OnReadError = func(err error) {
			st.Log.Error("the local accounts stay as they were", "err", err.Error())
		}
	}
	if a.File != before.File {
		a.gone = before.File.Gone(a.File)
	}
	if cfg.Accounts.Binds() {
		a.policy = &account.Policy{Binding: cfg.Accounts.Binding, Bindings: st.Stores.Bindings, Accounts: a.File}
	}
	return a, nil
}

// Recheck looks local accounts up in their file, also when there is none any
// more, and gives DingTalk people the names they are bound to; everything else
// is next's.
func (a Accounts) Recheck(next recheckFunc) recheckFunc {
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		if s.User.Local {
			if a.File == nil || !a.File.Has(s.User.Username) {
				return identity.User{},
					&identity.Failure{
						Class: identity.Refused,
						Code:  "account_gone",
						Err:   errors.New("the local account is gone"),
					}
			}
			return s.User, nil
		}
		u, err := next(ctx, s)
		if err != nil {
			return u, err
		}
		return a.policy.Resolve(ctx, u)
	}
}

// known is whose sessions may live; nil without local accounts.
func (a Accounts) known() session.Accounts {
	if a.File == nil {
		return nil
	}
	return a.File
}

// endAccounts ends the sessions of accounts that are gone or have another
// password, on every replica: those of the password that the file has now go on,
// since another replica may have read it before.
func endAccounts(sessions *session.Manager, names []string, now *account.File, t Observability) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var failed []string
	var last error
	for _, name := range names {
		if err := sessions.RevokeUser(ctx, session.Person{Account: name, Spare: now.Fingerprint(name)},
			"account_changed"); err != nil {
			failed, last = append(failed, name), err
		}
	}
	if last != nil {
		t.Log.Error("other replicas do not know yet that accounts changed", "accounts", len(failed), "user",
			failed[0], "err", last.Error())
	}
}

// run ends the sessions of the accounts that went with the file before, renews
// what is bound, and looks after this file until ctx ends.
func (a Accounts) run(ctx context.Context, sessions *session.Manager, t Observability) {
	endAccounts(sessions, a.gone, a.File, t)
	var all sync.WaitGroup
	defer all.Wait()
	if a.policy != nil {
		all.Go(func() { renewBindings(ctx, a.policy.Bindings, t) })
	}
	if a.File != nil {
		a.File.Run(ctx)
	}
}
