package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

func TestRecheckUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		allows(t, m, c.Value)
		moved := zhangsan
		moved.Departments = []int64{7}
		d.answers(func(context.Context, *Session) (identity.User, error) { return moved, nil })
		time.Sleep(time.Second)
		m.RecheckUser(Person{UserID: "another"})
		wantCalls(t, d, 0)
		m.RecheckUser(Person{UserID: zhangsan.UserID})
		wantCalls(t, d, 1)
		if s := allows(t, m, c.Value); s.User.Departments[0] != 7 {
			t.Errorf("Load() after an event = %v, want the new departments long before the next recheck", s.User)
		}
		wantCalls(t, d, 1)
		d.answers(func(context.Context, *Session) (identity.User, error) {
			return identity.User{}, &identity.Failure{Class: identity.Refused, Code: "not_member"}
		})
		time.Sleep(time.Second)
		m.RecheckUser(Person{UserID: zhangsan.UserID})
		synctest.Wait()
		if _, err := load(t, m, c.Value); !errors.Is(err, ErrRevoked) {
			t.Errorf("Load() of a leaver = %v, want ErrRevoked", err)
		}
	})
}

func TestRevokeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		s, c := signIn(t, m, zhangsan)
		gone, stop := m.Watch(s)
		defer stop()
		time.Sleep(time.Second)
		m.RevokeAll(t.Context(), "organisation_gone")
		select {
		case <-gone:
		default:
			t.Error("an open connection lives on")
		}
		if _, err := load(t, m, c.Value); !errors.Is(err, ErrRevoked) {
			t.Errorf("Load() = %v, want ErrRevoked", err)
		}
		time.Sleep(time.Second)
		_, later := signIn(t, m, lisi)
		allows(t, m, later.Value)
	})
}
