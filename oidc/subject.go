package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"dinggate/internal/identity"
)

// A subject is the identifier of a person for applications. It is assigned at the first sign-in
// and never belongs to another person (threats E17):
//
//	unionId ──────────► the record of that name ─┬─ exists ─► its subject
//
//	local account ─────►                         └─ none ───► a new one
//
//	unionId, unknown, of a known userid ─► DingTalk: was the account migrated? ─┬─ from a known one ─► that one's subject
//
//	                                                                            └─ no ─► a new one: another owner
//
// A new subject is derived from organisation and name, so that after the loss of a store everyone
// gets the same subject again.
const subjectLife = 3650 * 24 * time.Hour

// subjectRecord is the subject of a name.
type subjectRecord struct {
	Sub   string
	Owner string `json:",omitempty"` // of a local account: the unionId that its subject was given to
}

// useridRecord is the last owner of a userid.
type useridRecord struct{ UnionID string }

var (
	errNoSubject = errors.New(
		"oidc: neither a unionid nor a userid is known of this person: an application could not distinguish two people " +
			"who had one username in turn",
	)
	errUnsettled = errors.New(
		"oidc: a known userid has an unknown unionid, and DingTalk does not say whether the account was migrated; " +
			"give the app the permission Contact.OrgAccountMigration.Read (通讯录企业账号迁移数据读权限)",
	)
)

func (p subjects) derived(name string) string {
	sum := sha256.Sum256([]byte("dinggate subject\x00" + p.Realm + "\x00" + name))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (p subjects) subjectKey(name string) string { return recordKey("subject", p.Realm, name) }

// of is the subject of a person. errNoSubject and errUnsettled mean that there is none; any other
// error means that the store failed, or that DingTalk did not answer.
func (p subjects) of(ctx context.Context, u *identity.User) (string, error) {
	switch {
	case u.Local:
		return p.accountSubject(ctx, u)
	case u.UnionID != "":
		return p.unionSubject(ctx, u)
	case u.UserID != "":
		return p.named(ctx, "userid:"+u.UserID, func() (string, error) { return p.derived("userid:" + u.UserID), nil })
	}
	return "", errNoSubject
}

// named is the subject of a name; first makes it if there is none.
func (p subjects) named(ctx context.Context, name string, first func() (string, error)) (sub string, err error) {
	key := p.subjectKey(name)
	err = update(ctx, p.records(), key, subjectLife, func(r *subjectRecord, found bool) (bool, error) {
		if found && r.Sub != "" {
			sub = r.Sub
			return false, nil
		}
		if sub, err = first(); err != nil {
			return false, err
		}
		*r = subjectRecord{Sub: sub}
		return true, nil
	})
	return sub, err
}

func (p subjects) unionSubject(ctx context.Context, u *identity.User) (string, error) {
	sub, err := p.named(ctx, "union:"+u.UnionID, func() (string, error) { return p.firstSight(ctx, u) })
	if err != nil || u.UserID == "" {
		return sub, err
	}
	err = update(
		ctx,
		p.records(),
		recordKey("userid", p.Realm, u.UserID),
		subjectLife,
		func(r *useridRecord, _ bool) (bool, error) {
			changed := r.UnionID != u.UnionID
			r.UnionID = u.UnionID
			return changed, nil
		},
	)
	return sub, err
}

// firstSight assigns the subject of a person whose unionId is new.
func (p subjects) firstSight(ctx context.Context, u *identity.User) (string, error) {
	var known useridRecord
	if u.UserID != "" {
		if _, _, err := p.records().read(ctx, recordKey("userid", p.Realm, u.UserID), &known); err != nil {
			return "", err
		}
	}
	if known.UnionID != "" && known.UnionID != u.UnionID {
		if p.People.Migrated == nil {
			return "", errUnsettled
		}
		old, err := p.People.Migrated(ctx, u.UnionID)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUnsettled, err)
		}
		if old != "" {
			var r subjectRecord
			_, found, err := p.records().read(ctx, p.subjectKey("union:"+old), &r)
			if err != nil {
				return "", err
			}
			if found {
				return r.Sub, nil
			}
		}
	}
	if account, err := p.binding(ctx, u); err != nil || account != "" {
		if err != nil {
			return "", err
		}
		return p.adopt(ctx, account, u.UnionID)
	}
	return p.derived("union:" + u.UnionID), nil
}

func (p subjects) binding(ctx context.Context, u *identity.User) (string, error) {
	if p.People.Binding == nil {
		return "", nil
	}
	return p.People.Binding(ctx, u)
}

// adopt assigns a DingTalk person the subject of the local account that they are bound to, unless
// it was assigned to another person before.
func (p subjects) adopt(ctx context.Context, account, unionID string) (sub string, err error) {
	err = update(
		ctx,
		p.records(),
		p.subjectKey("local:"+account),
		subjectLife,
		func(r *subjectRecord, found bool) (bool, error) {
			sub = p.derived("union:" + unionID)
			if !found || r.Owner != "" && r.Owner != unionID {
				return false, nil
			}
			sub = r.Sub
			changed := r.Owner != unionID
			r.Owner = unionID
			return changed, nil
		},
	)
	return sub, err
}

// accountSubject is the subject of a local account: its own, or that of the DingTalk person that
// it is bound to.
func (p subjects) accountSubject(ctx context.Context, u *identity.User) (sub string, err error) {
	bound, err := p.binding(ctx, u)
	if err != nil {
		return "", err
	}
	if bound != "" {
		return p.named(ctx, "union:"+bound, func() (string, error) { return p.adopt(ctx, u.Username, bound) })
	}
	err = update(
		ctx,
		p.records(),
		p.subjectKey("local:"+u.Username),
		subjectLife,
		func(r *subjectRecord, found bool) (bool, error) {
			switch {
			case found && r.Owner == "":
				sub = r.Sub
				return false, nil
			case found: // the DingTalk person that it was bound to keeps this subject
				sub = rand.Text()
			default:
				sub = p.derived("local:" + u.Username)
			}
			*r = subjectRecord{Sub: sub}
			return true, nil
		},
	)
	return sub, err
}
