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
	"dinggate/internal/ratelimit"
	"dinggate/proxy/apiauth"
	"dinggate/session"
	"dinggate/store/boltstore"
	"dinggate/store/redisstore"
)

var (
	_ account.Bindings = (*boltstore.Bindings)(nil)
	_ account.Bindings = (*redisstore.Bindings)(nil)
)

// Accounts holds the local accounts and the bindings of DingTalk users to them. The zero
// value has none.
type Accounts struct {
	File     *account.File          // nil: no local accounts
	policy   *account.Policy        // nil: DingTalk users keep their names
	gone     []string               // accounts that were removed from the previous file, or have another password
	verified *apiauth.PasswordState // belongs to the file; nil without one
	limit    ratelimit.Rate         // of wrong passwords per address
}

// newAccounts reads the accounts of cfg. A file that the current gateway has open is
// shared, so that its counts of failed attempts are kept.
func newAccounts(cfg *config.Config, st *State) (a Accounts, err error) {
	a.limit = cfg.Limits.Passwords
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
		a.File.Limited = func() { st.limited.refused("passwords") }
		a.verified = apiauth.NewPasswordState()
		file := a.File
		file.Changed = func(names []string) {
			if g := st.Serving(); g != nil { // sessions are shared by all gateways
				endAccounts(g.Sessions, names, file, st.Observability)
			}
		}
		file.OnReadError = func(err error) {
			st.Log.Error("the changed accounts file was rejected, the accounts are unchanged", "err", err.Error())
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

// Recheck checks local accounts against their file, also if the file is no longer
// configured, and gives DingTalk users the names of their accounts; next does the rest.
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

// serve applies the limit of this configuration to the file, which the previous gateway may share.
func (a Accounts) serve() {
	if a.File != nil {
		a.File.LimitClients(a.limit)
	}
}

// known holds the accounts whose sessions are valid; nil without local accounts.
func (a Accounts) known() session.Accounts {
	if a.File == nil {
		return nil
	}
	return a.File
}

// endAccounts ends the sessions of accounts that were removed or have another password,
// on every replica. Sessions with the file's current password continue, since another
// replica may have read the file earlier.
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
		t.Log.Error("other replicas have not been notified of changed accounts", "accounts", len(failed), "user",
			failed[0], "err", last.Error())
	}
}

// run ends the sessions of accounts that the previous file had, renews the bindings, and
// watches this file until ctx ends.
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
