package account

import (
	"context"
	"errors"
	"fmt"

	"dinggate/internal/identity"
)

// Policy determines the account name of people who signed in with DingTalk. The
// zero Policy changes no name.
type Policy struct {
	Binding  string   // Off, Optional or Required
	Bindings Bindings // required unless Off
	Accounts *File    // nil: no local accounts
}

// NotBound is the Failure code of a person who has to bind an account first.
const NotBound = "not_bound"

// Resolve gives the person the name of the account they are bound to. The error is
// a *identity.Failure: NotBound of class Refused, or class Later if the store fails.
//
// With Optional, a person without a binding keeps their own name unless it is, or
// can be mistaken for, an account's name (see Looks): a person whose DingTalk name
// is admin or Admin does not become the account `admin`.
func (p *Policy) Resolve(ctx context.Context, u identity.User) (identity.User, error) {
	if p == nil || p.Binding != Optional && p.Binding != Required {
		return u, nil
	}
	if u.UnionID != "" {
		b, err := p.Bindings.Find(ctx, Binding{UnionID: u.UnionID})
		if err == nil {
			u.Username = b.Username
			return u, nil
		}
		if !errors.Is(err, ErrNone) {
			return identity.User{}, storeFailed(err)
		}
	}
	if p.Binding == Required {
		return identity.User{}, refused("nobody is bound to this person")
	}
	if p.Accounts != nil && p.Accounts.Resembles(u.Username) {
		return identity.User{}, refused("their own name is a local account's, or can be taken for one")
	}
	switch taken, err := p.Bindings.Resembles(ctx, u.Username); {
	case err != nil:
		return identity.User{}, storeFailed(err)
	case taken:
		return identity.User{},
			refused("their own name is an account's that another person is bound to, or can be taken for one")
	}
	return u, nil
}

func refused(why string) error {
	return &identity.Failure{
		Class: identity.Refused,
		Code:  NotBound,
		Err:   errors.New("account: resolving a person: " + why),
	}
}

func storeFailed(err error) error {
	return &identity.Failure{
		Class: identity.Later,
		Code:  "store_unavailable",
		Err:   fmt.Errorf("account: resolving a person: %w", err),
	}
}
