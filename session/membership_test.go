package session

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

var (
	errDown  = &identity.Failure{Class: identity.Later, Code: "unavailable"}
	errLeft  = fmt.Errorf("looking up: %w", &identity.Failure{Class: identity.Refused, Code: "not_member"})
	errOwner = &identity.Failure{Class: identity.Operator, Code: "permission_missing"}
)

// checked is a manager with a directory that knows zhangsan; call it in a bubble.
func checked(t *testing.T) (*Manager, *directory) {
	m, d := manager(t), &directory{}
	d.knows(zhangsan)
	m.Recheck = d.recheck
	return m, d
}

func wantCalls(t *testing.T, d *directory, want int32) {
	t.Helper()
	synctest.Wait()
	if got := d.calls.Load(); got != want {
		t.Fatalf("the directory was called %d times, want %d", got, want)
	}
}

func TestRecheckInTheBackground(t *testing.T) { // threats C8, C15, V10
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		_, other := signIn(t, m, zhangsan)
		moved := zhangsan
		moved.Departments, moved.Email = []int64{7}, "new@example.com"
		d.answers(func(context.Context, *Session) (identity.User, error) { time.Sleep(2 * time.Second); return moved, nil })
		time.Sleep(4*time.Minute - time.Second)
		allows(t, m, c.Value)
		wantCalls(t, d, 0)
		time.Sleep(time.Minute + time.Second)
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if s := allows(t, m, c.Value); s.User.Email != zhangsan.Email {
					t.Errorf("Load() = %v before the answer", s.User)
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Load() waited %v for the directory, want 0", waited)
		}
		wantCalls(t, d, 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, text := range []string{c.Value, other.Value} { // every session of the person
			if s := allows(t, m, text); s.User.Email != "new@example.com" || s.User.Departments[0] != 7 || !s.Checked.Equal(began) {
				t.Errorf("Load() = %v checked at %v, want the new facts", s.User, s.Checked)
			}
		}
		wantCalls(t, d, 1)
		again := m.Renew(allows(t, m, c.Value))
		if again == nil {
			t.Fatal("Renew(new facts) = nil, want a cookie")
		}
		restarted, _ := checked(t)
		if s := allows(t, restarted, again.Value); s.User.Email != "new@example.com" {
			t.Errorf("the renewed cookie says %v", s.User)
		}
		m.cache.forget(c.Value) // opened again, after the new facts
		if s := allows(t, m, c.Value); s.User.Email != "new@example.com" {
			t.Errorf("the old cookie brought the old facts back: %v", s.User)
		}
	})
}

func TestRecheckIsJittered(t *testing.T) { // threats V10
	m := manager(t)
	seen := map[time.Duration]bool{}
	for range 100 {
		s, _ := signIn(t, m, zhangsan)
		r := s.entry.recheck
		if r > m.Config.Recheck || r < m.Config.Recheck*4/5 {
			t.Fatalf("a session is due after %v, want 4m to 5m", r)
		}
		seen[r] = true
	}
	if len(seen) < 20 {
		t.Errorf("100 sessions are due at %d moments", len(seen))
	}
}

func TestDefiniteNo(t *testing.T) { // threats V8
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		var ended []string
		m.OnRevoked = func(s *Session, reason string) { ended = append(ended, s.User.Username+" "+reason) }
		_, c := signIn(t, m, zhangsan)
		_, other := signIn(t, m, zhangsan)
		_, colleague := signIn(t, m, lisi)
		d.fails(errLeft)
		time.Sleep(5 * time.Minute)
		allows(t, m, c.Value) // starts the lookup
		synctest.Wait()
		for range 3 {
			refuses(t, m, ErrRevoked, c.Value)
			refuses(t, m, ErrRevoked, other.Value)
		}
		if len(ended) != 2 || ended[0] != "zhangsan not_member" || ended[1] != "zhangsan not_member" {
			t.Errorf("OnRevoked got %q, want not_member once for each session", ended)
		}
		d.knows(lisi)
		allows(t, m, colleague.Value)
		time.Sleep(time.Second)
		d.knows(zhangsan)
		_, back := signIn(t, m, zhangsan)
		allows(t, m, back.Value)
		refuses(t, m, ErrRevoked, c.Value)
	})
}

func TestFewLookupsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		m.MaxRechecks = 3
		running, most := 0, 0
		var mu sync.Mutex
		d.answers(func(_ context.Context, s *Session) (identity.User, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return s.User, nil
		})
		var texts []string
		for i := range 30 {
			_, c := signIn(t, m, identity.User{UnionID: fmt.Sprint(i), Username: fmt.Sprint(i)})
			texts = append(texts, c.Value)
		}
		time.Sleep(6 * time.Minute)
		for _, text := range texts {
			allows(t, m, text) // without waiting
		}
		wantCalls(t, d, 3)
		time.Sleep(8 * time.Hour)
		before := d.calls.Load()
		var all sync.WaitGroup
		for _, text := range texts {
			for range 3 {
				all.Go(func() { allows(t, m, text) }) // 30 people, 3 at a time: 1 s, within patience
			}
		}
		all.Wait()
		wantCalls(t, d, before+30)
		if most != 3 || m.Stats().Lookups != 0 {
			t.Errorf("%d lookups ran at a time and %d still do, want 3 and 0", most, m.Stats().Lookups)
		}
	})
}

func TestAnswerAboutAnotherPerson(t *testing.T) { // threats K10, K11
	for _, c := range []struct {
		name string
		user identity.User
		want error
	}{
		{"another unionid", identity.User{UnionID: "union-x", UserID: "user-z", Username: "zhangsan"}, ErrRevoked},
		{"no unionid", identity.User{UserID: "user-z", Username: "zhangsan"}, nil},
		{"the zero user", identity.User{}, nil},
		{"no username", identity.User{UnionID: "union-z"}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, d := checked(t)
			_, text := signIn(t, m, zhangsan)
			d.knows(c.user)
			time.Sleep(5 * time.Minute)
			allows(t, m, text.Value)
			synctest.Wait()
			s, err := load(t, m, text.Value)
			if !isError(err, c.want) || s != nil && s.User.Email != zhangsan.Email {
				t.Errorf("%s: Load() = %v, %v, want %v", c.name, s, err, c.want)
			}
		})
	}
}

func TestRunOwnsTheLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		d.answers(func(ctx context.Context, _ *Session) (identity.User, error) {
			<-ctx.Done()
			return identity.User{}, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		time.Sleep(5 * time.Minute)
		allows(t, m, c.Value)
		wantCalls(t, d, 1)
		began := time.Now()
		cancel()
		<-ended
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Run took %v to end, want 0", waited)
		}
		allows(t, m, c.Value) // still in grace, without another lookup
		wantCalls(t, d, 1)
		if n := m.Stats().Lookups; n != 0 {
			t.Errorf("%d lookups run after Run, want 0", n)
		}
		reloaded, _ := checked(t)
		reloaded.Recheck = d.recheck
		reloaded.Inherit(m)
		allows(t, reloaded, c.Value) // our own shutdown was no failure of DingTalk: no pause
		wantCalls(t, d, 2)
		time.Sleep(time.Hour)
		refuses(t, m, ErrUnconfirmed, c.Value)
		wantCalls(t, d, 2)
	})
}

func TestBackgroundWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx)
		s, _ := signIn(t, m, zhangsan)
		m.Revoke(ctx, s.ID)
		m.RevokeUser(ctx, Person{UserID: "user-x"}, "left")
		if got := m.Stats(); got.Cached != 1 || got.People != 1 || got.Revoked != 2 {
			t.Errorf("Stats() = %+v", got)
		}
		time.Sleep(25 * time.Hour)
		if got := m.Stats(); got != (Stats{}) {
			t.Errorf("Stats() = %+v after a day, want nothing", got)
		}
		cancel()
	})
}
