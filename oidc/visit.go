package oidc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dinggate/store/grant"
)

// visitAll looks at everybody with grants, and sends what is owed for longer than
// age. False: not all could be looked at.
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

// leave takes people off the list. Who got something new meanwhile is put back.
func (p register) leave(ctx context.Context, i int, gone []string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := p.unindex(ctx, i, gone)
	for _, sub := range gone {
		var r personRecord
		_, found, bad := p.records().read(ctx, p.personKey(sub), &r)
		if bad != nil || found && len(r.Held)+len(r.Owed) > 0 {
			err = errors.Join(err, bad, p.index(ctx, sub))
		}
	}
	return err
}

// errEmpty means that somebody holds nothing any more.
var errEmpty = errors.New("oidc: holds nothing")

// visit looks at one person's grants: those end whose client is gone, whose session
// or person has ended, or whose rule does not admit the person any more. Looking has
// the person's membership confirmed again where that is due.
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
	if !found || len(r.Held)+len(r.Owed) == 0 {
		return errEmpty
	}
	over := map[string]bool{}
	for _, h := range r.Held {
		ended, err := p.over(ctx, h, &r)
		if err != nil {
			return err
		}
		if ended {
			over[h.Family] = true
		}
	}
	if len(over) > 0 {
		err = p.endHeld(ctx, sub, func(h held) bool { return over[h.Family] })
	}
	return errors.Join(err, p.remember(ctx, sub, &r))
}

// visitAndSettle visits a person, and then sends what is owed.
func (p register) visitAndSettle(ctx context.Context, sub string, age time.Duration) error {
	if err := p.visit(ctx, sub); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var r personRecord
	_, found, err := p.records().read(ctx, p.personKey(sub), &r)
	if err != nil || !found || len(r.Owed) == 0 {
		return err
	}
	return p.settle(ctx, sub, &r, age)
}

// over reports whether a grant has ended. What is not known now ends nothing.
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
		return true, nil
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
	return !admitted, nil
}

// remember keeps newer facts with the person, for replicas and restarts.
func (p register) remember(ctx context.Context, sub string, newest *personRecord) error {
	return update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		if !found || newest.Checked.Sub(r.Checked) < time.Second {
			return false, nil
		}
		r.User, r.Checked = newest.User, newest.Checked
		return true, nil
	})
}
