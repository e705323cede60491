package oidc

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"dinggate/internal/identity"
	"dinggate/store/grant"
)

// personRecord is a person with grants: the latest facts, and the grants.
type personRecord struct {
	Sub     string
	User    identity.User
	Checked time.Time
	Held    []held
	Pending []pendingLogout `json:"Owed,omitempty"`
}

// pendingLogout is a logout token that an application has not accepted yet. It is stored before the grant
// ends, so that it is delivered even if the process dies.
type pendingLogout struct {
	Client, Session string
	At              int64 // Unix seconds
}

func (o pendingLogout) is(client, session string) bool {
	return o.Client == client && o.Session == session
}

// held is one grant of a person, newest last.
type held struct {
	Family  string
	Client  string
	Session string `json:",omitempty"` // the session that it was made from; "" for a device
	Since   int64  `json:",omitempty"` // Unix seconds; 0: stored by an earlier release
	Until   int64  // Unix seconds
	Offline bool   `json:",omitempty"`
}

// Bounds of one person's grants: the oldest are removed.
const (
	maxFamilies = 20  // of one client
	maxHeld     = 200 // of all clients together
)

func (p register) personKey(sub string) string { return recordKey("person", p.Realm, sub) }

// life is how long a record of a person, or of a session, may be needed.
func (p register) life() time.Duration { return p.Config.RefreshToken + 48*time.Hour }

// hold records a grant for its person before the tokens are issued, so that the person's end finds
// it. If there are too many, the oldest end.
func (p register) hold(ctx context.Context, f grant.Family, g *given, u *identity.User, checked,
	until time.Time) error {
	now := p.now()
	var over []held
	err := update(ctx, p.records(), p.personKey(g.Sub), p.life(), func(r *personRecord, _ bool) (bool, error) {
		over = nil
		r.learn(g.Sub, u, checked)
		r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return h.Until < now.Unix() || h.Family == f.String() })
		r.Held = append(r.Held, held{f.String(), g.Client, g.session(), now.Unix(), until.Unix(), g.has(scopeOffline)})
		drop := func(is func(held) bool, limit int) {
			n := 0
			for _, h := range r.Held {
				if is(h) {
					n++
				}
			}
			r.Held = slices.DeleteFunc(r.Held, func(h held) bool {
				if n > limit && is(h) {
					n--
					over = append(over, h)
					return true
				}
				return false
			})
		}
		drop(func(h held) bool { return h.Client == g.Client }, maxFamilies)
		drop(func(held) bool { return true }, maxHeld)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, h := range over {
		if f, ok := grant.ParseFamily(h.Family); ok {
			_, err = p.Grants.End(ctx, f)
			p.report(err)
		}
	}
	return errors.Join(p.index(ctx, g.Sub), p.noteSession(ctx, g))
}

// addPending stores logout tokens for those of list that still exist, and returns the new ones.
func (p register) addPending(ctx context.Context, sub string, list []held) (added []pendingLogout, err error) {
	now := p.now().Unix()
	err = update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		added = nil
		for _, h := range list {
			there := slices.ContainsFunc(r.Held, func(o held) bool { return o.Family == h.Family })
			noted := slices.ContainsFunc(r.Pending, func(o pendingLogout) bool { return o.is(h.Client, h.Session) })
			if there && !noted && p.receiver(h.Client, h.Session) != nil {
				o := pendingLogout{h.Client, h.Session, now}
				r.Pending, added = append(r.Pending, o), append(added, o)
			}
		}
		r.Pending = r.Pending[max(0, len(r.Pending)-maxHeld):]
		return found && len(added) > 0, nil
	})
	return added, err
}

// delivered removes a logout token that was accepted, or never will be.
func (p register) delivered(ctx context.Context, sub, client, session string) error {
	return update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		before := len(r.Pending)
		r.Pending = slices.DeleteFunc(r.Pending, func(o pendingLogout) bool { return o.is(client, session) })
		return found && len(r.Pending) < before, nil
	})
}

// receiver returns the client if it has a back channel for a session's end; otherwise nil.
func (p register) receiver(id, session string) *client {
	c := p.clients.all[id]
	if c == nil || c.BackchannelLogoutURI == "" || session == "" {
		return nil
	}
	return c
}

// session is the session that the grant belongs to: a device's belongs to the person.
func (g *given) session() string {
	if g.Device != nil {
		return ""
	}
	return g.Login.Session
}

func (r *personRecord) learn(sub string, u *identity.User, checked time.Time) {
	r.Sub = sub
	if !checked.Before(r.Checked) {
		r.User, r.Checked = *u, checked
	}
}

// sessionRecord is the subject of a session, and the session that it replaced.
type sessionRecord struct {
	Sub      string
	Replaced string `json:",omitempty"`
}

func (p register) sessionKey(session string) string { return recordKey("session", p.Realm, session) }

func (p register) noteSession(ctx context.Context, g *given) error {
	if g.session() == "" {
		return nil
	}
	return update(
		ctx,
		p.records(),
		p.sessionKey(g.Login.Session),
		p.life(),
		func(r *sessionRecord, found bool) (bool, error) {
			r.Sub = g.Sub
			return !found, nil
		},
	)
}

// replaces records that a session replaced another one of the same person: the end of the new one
// ends the old one too.
func (p register) replaces(ctx context.Context, session, old, sub string) error {
	return update(ctx, p.records(), p.sessionKey(session), p.life(), func(r *sessionRecord, _ bool) (bool, error) {
		changed := r.Replaced != old || r.Sub != sub
		r.Sub, r.Replaced = sub, old
		return changed, nil
	})
}

// People with grants are listed in a fixed number of records, so that they can be visited in any
// store.
const shards = 256

// shard lists subjects.
type shard struct{ Subs []string }

const maxShard = 1000 // subjects in one shard: the record stays below 64 KiB

func shardKey(realm string, i int) string { return recordKey("people", realm, strconv.Itoa(i)) }

func shardOf(sub string) int {
	h := 0
	for _, c := range []byte(sub) {
		h = (h*31 + int(c)) % shards
	}
	return h
}

var errTooManyPeople = errors.New("oidc: more people hold grants than are kept")

// index adds a person with grants to the list.
func (p register) index(ctx context.Context, sub string) error {
	return update(ctx, p.records(), shardKey(p.Realm, shardOf(sub)), subjectLife, func(s *shard, _ bool) (bool, error) {
		at, there := slices.BinarySearch(s.Subs, sub)
		switch {
		case there:
			return false, nil
		case len(s.Subs) >= maxShard:
			return false, errTooManyPeople
		}
		s.Subs = slices.Insert(s.Subs, at, sub)
		return true, nil
	})
}

// unindex removes people without grants from the list.
func (p register) unindex(ctx context.Context, i int, gone []string) error {
	return update(ctx, p.records(), shardKey(p.Realm, i), subjectLife, func(s *shard, _ bool) (bool, error) {
		before := len(s.Subs)
		s.Subs = slices.DeleteFunc(s.Subs, func(sub string) bool { return slices.Contains(gone, sub) })
		return len(s.Subs) != before, nil
	})
}
