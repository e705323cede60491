package oidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/store/grant"
)

// Holding is what one application was given for a person and has now: the tokens of
// one session, or of one device.
type Holding struct {
	Application string // its client id
	Session     string // the session that it was made from; "" of a device
	Device      string // names the grant of a device; "" of a session
	Since       time.Time
	Until       time.Time // with offline_access it outlives the session
}

// ErrNotHeld means that there is nothing to end.
var ErrNotHeld = errors.New("oidc: the person holds no such grant")

// Holdings lists what a person's applications hold, the newest first. It makes no
// subject: a person who never signed in to an application holds nothing.
func Holdings(ctx context.Context, p *Provider, u *identity.User) (list []Holding, err error) {
	r, err := p.people().of(ctx, u)
	if err != nil {
		return nil, err
	}
	at, now := map[Holding]int{}, p.now()
	for _, h := range r.Held {
		until := time.Unix(h.Until, 0)
		if !now.Before(until) || p.clients.all[h.Client] == nil {
			continue
		}
		one := h.holding()
		n, there := at[one]
		if !there {
			n = len(list)
			at[one] = n
			list = append(list, one)
		}
		if since := time.Unix(h.Since, 0); h.Since != 0 && since.After(list[n].Since) {
			list[n].Since = since
		}
		if until.After(list[n].Until) {
			list[n].Until = until
		}
	}
	slices.SortStableFunc(list, func(a, b Holding) int {
		return cmp.Or(b.Since.Compare(a.Since), b.Until.Compare(a.Until))
	})
	return list, nil
}

// holding is the grant without its times.
func (h held) holding() Holding {
	one := Holding{Application: h.Client, Session: h.Session}
	if h.Session == "" {
		one.Device = h.Family
	}
	return one
}

// EndHolding ends what Holdings listed: tokens are refused from then on, and the
// application is notified if it has a back-channel address. The error is ErrNotHeld if the person
// has no such grant; any other one means that the store failed.
func EndHolding(ctx context.Context, p *Provider, u *identity.User, which Holding) error {
	r, err := p.people().of(ctx, u)
	if err != nil {
		return err
	}
	which.Since, which.Until = time.Time{}, time.Time{}
	is := func(h held) bool { return h.holding() == which }
	if !slices.ContainsFunc(r.Held, is) {
		return ErrNotHeld
	}
	return p.people().endHeld(ctx, r.Sub, is)
}

// of is the record of a person, empty for one who holds nothing.
func (p register) of(ctx context.Context, u *identity.User) (r personRecord, err error) {
	sub, err := p.subjects().known(ctx, u)
	if err != nil || sub == "" {
		return r, err
	}
	_, _, err = p.records().read(ctx, p.personKey(sub), &r)
	r.Sub = sub
	r.Held = slices.DeleteFunc(r.Held, func(h held) bool {
		_, ok := grant.ParseFamily(h.Family)
		return !ok
	})
	return r, err
}

// known is the subject that a person has; "" for none yet.
func (p subjects) known(ctx context.Context, u *identity.User) (string, error) {
	name := "userid:" + u.UserID
	switch {
	case u.Local:
		name = "local:" + u.Username
		if bound, err := p.binding(ctx, u); err != nil {
			return "", err
		} else if bound != "" {
			name = "union:" + bound
		}
	case u.UnionID != "":
		name = "union:" + u.UnionID
	case u.UserID == "":
		return "", nil
	}
	var r subjectRecord
	_, _, err := p.records().read(ctx, p.subjectKey(name), &r)
	if u.Local && name == "local:"+u.Username && r.Owner != "" { // it is that of the person it was bound to
		return "", err
	}
	return r.Sub, err
}
