package oidc

import (
	"context"

	"dinggate/internal/identity"
)

// mailboxRecord is the organisation's own mailbox of a person, as DingTalk named it
// last. A session's cookie has no room for whose mailbox an address is.
type mailboxRecord struct{ Email string }

// mailbox notes whose mailbox a person's address is where that is known, and finds
// it where it is not: identity.User.OrgEmail.
func (p subjects) mailbox(ctx context.Context, u *identity.User) error {
	if u.Email == "" || u.UnionID == "" || u.Local {
		return nil
	}
	key := recordKey("mailbox", p.Realm, u.UnionID)
	if !u.OrgEmail {
		var r mailboxRecord
		_, found, err := p.records().read(ctx, key, &r)
		u.OrgEmail = found && r.Email == u.Email
		return err
	}
	return update(ctx, p.records(), key, subjectLife, func(r *mailboxRecord, _ bool) (bool, error) {
		changed := r.Email != u.Email
		r.Email = u.Email
		return changed, nil
	})
}

// Learn notes what DingTalk has just said of somebody who signs in.
func (p *Provider) Learn(ctx context.Context, u identity.User) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	p.report(p.subjects().mailbox(ctx, &u))
}
