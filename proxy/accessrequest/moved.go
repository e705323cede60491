package accessrequest

import (
	"context"
	"errors"
	"time"

	"dinggate/internal/identity"
)

// Moved has what a person asked for and was granted under one unionId count under
// another: DingTalk says that their account was migrated.
func (b *Book) Moved(ctx context.Context, userID, before, after string) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	err := b.change(ctx, Person{UserID: userID}.locator(), func(r *record, _ time.Time) error {
		moved := false
		for i := range r.Items {
			if p := &r.Items[i].Person; !p.Local && p.UserID == userID && p.UnionID == before {
				p.UnionID, moved = after, true
			}
		}
		if !moved {
			return errExists
		}
		return nil
	})
	if errors.Is(err, errExists) {
		return nil
	}
	return err
}

// approverBefore returns the unionId under which an approver with the userid of p was named, if it
// is another one than now; "" if there is none.
func (r *Request) approverBefore(p Person) string {
	if p.Local || p.UserID == "" || p.UnionID == "" || r.isRequester(p) {
		return ""
	}
	for _, a := range r.Approvers {
		if !a.Local && a.UserID == p.UserID && a.UnionID != p.UnionID {
			return a.UnionID
		}
	}
	return ""
}

// movedApprover has an approver of one request, named by userid and unionId, count under another
// unionId: DingTalk says that their account was migrated. It returns ErrNone if there is no such
// request, or no such approver.
func movedApprover(ctx context.Context, b *Book, id, userID, before, after string) (got Request, err error) {
	if err := b.prepare(ctx); err != nil {
		return Request{}, err
	}
	err = b.update(ctx, id, func(q *Request, _ time.Time) error {
		for i := range q.Approvers {
			if a := &q.Approvers[i]; !a.Local && userID != "" && a.UserID == userID && before != "" && a.UnionID == before {
				a.UnionID, got = after, *q
				return nil
			}
		}
		return ErrNone
	})
	return got, err
}

// approver reports whether a person may answer a request, and returns the request as it is then.
// An approver whose account was migrated since the request was made may, if DingTalk says that the
// account was migrated from the one that the request names: the next owner of a userid (threats
// K10) may not.
func (h *Handler) approver(ctx context.Context, q Request, u *identity.User) (Request, bool, error) {
	who := PersonOf(u)
	if q.Approver(who) {
		return q, true, nil
	}
	before := q.approverBefore(who)
	if before == "" || h.Migrated == nil || !h.Migrated(ctx, u, before) {
		return q, false, nil
	}
	moved, err := movedApprover(ctx, h.Book, q.ID, who.UserID, before, who.UnionID)
	if errors.Is(err, ErrNone) {
		return q, false, nil // the request ended, or another replica was first: as after a reload
	}
	return moved, err == nil && moved.Approver(who), err
}
