package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"dinggate/account"

	bolt "go.etcd.io/bbolt"
)

// Bindings stores which DingTalk person is which account, in both directions, sealed. Unlike those
// of a Table its records never expire. Safe for concurrent use.
type Bindings struct {
	f       *File
	records account.Records
}

var _ account.Bindings = (*Bindings)(nil)

var (
	boundPeople   = []byte("sealed bindings")          // a person's place → sealed binding
	boundAccounts = []byte("sealed bindings/accounts") // an account's place → sealed binding
	boundTable    = []byte("table")                    // in looks: the version of the table
	boundLooks    = []byte("sealed bindings/looks")    // a look's place and an account's → 1

	// Buckets of releases without sealing.
	plainPeople   = []byte("bindings")          // unionId → account
	plainAccounts = []byte("bindings/accounts") // account → unionId
)

// Bindings returns the bindings of this file, and creates their buckets if they are missing.
// Bindings of a release without sealing are sealed now, once: migrated is their number.
func (f *File) Bindings(records account.Records) (b *Bindings, migrated int, err error) {
	b = &Bindings{f, records}
	err = f.db.Update(func(tx *bolt.Tx) error {
		if tx.Bucket(boundPeople) != nil {
			return nil
		}
		for _, name := range [][]byte{boundPeople, boundAccounts, boundLooks} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		migrated, err = b.migrate(tx)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("boltstore: making the place of bindings: %w", err)
	}
	return b, migrated, nil
}

func (b *Bindings) migrate(tx *bolt.Tx) (n int, err error) {
	people := tx.Bucket(plainPeople)
	if people == nil {
		return 0, nil
	}
	err = people.ForEach(func(id, name []byte) error {
		n++
		return b.put(tx, account.Binding{UnionID: string(id), Username: string(name)})
	})
	if err == nil {
		err = tx.Bucket(boundPeople).SetSequence(uint64(n))
	}
	return n, errors.Join(err, tx.DeleteBucket(plainPeople), tx.DeleteBucket(plainAccounts))
}

// put writes both sealed bindings and the look of the name.
func (b *Bindings) put(tx *bolt.Tx, one account.Binding) error {
	person, name := b.records.PersonPlace(one.UnionID), b.records.AccountPlace(one.Username)
	for place, bucket := range map[string][]byte{person: boundPeople, name: boundAccounts} {
		box, err := b.records.Seal(place, one)
		if err == nil {
			err = tx.Bucket(bucket).Put([]byte(place), box)
		}
		if err != nil {
			return err
		}
	}
	return b.look(tx, one.Username)
}

// look records the look of a name.
func (b *Bindings) look(tx *bolt.Tx, username string) (err error) {
	looks := tx.Bucket(boundLooks)
	for _, place := range b.records.LookPlaces(username) {
		key := []byte(place + b.records.AccountPlace(username))
		if looks.Get(key) == nil {
			err = errors.Join(err, looks.Put(key, []byte{1}))
		}
	}
	return err
}

// find looks one binding up. If its two records differ, another program has written to the file.
func (b *Bindings) find(tx *bolt.Tx, by account.Binding) (account.Binding, error) {
	place, bucket := b.records.PersonPlace(by.UnionID), boundPeople
	if by.UnionID == "" {
		place, bucket = b.records.AccountPlace(by.Username), boundAccounts
	}
	box := tx.Bucket(bucket).Get([]byte(place))
	if box == nil {
		return account.Binding{}, account.ErrNone
	}
	found, _, err := b.records.Open(place, box)
	if err != nil {
		return account.Binding{}, err
	}
	other := b.records.AccountPlace(found.Username)
	if by.UnionID == "" {
		other, bucket = b.records.PersonPlace(found.UnionID), boundPeople
	} else {
		bucket = boundAccounts
	}
	same, _, err := b.records.Open(other, tx.Bucket(bucket).Get([]byte(other)))
	if err != nil || same != found {
		return account.Binding{}, account.ErrSealed
	}
	return found, nil
}

// do runs one operation; f returns an error of account.Bindings, or the cause of a failure.
func (b *Bindings) do(ctx context.Context, op string, f func() error) error {
	err := ctx.Err()
	if err == nil {
		err = guard(f)
	}
	if _, taken := errors.AsType[*account.TakenError](err); err == nil || taken || err == account.ErrNone ||
		err == account.ErrFull {
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", op, err)
}

// Find looks one binding up.
func (b *Bindings) Find(ctx context.Context, by account.Binding) (found account.Binding, err error) {
	err = b.do(ctx, "finding a binding", func() error {
		return b.f.db.View(func(tx *bolt.Tx) (err error) {
			found, err = b.find(tx, by)
			return err
		})
	})
	return found, err
}

// Resembles reports whether a bound name looks like this one.
func (b *Bindings) Resembles(ctx context.Context, name string) (found bool, err error) {
	err = b.do(ctx, "comparing names", func() error {
		return b.f.db.View(func(tx *bolt.Tx) error {
			looks := tx.Bucket(boundLooks).Cursor()
			for _, place := range b.records.LookPlaces(name) {
				key, _ := looks.Seek([]byte(place))
				found = found || bytes.HasPrefix(key, []byte(place))
			}
			return nil
		})
	})
	return found, err
}

// Add adds all of them or none.
func (b *Bindings) Add(ctx context.Context, all ...account.Binding) error {
	return b.do(ctx, "binding", func() error {
		return b.f.write(ctx, func(tx *bolt.Tx) error {
			replaced := 0
			write, err := account.Plan(all, func(by account.Binding) (account.Binding, error) {
				found, err := b.find(tx, by)
				if errors.Is(err, account.ErrSealed) {
					return found, account.ErrNone
				}
				return found, err
			})
			if err != nil {
				return err
			}
			people := tx.Bucket(boundPeople)
			for _, one := range write {
				if people.Get([]byte(b.records.PersonPlace(one.UnionID))) != nil {
					replaced++ // one that cannot be opened
				}
			}
			n := people.Sequence() + uint64(len(write)-replaced)
			if n > account.MaxBindings {
				return account.ErrFull
			}
			for _, one := range write {
				if err := b.put(tx, one); err != nil {
					return err
				}
			}
			return people.SetSequence(n)
		})
	})
}

// Rebind replaces a binding in one transaction.
func (b *Bindings) Rebind(ctx context.Context, from account.Binding, unionID string) error {
	return b.do(ctx, "binding again", func() error {
		return b.f.write(ctx, func(tx *bolt.Tx) error {
			to, done, err := account.PlanRebind(from, unionID, func(by account.Binding) (account.Binding, error) {
				return b.find(tx, by)
			})
			if err != nil || done {
				return err
			}
			people := tx.Bucket(boundPeople)
			if people.Get([]byte(b.records.PersonPlace(unionID))) != nil { // one that cannot be opened
				err = people.SetSequence(people.Sequence() - 1)
			}
			return errors.Join(err, people.Delete([]byte(b.records.PersonPlace(from.UnionID))), b.put(tx, to))
		})
	})
}

// Remove removes one binding.
func (b *Bindings) Remove(ctx context.Context, name string) (removed account.Binding, err error) {
	err = b.do(ctx, "removing a binding", func() error {
		var found account.Binding // of the run that is committed: a batch may run its parts again
		err := b.f.write(ctx, func(tx *bolt.Tx) (err error) {
			if found, err = b.find(tx, account.Binding{Username: name}); err == account.ErrNone && name != "" {
				found, err = b.find(tx, account.Binding{UnionID: name})
			}
			if err != nil {
				return err
			}
			people, place := tx.Bucket(boundPeople), b.records.AccountPlace(found.Username)
			err = errors.Join(people.Delete([]byte(b.records.PersonPlace(found.UnionID))),
				tx.Bucket(boundAccounts).Delete([]byte(place)), people.SetSequence(people.Sequence()-1))
			for _, look := range b.records.LookPlaces(found.Username) {
				err = errors.Join(err, tx.Bucket(boundLooks).Delete([]byte(look+place)))
			}
			return err
		})
		if err == nil {
			removed = found
		}
		return err
	})
	return removed, err
}

// List returns all bindings that can be opened.
func (b *Bindings) List(ctx context.Context) (all []account.Binding, err error) {
	foreign := false
	err = b.do(ctx, "listing bindings", func() error {
		return b.f.db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(boundPeople).ForEach(func(place, box []byte) error {
				one, _, err := b.records.Open(string(place), box)
				if foreign = foreign || err != nil; err == nil {
					all = append(all, one)
				}
				return nil
			})
		})
	})
	account.Sort(all)
	if err == nil && foreign {
		err = account.ErrSealed
	}
	return all, err
}

// renewed is the number of records that one transaction renews, so that other writes can proceed.
const renewed = 1000

// Renew seals again the records that were sealed with an old key.
func (b *Bindings) Renew(ctx context.Context) (done account.Renewed, err error) {
	table := ""
	err = b.do(ctx, "renewing bindings", func() error {
		return b.f.db.View(func(tx *bolt.Tx) error {
			table = string(tx.Bucket(boundLooks).Get(boundTable))
			return nil
		})
	})
	for from := []byte{}; from != nil && err == nil; {
		err = b.do(ctx, "renewing bindings", func() error {
			var step account.Renewed
			var next []byte
			err := b.f.write(ctx, func(tx *bolt.Tx) (err error) {
				step, next, err = b.renewFrom(tx, from, table != account.LooksTable())
				return err
			})
			done.Sealed, done.Foreign, from = done.Sealed+step.Sealed, done.Foreign+step.Foreign, next
			return err
		})
	}
	return done, err
}

func (b *Bindings) renewFrom(tx *bolt.Tx, from []byte, looks bool) (done account.Renewed, next []byte, err error) {
	var old, current []account.Binding
	people := tx.Bucket(boundPeople).Cursor()
	place, box := people.Seek(from)
	for n := 0; place != nil && n < renewed; n++ {
		one, aged, err := b.records.Open(string(place), box)
		switch {
		case err != nil:
			done.Foreign++
		case aged:
			old = append(old, one)
		default:
			current = append(current, one)
		}
		place, box = people.Next()
	}
	next = bytes.Clone(place)
	if looks {
		for _, one := range current {
			err = errors.Join(err, b.look(tx, one.Username))
		}
		if next == nil {
			err = errors.Join(err, tx.Bucket(boundLooks).Put(boundTable, []byte(account.LooksTable())))
		}
	}
	for _, one := range old {
		same, found := b.find(tx, one)
		if found == nil && same == one {
			err = errors.Join(err, b.put(tx, one))
			done.Sealed++
		}
	}
	return done, next, err
}
