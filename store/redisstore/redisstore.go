// Package redisstore stores session records in Redis, for all replicas.
//
//	Get, Put, Add, Take ── one command each, one key each: any Redis from 5.0 on,
//	                       alone, behind sentinels, or a cluster
//	Append, Follow ─────── a stream of its own (journal.go), in a cluster three:
//	                       recent revocations
//	Ping, Probe ────────── small writes: is the server reachable, is it the master; of
//	                       a cluster, which share of the slots has a master
//	Allowance ──────────── the calls to DingTalk that all replicas share
//	Bindings ───────────── which DingTalk person is which account
//
// Only operations that are harmless when repeated are tried a second time, within the same
// deadline: a repeated Take of a code would redeem it twice. If Redis fails, every call returns an
// error soon, never a result.
package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/store"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Store is a store.Store and a store.Journal in Redis; make it with Open. Safe for concurrent use.
type Store struct {
	// Observe is called after every operation: get, put, add, take, append, ping, and those of
	// Follow except its waits; Reason classifies err. Set it before first use. If nil, it is not
	// called.
	Observe func(ctx context.Context, op string, d time.Duration, err error)

	// OnFollow is called when the entries that Follow receives have become complete, and when that
	// is no longer certain, with the reason. Set it before first use. If nil, it is not called.
	OnFollow func(live bool, why error)

	client     redis.UniversalClient
	lookAround func(context.Context) // of a cluster: learns the nodes of the slots again; nil for a single server
	prefix     string
	probed     []string       // keys that a Probe writes
	streams    []string       // keys of the journal
	writers    sync.WaitGroup // append to one of several streams
	patience   time.Duration  // for one operation
	old        atomic.Bool    // before 6.2: GETDEL is a script
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Journal = (*Store)(nil)
)

// Open makes a store and opens no connection: Redis may be started later. Errors are those of the
// configuration.
func Open(c Config) (*Store, error) {
	t, err := parse(c.URL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("redisstore: redis.url %w", err)
	}
	secure, err := c.tlsConfig(t)
	if err != nil {
		return nil, err
	}
	or := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	patience := cmp.Or(c.Timeout, opTimeout)
	part := patience * 3 / 4  // of each of dial, read, write and wait
	redis.SetLogger(silent{}) // its messages would go to stderr, bypassing our log
	options := &redis.UniversalOptions{
		Addrs: t.addrs, IsClusterMode: t.kind == cluster, MasterName: t.master, DB: t.db, TLSConfig: secure,
		Username: or(c.Username, t.username), Password: or(c.Password.Reveal(), t.password),
		SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword.Reveal(),

		// A failure is reported in a fraction of a second; with the defaults it takes 2 to 5.
		ContextTimeoutEnabled: true, // otherwise a server that hangs delays a call past its context
		DialTimeout:           part, ReadTimeout: part, WriteTimeout: part, PoolTimeout: part,
		DialerRetries: 1, MaxRetries: -1,
		PoolSize: connections, MaxActiveConns: connections, PipelinePoolSize: -1,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,

		// RESP2 and no commands besides HELLO and AUTH at the start: proxies and narrow ACLs
		// refuse more.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	s := &Store{
		prefix:   c.Prefix,
		probed:   probeKeys(c.Prefix, t.kind == cluster),
		streams:  streamNames(c.Prefix, t.kind == cluster),
		patience: patience,
	}
	if t.kind != cluster {
		s.client = redis.NewUniversalClient(options)
		return s, nil
	}
	// The client learns of a change of the cluster from a live node, not from one that died:
	// without this it would try the dead node for another minute.
	nodes := options.Cluster()
	nodes.ClusterStateReloadInterval = 10 * time.Second
	all := redis.NewClusterClient(nodes)
	s.client, s.lookAround = all, all.ReloadState
	return s, nil
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Close ends all connections; Follow and all calls must have returned.
func (s *Store) Close() error {
	s.writers.Wait()
	return s.client.Close()
}

// do runs one operation with its deadline. f returns a result of the Store, or the cause of a
// failure.
func (s *Store) do(ctx context.Context, op string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	begin := time.Now()
	err := ctx.Err()
	if err == nil {
		err = s.twice(ctx, op, f)
	}
	answer := isAnswer(err)
	if !answer {
		if s.lookAround != nil && ctx.Err() != context.Canceled {
			s.lookAround(ctx) // in the background, and at most five times a second
		}
		err = fmt.Errorf("redisstore: %s: %w", op, redact(err))
	}
	if s.Observe != nil {
		observed := err
		if answer {
			observed = nil
		}
		s.Observe(ctx, op, time.Since(begin), observed)
	}
	return err
}

func isAnswer(err error) bool {
	return err == nil || err == store.ErrNotFound || err == store.ErrExists
}

// repeatable are the operations that are harmless when Redis performs them twice.
var repeatable = map[string]bool{"get": true, "put": true, "ping": true}

// twice retries f once, in the rest of the deadline, if a connection broke or could not be made
// and a retry is harmless: for a repeatable operation, and for any whose connection was never
// made. A repeated Take would redeem a code twice. A server that hangs is not tried again: it
// would only get more connections.
func (s *Store) twice(ctx context.Context, op string, f func(ctx context.Context) error) error {
	err := f(ctx)
	failed, broke := errors.AsType[*net.OpError](err)
	broke = broke && !failed.Timeout() || errors.Is(err, io.EOF)
	if isAnswer(err) || !broke || ctx.Err() != nil || !repeatable[op] && (failed == nil || failed.Op != "dial") {
		return err
	}
	if s.lookAround != nil {
		s.lookAround(ctx)
	}
	return f(ctx)
}

// Get returns the value.
func (s *Store) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, "get", func(ctx context.Context) error {
		value, err = s.client.Get(ctx, s.prefix+key).Bytes()
		return none(err)
	})
	return value, err
}

// Put writes the value.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.do(ctx, "put", func(ctx context.Context) error {
		life, err := life(ttl)
		if err != nil {
			return err
		}
		return s.client.Set(ctx, s.prefix+key, value, life).Err()
	})
}

// Add writes the value if there is none.
func (s *Store) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.do(ctx, "add", func(ctx context.Context) error {
		life, err := life(ttl)
		if err != nil {
			return err
		}
		err = s.client.SetArgs(ctx, s.prefix+key, value, redis.SetArgs{Mode: "NX", TTL: life}).Err()
		if errors.Is(err, redis.Nil) {
			return store.ErrExists
		}
		return err
	})
}

// Take returns the value and deletes it.
func (s *Store) Take(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, "take", func(ctx context.Context) error {
		if !s.old.Load() {
			value, err = s.client.GetDel(ctx, s.prefix+key).Bytes()
			if e := redis.Error(nil); !errors.As(err, &e) || !strings.HasPrefix(e.Error(), "ERR unknown command") {
				return none(err)
			}
			s.old.Store(true)
		}
		text, err := takeScript.Run(ctx, s.client, []string{s.prefix + key}).Text()
		value = []byte(text)
		return none(err)
	})
	if err != nil {
		value = nil
	}
	return value, err
}

var takeScript = redis.NewScript(
	`local v = redis.call('GET', KEYS[1]); if v then redis.call('DEL', KEYS[1]) end; return v`,
)

// Ping writes keys of its own, in a cluster one for each sixteenth of the slots: a server that
// cannot be written to (a replica, one without memory, one that forbids it) is as unavailable as
// one that is unreachable.
func (s *Store) Ping(ctx context.Context) error { return s.Probe(ctx).Err }

func none(err error) error {
	if errors.Is(err, redis.Nil) {
		return store.ErrNotFound
	}
	return err
}

// life rounds up to the resolution of Redis.
func life(ttl time.Duration) (time.Duration, error) {
	if ttl <= 0 {
		return 0, errors.New("the ttl is not positive")
	}
	return max(ttl.Truncate(time.Millisecond), time.Millisecond), nil
}
