package session

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// TestManager_RecheckEverybody: few people are looked up one by one; of many the lists of
// the directory are read, and only who differs, or is missing there, is looked up. Where
// the lists cannot be read all are.
func TestManager_RecheckEverybody(t *testing.T) {
	const people = 30
	var all []identity.User
	for i := range people {
		id := fmt.Sprintf("m%02d", i)
		all = append(all, identity.User{UnionID: "u" + id, UserID: id, Username: id, Departments: []int64{42}})
	}
	moved := all[1]
	moved.Departments = []int64{43}
	for _, tt := range []struct {
		name    string
		few     int
		lists   []identity.User // nil: cannot be read
		lookups int32
	}{
		{"few", people, nil, people},
		{"many", people - 1, append([]identity.User{moved}, all[2:]...), 2},
		{"many, none lost anything", people - 1, all, 0},
		{"many, the lists cannot be read", people - 1, nil, people},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := mirrored(t, &all)
				m.MaxSingly = tt.few
				m.Config.Recheck, m.Config.Grace = 72*time.Hour, time.Hour
				m.Mirror.Every = func() time.Duration { return 0 }
				m.Mirror.Read = func(_ context.Context, each func(identity.User)) error {
					time.Sleep(3 * time.Second)
					if tt.lists == nil {
						return errDown
					}
					for _, u := range tt.lists {
						each(u)
					}
					return nil
				}
				d.answers(func(_ context.Context, s *Session) (identity.User, error) {
					switch s.User.UserID {
					case all[0].UserID:
						return identity.User{}, errLeft
					case moved.UserID:
						return moved, nil
					}
					return s.User, nil
				})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); m.Run(ctx) }()
				defer func() { stop(); <-done }()
				var cookies []string
				for _, u := range all {
					_, c := signIn(t, m, u)
					allows(t, m, c.Value)
					cookies = append(cookies, c.Value)
				}
				time.Sleep(time.Minute)
				wantCalls(t, d, 0)
				RecheckEverybody(m)
				time.Sleep(4 * time.Second)
				wantCalls(t, d, tt.lookups)
				if tt.lookups > 0 {
					refuses(t, m, ErrRevoked, cookies[0])
					if s := allows(t, m, cookies[1]); s.User.Departments[0] != 43 {
						t.Errorf("the department is %v still", s.User.Departments)
					}
				}
				allows(t, m, cookies[2])
				time.Sleep(time.Hour)
				for _, c := range cookies[2:] {
					allows(t, m, c)
				}
				wantCalls(t, d, tt.lookups)
			})
		})
	}
}
