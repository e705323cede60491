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

// End is something that ends grants. Every replica receives it, and any number of
// times does no harm: what is taken out of the store is taken once.
type End struct {
	Session string // a session was signed out
	UnionID string // a person's sessions ended, by any of these names
	UserID  string
	Account string // of a local account
	All     bool   // everybody's
}

// endings collects what Run has to do. A full list becomes a look at everybody.
type endings struct {
	mu    sync.Mutex
	list  []End
	later []string // subjects to look at
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

// Ended is called when a session or a person has ended. It never waits; Run draws the
// consequence.
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

// LookAtAll has everybody with grants looked at soon: the configuration is another
// one.
func (p *Provider) LookAtAll() { p.Ended(End{All: true}) }

func (p register) endLater(sub string) {
	p.ends.add(func() { p.ends.later = append(p.ends.later, sub) })
}

const (
	visitEvery  = time.Minute // everybody with grants, by one replica
	visitLease  = 50 * time.Second
	endTimeout  = 10 * time.Second
	endRetry    = 500 * time.Millisecond
	endVisitors = 16
	settleAfter = 10 * time.Second // what is owed for as long is not on its way any more, or has it hard
)

// Run draws the consequences of what Ended received, and visits everybody with grants
// from time to time: people without a session are looked up again by that, and what
// an ending missed is found. It returns when ctx ends, with the deliveries stopped.
func (p *Provider) Run(ctx context.Context) {
	p.ready()
	defer p.logouts.shutdown()
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	if _, err := p.Keys.Set(ctx); err != nil { // a first key takes half a second to make: nobody is to wait for it
		p.report(err)
	}
	p.people().visitAll(ctx, 0) // also what a process that died owes
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

// endings works on what has come in. What cannot be done now is tried again.
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

// mayVisit reports whether this replica is the one that visits everybody now.
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

// endNamed visits the person of a name: what a session's end ends is found out there.
func (p register) endNamed(ctx context.Context, name string) error {
	var r subjectRecord
	_, found, err := p.records().read(ctx, p.subjects().subjectKey(name), &r)
	if err != nil || !found {
		return err
	}
	return p.visit(ctx, r.Sub)
}

const maxReplaced = 16 // sessions that took each other's place

// endSession ends what was made from a session, and from those that it took the
// place of, which end too.
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

// endHeld ends some of a person's grants and has their applications notified, each once
// per session:
//
//	note what is owed ─► end the grants ─► forget them ─► send, which forgets what is owed
//
// Whatever is interrupted goes on where somebody looks at the person again.
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
	added, err := p.owe(ctx, sub, list)
	if err != nil {
		return err
	}
	gone, tell, nothing, err := p.endAll(ctx, list)
	if len(gone) > 0 {
		err = errors.Join(err, update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
			r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return gone[h.Family] })
			r.Owed = slices.DeleteFunc(r.Owed, func(o owed) bool {
				return slices.Contains(added, o) && nothing[[2]string{o.Client, o.Session}]
			})
			return found, nil
		}))
	}
	for _, h := range tell {
		p.notify(sub, h, &r.User)
	}
	return err
}

// endAll ends grants. tell has those that lived, one for each client and session;
// nothing the clients and sessions of which none did: a code that was never redeemed.
func (p register) endAll(ctx context.Context, list []held) (gone map[string]bool, tell []held, nothing map[[2]string]bool, err error) {
	gone, nothing = map[string]bool{}, map[[2]string]bool{}
	told := map[[2]string]bool{}
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
		case ended.Live && !told[at]:
			told[at], nothing[at] = true, false
			tell = append(tell, h)
		case !ended.Live:
			if _, known := nothing[at]; !known {
				nothing[at] = true
			}
		}
	}
	return gone, tell, nothing, err
}

// notify sends a client's back channel the end of a session.
func (p register) notify(sub string, h held, u *identity.User) {
	if c := p.receiver(h.Client, h.Session); c != nil {
		p.logouts.send(logout{c.ClientID, c.BackchannelLogoutURI, c.algorithm(), sub, h.Session, u.Username, u.UserID})
	}
}

// owedFor is how long a logout token is owed: a receiver that is away for longer has
// no session left of whose end it would have to know.
const owedFor = 24 * time.Hour

// settle sends what is owed to a person's applications for longer than age, and is
// not on its way from here.
func (p register) settle(ctx context.Context, sub string, r *personRecord, age time.Duration) error {
	var errs []error
	for _, o := range r.Owed {
		since := p.now().Sub(time.Unix(o.At, 0))
		switch {
		case p.receiver(o.Client, o.Session) == nil || since > owedFor:
			errs = append(errs, p.paid(ctx, sub, o.Client, o.Session))
		case since >= age:
			p.notify(sub, held{Client: o.Client, Session: o.Session}, &r.User)
		}
	}
	return errors.Join(errs...)
}
