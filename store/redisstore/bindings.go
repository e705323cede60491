package redisstore

import (
	"context"
	"errors"
	"fmt"

	"dinggate/account"

	"github.com/redis/go-redis/v9"
)

// Bindings stores which DingTalk person is which account, for all replicas, in hashes on one node
// of a cluster. They never expire: configure Redis with persistence and an eviction policy that
// keeps them. Safe for concurrent use.
//
// Other programs may write to this Redis (threats K19): a binding is sealed, for its place. They
// can remove bindings, and restore a copy; they cannot make one.
type Bindings struct {
	s       *Store
	records account.Records
}

var _ account.Bindings = (*Bindings)(nil)

// Bindings returns the bindings of this store; the scope of records is the store's.
func (s *Store) Bindings(sealer account.Sealer) *Bindings {
	return &Bindings{s, account.Records{Sealer: sealer, Scope: s.prefix}}
}

// The hashes:
//
//	people    a person's place → sealed binding
//	accounts  an account's place → sealed binding
//	looks     a look's place → the places of the accounts with that look, concatenated;
//
//	          `table` → the version of the table of looks
//
// and those of releases without sealing: unionId → account, account → unionId.
func (b *Bindings) keys() []string {
	at := b.s.prefix + "{bindings}:"
	return []string{at + "sealed:people", at + "sealed:accounts", at + "sealed:looks", at + "people", at + "accounts"}
}

const (
	people = iota
	accounts
	looks
	plainPeople
	plainAccounts
)

// stored is what the store has about a person or an account.
type stored struct {
	box   string // "" if there is none
	plain string // the other name, of a release without sealing
}

// fetch reads what the store has about each of these, in one round trip.
func (b *Bindings) fetch(ctx context.Context, by ...account.Binding) ([]stored, error) {
	var all []stored
	err := b.s.do(ctx, "find", func(ctx context.Context) (err error) {
		all, err = b.trip(ctx, by)
		return err
	})
	return all, err
}

func (b *Bindings) trip(ctx context.Context, by []account.Binding) ([]stored, error) {
	keys := b.keys()
	boxes, plain := make([]*redis.StringCmd, len(by)), make([]*redis.StringCmd, len(by))
	_, err := b.s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, one := range by {
			if one.UnionID != "" {
				boxes[i] = p.HGet(ctx, keys[people], b.records.PersonPlace(one.UnionID))
				plain[i] = p.HGet(ctx, keys[plainPeople], one.UnionID)
			} else {
				boxes[i] = p.HGet(ctx, keys[accounts], b.records.AccountPlace(one.Username))
				plain[i] = p.HGet(ctx, keys[plainAccounts], one.Username)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	all := make([]stored, len(by))
	for i := range by {
		for _, cmd := range []*redis.StringCmd{boxes[i], plain[i]} {
			if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
				return nil, err
			}
		}
		all[i] = stored{boxes[i].Val(), plain[i].Val()}
	}
	return all, nil
}

// read opens the stored record of by.
func (b *Bindings) read(by account.Binding, k stored) (account.Binding, error) {
	place := b.records.PersonPlace(by.UnionID)
	if by.UnionID == "" {
		place = b.records.AccountPlace(by.Username)
	}
	switch {
	case k.box != "":
		found, _, err := b.records.Open(place, []byte(k.box))
		return found, err
	case k.plain == "":
		return account.Binding{}, account.ErrNone
	case by.UnionID == "":
		return account.Binding{UnionID: k.plain, Username: by.Username}, account.ErrUnsealed
	}
	return account.Binding{UnionID: by.UnionID, Username: k.plain}, account.ErrUnsealed
}

// Find looks one binding up. If its two records differ, another program has written to Redis.
func (b *Bindings) Find(ctx context.Context, by account.Binding) (account.Binding, error) {
	if by.UnionID != "" {
		by.Username = ""
	}
	all, err := b.fetch(ctx, by)
	if err != nil {
		return account.Binding{}, err
	}
	for range tries {
		found, err := b.read(by, all[0])
		if err != nil {
			return found, err
		}
		other := account.Binding{UnionID: found.UnionID}
		if by.UnionID != "" {
			other = account.Binding{Username: found.Username}
		}
		now, err := b.fetch(ctx, other, by)
		if err != nil {
			return account.Binding{}, err
		}
		if same, err := b.read(other, now[0]); err == nil && same == found {
			return found, nil
		}
		if now[1] == all[0] {
			return account.Binding{}, account.ErrSealed
		}
		all = now[1:] // changed between the two reads
	}
	return account.Binding{}, errRace
}

// Resembles reports whether a bound name looks like this one; of unsealed bindings, whether it is
// equal.
func (b *Bindings) Resembles(ctx context.Context, name string) (found bool, err error) {
	err = b.s.do(ctx, "find", func(ctx context.Context) error {
		var all []*redis.StringCmd
		keys := b.keys()
		_, err := b.s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, place := range b.records.LookPlaces(name) {
				all = append(all, p.HGet(ctx, keys[looks], place))
			}
			all = append(all, p.HGet(ctx, keys[plainAccounts], name))
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, one := range all {
			switch err := one.Err(); {
			case err == nil:
				found = true
			case !errors.Is(err, redis.Nil):
				return err
			}
		}
		return nil
	})
	return found, err
}

// change is an argument of the scripts, without the new sealed bindings.
type change struct {
	account.Binding
	person, name       string // the current sealed bindings
	newPerson, newName string
}

func (b *Bindings) argument(c change) string {
	places := ""
	for _, place := range b.records.LookPlaces(c.Username) {
		places += place
	}
	arg := ""
	for _, text := range []string{c.UnionID, c.Username, b.records.PersonPlace(c.UnionID), c.person, c.newPerson,
		b.records.AccountPlace(c.Username), c.name, c.newName, places} {
		arg += fmt.Sprintf("%06d", len(text)) + text
	}
	return arg
}

// seal adds the new sealed bindings.
func (b *Bindings) seal(c change) (change, error) {
	person, err := b.records.Seal(b.records.PersonPlace(c.UnionID), c.Binding)
	if err != nil {
		return c, err
	}
	name, err := b.records.Seal(b.records.AccountPlace(c.Username), c.Binding)
	c.newPerson, c.newName = string(person), string(name)
	return c, err
}

// tries is how often a change is repeated because another caller changed the same binding.
const tries = 20

var errRace = errors.New("redisstore: binding: others change the same bindings all the time")

// Add adds all of them or none.
func (b *Bindings) Add(ctx context.Context, all ...account.Binding) error {
	// Conflicts among them are found without the server.
	if _, err := account.Plan(all, func(account.Binding) (account.Binding, error) {
		return account.Binding{}, account.ErrNone
	}); err != nil {
		return err
	}
	for range tries {
		answer, err := b.add(ctx, all)
		switch {
		case err != nil:
			return err
		case answer == -1:
			return account.ErrFull
		case answer == 0:
			return nil
		}
	}
	return errRace
}

func (b *Bindings) add(ctx context.Context, all []account.Binding) (int64, error) {
	by := make([]account.Binding, 0, 2*len(all))
	for _, one := range all {
		by = append(by, account.Binding{UnionID: one.UnionID}, account.Binding{Username: one.Username})
	}
	found := map[account.Binding]stored{}
	for part := range chunks(by) {
		now, err := b.fetch(ctx, part...)
		if err != nil {
			return 0, err
		}
		for i, one := range part {
			found[one] = now[i]
		}
	}
	write, err := account.Plan(all, func(by account.Binding) (account.Binding, error) {
		one, err := b.read(by, found[by])
		if errors.Is(err, account.ErrSealed) || errors.Is(err, account.ErrUnsealed) {
			return account.Binding{}, account.ErrNone // it is replaced
		}
		return one, err
	})
	if err != nil {
		return 0, err
	}
	plain, writes := false, map[account.Binding]bool{}
	for _, one := range write {
		writes[one] = true
	}
	for _, one := range all {
		if found[account.Binding{UnionID: one.UnionID}].plain == "" &&
			found[account.Binding{Username: one.Username}].plain == "" {
			continue
		}
		if plain = true; !writes[one] {
			write, writes[one] = append(write, one), true // removes what a release without sealing left beside it
		}
	}
	if len(write) == 0 {
		return 0, nil
	}
	args := make([]any, 1, 1+len(write))
	args[0] = account.MaxBindings
	for _, one := range write {
		c, err := b.seal(change{
			Binding: one,
			person:  found[account.Binding{UnionID: one.UnionID}].box,
			name:    found[account.Binding{Username: one.Username}].box,
		})
		if err != nil {
			return 0, err
		}
		args = append(args, b.argument(c))
	}
	return b.run(ctx, "bind", bindScript, plain, args...)
}

func (b *Bindings) run(ctx context.Context, op string, script *redis.Script, plain bool,
	args ...any) (answer int64, err error) {
	keys := b.keys()
	if !plain {
		keys = keys[:plainPeople]
	}
	err = b.s.do(ctx, op, func(ctx context.Context) error {
		answer, err = script.Run(ctx, b.s.client, keys, args...).Int64()
		return err
	})
	return answer, err
}

// chunks splits a list into the requests of one round trip each.
func chunks(all []account.Binding) func(yield func([]account.Binding) bool) {
	const most = 1000
	return func(yield func([]account.Binding) bool) {
		for len(all) > 0 {
			n := min(len(all), most)
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// Remove removes one binding.
func (b *Bindings) Remove(ctx context.Context, name string) (account.Binding, error) {
	for range tries {
		answer, one, err := b.remove(ctx, name)
		if err != nil {
			return account.Binding{}, err
		}
		if answer == 0 {
			return one, nil
		}
	}
	return account.Binding{}, errRace
}

func (b *Bindings) remove(ctx context.Context, name string) (int64, account.Binding, error) {
	keys := []account.Binding{{Username: name}, {UnionID: name}}
	if name == "" {
		keys = keys[:1]
	}
	for _, by := range keys {
		all, err := b.fetch(ctx, by)
		if err != nil {
			return 0, account.Binding{}, err
		}
		one, err := b.read(by, all[0])
		if err == account.ErrNone {
			continue
		}
		if err != nil && !errors.Is(err, account.ErrUnsealed) {
			return 0, account.Binding{}, err
		}
		both, err := b.fetch(ctx, account.Binding{UnionID: one.UnionID}, account.Binding{Username: one.Username})
		if err != nil {
			return 0, account.Binding{}, err
		}
		side := both[0]
		if by.UnionID == "" {
			side = both[1]
		}
		if side != all[0] { // bound again between the two reads
			return -2, account.Binding{}, nil
		}
		answer, err := b.run(ctx, "unbind", unbindScript, both[0].plain != "" || both[1].plain != "",
			b.argument(change{Binding: one, person: both[0].box, name: both[1].box}))
		return answer, one, err
	}
	return 0, account.Binding{}, account.ErrNone
}
