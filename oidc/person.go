package oidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"dinggate/internal/identity"
	"dinggate/store/grant"
)

// personRecord is a person who has grants: the newest facts, and what was given.
type personRecord struct {
	Sub     string
	User    identity.User
	Checked time.Time
	Held    []held
	Owed    []owed `json:",omitempty"`
}

// owed is a logout token that an application has not taken yet. It is noted before
// the grant ends, so that a process that dies owes it still.
type owed struct {
	Client, Session string
	At              int64 // Unix seconds
}

func (o owed) is(client, session string) bool { return o.Client == client && o.Session == session }

// held is one grant of a person, newest last.
type held struct {
	Family  string
	Client  string
	Session string `json:",omitempty"` // the session it was made from; "" of a device
	Until   int64  // Unix seconds
	Offline bool   `json:",omitempty"`
}

// Bounds of what one person holds: the oldest goes.
const (
	maxFamilies = 20  // of one client
	maxHeld     = 200 // of all clients together
)

func (p register) personKey(sub string) string { return recordKey("person", p.Realm, sub) }

// life is how long a record of a person, or of a session, may be needed.
func (p register) life() time.Duration { return p.Config.RefreshToken + 48*time.Hour }

// hold notes a grant with its person before anybody has the tokens, so that the
// person's end finds it. Of too many the oldest end.
func (p register) hold(ctx context.Context, f grant.Family, g *given, u *identity.User, checked, until time.Time) error {
	now := p.now()
	var over []held
	err := update(ctx, p.records(), p.personKey(g.Sub), p.life(), func(r *personRecord, _ bool) (bool, error) {
		over = nil
		r.learn(g.Sub, u, checked)
		r.Held = slices.DeleteFunc(r.Held, func(h held) bool { return h.Until < now.Unix() || h.Family == f.String() })
		r.Held = append(r.Held, held{f.String(), g.Client, g.session(), until.Unix(), g.has(scopeOffline)})
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

// owe notes logout tokens for those of list that are still held, and gives the ones
// that nobody had noted.
func (p register) owe(ctx context.Context, sub string, list []held) (added []owed, err error) {
	now := p.now().Unix()
	err = update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		added = nil
		for _, h := range list {
			there := slices.ContainsFunc(r.Held, func(o held) bool { return o.Family == h.Family })
			noted := slices.ContainsFunc(r.Owed, func(o owed) bool { return o.is(h.Client, h.Session) })
			if there && !noted && p.receiver(h.Client, h.Session) != nil {
				o := owed{h.Client, h.Session, now}
				r.Owed, added = append(r.Owed, o), append(added, o)
			}
		}
		r.Owed = r.Owed[max(0, len(r.Owed)-maxHeld):]
		return found && len(added) > 0, nil
	})
	return added, err
}

// paid forgets a logout token that was taken, or that nobody will take.
func (p register) paid(ctx context.Context, sub, client, session string) error {
	return update(ctx, p.records(), p.personKey(sub), p.life(), func(r *personRecord, found bool) (bool, error) {
		before := len(r.Owed)
		r.Owed = slices.DeleteFunc(r.Owed, func(o owed) bool { return o.is(client, session) })
		return found && len(r.Owed) < before, nil
	})
}

// receiver is a client that wants to know of a session's end; nil for none.
func (p register) receiver(id, session string) *client {
	c := p.clients.all[id]
	if c == nil || c.BackchannelLogoutURI == "" || session == "" {
		return nil
	}
	return c
}

// session is the one that the grant belongs to: a device's belongs to the person.
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

// sessionRecord says whose a session is, and which one it took the place of.
type sessionRecord struct {
	Sub      string
	Replaced string `json:",omitempty"`
}

func (p register) sessionKey(session string) string { return recordKey("session", p.Realm, session) }

func (p register) noteSession(ctx context.Context, g *given) error {
	if g.session() == "" {
		return nil
	}
	return update(ctx, p.records(), p.sessionKey(g.Login.Session), p.life(), func(r *sessionRecord, found bool) (bool, error) {
		r.Sub = g.Sub
		return !found, nil
	})
}

// replaces notes that a session took the place of another one of the same person:
// the end of the new one is the end of the old one too.
func (p register) replaces(ctx context.Context, session, old, sub string) error {
	return update(ctx, p.records(), p.sessionKey(session), p.life(), func(r *sessionRecord, _ bool) (bool, error) {
		changed := r.Replaced != old || r.Sub != sub
		r.Sub, r.Replaced = sub, old
		return changed, nil
	})
}

// People with grants are listed in a fixed number of records, so that all of them
// can be visited in any store.
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

var errCrowd = errors.New("oidc: more people hold grants than are kept")

// index lists a person who holds grants.
func (p register) index(ctx context.Context, sub string) error {
	return update(ctx, p.records(), shardKey(p.Realm, shardOf(sub)), subjectLife, func(s *shard, _ bool) (bool, error) {
		at, there := slices.BinarySearch(s.Subs, sub)
		switch {
		case there:
			return false, nil
		case len(s.Subs) >= maxShard:
			return false, errCrowd
		}
		s.Subs = slices.Insert(s.Subs, at, sub)
		return true, nil
	})
}

// unindex takes people off the list who hold nothing any more.
func (p register) unindex(ctx context.Context, i int, gone []string) error {
	return update(ctx, p.records(), shardKey(p.Realm, i), subjectLife, func(s *shard, _ bool) (bool, error) {
		before := len(s.Subs)
		s.Subs = slices.DeleteFunc(s.Subs, func(sub string) bool { return slices.Contains(gone, sub) })
		return len(s.Subs) != before, nil
	})
}

// Held lists what somebody holds, for a page or a console: applications by their
// client ids, newest first.
func (p *Provider) Held(ctx context.Context, u *identity.User) (applications []string, err error) {
	sub, err := p.subjects().of(ctx, u)
	if err != nil {
		return nil, err
	}
	var r personRecord
	if _, _, err := p.records().read(ctx, p.people().personKey(sub), &r); err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.Held, func(a, b held) int { return cmp.Compare(b.Until, a.Until) })
	for _, h := range r.Held {
		if h.Until >= p.now().Unix() && !slices.Contains(applications, h.Client) {
			applications = append(applications, h.Client)
		}
	}
	return applications, nil
}
