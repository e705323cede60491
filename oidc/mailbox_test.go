package oidc

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store/storetest"
)

func newMailboxes(e *env, realm string) *Mailboxes {
	return &Mailboxes{Realm: realm, Store: e.store, Sealer: storetest.PlainSealer{}}
}

// verified is the email_verified claim for a session, whose cookie does not distinguish mailboxes of
// the organisation from other addresses.
func verified(e *env, u identity.User) bool {
	e.t.Helper()
	u.OrgEmail = false
	a, v := e.tokens(redemption(e.code(e.login(u))), "app", appSecret)
	if a.status != http.StatusOK {
		e.t.Fatalf("token = %d %s", a.status, a.body)
	}
	token := v["access_token"].(string)
	is, _ := object(e.t, e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+token))["email_verified"].(bool)
	return is
}

// TestMailboxes_Learn: an address is verified if DingTalk last returned it as this person's mailbox
// of this organisation, and in no other case.
func TestMailboxes_Learn(t *testing.T) {
	with := func(change func(*identity.User)) identity.User { u := zhangsan; change(&u); return u }
	moved := with(func(u *identity.User) { u.Email = "zs@corp.test" })
	private := with(func(u *identity.User) { u.OrgEmail = false })
	local := with(func(u *identity.User) { u.Local = true })
	nameless := with(func(u *identity.User) { u.UnionID = "" })
	colleague := with(func(u *identity.User) { u.UnionID, u.UserID, u.Username = "U-colleague", "colleague", "colleague" })
	for _, tt := range []struct {
		name  string
		learn []identity.User
		realm string
		u     identity.User
		want  bool
	}{
		{"the mailbox", []identity.User{zhangsan}, "corp", zhangsan, true},
		{"learned twice", []identity.User{zhangsan, zhangsan}, "corp", zhangsan, true},
		{"nothing learned", nil, "corp", zhangsan, false},
		{"a private address", []identity.User{private}, "corp", zhangsan, false},
		{"a private address changes nothing", []identity.User{zhangsan, private}, "corp", zhangsan, true},
		{"another mailbox", []identity.User{zhangsan}, "corp", moved, false},
		{"a new mailbox", []identity.User{zhangsan, moved}, "corp", moved, true},
		{"the old mailbox", []identity.User{zhangsan, moved}, "corp", zhangsan, false},
		{"the mailbox of another person", []identity.User{colleague}, "corp", zhangsan, false},
		{"a local account", []identity.User{local}, "corp", zhangsan, false},
		{"a person without a unionId", []identity.User{nameless}, "corp", zhangsan, false},
		{"another organisation", []identity.User{zhangsan}, "elsewhere", zhangsan, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			m := newMailboxes(e, tt.realm)
			m.Report = func(err error) { t.Errorf("Learn reports %v", err) }
			for _, u := range tt.learn {
				m.Learn(t.Context(), u)
			}
			if got := verified(e, tt.u); got != tt.want {
				t.Errorf("email_verified = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestMailboxes_Forged: a record that another program wrote verifies nothing, and is overwritten.
func TestMailboxes_Forged(t *testing.T) {
	e := newEnv(t)
	key, m := recordKey("mailbox", "corp", zhangsan.UnionID), newMailboxes(e, "corp")
	forged := []byte("another key\x00" + `{"Email":"` + zhangsan.Email + `"}`)
	if err := e.store.Add(t.Context(), key, forged, time.Hour); err != nil {
		t.Fatal(err)
	}
	if verified(e, zhangsan) {
		t.Error("a forged record verifies an address")
	}
	if m.Learn(t.Context(), zhangsan); !verified(e, zhangsan) {
		t.Error("Learn does not overwrite a forged record")
	}
}

// hanging is a store whose reads never end by themselves.
type hanging struct{ *memory }

func (h hanging) Get(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestMailboxes_StoreFails: a failure is reported, and delays a sign-in by storeTimeout at most.
func TestMailboxes_StoreFails(t *testing.T) {
	e := newEnv(t)
	broken, failing := errors.New("the store is broken"), true
	e.store.bad = func(string) error {
		if failing {
			return broken
		}
		return nil
	}
	m := newMailboxes(e, "corp")
	m.Learn(t.Context(), zhangsan) // without Report
	var reported []error
	m.Report = func(err error) { reported = append(reported, err) }
	m.Learn(t.Context(), zhangsan)
	if len(reported) != 1 || !errors.Is(reported[0], broken) {
		t.Errorf("Learn reports %v, want the store's error once", reported)
	}
	if failing = false; verified(e, zhangsan) {
		t.Error("an address is verified that could not be stored")
	}
	if m.Learn(t.Context(), zhangsan); len(reported) != 1 || !verified(e, zhangsan) {
		t.Errorf("after the failure: reports %v, want the address verified", reported)
	}
	synctest.Test(t, func(t *testing.T) {
		var got error
		m := &Mailboxes{Realm: "corp", Store: hanging{}, Sealer: storetest.PlainSealer{}, Report: func(err error) { got = err }}
		begun := time.Now()
		if m.Learn(t.Context(), zhangsan); !errors.Is(got, context.DeadlineExceeded) || time.Since(begun) != storeTimeout {
			t.Errorf("Learn with a hanging store reports %v after %v, want the deadline after %v", got, time.Since(begun), storeTimeout)
		}
	})
}
