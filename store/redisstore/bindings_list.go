package redisstore

import (
	"context"
	"errors"

	"dinggate/account"

	"github.com/redis/go-redis/v9"
)

// scan reads a hash in pieces, so that other clients of Redis do not wait. A field may be returned
// twice.
func (b *Bindings) scan(ctx context.Context, key string,
	each func(ctx context.Context, field, value string) error) error {
	seen := 0
	for cursor := uint64(0); ; {
		err := b.s.do(ctx, "list", func(ctx context.Context) error {
			fields, next, err := b.s.client.HScan(ctx, key, cursor, "", 1000).Result()
			for i := 0; err == nil && i+1 < len(fields); i += 2 {
				err = each(ctx, fields[i], fields[i+1])
			}
			seen, cursor = seen+len(fields)/2, next
			return err
		})
		if err != nil || cursor == 0 || seen > 4*account.MaxBindings {
			return err
		}
	}
}

// List returns all bindings that can be opened.
func (b *Bindings) List(ctx context.Context) ([]account.Binding, error) {
	found, foreign := map[account.Binding]bool{}, false
	err := b.scan(ctx, b.keys()[people], func(_ context.Context, place, box string) error {
		one, _, err := b.records.Open(place, []byte(box))
		if foreign = foreign || err != nil; err == nil {
			found[one] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]account.Binding, 0, len(found))
	for one := range found {
		all = append(all, one)
	}
	account.Sort(all)
	if foreign {
		return all, account.ErrSealed
	}
	return all, nil
}

// Unsealed lists the bindings of a release without sealing. They are not valid, since any program
// that writes to this Redis may have written them. An administrator reviews and imports them.
func (b *Bindings) Unsealed(ctx context.Context) ([]account.Binding, error) {
	found := map[string]string{}
	err := b.scan(ctx, b.keys()[plainPeople], func(_ context.Context, id, name string) error {
		found[id] = name
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]account.Binding, 0, len(found))
	for id, name := range found {
		all = append(all, account.Binding{UnionID: id, Username: name})
	}
	account.Sort(all)
	return all, nil
}

// Renew seals again the records that were sealed with an old key, and counts those that are
// invalid.
func (b *Bindings) Renew(ctx context.Context) (done account.Renewed, err error) {
	var aged, all []account.Binding
	err = b.scan(ctx, b.keys()[people], func(_ context.Context, place, box string) error {
		one, old, err := b.records.Open(place, []byte(box))
		switch {
		case err != nil:
			done.Foreign++
		case old:
			aged = append(aged, one)
		default:
			all = append(all, one)
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	for _, one := range aged {
		anew, err := b.renew(ctx, one, true)
		if err != nil {
			return done, err
		}
		if anew {
			done.Sealed++
		}
	}
	if err := b.renewLooks(ctx, all); err != nil {
		return done, err
	}
	plain, err := b.Unsealed(ctx)
	done.Unsealed = len(plain)
	return done, err
}

const tableField = "table" // no place: places have another length

// renewLooks records the looks of names that were not made with the current table.
func (b *Bindings) renewLooks(ctx context.Context, all []account.Binding) error {
	key, table := b.keys()[looks], ""
	err := b.s.do(ctx, "find", func(ctx context.Context) (err error) {
		table, err = b.s.client.HGet(ctx, key, tableField).Result()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	})
	if err != nil || table == account.LooksTable() {
		return err
	}
	for _, one := range all {
		if _, err := b.renew(ctx, one, false); err != nil {
			return err
		}
	}
	return b.s.do(ctx, "bind", func(ctx context.Context) error {
		return b.s.client.HSet(ctx, key, tableField, account.LooksTable()).Err()
	})
}

// renew writes an existing binding again, sealed with the first key or unchanged, and the look of
// its name. A binding that another caller changes meanwhile is left to that caller.
func (b *Bindings) renew(ctx context.Context, one account.Binding, anew bool) (done bool, err error) {
	sides := []account.Binding{{UnionID: one.UnionID}, {Username: one.Username}}
	both, err := b.fetch(ctx, sides...)
	if err != nil {
		return false, err
	}
	old := false
	for i, place := range []string{b.records.PersonPlace(one.UnionID), b.records.AccountPlace(one.Username)} {
		same, aged, err := b.records.Open(place, []byte(both[i].box))
		if err != nil || same != one {
			return false, nil
		}
		old = old || aged
	}
	if anew && !old {
		return false, nil // another replica was first
	}
	c := change{Binding: one, person: both[0].box, name: both[1].box}
	if c.newPerson, c.newName = c.person, c.name; anew {
		if c, err = b.seal(c); err != nil {
			return false, err
		}
	}
	answer, err := b.run(ctx, "bind", bindScript, false, account.MaxBindings, b.argument(c))
	return answer == 0, err
}
