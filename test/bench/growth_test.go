package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/ratelimit"
	"dinggate/session"
	"dinggate/session/membership"
	"dinggate/store"
	"dinggate/store/storetest"
)

var (
	growthPeople   = flag.Int("people", 300, "people in the simulation of growth")
	growthReplicas = flag.String("replicas", "1,2,3,5,10", "numbers of replicas in it")
)

// counted is a Store that all replicas share and that counts its calls.
type counted struct {
	store.Memory
	mu  sync.Mutex
	ops map[string]int
}

func (c *counted) count(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[op]++
}

func (c *counted) Get(ctx context.Context, key string) ([]byte, error) {
	c.count("get")
	return c.Memory.Get(ctx, key)
}

func (c *counted) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c.count("put")
	return c.Memory.Put(ctx, key, value, ttl)
}

func (c *counted) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c.count("add")
	return c.Memory.Add(ctx, key, value, ttl)
}

func (c *counted) Take(ctx context.Context, key string) ([]byte, error) {
	c.count("take")
	return c.Memory.Take(ctx, key)
}

// countedAllowance is the Allowance that all replicas share; each Draw is a call of the store.
type countedAllowance struct {
	ratelimit.Local
	store *counted
}

func (c *countedAllowance) Draw(ctx context.Context, d ratelimit.Draw) (ratelimit.Drawn, error) {
	c.store.count("draw")
	return c.Local.Draw(ctx, d)
}

// town is people at work behind some replicas, in virtual time. The code of the
// replicas is the real one; Redis, the network and DingTalk are counters that
// answer after a fixed time.
type town struct {
	replicas  []*session.Manager
	store     *counted
	allowance *countedAllowance
	journal   storetest.FakeJournal
	random    *rand.Rand

	mu              sync.Mutex
	lookups         map[int64]int // by second
	served, refused int
	received        int
}

func member(i int) identity.User {
	return identity.User{
		UnionID:     fmt.Sprint("union-", i),
		UserID:      fmt.Sprint("user-", i),
		Username:    fmt.Sprint("person-", i),
		Name:        "张三",
		Email:       fmt.Sprintf("person-%d@example.com", i),
		Departments: []int64{42},
		Ancestors:   []int64{42, 7, 1},
		Roles:       []identity.Role{{ID: 5, Name: "主管"}},
	}
}

// hearing counts what arrives at one replica.
type hearing struct {
	*storetest.FakeJournal
	t *town
}

func (h hearing) Follow(ctx context.Context, received func([]byte), live func(bool)) {
	h.FakeJournal.Follow(ctx, func(e []byte) {
		h.t.mu.Lock()
		h.t.received++
		h.t.mu.Unlock()
		received(e)
	}, live)
}

func newTown(tb testing.TB, replicas int, now func() time.Time) *town {
	t := &town{store: &counted{ops: map[string]int{}}, random: rand.New(rand.NewPCG(1, 2)), lookups: map[int64]int{}}
	t.store.Max = 10_000_000
	t.allowance = &countedAllowance{store: t.store}
	cfg := session.Defaults()
	cfg.Store = session.StoreRedis
	keyring, err := keyring.New(
		[]conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString([]byte("a key that all the replicas know")))},
	)
	if err != nil {
		tb.Fatal(err)
	}
	for range replicas {
		budget := &ratelimit.Budget{Shared: t.allowance, Rate: dingtalk.Defaults().Rate} // as the command sets it
		t.replicas = append(t.replicas, &session.Manager{
			Keyring: keyring,
			Config:  cfg,
			Realm:   "dingcorp",
			Store:   t.store,
			Journal: hearing{&t.journal, t},
			Now:     now,
			Recheck: func(ctx context.Context, s *session.Session) (identity.User, error) {
				if err := budget.Wait(ctx, "lookup", ratelimit.Due, false); err != nil {
					return identity.User{}, membership.ErrPostponed
				}
				t.mu.Lock()
				t.lookups[time.Now().Unix()]++
				t.mu.Unlock()
				time.Sleep(80 * time.Millisecond)
				return s.User, nil
			},
		})
	}
	return t
}

func (t *town) anyone() *session.Manager { return t.replicas[t.random.IntN(len(t.replicas))] }

// request is one request of a browser, to the replica that a load balancer
// without affinity chose.
func (t *town) request(m *session.Manager, texts []string) {
	_, err := m.Load(context.Background(), texts, 5*time.Second)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.refused++
	} else {
		t.served++
	}
}

const (
	settling = 6 * time.Minute // all sign in, first rechecks
	watched  = 15 * time.Minute
	pageGap  = 15 * time.Second // a person opens a page
	perPage  = 4                // requests for it
)

// live lets people work for a while and returns what one second of it cost.
func (t *town) live(tb testing.TB, people int) row {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, m := range t.replicas {
		all.Go(func() { m.Run(ctx) })
	}
	begin := time.Now()
	type browser struct {
		texts []string
		next  time.Time
	}
	browsers := make([]*browser, people)
	for i := range browsers {
		browsers[i] = &browser{next: begin.Add(time.Duration(t.random.Int64N(int64(4 * time.Minute))))}
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var r row
	signOuts, measuring := 0, false
	for now := begin; now.Sub(begin) < settling+watched; now = <-tick.C {
		if !measuring && now.Sub(begin) >= settling {
			measuring = true
			synctest.Wait()
			t.store.mu.Lock()
			clear(t.store.ops)
			t.store.mu.Unlock()
			t.mu.Lock()
			clear(t.lookups)
			t.served, t.refused, t.received = 0, 0, 0
			t.mu.Unlock()
		}
		for i, b := range browsers {
			if now.Before(b.next) {
				continue
			}
			b.next = now.Add(pageGap/2 + time.Duration(t.random.Int64N(int64(pageGap))))
			if b.texts == nil {
				_, cookie, err := t.anyone().Create(ctx, member(i), identity.Token{})
				if err != nil {
					tb.Fatal(err)
				}
				b.texts = []string{cookie.Value}
				continue
			}
			for range perPage {
				m := t.anyone()
				all.Go(func() { t.request(m, b.texts) })
			}
		}
		if measuring && int(now.Sub(begin)/time.Minute) > signOuts { // one person leaves about every minute
			signOuts++
			if err := t.anyone().RevokeUser(ctx, session.Person{UserID: fmt.Sprint("user-gone-", signOuts)},
				"left"); err != nil {
				tb.Error(err)
			}
		}
	}
	synctest.Wait()
	t.mu.Lock()
	seconds := watched.Seconds()
	r = row{
		replicas: len(t.replicas),
		people:   people,
		requests: float64(t.served) / seconds,
		refused:  t.refused,
		received: float64(t.received) / seconds,
	}
	for _, n := range t.lookups {
		r.lookups += n
		r.peak = max(r.peak, n)
	}
	t.mu.Unlock()
	t.store.mu.Lock()
	for _, n := range t.store.ops {
		r.ops += float64(n) / seconds
	}
	t.store.mu.Unlock()
	cancel()
	all.Wait()
	return r
}

type row struct {
	replicas, people int
	requests         float64 // a second
	ops              float64 // requests to the store a second
	received         float64 // journal entries a second, of all replicas
	lookups, peak    int     // at DingTalk; most in one second
	refused          int
}

// TestGrowth plays a quarter of an hour of work with the same people on more and
// more replicas. docs/scaling.md draws on it:
//
//	go test ./test/bench -run TestGrowth -v -people 2000
func TestGrowth(t *testing.T) {
	var rows []row
	for text := range strings.SplitSeq(*growthReplicas, ",") {
		replicas, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			rows = append(rows, newTown(t, replicas, time.Now).live(t, *growthPeople))
		})
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w,
		"replicas\tpeople\trequests/s\tstore requests/s\tper request\tDingTalk lookups/s\tmost in 1 s\tjournal "+
			"received/s\trefused\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.0f\t%.2f\t%.2f\t%d\t%.2f\t%d\t\n", r.replicas, r.people, r.requests, r.ops,
			r.ops/r.requests, float64(r.lookups)/watched.Seconds(), r.peak, r.received, r.refused)
	}
	w.Flush()
	t.Logf("\n%s", &table)
	// One lookup a person and recheck, however many replicas; a recheck comes up to a fifth early.
	most := int(float64(*growthPeople) * (watched.Minutes()/(session.Defaults().Recheck.Minutes()*0.8) + 1))
	for _, r := range rows {
		if r.refused > 0 && r.people <= 4000 { // the lookups of one recheck period within the budget
			t.Errorf("%d replicas refused %d requests of people who are signed in", r.replicas, r.refused)
		}
		if r.lookups > most {
			t.Errorf("%d replicas made %d lookups for %d people, want at most %d", r.replicas, r.lookups, r.people,
				most)
		}
		if r.peak > 20 {
			t.Errorf("%d replicas made %d lookups in one second, more than DingTalk takes", r.replicas, r.peak)
		}
		if r.ops > 6*r.requests {
			t.Errorf("%d replicas call the store %.1f times a request", r.replicas, r.ops/r.requests)
		}
	}
}
