package oidc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/store/grant"
)

// End is an event that ends grants. Every replica receives it, and repetition is harmless: a
// record of the store is taken once.
type End struct {
	Session string // a session was signed out
	UnionID string // a person's sessions ended, by any of these names
	UserID  string
	Account string // of a local account
	All     bool   // all people's
}

// endings is the queue of Run. If it is full, all people are visited instead.
type endings struct {
	mu    sync.Mutex
	list  []End
	later []string // subjects to visit
	all   bool
	wake  chan struct{}
}

const maxEndings = 1000

func newEndings() *endings { return &endings{wake: make(chan struct{}, 1)} }

func (e *endings) add(change func()) {
	e.mu.Lock()
	change()
	if len(e.list)+len(e.later) > maxEndings {
		e.list, e.later, e.all = nil, nil, true
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *endings) take() (list []End, later []string, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list, later, all = e.list, e.later, e.all
	e.list, e.later, e.all = nil, nil, false
	return list, later, all
}

// Ended is called when a session or a person's membership has ended. It never blocks; Run ends the
// grants.
func (p *Provider) Ended(e End) {
	p.ready()
	p.ends.add(func() {
		if e.All {
			p.ends.all = true
			return
		}
		p.ends.list = append(p.ends.list, e)
	})
}

// VisitAll makes Run visit all people with grants soon, since the configuration has changed.
func (p *Provider) VisitAll() { p.Ended(End{All: true}) }

func (p register) endLater(sub string) {
	p.ends.add(func() { p.ends.later = append(p.ends.later, sub) })
}

const (
	visitEvery  = time.Minute // all people with grants, by one replica
	visitLease  = 50 * time.Second
	endTimeout  = 10 * time.Second
	endRetry    = 500 * time.Millisecond
	endVisitors = 16
	settleAfter = 10 * time.Second // a message that is older is either lost or retried
)

// Run ends the grants for the events that Ended received, and visits all people with grants from
// time to time: this looks up people without a session again, and finds ends that were missed. It
// returns when ctx ends, after the deliveries have stopped.
func (p *Provider) Run(ctx context.Context) {
	p.ready()
	defer p.logouts.shutdown()
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	if _, err := p.Keys.Set(ctx); err != nil { // the first key takes half a second to make: no request has to wait for it
		p.report(err)
	}
	p.people().visitAll(ctx, 0) // also sends what a previous process left
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ends.wake:
			p.people().endings(ctx)
		case <-tick.C:
			if p.people().mayVisit(ctx) {
				p.people().visitAll(ctx, settleAfter)
			}
		}
	}
}

// endings processes the queue. An event that cannot be processed now is tried again.
func (p register) endings(ctx context.Context) {
	list, later, all := p.ends.take()
	failed := false
	if all {
		failed = !p.visitAll(ctx, settleAfter)
		if failed {
			p.ends.add(func() { p.ends.all = true })
		}
	}
	for _, e := range list {
		ending, cancel := context.WithTimeout(ctx, endTimeout)
		if err := p.end(ending, e); err != nil {
			p.report(err)
			failed = true
			p.ends.add(func() { p.ends.list = append(p.ends.list, e) })
		}
		cancel()
	}
	for _, sub := range later {
		if err := p.visit(ctx, sub); err != nil {
			p.report(err)
			failed = true
			p.endLater(sub)
		}
	}
	if failed {
		timer := time.NewTimer(endRetry)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// mayVisit reports whether this replica is the one that visits all people now.
func (p register) mayVisit(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return p.Store.Add(ctx, recordKey("visit", p.Realm), []byte{1}, visitLease) == nil
}

func (p register) end(ctx context.Context, e End) error {
	switch {
	case e.Session != "":
		return p.endSession(ctx, e.Session)
	case e.Account != "":
		return p.endNamed(ctx, "local:"+e.Account)
	}
	var errs []error
	if e.UserID != "" {
		var r useridRecord
		_, _, err := p.records().read(ctx, recordKey("userid", p.Realm, e.UserID), &r)
		errs = append(errs, err, p.endNamed(ctx, "userid:"+e.UserID))
		if r.UnionID != "" && r.UnionID != e.UnionID {
			errs = append(errs, p.endNamed(ctx, "union:"+r.UnionID))
		}
	}
	if e.UnionID != "" {
		errs = append(errs, p.endNamed(ctx, "union:"+e.UnionID))
	}
	return errors.Join(errs...)
}

// endNamed visits the person of a name, which ends the grants of ended sessions.
func (p register) endNamed(ctx context.Context, name string) error {
	var r subjectRecord
	_, found, err := p.records().read(ctx, p.subjects().subjectKey(name), &r)
	if err != nil || !found {
		return err
	}
	return p.visit(ctx, r.Sub)
}

const maxReplaced = 16 // sessions that replaced each other

// endSession ends the grants of a session, and of those that it replaced, which end too.
func (p register) endSession(ctx context.Context, session string) error {
	var errs []error
	for range maxReplaced {
		var r sessionRecord
		_, found, err := p.records().read(ctx, p.sessionKey(session), &r)
		if err != nil || !found {
			return errors.Join(append(errs, err)...)
		}
		one := session
		errs = append(errs, p.endHeld(ctx, r.Sub, func(h held) bool { return h.Session == one }))
		if r.Replaced == "" {
			break
		}
		session = r.Replaced
		errs = append(errs, p.People.Revoke(ctx, session))
	}
	return errors.Join(errs...)
}

// endHeld ends some of a person's grants and has their applications notified, each once per
// session:
//
//	store logout tokens ─► end the grants ─► remove them ─► send, which removes the logout tokens
//
// The next visit of the person continues after an interruption.
func (p register) endHeld(ctx context.Context, sub string, which func(held) bool) error {
	var r personRecord
	_, found, err := p.records().read(ctx, p.personKey(sub), &r)
	if err != nil || !found {
		return err
	}
	var list []held
	for _, h := range r.Held {
		if _, ok := grant.ParseFamily(h.Family); ok && which(h) {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		return nil
	}
	added, err := p.addPending(ctx, sub, list)
	if err != nil {
		return err
	}
	gone, live, nothing, err := p.endAll(ctx, list)
	if len(gone) > 0 {
		err = errors.Join(
			err,
			update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
				r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return gone[h.Family] })
				r.Pending = slices.DeleteFunc(r.Pending, func(o pendingLogout) bool {
					return slices.Contains(added, o) && nothing[[2]string{o.Client, o.Session}]
				})
				return found, nil
			}),
		)
	}
	for _, h := range live {
		p.notify(sub, h, &r.User)
	}
	return err
}

// endAll ends grants. live lists those that were live, one for each client and session; nothing
// the clients and sessions of which none was: a code that was never redeemed.
func (p register) endAll(ctx context.Context, list []held) (gone map[string]bool, live []held,
	nothing map[[2]string]bool, err error) {
	gone, nothing = map[string]bool{}, map[[2]string]bool{}
	sent := map[[2]string]bool{}
	for _, h := range list {
		f, _ := grant.ParseFamily(h.Family)
		ended, bad := p.Grants.End(ctx, f)
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		gone[h.Family] = true
		at := [2]string{h.Client, h.Session}
		switch {
		case ended == nil: // by another replica, or before
			nothing[at] = false
		case ended.Live && !sent[at]:
			sent[at], nothing[at] = true, false
			live = append(live, h)
		case !ended.Live:
			if _, known := nothing[at]; !known {
				nothing[at] = true
			}
		}
	}
	return gone, live, nothing, err
}

// notify sends the end of a session to a client's back channel.
func (p register) notify(sub string, h held, u *identity.User) {
	if c := p.receiver(h.Client, h.Session); c != nil {
		p.logouts.send(c.logout(sub, h.Session, u))
	}
}

func (c *client) logout(sub, session string, u *identity.User) logout {
	return logout{c.ClientID, c.BackchannelLogoutURI, c.algorithm(), sub, session, u.Username, u.UserID}
}

// pendingFor is the lifetime of a logout token: a receiver that is unreachable for longer has no
// session left that it would have to end.
const pendingFor = 24 * time.Hour

// settle sends a person's logout tokens that are older than age and not in progress here.
func (p register) settle(ctx context.Context, sub string, r *personRecord, age time.Duration) error {
	var errs []error
	var claimed []logout
	for _, o := range r.Pending {
		since := p.now().Sub(time.Unix(o.At, 0))
		c := p.receiver(o.Client, o.Session)
		switch {
		case c == nil || since > pendingFor:
			errs = append(errs, p.delivered(ctx, sub, o.Client, o.Session))
		case since >= age:
			if m := c.logout(sub, o.Session, &r.User); p.logouts.claim(m) {
				claimed = append(claimed, m)
			}
		}
	}
	return errors.Join(append(errs, p.sendClaimed(ctx, sub, claimed))...)
}

// sendClaimed sends the messages that are still in the store: one that was in progress when the
// record was read may have been delivered since, and would be sent twice.
func (p register) sendClaimed(ctx context.Context, sub string, claimed []logout) error {
	if len(claimed) == 0 {
		return nil
	}
	var now personRecord
	_, _, err := p.records().read(ctx, p.personKey(sub), &now)
	for _, m := range claimed {
		waits := func(o pendingLogout) bool { return o.is(m.client, m.session) }
		if err == nil && slices.ContainsFunc(now.Pending, waits) {
			p.logouts.queue(m)
		} else {
			p.logouts.free(m)
		}
	}
	return err
}
