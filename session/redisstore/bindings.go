package redisstore

import (
	"context"
	"errors"
	"fmt"

	"dinggate/account"

	"github.com/redis/go-redis/v9"
)

// Bindings keeps which DingTalk person is which account, for all replicas, in
// two hashes on one node of a cluster. They have no time to live: give Redis a
// persistence and an eviction policy that spare them. Safe for concurrent use.
type Bindings struct{ s *Store }

var _ account.Bindings = (*Bindings)(nil)

// Bindings gives the bindings of this store.
func (s *Store) Bindings() *Bindings { return &Bindings{s} }

// keys are the hashes: unionId → account, account → unionId.
func (b *Bindings) keys() []string {
	return []string{b.s.prefix + "{bindings}:people", b.s.prefix + "{bindings}:accounts"}
}

// do runs one operation; f returns an answer of account.Bindings, or what went wrong.
func (b *Bindings) do(ctx context.Context, op string, f func(ctx context.Context) error) error {
	var answer error
	err := b.s.do(ctx, op, func(ctx context.Context) error {
		err := f(ctx)
		if _, taken := errors.AsType[*account.TakenError](err); taken || err == account.ErrNone || err == account.ErrFull {
			answer, err = err, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return answer
}

// Find looks one binding up.
func (b *Bindings) Find(ctx context.Context, by account.Binding) (found account.Binding, err error) {
	key, field := b.keys()[0], by.UnionID
	if field == "" {
		key, field = b.keys()[1], by.Username
	}
	err = b.do(ctx, "find", func(ctx context.Context) error {
		text, err := b.s.client.HGet(ctx, key, field).Result()
		if errors.Is(err, redis.Nil) {
			return account.ErrNone
		}
		if err != nil {
			return err
		}
		if found = (account.Binding{UnionID: by.UnionID, Username: text}); by.UnionID == "" {
			found = account.Binding{UnionID: text, Username: by.Username}
		}
		return nil
	})
	return found, err
}

// bindScript answers with the places of those that are taken, with -1 when
// there is no room, or writes all and answers with nothing.
var bindScript = redis.NewScript(`
local taken, new = {}, {}
for i = 2, #ARGV, 2 do
	local name = redis.call('HGET', KEYS[1], ARGV[i])
	local person = redis.call('HGET', KEYS[2], ARGV[i+1])
	if not name and not person then new[#new+1] = i
	elseif name ~= ARGV[i+1] or person ~= ARGV[i] then taken[#taken+1] = i / 2 - 1 end
end
if #taken > 0 then return taken end
if redis.call('HLEN', KEYS[1]) + #new > tonumber(ARGV[1]) then return {-1} end
for _, i in ipairs(new) do
	redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1])
	redis.call('HSET', KEYS[2], ARGV[i+1], ARGV[i])
end
return {}`)

// Add makes all of them or none.
func (b *Bindings) Add(ctx context.Context, all ...account.Binding) error {
	// What is wrong among themselves needs no server.
	if _, err := account.Plan(all, func(account.Binding) (account.Binding, error) { return account.Binding{}, account.ErrNone }); err != nil {
		return err
	}
	args := make([]any, 1, 1+2*len(all))
	args[0] = account.MaxBindings
	for _, one := range all {
		args = append(args, one.UnionID, one.Username)
	}
	return b.do(ctx, "bind", func(ctx context.Context) error {
		places, err := bindScript.Run(ctx, b.s.client, b.keys(), args...).Int64Slice()
		switch {
		case err != nil:
			return err
		case len(places) == 1 && places[0] < 0:
			return account.ErrFull
		case len(places) > 0:
			e := &account.TakenError{}
			for _, place := range places {
				e.Taken = append(e.Taken, int(place))
			}
			return e
		}
		return nil
	})
}

var unbindScript = redis.NewScript(`
local name, person = ARGV[1], redis.call('HGET', KEYS[2], ARGV[1])
if not person then
	person, name = ARGV[1], redis.call('HGET', KEYS[1], ARGV[1])
	if not name then return {} end
end
redis.call('HDEL', KEYS[1], person)
redis.call('HDEL', KEYS[2], name)
return {person, name}`)

// Remove takes one binding away.
func (b *Bindings) Remove(ctx context.Context, name string) (removed account.Binding, err error) {
	err = b.do(ctx, "unbind", func(ctx context.Context) error {
		pair, err := unbindScript.Run(ctx, b.s.client, b.keys(), name).StringSlice()
		switch {
		case err != nil:
			return err
		case len(pair) == 0:
			return account.ErrNone
		case len(pair) != 2:
			return fmt.Errorf("%d texts for a binding", len(pair))
		}
		removed = account.Binding{UnionID: pair[0], Username: pair[1]}
		return nil
	})
	return removed, err
}

// List returns all, in pieces, so that other callers of Redis do not wait.
func (b *Bindings) List(ctx context.Context) ([]account.Binding, error) {
	people := map[string]string{}
	for cursor := uint64(0); ; {
		err := b.do(ctx, "list", func(ctx context.Context) error {
			fields, next, err := b.s.client.HScan(ctx, b.keys()[0], cursor, "", 1000).Result()
			if err != nil {
				return err
			}
			for i := 0; i+1 < len(fields); i += 2 {
				people[fields[i]] = fields[i+1]
			}
			cursor = next
			return nil
		})
		if err != nil {
			return nil, err
		}
		if cursor == 0 || len(people) > 2*account.MaxBindings {
			break
		}
	}
	all := make([]account.Binding, 0, len(people))
	for id, name := range people {
		all = append(all, account.Binding{UnionID: id, Username: name})
	}
	account.Sort(all)
	return all, nil
}
