package boltstore

import (
	"context"
	"errors"
	"fmt"

	"dinggate/account"

	bolt "go.etcd.io/bbolt"
)

// Bindings keeps which DingTalk person is which account, in both directions.
// Unlike a Table it forgets nothing. Safe for concurrent use.
type Bindings struct{ f *File }

var _ account.Bindings = (*Bindings)(nil)

var (
	bindingPeople   = []byte("bindings")          // unionId → account
	bindingAccounts = []byte("bindings/accounts") // account → unionId
)

// Bindings gives the bindings of this file, and makes their place when there is none.
func (f *File) Bindings() (*Bindings, error) {
	err := f.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bindingPeople)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(bindingAccounts)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("boltstore: making the place of bindings: %w", err)
	}
	return &Bindings{f}, nil
}

func find(tx *bolt.Tx, by account.Binding) (account.Binding, error) {
	if by.UnionID != "" {
		if name := tx.Bucket(bindingPeople).Get([]byte(by.UnionID)); name != nil {
			return account.Binding{UnionID: by.UnionID, Username: string(name)}, nil
		}
	} else if id := tx.Bucket(bindingAccounts).Get([]byte(by.Username)); id != nil {
		return account.Binding{UnionID: string(id), Username: by.Username}, nil
	}
	return account.Binding{}, account.ErrNone
}

// do runs one operation; f returns an answer of account.Bindings, or what went wrong.
func (b *Bindings) do(ctx context.Context, op string, f func() error) error {
	err := ctx.Err()
	if err == nil {
		err = guard(f)
	}
	if _, taken := errors.AsType[*account.TakenError](err); err == nil || taken || err == account.ErrNone || err == account.ErrFull {
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", op, err)
}

// Find looks one binding up.
func (b *Bindings) Find(ctx context.Context, by account.Binding) (found account.Binding, err error) {
	err = b.do(ctx, "finding a binding", func() error {
		return b.f.db.View(func(tx *bolt.Tx) (err error) {
			found, err = find(tx, by)
			return err
		})
	})
	return found, err
}

// Add makes all of them or none.
func (b *Bindings) Add(ctx context.Context, all ...account.Binding) error {
	return b.do(ctx, "binding", func() error {
		return b.f.write(ctx, func(tx *bolt.Tx) error {
			write, err := account.Plan(all, func(by account.Binding) (account.Binding, error) { return find(tx, by) })
			if err != nil {
				return err
			}
			people, names := tx.Bucket(bindingPeople), tx.Bucket(bindingAccounts)
			n := people.Sequence() + uint64(len(write))
			if n > account.MaxBindings {
				return account.ErrFull
			}
			for _, one := range write {
				if err := errors.Join(people.Put([]byte(one.UnionID), []byte(one.Username)), names.Put([]byte(one.Username), []byte(one.UnionID))); err != nil {
					return err
				}
			}
			return people.SetSequence(n)
		})
	})
}

// Remove takes one binding away.
func (b *Bindings) Remove(ctx context.Context, name string) (removed account.Binding, err error) {
	err = b.do(ctx, "removing a binding", func() error {
		var found account.Binding // of the run that counts: a batch may run its parts again
		err := b.f.write(ctx, func(tx *bolt.Tx) (err error) {
			if found, err = find(tx, account.Binding{Username: name}); err == account.ErrNone && name != "" {
				found, err = find(tx, account.Binding{UnionID: name})
			}
			if err != nil {
				return err
			}
			people := tx.Bucket(bindingPeople)
			return errors.Join(people.Delete([]byte(found.UnionID)), tx.Bucket(bindingAccounts).Delete([]byte(found.Username)), people.SetSequence(people.Sequence()-1))
		})
		if err == nil {
			removed = found
		}
		return err
	})
	return removed, err
}

// List returns all.
func (b *Bindings) List(ctx context.Context) (all []account.Binding, err error) {
	err = b.do(ctx, "listing bindings", func() error {
		return b.f.db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(bindingAccounts).ForEach(func(name, id []byte) error {
				all = append(all, account.Binding{UnionID: string(id), Username: string(name)})
				return nil
			})
		})
	})
	return all, err
}
