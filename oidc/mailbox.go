package oidc

import (
	"context"

	"dinggate/internal/identity"
	"dinggate/store/grant"
)

// mailboxRecord is a person's mailbox of the organisation, as DingTalk last returned it. A
// session's cookie has no space for whether an address is such a mailbox.
type mailboxRecord struct{ Email string }

// Mailboxes stores the organisation's mailboxes that DingTalk returns when a person signs in or is
// looked up again: before the applications need them, and before there is a Provider. Set the
// fields, then share the pointer; safe for concurrent use.
type Mailboxes struct {
	Realm  string // of the organisation, as a Provider's
	Store  grant.Store
	Sealer Sealer

	// Report is called if an address could not be stored. If nil, it is not called.
	Report func(err error)
}

// Learn stores whether the address that DingTalk has just returned for a person is their mailbox of
// the organisation. It waits for the store, with a deadline; an error is passed to Report.
func (m *Mailboxes) Learn(ctx context.Context, u identity.User) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := m.confirm(ctx, &u); err != nil && m.Report != nil {
		m.Report(err)
	}
}

// confirm stores whether a person's address is their mailbox of the organisation if u says so, and
// otherwise reads it: identity.User.OrgEmail.
func (m *Mailboxes) confirm(ctx context.Context, u *identity.User) error {
	if u.Email == "" || u.UnionID == "" || u.Local {
		return nil
	}
	stored := records{m.Store, m.Sealer}
	key := recordKey("mailbox", m.Realm, u.UnionID)
	if !u.OrgEmail {
		var r mailboxRecord
		_, found, err := stored.read(ctx, key, &r)
		u.OrgEmail = found && r.Email == u.Email
		return err
	}
	return update(ctx, stored, key, subjectLife, func(r *mailboxRecord, _ bool) (bool, error) {
		changed := r.Email != u.Email
		r.Email = u.Email
		return changed, nil
	})
}

func (p *Provider) mailboxes() *Mailboxes {
	return &Mailboxes{Realm: p.Realm, Store: p.Store, Sealer: p.Sealer}
}
