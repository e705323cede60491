package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// TestFailoverLosesAnEnd: ends that a failover of the Store loses are written again by the replica
// that made them, for replicas that know nothing of them (threats V16).
func TestFailoverLosesAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		a := f.all[0]
		s, out := signIn(t, a, zhangsan)
		_, left := signIn(t, a, lisi)
		_, stays := signIn(t, a, identity.User{UnionID: "w", UserID: "w", Username: "wangwu"})
		key := a.records.key("session", s.ID)
		record, err := f.store.Memory.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.Revoke(t.Context(), s.ID)
		a.RevokeUser(t.Context(), Person{UserID: lisi.UserID}, "left")
		for range repeats {
			if n := a.Stats().Unsent; n != 0 {
				t.Errorf("Stats().Unsent = %d, want 0", n)
			}
			f.store.Memory.Put(t.Context(), key, record, time.Hour) // the new master has not received the ends
			f.store.Memory.Take(t.Context(), a.records.personKey("end", identity.Key{Kind: identity.KeyUserID, Text: lisi.UserID}))
			f.journal.Lose()
			f.store.set(errors.New("connection refused"), false)
			time.Sleep(20 * time.Second)
			f.store.set(nil, false)
			time.Sleep(45 * time.Second)
			for _, m := range []*Manager{a, f.add(t)} {
				refuses(t, m, ErrRevoked, out.Value)
				refuses(t, m, ErrRevoked, left.Value)
				allows(t, m, stays.Value)
			}
		}
		time.Sleep(time.Hour)
		gets := f.reads()
		time.Sleep(time.Hour)
		if n := f.reads() - gets; n != 0 {
			t.Errorf("%d reads, want the repetitions to end", n)
		}
	})
}

const repeats = 2 // of each write of an end
