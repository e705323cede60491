package redisstore

import (
	"context"

	"dinggate/account"
)

// Rebind replaces a binding in one script.
func (b *Bindings) Rebind(ctx context.Context, from account.Binding, unionID string) error {
	for range tries {
		if answer, err := b.rebind(ctx, from, unionID); err != nil || answer == 0 {
			return err
		}
	}
	return errRace
}

func (b *Bindings) rebind(ctx context.Context, from account.Binding, unionID string) (int64, error) {
	before, after, name := account.Binding{UnionID: from.UnionID}, account.Binding{UnionID: unionID},
		account.Binding{Username: from.Username}
	now, err := b.fetch(ctx, before, after, name)
	if err != nil {
		return 0, err
	}
	found := map[account.Binding]stored{before: now[0], after: now[1], name: now[2]}
	to, done, err := account.PlanRebind(from, unionID, func(by account.Binding) (account.Binding, error) {
		return b.read(by, found[by])
	})
	if err != nil || done {
		return 0, err
	}
	if side, err := b.read(before, now[0]); err != nil || side != from { // its two records differ
		return 0, account.ErrSealed
	}
	c, err := b.seal(change{Binding: to, person: now[1].box, name: now[2].box})
	if err != nil {
		return 0, err
	}
	return b.run(ctx, "bind", rebindScript, false,
		b.argument(change{Binding: from, person: now[0].box, name: now[2].box}), b.argument(c))
}
