package session

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/store"
)

// faulty is a Store in which a test can inject failures.
type faulty struct {
	store.Memory
	mu   sync.Mutex
	err  error
	hang bool
	keys map[string]string // every key that was written
	gets int
	put  error // of Put only
	wait time.Duration
	dead string // the key whose read hangs until ctx ends
}

func (f *faulty) hangs(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = key
}

func (f *faulty) reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets
}

// slow delays every answer.
func (f *faulty) slow(wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait = wait
}

func (f *faulty) setPut(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = err
}

func (f *faulty) fault(ctx context.Context) error {
	f.mu.Lock()
	err, hang, wait := f.err, f.hang, f.wait
	f.mu.Unlock()
	time.Sleep(wait)
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *faulty) set(err error, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.hang = err, hang
}

func (f *faulty) wrote(key string, value []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[string]string{}
	}
	f.keys[key] = string(value)
}

func (f *faulty) Get(ctx context.Context, key string) ([]byte, error) {
	f.mu.Lock()
	f.gets++
	dead := f.dead != "" && f.dead == key
	f.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := f.fault(ctx); err != nil {
		return nil, err
	}
	return f.Memory.Get(ctx, key)
}

func (f *faulty) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	f.mu.Lock()
	err := f.put
	f.mu.Unlock()
	if err == nil {
		err = f.fault(ctx)
	}
	if err != nil {
		return err
	}
	f.wrote(key, value)
	return f.Memory.Put(ctx, key, value, ttl)
}

func (f *faulty) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	f.wrote(key, value)
	return f.Memory.Add(ctx, key, value, ttl)
}

func (f *faulty) Take(ctx context.Context, key string) ([]byte, error) {
	if err := f.fault(ctx); err != nil {
		return nil, err
	}
	return f.Memory.Take(ctx, key)
}

// replica is one of several managers with one store and one directory.
func replica(t *testing.T, db store.Store, d *directory) *Manager {
	m := manager(t)
	m.Config.Store = StoreRedis
	m.Store, m.Recheck = db, d.recheck
	return m
}

func replicas(t *testing.T) (*Manager, *Manager, *faulty, *directory) {
	store, d := new(faulty), new(directory)
	d.knows(zhangsan)
	return replica(t, store, d), replica(t, store, d), store, d
}

func TestReplicasAgreeOnRevocation(t *testing.T) { // threats C10, B6
	synctest.Test(t, func(t *testing.T) {
		a, b, store, d := replicas(t)
		s, c := signIn(t, a, zhangsan)
		_, other := signIn(t, b, zhangsan)
		_, colleague := signIn(t, b, lisi)
		allows(t, b, c.Value)
		a.Revoke(t.Context(), s.ID)
		refuses(t, b, ErrRevoked, c.Value)
		refuses(t, replica(t, store, d), ErrRevoked, c.Value) // after a restart
		allows(t, a, other.Value)
		time.Sleep(time.Second)
		var ends []string
		b.OnRevoked = func(_ *Session, reason string) { ends = append(ends, reason) }
		a.RevokeUser(t.Context(), Person{UserID: "user-z"}, "left the company")
		for range 2 {
			refuses(t, b, ErrRevoked, other.Value)
		}
		if len(ends) != 1 || ends[0] != "left the company" {
			t.Errorf("OnRevoked got %q on the other replica", ends)
		}
		allows(t, b, colleague.Value)
		time.Sleep(time.Second)
		_, back := signIn(t, a, zhangsan)
		allows(t, b, back.Value)
	})
}

func TestManager_EmptiedStoreSignsOut(t *testing.T) { // threats V16
	a, _, _, d := replicas(t)
	_, c := signIn(t, a, zhangsan)
	b := replica(t, new(store.Memory), d)
	refuses(t, b, ErrRevoked, c.Value)
	_, again := signIn(t, b, zhangsan)
	allows(t, b, again.Value)
}

func TestManager_FailingStoreEndsNoSession(t *testing.T) { // threats V14, V15, V17
	synctest.Test(t, func(t *testing.T) {
		a, _, store, _ := replicas(t)
		s, c := signIn(t, a, zhangsan)
		allows(t, a, c.Value)
		store.set(errors.New("READONLY"), false)
		allows(t, a, c.Value) // within session.store_grace
		time.Sleep(a.Config.StoreGrace)
		refuses(t, a, ErrStore, c.Value)
		refuses(t, a, ErrForged, "junk") // refused without the store
		if _, _, err := a.Create(t.Context(), lisi, identity.Token{}); !isError(err, ErrStore) {
			t.Errorf("Create(failing store) = %v, want ErrStore", err)
		}
		if err := a.Revoke(t.Context(), "x"); !isError(err, ErrStore) {
			t.Errorf("Revoke(failing store) = %v, want ErrStore", err)
		}
		if err := a.RevokeUser(t.Context(), Person{UserID: "x", UnionID: "y"}, ""); !isError(err, ErrStore) {
			t.Errorf("RevokeUser(failing store) = %v, want ErrStore", err)
		}
		store.set(nil, true)
		began := time.Now()
		refuses(t, a, ErrStore, c.Value)
		if waited := time.Since(began); waited > storeTimeout {
			t.Errorf("Load() waited %v for the store, want at most 1s", waited)
		}
		store.set(nil, false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Load(ctx, []string{c.Value}, 0); !isError(err, ErrStore) {
			t.Errorf("Load(client gone) = %v, want ErrStore", err)
		}
		allows(t, a, c.Value) // back at once, and nothing was lost
		if err := a.Revoke(ctx, s.ID); err != nil {
			t.Errorf("Revoke(client gone) = %v, want nil: a sign-out goes on", err)
		}
		refuses(t, a, ErrRevoked, c.Value)
		none := replica(t, nil, new(directory))
		refuses(t, none, ErrStore, c.Value)
	})
}

func TestManager_CorruptRecordIsErrStore(t *testing.T) {
	a, _, store, _ := replicas(t)
	_, c := signIn(t, a, zhangsan)
	for _, bad := range []string{"", "x", "12", "x left"} {
		store.Put(t.Context(), a.records.personKey("end", identity.Key{Kind: identity.KeyUnionID, Text: "union-z"}), []byte(bad), time.Hour)
		refuses(t, a, ErrStore, c.Value)
	}
}

func TestStoreDumpIsUseless(t *testing.T) { // threats C17
	synctest.Test(t, func(t *testing.T) {
		a, _, store, _ := replicas(t)
		s, c := signIn(t, a, zhangsan)
		time.Sleep(5 * time.Minute)
		allows(t, a, c.Value)
		synctest.Wait()
		a.RevokeUser(t.Context(), Person{UnionID: "union-z", UserID: "user-z"}, "left")
		if len(store.keys) < 5 {
			t.Errorf("the store saw %d records, want all kinds", len(store.keys))
		}
		for key, value := range store.keys {
			for _, secret := range []string{s.ID, c.Value, "zhangsan", "张三", "union-z", "user-z", "CANARY", "dingcorp"} {
				if strings.Contains(key+" "+value, secret) {
					t.Errorf("a dump shows %q: %s = %s", secret, key, value)
				}
			}
			if strings.ContainsAny(key, "* \n{}[]?\\") || len(key) > 64 {
				t.Errorf("the key %q is not well-formed", key)
			}
			if _, err := load(t, a, value); err == nil {
				t.Errorf("the value of %s is a session", key)
			}
		}
		gets := store.gets
		for i := range 50 { // D4: no store call for forgeries
			refuses(t, a, ErrForged, flip(c.Value, i))
		}
		if store.gets != gets {
			t.Errorf("forgeries made %d store calls, want 0", store.gets-gets)
		}
	})
}

func TestOneLookupForAllReplicas(t *testing.T) { // threats V11
	synctest.Test(t, func(t *testing.T) {
		a, b, store, d := replicas(t)
		c3 := replica(t, store, d)
		_, c := signIn(t, a, zhangsan)
		moved := zhangsan
		moved.Email = "new@example.com"
		d.answers(func(context.Context, *Session) (identity.User, error) { time.Sleep(2 * time.Second); return moved, nil })
		time.Sleep(8 * time.Hour)
		var all sync.WaitGroup
		for _, m := range []*Manager{a, b, c3} {
			for range 10 {
				all.Go(func() {
					if s := allows(t, m, c.Value); s.User.Email != "new@example.com" {
						t.Errorf("Load() = %v, want the new facts", s.User)
					}
				})
			}
		}
		all.Wait()
		wantCalls(t, d, 1)
	})
}

// TestReplicasShareConfirmations: a person who is due on two replicas is confirmed on both by the
// lookup of one, also while DingTalk is not called: on the other from their next request there.
func TestReplicasShareConfirmations(t *testing.T) { // threats V10
	synctest.Test(t, func(t *testing.T) {
		a, b, db, d := replicas(t)
		_, c := signIn(t, a, zhangsan)
		began := time.Now()
		allows(t, b, c.Value)
		time.Sleep(6 * time.Minute)
		allows(t, a, c.Value) // looked up in the background
		synctest.Wait()
		wantCalls(t, d, 1)
		time.Sleep(7 * time.Minute) // due on both
		d.fails(membership.ErrPostponed)
		if got := allows(t, b, c.Value).Checked.Sub(began); got != 6*time.Minute {
			t.Errorf("confirmed %v after the sign-in, as the other replica knows, want 6m", got)
		}
		time.Sleep(time.Minute)
		gets := db.reads()
		allows(t, b, c.Value) // nothing newer is known, and no request is refused
		synctest.Wait()
		if db.reads() == gets {
			t.Error("the Store was not read for a person who is due")
		}

		// A Store that does not return the confirmation in time delays no request for long.
		e := b.cache.get(c.Value)
		facts := b.records.personKey("facts", e.key)
		db.hangs(facts)
		time.Sleep(time.Minute)
		begun := time.Now()
		allows(t, b, c.Value)
		if waited := time.Since(begun); waited > catchUpWithin {
			t.Errorf("a request waited %v for another replica's confirmation, want %v at most", waited, catchUpWithin)
		}
		db.hangs("")
		time.Sleep(time.Minute)
	})
}

func TestLeaseHolderDies(t *testing.T) { // threats V12
	synctest.Test(t, func(t *testing.T) {
		a, _, db, d := replicas(t)
		_, c := signIn(t, a, zhangsan)
		time.Sleep(6 * time.Minute)
		ctx, die := context.WithCancel(t.Context())
		lease := a.records.personKey("lease", identity.Key{Kind: identity.KeyUnionID, Text: "union-z"})
		if l, err := store.AwaitLease(ctx, db, lease, func(context.Context) (bool, error) { return false, nil }); l == nil {
			t.Fatal(err)
		}
		allows(t, a, c.Value)
		time.Sleep(3 * time.Second)
		wantCalls(t, d, 0) // the holder lives
		die()
		time.Sleep(5 * time.Second)
		wantCalls(t, d, 1) // it has died
		db.Take(t.Context(), lease)
	})
}

func TestDefiniteNoReachesReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, d := replicas(t)
		_, c := signIn(t, a, zhangsan)
		_, other := signIn(t, b, zhangsan)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		gone, stop := b.Watch(allows(t, b, other.Value))
		d.fails(errLeft)
		time.Sleep(3 * time.Minute)
		d2 := d.calls.Load()
		time.Sleep(2 * time.Minute)
		load(t, a, c.Value)
		synctest.Wait()
		refuses(t, b, ErrRevoked, other.Value)
		refuses(t, b, ErrRevoked, c.Value)
		time.Sleep(15 * time.Second)
		wantClosed(t, "a connection at the other replica", gone, true)
		wantCalls(t, d, d2+1)
		stop()
		cancel()
		synctest.Wait()
	})
}

func TestLocalStoreOutlivesARestart(t *testing.T) { // threats C10: state_dir with a cookie store
	synctest.Test(t, func(t *testing.T) {
		store := new(faulty)
		local := func() *Manager { m := manager(t); m.Store = store; return m }
		m := local()
		s, c := signIn(t, m, zhangsan)
		_, other := signIn(t, m, lisi)
		_, known := signIn(t, m, identity.User{UnionID: "u", Username: "u"})
		time.Sleep(time.Second)
		m.Revoke(t.Context(), s.ID)
		m.RevokeUser(t.Context(), Person{UserID: "user-l"}, "left")
		restarted := local()
		refuses(t, restarted, ErrRevoked, c.Value)
		refuses(t, restarted, ErrRevoked, other.Value)
		allows(t, restarted, known.Value)
		gets := store.gets
		allows(t, restarted, known.Value)
		if store.gets != gets {
			t.Error("a known session reads a local store again")
		}
		third := local()
		store.set(errors.New("disk"), false)
		refuses(t, third, ErrStore, known.Value)
		store.set(nil, false)
		allows(t, third, known.Value)
	})
}
