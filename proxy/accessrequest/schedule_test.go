package accessrequest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
	"dinggate/store/storetest"
)

// flaky is a store that is unavailable for a while, or slow, or performs a write and then reports
// that it failed.
type flaky struct {
	store.Swapper
	away  atomic.Bool
	loses atomic.Bool // the answer of a write is lost
	slow  atomic.Int64

	refuse  int    // the number of writes that are refused, as if another one came between
	between func() // called for a refused write
}

var errAway = errors.New("the store is away")

func (f *flaky) before(ctx context.Context) error {
	if d := time.Duration(f.slow.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.away.Load() {
		return errAway
	}
	return ctx.Err()
}

func (f *flaky) after(err error) error {
	if err == nil && f.loses.Load() {
		return errAway
	}
	return err
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, error) {
	if err := f.before(ctx); err != nil {
		return nil, err
	}
	return f.Swapper.Get(ctx, key)
}

func (f *flaky) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.after(f.Swapper.Put(ctx, key, value, ttl))
}

func (f *flaky) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.after(f.Swapper.Add(ctx, key, value, ttl))
}

func (f *flaky) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	if f.refuse > 0 {
		f.refuse--
		f.between()
	}
	return f.after(f.Swapper.Swap(ctx, key, old, new, ttl))
}

// replica is one process: its machine's clock may be wrong.
type replica struct {
	book *Book
	off  *atomic.Int64 // offset of the machine's clock
	stop context.CancelFunc
}

// schedule is one random run, and what must hold in it.
type schedule struct {
	t        *testing.T
	rnd      *rand.Rand
	seed     uint64
	store    *flaky
	replicas []*replica
	allowed  int
	truth    map[string]time.Time // request → until when it may grant access, by the bubble's own clock
	routes   map[string]string    // route → its present fingerprint
	trail    []string
}

func (s *schedule) start(i int) {
	r := s.replicas[i]
	ctx, stop := context.WithCancel(s.t.Context())
	r.stop = stop
	r.book = &Book{shards: 1, Store: s.store, Now: func() time.Time { return time.Now().Add(time.Duration(r.off.Load())) }}
	r.book.Seal(storetest.PlainSealer{})
	go r.book.Run(ctx)
}

// slack is how late an end may be: two seconds, and the time the store may take.
const slack = 2*time.Second + 50*time.Millisecond

// check checks all people at every replica.
func (s *schedule) check() {
	for i, r := range s.replicas {
		for _, u := range []*identity.User{&zhangsan, &wangwu} {
			for route, print := range s.routes {
				id, _, err := r.book.Granted(s.t.Context(), u, print)
				if err != nil || id == "" {
					continue
				}
				s.allowed++
				until, known := s.truth[id]
				if late := time.Since(until); !known || late > slack {
					s.t.Fatalf("seed %d: replica %d allows %s to access %s by %q (known: %v) %v after its end\n%v", s.seed, i, u.Name, route, id,
						known, late, s.trail)
				}
			}
		}
	}
}

// step makes one random step.
func (s *schedule) step() {
	ctx := s.t.Context()
	n := s.rnd.IntN(len(s.replicas))
	r := s.replicas[n]
	u := []*identity.User{&zhangsan, &wangwu}[s.rnd.IntN(2)]
	route := []string{"/a/", "/b/"}[s.rnd.IntN(2)]
	what := ""
	switch k := s.rnd.IntN(24); {
	case k < 5:
		q := wish(u, route, lisi)
		q.Route.Fingerprint, q.For = s.routes[route], time.Duration(1+s.rnd.IntN(12))*time.Minute
		_, created, err := r.book.Submit(ctx, q, 5)
		what = fmt.Sprint("submit ", u.UserID, route, created, err)
	case k < 10:
		what = s.answer(r)
	case k < 12:
		what = s.end(r)
	case k < 13:
		err := r.book.EndPerson(ctx, Person{UserID: u.UserID}, EndLeft)
		if err == nil {
			s.over(func(q *Request) bool { return q.Person.UserID == u.UserID })
		}
		what = fmt.Sprint("left ", u.UserID, err)
	case k < 14: // the rule changes, at every replica
		s.routes[route] += "'"
		s.over(func(q *Request) bool { return q.Route.Name == route })
		what = "rule of " + route
	case k < 16:
		d := time.Duration(s.rnd.Int64N(int64(20*time.Minute))) - 10*time.Minute
		r.off.Add(int64(d))
		what = fmt.Sprint("clock of ", n, " ", d)
	case k < 18:
		r.stop()
		s.start(n)
		what = fmt.Sprint("restart ", n)
	case k < 20:
		s.store.away.Store(!s.store.away.Load())
		what = fmt.Sprint("away ", s.store.away.Load())
	case k < 21:
		s.store.loses.Store(!s.store.loses.Load())
		what = "loses answers"
	case k < 22:
		s.store.slow.Store(s.rnd.Int64N(int64(3 * time.Second)))
		what = "slow"
	default:
		s.store.away.Store(false)
		s.store.loses.Store(false)
		s.store.slow.Store(0)
		what = "well"
	}
	s.trail = append(s.trail, time.Now().Format("15:04:05 ")+what)
}

// requests returns the requests in the store.
func (s *schedule) requests() (list []Request) {
	b := &Book{shards: 1, Store: s.store.Swapper}
	b.Seal(storetest.PlainSealer{})
	b.ready.Store(true)
	list, err := b.List(s.t.Context(), true)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// over limits to now what may grant access.
func (s *schedule) over(which func(*Request) bool) {
	for _, q := range s.requests() {
		if until, ok := s.truth[q.ID]; ok && which(&q) && until.After(time.Now()) {
			s.truth[q.ID] = time.Now()
		}
	}
}

func (s *schedule) answer(r *replica) string {
	for _, q := range s.requests() {
		if q.State != Waiting {
			continue
		}
		_, err := r.book.Answer(s.t.Context(), q.ID, PersonOf(&lisi), true, "", s.routes[q.Route.Name])
		if q.Route.Fingerprint == s.routes[q.Route.Name] && (err == nil || !errors.Is(err, ErrAnswered)) {
			// An answer whose confirmation was lost may have been written.
			s.truth[q.ID] = time.Now().Add(q.For)
		}
		return fmt.Sprint("answer ", q.ID[:6], " ", err)
	}
	return "answer nothing"
}

func (s *schedule) end(r *replica) string {
	for _, q := range s.requests() {
		if q.State != Granted {
			continue
		}
		_, err := r.book.End(s.t.Context(), q.ID, EndTaken, "", nil)
		if err == nil {
			s.over(func(one *Request) bool { return one.ID == q.ID })
		}
		return fmt.Sprint("end ", q.ID[:6], " ", err)
	}
	return "end nothing"
}

// run runs one schedule; it returns how often access was granted.
func run(t *testing.T, seed uint64) int {
	s := &schedule{
		t:      t,
		seed:   seed,
		rnd:    rand.New(rand.NewPCG(seed, 19)),
		store:  &flaky{Swapper: &store.Memory{}},
		truth:  map[string]time.Time{},
		routes: map[string]string{"/a/": "a", "/b/": "b"},
	}
	for i := range 2 + s.rnd.IntN(2) {
		s.replicas = append(s.replicas, &replica{off: new(atomic.Int64)})
		s.start(i)
	}
	for range 24 {
		s.step()
		time.Sleep([]time.Duration{300 * time.Millisecond, 2100 * time.Millisecond, 31 * time.Second,
			time.Duration(s.rnd.Int64N(int64(4 * time.Minute)))}[s.rnd.IntN(4)])
		s.check()
	}
	for _, r := range s.replicas {
		r.stop()
	}
	time.Sleep(time.Minute) // writes are not cancelled with their replica
	return s.allowed
}

// TestSchedules: no grant outlives its end, whatever crashes and whatever clocks do, also while
// the store is unavailable. SCHEDULES=100000 runs that many, SCHEDULES_FROM starts at another
// seed.
func TestSchedules(t *testing.T) {
	number := func(name string, n int) int {
		if text := os.Getenv(name); text != "" {
			var err error
			if n, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	n, from := number("SCHEDULES", 200), number("SCHEDULES_FROM", 0)
	var allowed atomic.Int64
	t.Run("all", func(t *testing.T) {
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				for seed := from + w; seed < from+n && !t.Failed(); seed += workers {
					if (seed-from)%5000 == 0 {
						t.Logf("%d done", seed-from)
					}
					synctest.Test(t, func(t *testing.T) { allowed.Add(int64(run(t, uint64(seed)))) })
				}
			})
		}
	})
	if got := int(allowed.Load()); !t.Failed() && got < n {
		t.Errorf("%d schedules allowed access %d times: something is wrong with this test", n, got)
	}
	t.Logf("%d schedules from seed %d: access was allowed %d times", n, from, allowed.Load())
}
