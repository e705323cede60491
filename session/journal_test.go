package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
	"dinggate/store/storetest"
)

// fleet is running replicas with one store and one journal.
type fleet struct {
	store   *faulty
	journal *storetest.FakeJournal
	people  *directory
	all     []*Manager
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{store: new(faulty), journal: new(storetest.FakeJournal), people: new(directory)}
	f.people.answers(func(_ context.Context, s *Session) (identity.User, error) { return s.User, nil })
	for range n {
		f.add(t)
	}
	return f
}

func (f *fleet) add(t *testing.T) *Manager {
	m := replica(t, f.store, f.people)
	m.Journal = f.journal
	f.run(t, m)
	f.all = append(f.all, m)
	return m
}

func (f *fleet) run(t *testing.T, m *Manager) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

func (f *fleet) reads() int {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	return f.store.gets
}

// wantReads runs do and checks whether it reads the store.
func (f *fleet) wantReads(t *testing.T, what string, want bool, do func()) {
	t.Helper()
	before := f.reads()
	do()
	synctest.Wait()
	if n := f.reads() - before; (n > 0) != want {
		t.Errorf("%s: the store was read %d times, want any: %v", what, n, want)
	}
}

func TestManager_KnownSessionReadsNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		a, b := f.all[0], f.all[1]
		_, c := signIn(t, a, zhangsan)
		f.wantReads(t, "just signed in", false, func() { allows(t, a, c.Value) })
		f.wantReads(t, "first seen elsewhere", true, func() { allows(t, b, c.Value) })
		f.wantReads(t, "known", false, func() {
			for range 40 {
				time.Sleep(100 * time.Millisecond)
				allows(t, b, c.Value)
			}
		})
		time.Sleep(revalidateEvery / 2)
		f.store.set(nil, true)
		f.wantReads(t, "in use for longer", true, func() { allows(t, b, c.Value) }) // does not wait for the answer
		time.Sleep(storeTimeout)
		f.store.set(nil, false)
		allows(t, b, c.Value)
		time.Sleep(trustLive)
		f.wantReads(t, "back after a pause", true, func() { allows(t, b, c.Value) })
	})
}

func TestEndsSpread(t *testing.T) { // threats C10, K15
	for name, end := range map[string]func(*Manager, *Session) error{
		"sign-out": func(m *Manager, s *Session) error { return m.Revoke(context.Background(), s.ID) },
		"leaver": func(m *Manager, s *Session) error {
			return m.RevokeUser(context.Background(), Person{UserID: s.User.UserID}, "left")
		},
		"all users": func(m *Manager, _ *Session) error { return m.RevokeAll(context.Background(), "organisation_gone") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				a, b := f.all[0], f.all[1]
				s, c := signIn(t, a, zhangsan)
				_, other := signIn(t, a, lisi)
				gone, stop := b.Watch(allows(t, b, c.Value))
				defer stop()
				allows(t, b, other.Value)
				time.Sleep(time.Second)
				if err := end(a, s); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				wantClosed(t, "a connection at the other replica", gone, true)
				f.wantReads(t, "the revocation was received", false, func() { refuses(t, b, ErrRevoked, c.Value) })
				refuses(t, f.add(t), ErrRevoked, c.Value) // a new replica
				if name == "all users" {
					refuses(t, b, ErrRevoked, other.Value)
				} else {
					allows(t, b, other.Value)
				}
				time.Sleep(time.Second)
				_, back := signIn(t, a, zhangsan)
				allows(t, b, back.Value)
			})
		})
	}
}

func TestManager_JournalFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		a, b := f.all[0], f.all[1]
		s, c := signIn(t, a, zhangsan)
		_, other := signIn(t, a, lisi)
		gone, stop := b.Watch(allows(t, b, c.Value))
		defer stop()
		allows(t, b, other.Value)
		f.journal.Cut()
		synctest.Wait()
		if err := a.Revoke(t.Context(), s.ID); err != nil {
			t.Errorf("Revoke(store well, journal cut) = %v, want nil: the next lookup finds it", err)
		}
		time.Sleep(trustDisconnected)
		refuses(t, b, ErrRevoked, c.Value)
		f.wantReads(t, "no entry arrives", true, func() { allows(t, b, other.Value) })
		f.wantReads(t, "read a moment ago", false, func() { allows(t, b, other.Value) })
		f.journal.Lose()
		f.journal.Mend()
		time.Sleep(time.Second + time.Millisecond) // the outbox is sent
		wantClosed(t, "a connection whose revocation was not received", gone, true)
		if n := a.Stats().Unsent; n != 0 {
			t.Errorf("Stats().Unsent = %d after the journal is back, want 0", n)
		}
		allows(t, b, other.Value)
		time.Sleep(trustDisconnected)
		f.wantReads(t, "learned after the gap", false, func() { allows(t, b, other.Value) })
	})
}

func TestManager_ReadsAgainAfterAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		_, c := signIn(t, f.all[0], zhangsan)
		time.Sleep(trustDisconnected)
		f.wantReads(t, "live", false, func() { allows(t, f.all[0], c.Value) })
		f.journal.Lose() // live again at once, but entries may be missing
		synctest.Wait()
		f.wantReads(t, "after the gap", true, func() { allows(t, f.all[0], c.Value) })
	})
}

func TestOutage(t *testing.T) { // threats V14
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		a, b := f.all[0], f.all[1]
		s, c := signIn(t, a, zhangsan)
		_, other := signIn(t, a, lisi)
		allows(t, b, c.Value)
		allows(t, b, other.Value)
		f.journal.Cut()
		f.store.set(errors.New("connection refused"), false)
		time.Sleep(time.Second)
		allows(t, b, other.Value)
		if err := a.Revoke(t.Context(), s.ID); !isError(err, ErrStore) {
			t.Errorf("Revoke(outage) = %v, want ErrStore", err)
		}
		refuses(t, a, ErrRevoked, c.Value) // a revocation known here takes effect at once
		time.Sleep(b.Config.StoreGrace - time.Second - time.Millisecond)
		allows(t, b, other.Value)
		allows(t, b, c.Value) // one from elsewhere may be late by the grace period
		time.Sleep(time.Millisecond)
		refuses(t, b, ErrStore, other.Value)
		time.Sleep(time.Hour)
		refuses(t, b, ErrStore, other.Value)
		refuses(t, a, ErrRevoked, c.Value)
		f.store.set(nil, false)
		f.journal.Mend()
		allows(t, b, other.Value) // at once
		time.Sleep(time.Second + time.Millisecond)
		refuses(t, b, ErrRevoked, c.Value) // the sign-out during the outage was not lost
		if n := a.Stats().Unsent; n != 0 {
			t.Errorf("Stats().Unsent = %d after the outage, want 0", n)
		}
	})
}

func TestManager_EventReachesEveryReplica(t *testing.T) { // threats K15, V11
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		_, c := signIn(t, f.all[0], zhangsan)
		for _, m := range f.all {
			allows(t, m, c.Value)
		}
		moved := zhangsan
		moved.Roles = nil
		f.people.answers(func(context.Context, *Session) (identity.User, error) { time.Sleep(2 * time.Second); return moved, nil })
		for i, event := range []func(){
			func() { f.all[1].RecheckUser(Person{UserID: "user-z"}) },
			func() { f.all[0].RecheckPlaces(Places{Departments: []int64{1}, Roles: []int64{99}}) },
			func() { f.all[2].RecheckPlaces(Places{Departments: []int64{4201}}) },
			func() { f.all[2].RecheckPlaces(Places{Departments: []int64{43}, Roles: []int64{5}}) }, // no one, by now
		} {
			time.Sleep(20 * time.Second)
			event()
			time.Sleep(3 * time.Second)
			for n, m := range f.all {
				if s := allows(t, m, c.Value); s.User.Roles != nil {
					t.Errorf("event %d: replica %d knows %v, want the new facts", i, n, s.User)
				}
			}
			wantCalls(t, f.people, int32(min(i+1, 3)))
		}
	})
}

func TestManager_NewProfileReachesEveryReplica(t *testing.T) { // threats C8
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, c := signIn(t, f.all[0], zhangsan)
		moved := zhangsan
		moved.Departments = []int64{7}
		time.Sleep(150 * time.Second)
		allows(t, f.all[1], c.Value)
		time.Sleep(150 * time.Second) // due
		f.people.knows(moved)
		allows(t, f.all[0], c.Value)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		for n, m := range f.all {
			if s := allows(t, m, c.Value); s.User.Departments[0] != 7 {
				t.Errorf("replica %d knows %v, want the new facts", n, s.User)
			}
		}
		wantCalls(t, f.people, 1)
	})
}

func TestManager_FullSetReadsTheStoreAgain(t *testing.T) { // threats D5
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		m := replica(t, f.store, f.people)
		m.Journal, m.MaxRevoked = f.journal, 3
		f.run(t, m)
		_, other := signIn(t, m, lisi)
		var ended []string
		for range 10 {
			s, c := signIn(t, m, zhangsan)
			allows(t, m, c.Value)
			m.Revoke(t.Context(), s.ID)
			ended = append(ended, c.Value)
		}
		allows(t, m, other.Value)
		for _, text := range ended {
			refuses(t, m, ErrRevoked, text)
		}
	})
}

func TestForeignAndUnreadableEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		m := f.all[0]
		_, c := signIn(t, m, zhangsan)
		newer := replica(t, f.store, f.people) // after a rotation that has not reached us
		newer.Keyring = newKeyring(t, 9, 1)
		foreign := replica(t, f.store, f.people)
		foreign.Realm = "another"
		for _, e := range []struct {
			what  string
			entry []byte
			reads bool
		}{
			{"too short", []byte("x"), false},
			{"another organisation's",
				withJournal(foreign, f).replicator.Entry(revocation.Event{Kind: revocation.EverybodyEnded, At: time.Now().Add(time.Minute)}), false},
			{"of a newer key", withJournal(newer, f).replicator.Entry(revocation.Event{Kind: revocation.SessionEnded, At: time.Now(), ID: "x"}), true},
			{"of a newer kind", withJournal(replica(t, f.store, f.people), f).replicator.Entry(revocation.Event{Kind: 'X', At: time.Now()}), true},
			{"rubbish with our tag", append(m.replicator.Entry(revocation.Event{Kind: revocation.SessionEnded})[:8:8], make([]byte, 100)...), true},
		} {
			allows(t, m, c.Value)
			f.journal.Append(t.Context(), e.entry)
			synctest.Wait()
			time.Sleep(trustDisconnected)
			f.wantReads(t, e.what, e.reads, func() { allows(t, m, c.Value) })
		}
	})
}

func withJournal(m *Manager, f *fleet) *Manager {
	m.Journal = f.journal
	m.init()
	return m
}

func TestReplicator_EntriesAreSealed(t *testing.T) { // threats C17
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		var list []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.journal.Follow(ctx, func(e []byte) { list = append(list, string(e)) }, func(bool) {})
		}()
		s, _ := signIn(t, f.all[0], zhangsan)
		f.all[0].Revoke(t.Context(), s.ID)
		f.all[0].RevokeUser(t.Context(), Person{UnionID: "union-z", UserID: "user-z"}, "left")
		f.all[0].RecheckUser(Person{UserID: "user-z"})
		f.all[0].RevokeAll(t.Context(), "gone")
		synctest.Wait()
		cancel()
		<-done
		if len(list) != 4 {
			t.Errorf("%d entries, want 4", len(list))
		}
		for _, e := range list {
			for _, secret := range []string{s.ID, "union-z", "user-z", "left", "gone", "dingcorp"} {
				if strings.Contains(e, secret) {
					t.Errorf("an entry shows %q", secret)
				}
			}
		}
	})
}

func TestOnce(t *testing.T) { // threats K15
	synctest.Test(t, func(t *testing.T) {
		a, b, store, _ := replicas(t)
		calls := 0
		do := func(err error) func() error { return func() error { calls++; return err } }
		for _, c := range []struct {
			m     *Manager
			event string
			err   error
			calls int
		}{
			{a, "e1", errors.New("store away"), 1},
			{b, "e1", nil, 2}, // it failed: again
			{a, "e1", nil, 2},
			{b, "e1", nil, 2},
			{b, "", nil, 3}, // without an id this is unknown
			{b, "", nil, 4},
			{manager(t), "e1", nil, 5}, // nothing is shared
		} {
			if err := c.m.Once(t.Context(), c.event, do(c.err)); !errors.Is(err, c.err) || calls != c.calls {
				t.Errorf("Once(%q) = %v after %d calls, want %v after %d", c.event, err, calls, c.err, c.calls)
			}
		}
		store.set(nil, true)
		began := time.Now()
		a.Once(t.Context(), "e1", do(nil))
		if calls != 6 || time.Since(began) > storeTimeout {
			t.Errorf("Once(store hangs): %d calls after %v, want one more within %v", calls, time.Since(began), storeTimeout)
		}
	})
}
