package session

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// clocks is a fleet whose replicas have clocks that are ahead by these durations.
func clocks(t *testing.T, ahead ...time.Duration) *fleet {
	f := newFleet(t, 0)
	for _, by := range ahead {
		m := replica(t, f.store, f.people)
		m.Journal = f.journal
		m.Now = func() time.Time { return time.Now().Round(0).Add(by) }
		f.run(t, m)
		f.all = append(f.all, m)
	}
	return f
}

var differences = []time.Duration{-2 * time.Minute, -59 * time.Second, -time.Second, time.Second, 59 * time.Second, 2 * time.Minute}

// TestEndsOfAnotherClock: a person signs in at one replica, and their sessions end at another whose
// clock differs: they end, also one whose sign-in was under way, and the person can sign in again at
// once, if a clock is off by no more than is tolerated (threats V18, K18).
func TestEndsOfAnotherClock(t *testing.T) {
	ends := map[string]func(m *Manager) error{
		"left":          func(m *Manager) error { return m.RevokeUser(t.Context(), Person{UserID: zhangsan.UserID}, "left") },
		"everybody":     func(m *Manager) error { return m.RevokeAll(t.Context(), "app_disabled") },
		"looked up, no": func(m *Manager) error { m.RecheckUser(Person{UserID: zhangsan.UserID}); return nil },
	}
	for how, end := range ends {
		for _, by := range differences {
			t.Run(fmt.Sprint(how, " ", by), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := clocks(t, 0, by, 0)
					a, r := f.all[0], f.all[1]
					_, before := signIn(t, a, zhangsan)
					allows(t, a, before.Value)
					if by > -time.Minute {
						allows(t, r, before.Value)
					}
					since := a.Time()
					time.Sleep(500 * time.Millisecond)
					f.people.fails(errLeft)
					if err := end(r); err != nil {
						t.Fatal(err)
					}
					if how == "looked up, no" && by < -time.Minute {
						return // not known there
					}
					time.Sleep(500 * time.Millisecond)
					_, meanwhile := begin(t, a, SignIn{User: zhangsan, Since: since})
					for n, m := range append(f.all, f.add(t)) {
						for what, text := range map[string]string{"before": before.Value, "meanwhile": meanwhile} {
							if _, err := load(t, m, text); !Absent(err) {
								t.Errorf("signed in %s: replica %d: %v, want no session", what, n, err)
							}
						}
					}
					f.people.knows(zhangsan)
					time.Sleep(500 * time.Millisecond)
					_, back := signIn(t, a, zhangsan)
					if by.Abs() < time.Minute {
						for _, m := range append(f.all, f.add(t)) {
							allows(t, m, back.Value)
						}
					}
					time.Sleep(2 * time.Minute)
					for _, m := range append(f.all, f.add(t)) {
						allows(t, m, back.Value)
					}
				})
			})
		}
	}
}

// TestEventOfAnotherClock: an event that names a person is answered by a lookup that began after it,
// also if a replica whose clock is ahead has just confirmed the person; the replicas share the
// lookups if the clocks are off by no more than is tolerated.
func TestEventOfAnotherClock(t *testing.T) {
	for _, by := range differences {
		for n := range 2 {
			t.Run(fmt.Sprint(by, " at ", n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := clocks(t, 0, by)
					r, q := f.all[n], f.all[1-n]
					_, cookie := signIn(t, f.all[0], zhangsan)
					time.Sleep(3 * time.Minute) // its time has come for every clock
					allows(t, r, cookie.Value)
					allows(t, q, cookie.Value)
					time.Sleep(6 * time.Minute)
					allows(t, q, cookie.Value) // confirmed there
					synctest.Wait()
					time.Sleep(2 * time.Second)
					before := f.people.calls.Load()
					moved := zhangsan
					for i := range 2 { // two events of one change
						moved.Departments = []int64{int64(7 + i)}
						f.people.answers(func(now identity.User) func(context.Context, *Session) (identity.User, error) {
							return func(context.Context, *Session) (identity.User, error) {
								time.Sleep(100 * time.Millisecond)
								return now, nil
							}
						}(moved))
						f.all[i].RecheckUser(Person{UserID: zhangsan.UserID})
						time.Sleep(50 * time.Millisecond)
					}
					time.Sleep(2 * time.Second)
					for n, m := range f.all {
						if s := allows(t, m, cookie.Value); s.User.Departments[0] != 8 {
							t.Errorf("replica %d knows the departments %v, want those after the events", n, s.User.Departments)
						}
					}
					if calls := f.people.calls.Load() - before; calls > 3 && by.Abs() < time.Minute { // the third because the first found a change
						t.Errorf("%d lookups for two events", calls)
					}
				})
			})
		}
	}
}
