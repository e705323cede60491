package accessrequest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/store"
)

// approved returns a grant of an hour.
func approved(t *testing.T, b *Book) Request {
	t.Helper()
	q := submit(t, b, &zhangsan, "/admin/")
	got, err := b.Answer(t.Context(), q.ID, PersonOf(&lisi), true, "", q.Route.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestBook_RemovedAndBack: if access to a route can no longer be requested, and later can again,
// its previous grants stay invalid: also while the store is unavailable, in a process that starts
// meanwhile, and if the configuration changes again at once (threats G4).
func TestBook_RemovedAndBack(t *testing.T) {
	const print = "print of /admin/"
	for name, remove := range map[string]func(t *testing.T, b *Book, s *flaky) *Book{
		"at once": func(_ *testing.T, b *Book, _ *flaky) *Book {
			b.Serve(nil)
			return b
		},
		"the store away": func(t *testing.T, b *Book, s *flaky) *Book {
			s.away.Store(true)
			b.Serve(nil)
			if b.EndOther(t.Context()) == nil {
				t.Error("ended, and the store is away")
			}
			s.away.Store(false)
			return b
		},
		"a process without requests": func(t *testing.T, _ *Book, s *flaky) *Book {
			off := newBook(s, nil)
			off.Serve(nil)
			off.RunServed(t.Context()) // returns, because there is nothing else to do
			return newBook(s, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, audit := &flaky{Swapper: &store.Memory{}}, &events{}
				b := newBook(s, audit)
				b.Serve([]string{print})
				approved(t, b)
				time.Sleep(2 * time.Second)
				if !granted(t, b, &zhangsan, "/admin/") {
					t.Fatal("not granted")
				}
				b = remove(t, b, s)
				b.Serve([]string{print})
				if time.Sleep(2 * time.Second); granted(t, b, &zhangsan, "/admin/") {
					t.Error("the grant lives again")
				}
				if err := b.EndOther(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				for who, one := range map[string]*Book{"the replica": b, "another one": newBook(s, nil)} {
					one.Serve([]string{print})
					if granted(t, one, &zhangsan, "/admin/") {
						t.Errorf("%s: the grant lives again once its end is written", who)
					}
				}
				if time.Sleep(2 * skew); !granted(t, b, &zhangsan, "/admin/") && approved(t, b).State != Granted {
					t.Error("a new grant is none")
				}
			})
		})
	}
}

// TestBook_NothingServed: a process without requests writes nothing to the store.
func TestBook_NothingServed(t *testing.T) {
	s := &store.Memory{}
	b := newBook(s, nil)
	b.Serve(nil)
	b.RunServed(t.Context())
	if _, err := s.Get(t.Context(), clockKey); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the time is written: %v", err)
	}
}

// TestBook_AuditDenies: a grant whose record cannot be written is refused; a grant that was
// recorded but not written has a second record.
func TestBook_AuditDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, audit := &flaky{Swapper: &store.Memory{}}, &events{}
		b := newBook(s, audit)
		q := submit(t, b, &zhangsan, "/admin/")
		answer := func(yes bool) error {
			_, err := b.Answer(t.Context(), q.ID, PersonOf(&lisi), yes, "", q.Route.Fingerprint)
			return err
		}
		audit.full = true
		if err := answer(true); err == nil || errors.Is(err, ErrAnswered) {
			t.Errorf("approved without a record: %v", err)
		}
		if granted(t, b, &zhangsan, "/admin/") {
			t.Error("granted without a record")
		}
		if got, err := b.Find(t.Context(), q.ID); err != nil || got.State != Waiting {
			t.Errorf("the request is %s, %v: want waiting", got.State, err)
		}
		audit.full = false
		audit.take()
		s.refuse = 1 // another replica's answer comes between
		other := newBook(s.Swapper, nil)
		s.between = func() {
			if _, err := other.Answer(t.Context(), q.ID, PersonOf(&wangwu), false, "", q.Route.Fingerprint); err != nil {
				t.Error(err)
			}
		}
		if err := answer(true); !errors.Is(err, ErrAnswered) {
			t.Errorf("a second answer: %v", err)
		}
		if got := audit.take(); got != "access_granted, access_ended void" {
			t.Errorf("audit = %s", got)
		}
		if granted(t, b, &zhangsan, "/admin/") {
			t.Error("granted although another one denied it first")
		}
	})
}

// TestBook_ClockSetBack: a replica whose clock was set back ends a grant when the store does.
func TestBook_ClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store.Memory{}
		b := newBook(s, nil)
		approved(t, b)
		late := &Book{Store: s, Now: func() time.Time { return time.Now().Add(-30 * time.Minute) }}
		late.Seal(secrets("A"))
		if time.Sleep(59 * time.Minute); !granted(t, late, &zhangsan, "/admin/") {
			t.Error("not granted a minute before the end")
		}
		if time.Sleep(time.Minute + time.Second); granted(t, late, &zhangsan, "/admin/") {
			t.Error("the grant outlives its end")
		}
	})
}

// TestClock_ForwardAndBack: a machine's clock that goes forward and back does not set the
// process's time back.
func TestClock_ForwardAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		c := &clock{}
		c.start(func() time.Time { return time.Now().Add(off) })
		off = time.Hour
		ahead := c.now()
		off = -time.Hour
		time.Sleep(time.Minute)
		if got := c.now(); got.Sub(ahead) != time.Minute {
			t.Errorf("a minute after %v it is %v", ahead, got)
		}
	})
}
