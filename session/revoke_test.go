package session

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

func TestRevoke(t *testing.T) { // threats C10
	m := manager(t)
	s, c := signIn(t, m, zhangsan)
	_, other := signIn(t, m, zhangsan)
	if err := m.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	refuses(t, m, ErrRevoked, c.Value)
	refuses(t, m, ErrRevoked, c.Value) // no longer from the cache
	gen := m.revoked.Generation()
	if m.Revoke(t.Context(), s.ID); m.revoked.Generation() != gen {
		t.Error("a second Revoke makes every known session read the store again")
	}
	allows(t, m, other.Value)
	again := *s
	if text, _ := m.records.sealCookie(m.CookieName(), &again, nil, s.SignedIn); text != c.Value { // C4: the id identifies it, not the text
		refuses(t, m, ErrRevoked, text)
	}
	if err := m.Revoke(t.Context(), "unknown"); err != nil {
		t.Errorf("Revoke(unknown) = %v, want nil", err)
	}
}

// TestOnEnd: each end is reported, also by a Manager that inherits.
func TestOnEnd(t *testing.T) {
	var ends []End
	m := manager(t)
	m.OnEnd = func(e End) { ends = append(ends, e) }
	s, _ := signIn(t, m, zhangsan)
	reloaded := manager(t)
	reloaded.Inherit(m)
	if err := m.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := reloaded.RevokeUser(t.Context(), Person{UnionID: zhangsan.UnionID}, "left"); err != nil {
		t.Fatal(err)
	}
	if len(ends) != 2 || ends[0].Session != s.ID || ends[1].Person.UnionID != zhangsan.UnionID {
		t.Errorf("OnEnd got %+v", ends)
	}
}

func TestRevokeUser(t *testing.T) {
	local := identity.User{Username: "admin"}
	for _, c := range []struct {
		who   Person
		user  identity.User
		dies  bool
		wrong bool
	}{
		{Person{UnionID: "union-z"}, zhangsan, true, false},
		{Person{UserID: "user-z"}, zhangsan, true, false},
		{Person{UnionID: "union-x", UserID: "user-z"}, zhangsan, true, false},
		{Person{Username: "admin"}, local, true, false},
		{Person{UnionID: "union-l"}, zhangsan, false, false},
		{Person{UnionID: "user-z"}, zhangsan, false, false},
		{Person{UserID: "union-z"}, zhangsan, false, false},
		{Person{Username: "zhangsan"}, zhangsan, false, false}, // has a unionId: the username is not the key
		{Person{UnionID: "admin"}, local, false, false},
		{Person{}, local, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := manager(t)
			_, text := signIn(t, m, c.user)
			_, text2 := signIn(t, m, c.user)
			time.Sleep(time.Second)
			if err := m.RevokeUser(t.Context(), c.who, "left"); (err != nil) != c.wrong {
				t.Errorf("RevokeUser(%+v) = %v", c.who, err)
			}
			time.Sleep(time.Second)
			_, later := signIn(t, m, c.user)
			for _, old := range []string{text.Value, text2.Value} {
				if _, err := load(t, m, old); c.dies && !isError(err, ErrRevoked) || !c.dies && err != nil {
					t.Errorf("RevokeUser(%+v): Load(%s) = %v, want revoked %v", c.who, c.user.Username, err, c.dies)
				}
			}
			allows(t, m, later.Value) // K10: a userid may belong to another person by now
		})
	}
}

func TestManager_OnRevokedIsCalledOnce(t *testing.T) {
	m := manager(t)
	var ends []string
	m.OnRevoked = func(s *Session, reason string) { ends = append(ends, s.ID+" "+reason) }
	out, c1 := signIn(t, m, zhangsan)
	left, c2 := signIn(t, m, lisi)
	m.Revoke(t.Context(), out.ID)
	m.RevokeUser(t.Context(), Person{UserID: "user-l"}, "left")
	for range 3 {
		refuses(t, m, ErrRevoked, c1.Value)
		refuses(t, m, ErrRevoked, c2.Value)
	}
	if want := left.ID + " left"; len(ends) != 1 || ends[0] != want {
		t.Errorf("OnRevoked got %q, want %q", ends, want)
	}
}

func TestFullRevocationsFailClosed(t *testing.T) { // threats D5
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		m.MaxRevoked = 3
		var ids, texts []string
		for range 5 {
			s, c := signIn(t, m, zhangsan)
			ids, texts = append(ids, s.ID), append(texts, c.Value)
		}
		_, bystander := signIn(t, m, lisi)
		time.Sleep(time.Second)
		for i, id := range ids[:3] {
			m.Revoke(t.Context(), id)
			m.Revoke(t.Context(), id) // no space for the second
			refuses(t, m, ErrRevoked, texts[i])
		}
		allows(t, m, bystander.Value)
		m.Revoke(t.Context(), ids[3])
		if got := m.Stats().Revoked; got > 3 {
			t.Errorf("%d revocations are stored, want at most 3", got)
		}
		for _, text := range append(texts, bystander.Value) { // no signed-out session is valid
			refuses(t, m, ErrRevoked, text)
		}
		time.Sleep(time.Second)
		_, again := signIn(t, m, lisi)
		allows(t, m, again.Value)
		for i := range 100 {
			m.RevokeUser(t.Context(), Person{UnionID: fmt.Sprint(i)}, "left")
			if got := m.Stats().Revoked; got > 3 {
				t.Errorf("%d revocations are stored, want at most 3", got)
			}
		}
		refuses(t, m, ErrRevoked, again.Value)
	})
}

// TestManager_SignOutsAreCompacted: in a full set one mark for a person replaces their sign-outs,
// beginning with the people who have most (threats D14).
func TestManager_SignOutsAreCompacted(t *testing.T) {
	for _, max := range []int{5, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			m, p := manager(t), new(passwords)
			p.set("zs", 1)
			m.MaxRevoked, m.Accounts = max, p
			m.Store = new(store.Memory) // of this process: a restart reads it
			var out []string
			over := func(in SignIn) {
				t.Helper()
				s, text := begin(t, m, in)
				if err := m.RevokeSession(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				out = append(out, text)
			}
			_, colleague := begin(t, m, SignIn{User: lisi})
			over(SignIn{User: lisi})
			_, own := begin(t, m, SignIn{User: zhangsan})
			for i := range 5 * max {
				time.Sleep(time.Millisecond)
				over([]SignIn{{User: zhangsan}, {User: local, Fingerprint: 1}}[i%2])
				if got := m.Stats().Revoked; got > max {
					t.Fatalf("%d revocations are stored, want at most %d", got, max)
				}
			}
			allows(t, m, colleague)
			refuses(t, m, ErrRevoked, own) // the cost for the person who does it
			for _, text := range out {
				refuses(t, m, ErrRevoked, text)
			}
			time.Sleep(time.Millisecond)
			_, again := begin(t, m, SignIn{User: zhangsan})
			allows(t, m, again)
			if err := m.RevokeUser(t.Context(), Person{Account: "zs", Spare: 1}, "account_changed"); err != nil { // it spares no session that was signed out
				t.Fatal(err)
			}
			restarted := manager(t)
			restarted.MaxRevoked, restarted.Accounts, restarted.Store = max, p, m.Store
			for _, text := range out {
				refuses(t, restarted, ErrRevoked, text)
			}
			allows(t, restarted, colleague)
			for _, text := range out {
				refuses(t, m, ErrRevoked, text)
			}
		})
	}
}

func TestRevocationsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		m.MaxRevoked = 2
		for range 2 {
			s, _ := signIn(t, m, zhangsan)
			m.Revoke(t.Context(), s.ID)
		}
		time.Sleep(25 * time.Hour) // the revoked sessions are past their lifetime
		s, c := signIn(t, m, zhangsan)
		_, bystander := signIn(t, m, lisi)
		m.Revoke(t.Context(), s.ID)
		refuses(t, m, ErrRevoked, c.Value)
		allows(t, m, bystander.Value)
	})
}

func TestInheritKeepsSignOuts(t *testing.T) { // threats V27
	synctest.Test(t, func(t *testing.T) {
		old, d := checked(t)
		s, c := signIn(t, old, zhangsan)
		_, left := signIn(t, old, lisi)
		open, stop := old.Watch(allows(t, old, left.Value))
		defer stop()
		old.Revoke(t.Context(), s.ID)
		reloaded := manager(t)
		reloaded.Recheck = d.recheck
		reloaded.Inherit(old)
		refuses(t, reloaded, ErrRevoked, c.Value)
		reloaded.RevokeUser(t.Context(), Person{UnionID: "union-l"}, "left")
		wantClosed(t, "the watch of before the reload", open, true)
		refuses(t, reloaded, ErrRevoked, left.Value)
		refuses(t, old, ErrRevoked, left.Value) // running requests
	})
}

func wantClosed(t *testing.T, what string, c <-chan struct{}, want bool) {
	t.Helper()
	synctest.Wait()
	select {
	case <-c:
		if !want {
			t.Errorf("%s is closed, want open", what)
		}
	default:
		if want {
			t.Errorf("%s is open, want closed", what)
		}
	}
}

func TestWatch(t *testing.T) {
	moved := zhangsan
	moved.Departments = []int64{7}
	for _, c := range []struct {
		name   string
		happen func(*testing.T, *Manager, *Session)
		closed bool
	}{
		{"nothing", func(*testing.T, *Manager, *Session) {}, false},
		{"sign-out", func(t *testing.T, m *Manager, s *Session) { m.Revoke(t.Context(), s.ID) }, true},
		{"another person's sign-out", func(t *testing.T, m *Manager, s *Session) { m.Revoke(t.Context(), "x") }, false},
		{"left", func(t *testing.T, m *Manager, s *Session) {
			m.RevokeUser(t.Context(), Person{UserID: "user-z"}, "left")
		}, true},
		{"a colleague left", func(t *testing.T, m *Manager, s *Session) {
			m.RevokeUser(t.Context(), Person{UserID: "user-l"}, "left")
		}, false},
		{"end of lifetime", func(*testing.T, *Manager, *Session) { time.Sleep(24 * time.Hour) }, true},
		{"just before it", func(*testing.T, *Manager, *Session) { time.Sleep(24*time.Hour - time.Millisecond) }, false},
		{"new sign-in, same facts", func(t *testing.T, m *Manager, s *Session) { time.Sleep(time.Second); signIn(t, m, zhangsan) }, false},
		{"new facts", func(t *testing.T, m *Manager, s *Session) { time.Sleep(time.Second); signIn(t, m, moved) }, true},
		{"a colleague's new facts", func(t *testing.T, m *Manager, s *Session) { time.Sleep(time.Second); signIn(t, m, lisi) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := manager(t)
			_, cookie := signIn(t, m, zhangsan)
			s := allows(t, m, cookie.Value)
			gone, stop := m.Watch(s)
			dropped, stopDropped := m.Watch(s)
			stopDropped()
			stopDropped()
			c.happen(t, m, s)
			wantClosed(t, c.name+": Watch()", gone, c.closed)
			wantClosed(t, c.name+": a watch that stopped", dropped, false)
			late, stopLate := m.Watch(s) // after the revocation
			if c.name != "new sign-in, same facts" {
				wantClosed(t, c.name+": a later Watch()", late, c.closed)
			}
			stop()
			stopLate()
			if n := m.Stats().Watched; n != 0 {
				t.Errorf("%s: %d watches are left after stop, want 0", c.name, n)
			}
		})
	}
}

func TestWatchIsBounded(t *testing.T) { // threats D5
	m := manager(t)
	m.MaxWatches = 2
	s, _ := signIn(t, m, zhangsan)
	a, stopA := m.Watch(s)
	_, stopB := m.Watch(s)
	c, stopC := m.Watch(s)
	select {
	case <-a:
		t.Error("the first watch is closed")
	case <-c:
	default:
		t.Error("a watch past the bound is open, want closed from the start")
	}
	stopA()
	d, stopD := m.Watch(s)
	select {
	case <-d:
		t.Error("stop made no room")
	default:
	}
	stopB()
	stopC()
	stopD()
}

func TestManager_OverdueConnectionIsCheckedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, cookie := signIn(t, m, zhangsan)
		gone, stop := m.Watch(allows(t, m, cookie.Value))
		defer stop()
		time.Sleep(8 * time.Hour)
		m.inspect(t.Context())
		wantClosed(t, "a connection of a member", gone, false)
		wantCalls(t, d, 1)
		d.fails(errDown)
		time.Sleep(8 * time.Hour)
		m.inspect(t.Context())
		synctest.Wait()
		m.inspect(t.Context())
		wantClosed(t, "a connection that cannot be confirmed", gone, true)
	})
}

func TestRunLooksAfterOpenConnections(t *testing.T) { // a leaver whose browser only has a WebSocket open
	for _, c := range []struct {
		name   string
		answer error
		after  time.Duration
		closed bool
	}{
		{"still a member", nil, time.Hour, false},
		{"left", errLeft, 5*time.Minute + 15*time.Second, true},
		{"not looked up yet", errLeft, 3 * time.Minute, false},
		{"DingTalk is down, in grace", errDown, 18 * time.Minute, false},
		{"DingTalk is down for longer", errDown, 21 * time.Minute, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, d := checked(t)
			if c.answer != nil {
				d.fails(c.answer)
			}
			var ends []string
			m.OnRevoked = func(_ *Session, reason string) { ends = append(ends, reason) }
			ctx, cancel := context.WithCancel(t.Context())
			go m.Run(ctx)
			_, cookie := signIn(t, m, zhangsan)
			gone, stop := m.Watch(allows(t, m, cookie.Value))
			time.Sleep(c.after)
			wantClosed(t, c.name+": Watch()", gone, c.closed)
			if left := c.answer == errLeft && c.closed; left != (len(ends) == 1) {
				t.Errorf("%s: OnRevoked got %q", c.name, ends)
			}
			stop()
			cancel()
			synctest.Wait()
		})
	}
}
