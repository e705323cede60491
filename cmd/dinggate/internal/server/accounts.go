package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/identity"
	"dinggate/session"
	"dinggate/session/boltstore"
	"dinggate/session/redisstore"
)

var (
	_ account.Bindings = (*boltstore.Bindings)(nil)
	_ account.Bindings = (*redisstore.Bindings)(nil)
)

// Accounts is who can sign in with a password, and who of DingTalk is which of
// them. The zero value is nobody.
type Accounts struct {
	File   *account.File   // nil: no local accounts
	policy *account.Policy // nil: DingTalk people keep their names
	gone   []string        // whom the file before had and this one has not, or with another password

	// verified and sessions, those of the gate that serves, go with the file,
	// which outlives gates.
	verified *passwordMemory
	sessions *atomic.Pointer[session.Manager]
	kit      Observability
}

// newAccounts reads the accounts that cfg names. A file that the gate before has
// already is shared: what it knows of tries that failed stays known.
func newAccounts(cfg *config.Config, bindings account.Bindings, before *Gateway, t Observability) (a Accounts, err error) {
	a.kit = t
	path := cfg.Accounts.HtpasswdFile
	var old *account.File
	if before != nil {
		old = before.Accounts.File
	}
	switch {
	case old != nil && old.Path == path:
		a.File, a.sessions, a.verified = old, before.Accounts.sessions, before.Accounts.verified
	case path != "":
		if a.File, err = account.Open(path); err != nil {
			return a, fmt.Errorf("accounts.htpasswd_file: %w", err)
		}
		a.sessions, a.verified = new(atomic.Pointer[session.Manager]), newPasswordMemory()
		file := a.File
		file.Changed = func(names []string) { endAccounts(a.sessions.Load(), names, file, t) }
		a.File.Trouble = func(err error) {
			t.Log.Error("the local accounts stay as they were", "err", err.Error())
		}
	}
	if a.File != old {
		a.gone = old.Gone(a.File)
	}
	if cfg.Accounts.Binds() {
		a.policy = &account.Policy{Binding: cfg.Accounts.Binding, Bindings: bindings, Accounts: a.File}
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
				return identity.User{}, &identity.Failure{Class: identity.Refused, Code: "account_gone", Err: errors.New("the local account is gone")}
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

// serve makes sessions the ones that end with their accounts.
func (a Accounts) serve(sessions *session.Manager) {
	if a.sessions != nil {
		a.sessions.Store(sessions)
	}
}

// endAccounts ends the sessions of accounts that are gone or have another
// password, on every replica: those of the password that the file has now go on,
// since another replica may have read it before.
func endAccounts(sessions *session.Manager, names []string, now *account.File, t Observability) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var untold []string
	var last error
	for _, name := range names {
		if err := sessions.RevokeUser(ctx, session.Person{Account: name, Spare: now.Fingerprint(name)}, "account_changed"); err != nil {
			untold, last = append(untold, name), err
		}
	}
	if last != nil {
		t.Log.Error("other replicas do not know yet that accounts changed", "accounts", len(untold), "user", untold[0], "err", last.Error())
	}
}

// run ends the sessions of the accounts that went with the file before, renews
// what is bound, and looks after this file until ctx ends.
func (a Accounts) run(ctx context.Context, sessions *session.Manager) {
	endAccounts(sessions, a.gone, a.File, a.kit)
	var all sync.WaitGroup
	defer all.Wait()
	if a.policy != nil {
		all.Go(func() { renewBindings(ctx, a.policy.Bindings, a.kit) })
	}
	if a.File != nil {
		a.File.Run(ctx)
	}
}
