package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/session"
	"dinggate/session/boltstore"
	"dinggate/session/redisstore"
)

var (
	_ account.Bindings = (*boltstore.Bindings)(nil)
	_ account.Bindings = (*redisstore.Bindings)(nil)
)

// accounts is who can sign in with a password, and who of DingTalk is which of
// them. The zero value is nobody.
type accounts struct {
	file   *account.File   // nil: no local accounts
	policy *account.Policy // nil: DingTalk people keep their names
}

// newAccounts reads the accounts that cfg names.
func newAccounts(cfg *Config, bindings account.Bindings, t telemetryKit) (a accounts, err error) {
	if path := cfg.Accounts.HtpasswdFile; path != "" {
		if a.file, err = account.Open(path); err != nil {
			return a, fmt.Errorf("accounts.htpasswd_file: %w", err)
		}
		a.file.Trouble = func(err error) {
			t.log.Error("the local accounts stay as they were", "err", err.Error())
		}
	}
	if cfg.Accounts.Binds() {
		a.policy = &account.Policy{Binding: cfg.Accounts.Binding, Bindings: bindings, Accounts: a.file}
	}
	return a, nil
}

// recheck looks local accounts up in their file, and gives DingTalk people the
// names they are bound to; everything else is next's.
func (a accounts) recheck(next func(context.Context, *session.Session) (identity.User, error)) func(context.Context, *session.Session) (identity.User, error) {
	if a.file == nil && a.policy == nil {
		return next
	}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		if s.User.UnionID == "" && s.Token == (identity.Token{}) && a.file != nil {
			if !a.file.Has(s.User.Username) {
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

// end lets the sessions of accounts that are gone or have another password end,
// as soon as the file says so.
func (a accounts) end(sessions *session.Manager, t telemetryKit) {
	if a.file == nil {
		return
	}
	a.file.Changed = func(names []string) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, name := range names {
			if err := sessions.RevokeUser(ctx, session.Person{Username: name}, "account_changed"); err != nil {
				t.log.Error("other replicas do not know yet that an account changed", "user", name, "err", err.Error())
			}
		}
	}
}

// run looks after the file until ctx ends.
func (a accounts) run(ctx context.Context) {
	if a.file != nil {
		a.file.Run(ctx)
	}
}

// settle sees to the last changes of the file, before run ends early: whoever is
// gone from it is signed out by those who knew them.
func (a accounts) settle() {
	if a.file != nil {
		a.file.Look()
		a.file.Look() // the first only notes that it holds still
	}
}
