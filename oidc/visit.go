package oidc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dinggate/store/grant"
)

// visitAll visits all people with grants, and sends logout tokens that are older than age. It
// returns false if some could not be visited.
func (p register) visitAll(ctx context.Context, age time.Duration) bool {
	whole := true
	for i := range shards {
		if ctx.Err() != nil {
			return false
		}
		if err := p.visitShard(ctx, i, age); err != nil {
			p.report(err)
			whole = false
		}
	}
	return whole
}

func (p register) visitShard(ctx context.Context, i int, age time.Duration) error {
	reading, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var s shard
	if _, found, err := p.records().read(reading, shardKey(p.Realm, i), &s); err != nil || !found {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var gone []string
	var all sync.WaitGroup
	places := make(chan struct{}, endVisitors)
	for _, sub := range s.Subs {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			err := p.visitAndSettle(ctx, sub, age)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errEmpty):
				gone = append(gone, sub)
			case err != nil:
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	if len(gone) > 0 {
		errs = append(errs, p.leave(ctx, i, gone))
	}
	return errors.Join(errs...)
}

// leave removes people from the list. A person who got a new grant meanwhile is added again.
func (p register) leave(ctx context.Context, i int, gone []string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := p.unindex(ctx, i, gone)
	for _, sub := range gone {
		var r personRecord
		_, found, bad := p.records().read(ctx, p.personKey(sub), &r)
		if bad != nil || found && len(r.Held)+len(r.Pending) > 0 {
			err = errors.Join(err, bad, p.index(ctx, sub))
		}
	}
	return err
}

// errEmpty means that a person has no grants left.
var errEmpty = errors.New("oidc: holds nothing")

// visit checks one person's grants: those end whose client was removed, whose session or person
// has ended, or whose rule no longer admits the person. It also lets the person's membership be
// confirmed again if that is due.
func (p register) visit(ctx context.Context, sub string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var r personRecord
	_, found, err := p.records().read(ctx, p.personKey(sub), &r)
	if err != nil {
		return err
	}
	now := p.now()
	r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return h.Until < now.Unix() })
	if !found || len(r.Held)+len(r.Pending) == 0 {
		return errEmpty
	}
	over, gone := map[string]bool{}, map[string]bool{}
	for _, h := range r.Held {
		ended, err := p.over(ctx, h, &r)
		if err != nil && !errors.Is(err, grant.ErrNone) {
			return err
		}
		if ended {
			over[h.Family], gone[h.Family] = true, err != nil
		}
	}
	if err := p.forget(ctx, sub, r.Held, over, gone); err != nil {
		return err
	}
	if len(over) > 0 {
		err = p.endHeld(ctx, sub, func(h held) bool { return over[h.Family] })
	}
	return errors.Join(err, p.remember(ctx, sub, &r))
}

// visitAndSettle visits a person, and then sends pending logout tokens.
func (p register) visitAndSettle(ctx context.Context, sub string, age time.Duration) error {
	if err := p.visit(ctx, sub); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var r personRecord
	_, found, err := p.records().read(ctx, p.personKey(sub), &r)
	if err != nil || !found || len(r.Pending) == 0 {
		return err
	}
	return p.settle(ctx, sub, &r, age)
}

// forget removes grants without a record from list and over, if their client has another one of the
// same session: it revoked the tokens itself, and has signed in again. A logout token would end a
// session that lives.
func (p register) forget(ctx context.Context, sub string, list []held, over, gone map[string]bool) error {
	again := map[string]bool{}
	for _, h := range list {
		if gone[h.Family] && slices.ContainsFunc(list, func(o held) bool {
			return o.Client == h.Client && o.Session == h.Session && !over[o.Family]
		}) {
			again[h.Family] = true
		}
	}
	if len(again) == 0 {
		return nil
	}
	for family := range again {
		delete(over, family)
	}
	return update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return again[h.Family] })
		return found, nil
	})
}

// over reports whether a grant has ended. If that is unknown, it has not. The error of one that has
// ended is nil, or grant.ErrNone if there is no record of it.
func (p register) over(ctx context.Context, h held, r *personRecord) (bool, error) {
	c := p.clients.all[h.Client]
	if c == nil {
		return true, nil
	}
	f, ok := grant.ParseFamily(h.Family)
	if !ok {
		return true, nil
	}
	g, err := p.Grants.ByFamily(ctx, f)
	if errors.Is(err, grant.ErrNone) {
		return true, err
	} else if err != nil {
		return false, err
	}
	var what given
	if g.Read(&what) != nil {
		return true, nil
	}
	u, bad := p.member(ctx, &what)
	switch {
	case bad != nil && bad.retry:
		return false, nil
	case bad != nil:
		return true, nil
	}
	if what.Login.Checked.After(r.Checked) {
		r.User, r.Checked = *u, what.Login.Checked
	}
	_, admitted := c.admits(u)
	if admitted && c.namesPaths() {
		p.report(p.disclosure().learnPaths(ctx, u.Departments)) // an end does not wait for names
	}
	return !admitted, nil
}

// remember stores newer facts about the person, for replicas and restarts.
func (p register) remember(ctx context.Context, sub string, newest *personRecord) error {
	return update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		if !found || newest.Checked.Sub(r.Checked) < time.Second {
			return false, nil
		}
		r.User, r.Checked = newest.User, newest.Checked
		return true, nil
	})
}
