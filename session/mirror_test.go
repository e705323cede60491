package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/mirror"
)

// mirrored is a manager with a directory and a mirror of it, whose people a test sets.
func mirrored(t *testing.T, people *[]identity.User) (*Manager, *directory) {
	m, d := checked(t)
	m.Mirror = &mirror.Mirror{
		Read: func(_ context.Context, each func(identity.User)) error {
			all := *people
			time.Sleep(time.Minute)
			for _, u := range all {
				each(u)
			}
			return nil
		},
		Fit:   m.Config.Fit,
		Every: func() time.Duration { return m.Config.Recheck / 2 },
		Life:  m.Config.Recheck + m.Config.Grace,
		Name:  "dingcorp",
	}
	return m, d
}

// TestManager_MirrorConfirms: a person whose record in the mirror is the same here costs no
// lookup, also after a night; the confirmation is as old as the reading.
func TestManager_MirrorConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := mirrored(t, &[]identity.User{zhangsan, lisi})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		defer func() { stop(); <-done }()
		_, c := signIn(t, m, zhangsan)
		for range 120 {
			time.Sleep(30 * time.Second)
			s := allows(t, m, c.Value)
			if age := time.Since(s.Checked); age > m.Config.Recheck {
				t.Fatalf("a confirmation of %v ago passes for one of less than %v", age, m.Config.Recheck)
			}
		}
		time.Sleep(10 * time.Hour)
		allows(t, m, c.Value)
		wantCalls(t, d, 0)
	})
}

// TestManager_MirrorEndsNothing: a person who is missing in the mirror, or whose record differs,
// is looked up; the lookup decides.
func TestManager_MirrorEndsNothing(t *testing.T) {
	renamed := zhangsan
	renamed.Name = "张三丰"
	for _, tt := range []struct {
		name  string
		there []identity.User
		left  bool
	}{
		{"missing, a member", []identity.User{lisi}, false},
		{"missing, has left", []identity.User{lisi}, true},
		{"another record", []identity.User{renamed}, false},
		{"no people", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := mirrored(t, &tt.there)
				if tt.left {
					d.fails(errLeft)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); m.Run(ctx) }()
				defer func() { stop(); <-done }()
				_, c := signIn(t, m, zhangsan)
				time.Sleep(3 * time.Minute)
				allows(t, m, c.Value)
				wantCalls(t, d, 0)
				time.Sleep(2*time.Minute + time.Second)
				allows(t, m, c.Value)
				wantCalls(t, d, 1)
				if tt.left {
					refuses(t, m, ErrRevoked, c.Value)
				} else if s := allows(t, m, c.Value); s.User.Name != zhangsan.Name {
					t.Errorf("the mirror changed the profile to %v", s.User)
				}
			})
		})
	}
}

// TestManager_MirrorBeforeEvent: a person named by an event is looked up, although the mirror,
// read before it, still has the same record.
func TestManager_MirrorBeforeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := mirrored(t, &[]identity.User{zhangsan})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		defer func() { stop(); <-done }()
		_, c := signIn(t, m, zhangsan)
		allows(t, m, c.Value)
		time.Sleep(70 * time.Second)
		d.fails(errDown)
		m.RecheckUser(Person{UserID: zhangsan.UserID})
		wantCalls(t, d, 1)
		time.Sleep(40 * time.Second) // the mirror is older
		allows(t, m, c.Value)
		wantCalls(t, d, 2)
		time.Sleep(3 * time.Minute) // read after the event: it suffices
		allows(t, m, c.Value)
		wantCalls(t, d, 2)
	})
}
