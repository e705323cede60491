package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
	"dinggate/store"
)

// TestEndsAdd: of two ends of a person, in whatever order a replica, or the Store, learns of them,
// neither revives a session that the other ended (threats C10, T34).
func TestEndsAdd(t *testing.T) {
	type end struct {
		at    time.Duration
		spare uint64
	}
	for _, tt := range []struct {
		name string
		ends []end
		in   time.Duration // the sign-in, with the password of fingerprint 1
		over bool
	}{
		{"signed out everywhere", []end{{2, 0}}, 1, true},
		{"after it", []end{{2, 0}}, 3, false},
		{"another password", []end{{2, 9}}, 1, true},
		{"the password is spared", []end{{2, 1}}, 1, false},
		{"signed out, then a late notice of the password", []end{{2, 0}, {4, 1}}, 1, true},
		{"signed in again before the late notice", []end{{2, 0}, {4, 1}}, 3, false},
		{"signed out, two late notices", []end{{2, 0}, {4, 1}, {5, 1}}, 1, true},
		{"notice, then signed out", []end{{2, 1}, {4, 0}}, 3, true},
		{"two passwords", []end{{2, 1}, {4, 9}}, 1, true},
		{"two passwords, the present one is spared", []end{{2, 9}, {4, 1}}, 3, false},
		{"twice everywhere", []end{{2, 0}, {4, 0}}, 3, true},
	} {
		for order := range 2 {
			synctest.Test(t, func(t *testing.T) {
				db, base := new(store.Memory), time.Now().Round(0)
				at := func(d time.Duration) time.Time { return base.Add(d * time.Second) }
				replica := func(now time.Duration) *Manager {
					m, p := manager(t), new(passwords)
					p.set("zs", 1)
					m.Accounts, m.Config.Store, m.Store = p, StoreRedis, db
					m.Now = func() time.Time { return at(now) }
					return m
				}
				_, text := begin(t, replica(tt.in), SignIn{User: local, Fingerprint: 1})
				witness := replica(6)
				for i := range tt.ends {
					e := tt.ends[i]
					if order == 1 {
						e = tt.ends[len(tt.ends)-1-i]
					}
					if err := replica(e.at).RevokeUser(t.Context(), Person{Account: "zs", Spare: e.spare}, "x"); err != nil {
						t.Fatal(err)
					}
					_, _ = load(t, witness, text) // has seen each of them
				}
				for n, m := range []*Manager{witness, replica(6)} {
					if s, err := load(t, m, text); is(err, ErrRevoked) != tt.over || !tt.over && err != nil {
						t.Errorf("%s, order %d, replica %d: Load() = %v, %v, want revoked %v", tt.name, order, n, s, err, tt.over)
					}
				}
			})
		}
	}
}

// TestSentLate: an end that could not be written at once does not replace a later one when it is.
func TestSentLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		a := f.all[0]
		f.store.setPut(errors.New("READONLY"))
		if err := a.RevokeUser(t.Context(), Person{UserID: zhangsan.UserID}, "by_administrator"); !isError(err, ErrStore) {
			t.Fatal(err)
		}
		key := a.records.personKey("end", identity.Key{Kind: identity.KeyUserID, Text: zhangsan.UserID})
		later := revocation.Revocation{Before: time.Now().Add(10 * time.Second), Reason: "x"}
		if err := f.store.Memory.Put(t.Context(), key, writeEnd(later), time.Hour); err != nil { // by another replica
			t.Fatal(err)
		}
		f.store.setPut(nil)
		time.Sleep(2 * time.Second)
		if n := a.Stats().Unsent; n != 0 {
			t.Fatalf("%d writes are not sent, want 0", n)
		}
		if text, err := f.store.Memory.Get(t.Context(), key); err != nil || string(text) != string(writeEnd(later)) {
			t.Errorf("the record is %q, %v, want the later end %q", text, err, writeEnd(later))
		}
	})
}
