package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/realtool"
	"dinggate/session"
	"dinggate/store"
	"dinggate/store/boltstore"
	"dinggate/store/redisstore"
)

// heap is the memory in use after everything that is dead has gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// grows gives the bytes that each of n steps leaves behind.
func grows(n int, f func(i int)) int64 {
	before := heap()
	for i := range n {
		f(i)
	}
	return (heap() - before) / int64(n)
}

// TestFootprint measures what sessions weigh, here and in the stores. The limits
// are what docs/scaling.md says, with a margin for another Go release.
//
//	go test ./test/bench -run TestFootprint -v
func TestFootprint(t *testing.T) {
	const n = 10_000 // what a replica caches by default
	keyring, err := keyring.New(
		[]conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString([]byte("a key that all the replicas know")))},
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	headers := identity.HeaderRules{{Name: "X-Forwarded-User", Field: "username"},
		{Name: "X-Forwarded-Email", Field: "email"}, {Name: "X-Forwarded-Preferred-Username", Field: "name"},
		{Name: "X-Forwarded-Groups", Field: "groups"}}
	fresh := func(store store.Store, kind string) *session.Manager {
		cfg := session.Defaults()
		cfg.Store = kind
		return &session.Manager{
			Keyring: keyring,
			Config:  cfg,
			Realm:   "dingcorp",
			Store:   store,
			Headers: session.Headers{Request: headers, Response: headers},
		}
	}
	server := realtool.StartRedis(t)
	c := redisstore.Defaults()
	c.URL = conf.NewSecret(server.URL())
	redis, err := redisstore.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	token := identity.Token{
		Access:  strings.Repeat("a", 32),
		Refresh: strings.Repeat("r", 32),
		Expires: time.Now().Add(2 * time.Hour),
	}
	check := func(what string, got, most int64) {
		t.Helper()
		t.Logf("%-60s %6d bytes", what, got)
		if got > most {
			t.Errorf("%s weighs %d bytes, more than %d", what, got, most)
		}
	}
	for _, kind := range []string{session.StoreCookie, session.StoreRedis} {
		var store store.Store
		if kind == session.StoreRedis {
			store = redis
		}
		m := fresh(store, kind)
		var length int64
		if err := redis.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		before := used(server)
		each := grows(n, func(i int) {
			_, cookie, err := m.Create(ctx, member(i), token)
			if err != nil {
				t.Fatal(err)
			}
			length = int64(len(cookie.Value))
		})
		check("one known session in a replica, store: "+kind, each, 6000)
		check("its cookie", length, 3500)
		if kind == session.StoreRedis {
			check("its record in Redis", (used(server)-before)/n, 1500)
		}
		more := grows(n, func(i int) {
			if _, _, err := m.Create(ctx, member(n+i), token); err != nil {
				t.Fatal(err)
			}
		})
		check("one more than a replica remembers (the person stays)", more, 3000)
		if kind == session.StoreCookie {
			check("one sign-out in a replica", grows(n, func(i int) {
				if err := m.Revoke(ctx, fmt.Sprintf("%043d", i)); err != nil {
					t.Fatal(err)
				}
			}), 500)
		}
		runtime.KeepAlive(m)
	}
	listed, recheck := fresh(redis, session.StoreRedis), make(chan struct{}, n)
	listed.Index = redis
	listed.Recheck = func(_ context.Context, s *session.Session) (identity.User, error) {
		recheck <- struct{}{}
		return s.User, nil
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); listed.Run(running) }()
	plain := used(server)
	bare := fresh(redis, session.StoreRedis)
	for i := range n {
		if _, _, err := bare.Create(ctx, member(i), identity.Token{}); err != nil {
			t.Fatal(err)
		}
	}
	plain = used(server) - plain
	before := used(server)
	for i := range n {
		in := session.SignIn{User: member(i), Device: "Chrome · Windows", Client: netip.MustParseAddr("198.51.100.7")}
		if _, _, err := listed.Begin(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	reader := fresh(redis, session.StoreRedis) // which has seen none of them
	reader.Index = redis
	server.Await("the list of sessions", func() bool { return len(session.List(ctx, reader).Sessions) >= n })
	check("its line in the list of sessions in Redis", (used(server)-before-plain)/n, 400)
	before = used(server)
	listed.RecheckPlaces(session.Everybody())
	for range n {
		<-recheck
	}
	server.Await("what the rechecks found", func() bool { return settled(server) })
	check("what a recheck of a person found, in Redis", (used(server)-before)/n, 1000)
	stop()
	<-ended

	before = used(server)
	for i := range n {
		if err := redis.Append(ctx, fmt.Appendf(nil, "%0120d", i)); err != nil {
			t.Fatal(err)
		}
	}
	check("one entry of the journal in Redis, of which there are 10,000", (used(server)-before)/n, 400)

	file, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := file.Table("sessions", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Redis answers %d gets a second to one process with %d callers", rateOf(func() { redis.Get(ctx, "k") }),
		callers)
	t.Logf("the embedded file takes %d sign-outs a second from %d callers, each on the disk before the answer",
		rateOf(func() { table.Put(ctx, fmt.Sprint(time.Now().UnixNano()), []byte("1"), time.Hour) }), callers)
}

// settled reports whether the server's data have stopped to change.
func settled(server *realtool.Redis) bool {
	before := server.Do("DBSIZE")
	time.Sleep(6 * time.Second) // leases have expired by then
	return server.Do("DBSIZE") == before
}

// used is the memory that the server's data take.
func used(server *realtool.Redis) int64 {
	var n int64
	for line := range strings.Lines(server.Do("INFO", "memory")) {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			fmt.Sscan(text, &n)
		}
	}
	return n
}

const callers = 16

func rateOf(f func()) int64 {
	var done atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(begin) < time.Second {
				f()
				done.Add(1)
			}
		})
	}
	all.Wait()
	return int64(float64(done.Load()) / time.Since(begin).Seconds())
}
