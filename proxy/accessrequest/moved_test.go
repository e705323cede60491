package accessrequest

import (
	"context"
	"errors"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// TestMoved: a grant follows a person to another unionId if both are known, and no other person with
// the userid.
func TestMoved(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		user, before, after   string
		granted, grantedOfOld bool
	}{
		{"the same person", "zhangsan", "u-zhangsan", "m-zhangsan", true, false},
		{"another unionid before", "zhangsan", "u-other", "m-zhangsan", false, true},
		{"another userid", "lisi", "u-zhangsan", "m-zhangsan", false, true},
		{"to another unionid", "zhangsan", "u-zhangsan", "m-other", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook(&store.Memory{Max: 100}, nil)
			request, _, err := b.Submit(t.Context(), wish(&zhangsan, "/admin/", lisi), 5)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Answer(t.Context(), request.ID, PersonOf(&lisi), true, "", request.Route.Fingerprint); err != nil {
				t.Fatal(err)
			}
			if err := b.Moved(t.Context(), tt.user, tt.before, tt.after); err != nil {
				t.Fatal(err)
			}
			moved := zhangsan
			moved.UnionID = "m-zhangsan"
			for u, want := range map[*identity.User]bool{&moved: tt.granted, &zhangsan: tt.grantedOfOld} {
				id, until, err := b.Granted(t.Context(), u, request.Route.Fingerprint)
				if err != nil || (id != "") != want || want && until.Before(time.Now()) {
					t.Errorf("%s is granted %q until %v, %v, want %v", u.UnionID, id, until, err, want)
				}
			}
		})
	}
}

// TestApprover_Migrated: an approver named under the unionId before a migration may answer where
// DingTalk says that the account was migrated from it, and no other person may: no later holder of the
// userid (threats K10), and never the requester (threats G1).
func TestApprover_Migrated(t *testing.T) {
	migrated := func(u identity.User) identity.User {
		u.UnionID = "m-" + u.UserID
		return u
	}
	self := migrated(zhangsan)
	byUserID := lisi
	byUserID.UnionID = ""
	local := migrated(lisi)
	local.Local = true
	renamed := migrated(lisi)
	renamed.UserID = "lisi2"
	for _, tt := range []struct {
		name        string
		approvers   []identity.User
		who         identity.User
		from        string // DingTalk's answer for the unionId of who
		request, ok bool
	}{
		{"migrated", []identity.User{lisi}, migrated(lisi), "u-lisi", true, true},
		{"migrated, one of several", []identity.User{wangwu, lisi}, migrated(lisi), "u-lisi", true, true},
		{"not migrated: the next owner of the userid", []identity.User{lisi}, migrated(lisi), "", true, false},
		{"migrated from another account", []identity.User{lisi}, migrated(lisi), "u-wangwu", true, false},
		{"the same account", []identity.User{lisi}, lisi, "u-lisi", false, true},
		{"named by the userid alone", []identity.User{byUserID}, migrated(lisi), "u-lisi", false, true},
		{"no approver", []identity.User{lisi}, migrated(wangwu), "u-wangwu", false, false},
		{"another userid", []identity.User{lisi}, renamed, "u-lisi", false, false},
		{"a local account", []identity.User{lisi}, local, "u-lisi", false, false},
		{"the requester, migrated", []identity.User{lisi}, self, "u-zhangsan", false, false},
		{"the requester, named under the new unionid", []identity.User{lisi, self}, self, "u-zhangsan", false, false},
		{"the requester, named under another one", []identity.User{lisi, {UserID: "zhangsan", UnionID: "x"}}, self, "x", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, request := newBook(&store.Memory{Max: 100}, nil), false
			q, _, err := b.Submit(t.Context(), wish(&zhangsan, "/admin/", tt.approvers...), 5)
			if err != nil {
				t.Fatal(err)
			}
			h := &Handler{Book: b, Migrated: func(_ context.Context, u *identity.User, before string) bool {
				request = true
				return u.UnionID == tt.who.UnionID && before == tt.from
			}}
			_, ok, err := h.approver(t.Context(), q, &tt.who)
			if err != nil || ok != tt.ok || request != tt.request {
				t.Errorf("approver() = %v, %v, DingTalk was request: %v; want %v, request: %v", ok, err, request, tt.ok, tt.request)
			}
			other := newBook(b.Store, nil) // another replica, or after a restart
			_, err = other.Answer(t.Context(), q.ID, PersonOf(&tt.who), true, "", q.Route.Fingerprint)
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrNotYours) {
				t.Errorf("Answer() = %v, want an answer: %v", err, tt.ok)
			}
			if _, err := other.Answer(t.Context(), q.ID, PersonOf(&zhangsan), true, "", q.Route.Fingerprint); err == nil {
				t.Error("the requester answers")
			}
		})
	}
	b := newBook(&store.Memory{Max: 100}, nil)
	if _, err := movedApprover(t.Context(), b, newID(PersonOf(&zhangsan).locator()), "lisi", "u-lisi", "m-lisi"); !errors.Is(err, ErrNone) {
		t.Errorf("movedApprover() of no request = %v, want ErrNone", err)
	}
}
