package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/session"
	"dinggate/store"
	"dinggate/store/boltstore"
	"dinggate/store/redisstore"
)

var (
	_ store.Store   = (*redisstore.Store)(nil)
	_ store.Journal = (*redisstore.Store)(nil)
	_ store.Store   = (*boltstore.Table)(nil)
)

// usedAttempts bounds the memory of redeemed sign-ins; a full one refuses.
const usedAttempts = 100_000

// ssoRecords bounds what third parties hold: about two records for each of their sign-ins.
const ssoRecords = 200_000

// Stores is what outlives a request. It is opened once per process: a reload of
// the configuration keeps it.
type Stores struct {
	Sessions store.Store      // sessions, or sign-outs; nil: in the memory of the session manager alone
	Used     store.Store      // redeemed attempts
	SSO      store.Swapper    // codes and refresh tokens of third parties
	Claims   store.Store      // whose the unionids of an SSO service are
	OIDC     store.Swapper    // what applications hold, and the keys that sign for them
	Pending  store.Swapper    // their requests that wait for a sign-in
	Journal  store.Journal    // nil: this process is alone
	Bindings account.Bindings // which DingTalk person is which account, sealed under keys
	keys     *bindingKeys     // nil: nothing lasts

	Redis *redisstore.Store // with session.store redis, otherwise nil
	File  *boltstore.File   // with state_dir and without Redis, otherwise nil

	t     Observability
	up    atomic.Bool
	reads atomic.Bool
}

// MemoryStores forget everything with the process.
func MemoryStores() *Stores {
	s := &Stores{
		Used:     &store.Memory{Max: usedAttempts},
		SSO:      &store.Memory{Max: ssoRecords},
		Claims:   &store.Memory{Max: claimsMax},
		OIDC:     &store.Memory{Max: oidcRecords},
		Pending:  &store.Memory{Max: pendingRecords},
		Bindings: new(account.Memory),
	}
	s.up.Store(true)
	s.reads.Store(true)
	return s
}

// OpenStores opens what cfg names. A Redis that is away is no error: it may come
// later; a file that another process has is one.
func OpenStores(ctx context.Context, cfg *config.Config, t Observability) (*Stores, error) {
	var s *Stores
	keys, err := newBindingKeys(cfg)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Session.Store == session.StoreRedis:
		s, err = openRedis(ctx, cfg.Redis, keys, t)
	case cfg.StateDir != "":
		s, err = openFile(cfg.StateDir, keys, t)
	default:
		t.Log.Info(
			"sessions live in cookies: a sign-out is known to this process alone, not to other replicas nor " +
				"after a restart",
		)
		return MemoryStores(), nil
	}
	if err != nil {
		return nil, err
	}
	t.Metrics.Gauge("store_up", "1 while the session store answers and takes writes.", func() float64 {
		if s.Up() {
			return 1
		}
		return 0
	})
	return s, nil
}

func openRedis(ctx context.Context, c redisstore.Config, keys *bindingKeys, t Observability) (*Stores, error) {
	r, err := redisstore.Open(c)
	if err != nil {
		return nil, err
	}
	var disconnected atomic.Bool
	r.Observe = func(ctx context.Context, op string, d time.Duration, err error) {
		t.Metrics.Store(op, redisstore.Reason(err), d)
		t.Tracing.Stored(ctx, "redis", op, redisstore.Reason(err), d)
		switch {
		case op != "follow" || errors.Is(err, context.Canceled):
		case err != nil && !disconnected.Swap(true):
			t.Log.Warn("the journal is disconnected: requests ask Redis instead", "err", err.Error())
		case err == nil && disconnected.Swap(false):
			t.Log.Info("the journal is connected again")
		}
	}
	s := &Stores{
		Sessions: r,
		Used:     r,
		SSO:      r,
		Claims:   r,
		OIDC:     r,
		Pending:  r,
		Journal:  r,
		Bindings: r.Bindings(keys),
		keys:     keys,
		Redis:    r,
		t:        t,
	}
	if err := r.Ping(ctx); err != nil {
		t.Log.Error("the session store is away: not ready until it comes", "err", err.Error())
	} else {
		s.up.Store(true)
		s.reads.Store(true)
		t.Log.Info("sessions are shared through Redis")
	}
	return s, nil
}

func openFile(dir string, keys *bindingKeys, t Observability) (*Stores, error) {
	f, err := boltstore.Open(dir)
	if err != nil {
		return nil, err
	}
	f.Observe = func(ctx context.Context, op string, d time.Duration, err error) {
		result := "ok"
		if err != nil {
			result = "other"
		}
		t.Metrics.Store(op, result, d)
		t.Tracing.Stored(ctx, "file", op, result, d)
	}
	s := &Stores{File: f, keys: keys, t: t}
	var errs [6]error
	s.Sessions, errs[0] = f.Table("sessions", 1_000_000)
	s.Used, errs[1] = f.Table("used", usedAttempts)
	s.SSO, errs[2] = f.Table("sso", ssoRecords)
	s.Claims, errs[3] = f.Table("claims", claimsMax)
	s.OIDC, errs[4] = f.Table("oidc", oidcRecords)
	s.Pending, errs[5] = f.Table("oidc_pending", pendingRecords)
	bindings, migrated, err := f.Bindings(account.Records{Sealer: keys})
	s.Bindings = bindings
	if migrated > 0 {
		t.Log.Info("bindings of an older release are sealed now", "count", migrated)
	}
	if err := errors.Join(append(errs[:], err)...); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.up.Store(true)
	s.reads.Store(true)
	t.Log.Info("sessions live in cookies: a sign-out is known to this machine alone, not to other replicas",
		"state_dir", dir)
	return s, nil
}

// State is which kind of store there is, and whether it answers.
func (s *Stores) State() (kind string, up bool) {
	switch {
	case s.Redis != nil:
		kind = "redis"
	case s.File != nil:
		kind = "file"
	default:
		kind = "memory"
	}
	return kind, s.Up()
}

// Up reports whether the store answered and took a write a moment ago.
func (s *Stores) Up() bool { return s.up.Load() }

// Reads is what /ready says: a store that only refuses writes still knows who is
// signed in, and no replica would be better off.
func (s *Stores) Reads() bool { return s.reads.Load() }

// watchEvery is the pause between two questions to Redis whether it is there.
const watchEvery = time.Second

// run watches Redis until ctx ends. Two failures in a row are an outage,
// one success ends it.
func (s *Stores) run(ctx context.Context) {
	if s.Redis == nil {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.Redis.Ping(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			s.reads.Store(true)
			if !s.up.Swap(true) {
				s.t.Log.Warn("the session store is back")
			}
		default:
			if failures++; failures < 2 {
				continue
			}
			reads := redisstore.Reads(err)
			s.reads.Store(reads)
			switch {
			case !s.up.Swap(false):
			case reads:
				s.t.Log.Error("the session store takes no writes: nobody can sign in or out", "err", err.Error())
			default:
				s.t.Log.Error("the session store is away: sessions are kept, requests that need it get 503",
					"err", err.Error())
			}
		}
	}
}

// Close is the end of the process: run has returned, no request is under way.
func (s *Stores) Close() error {
	if s.Redis != nil {
		return s.Redis.Close()
	}
	if s.File != nil {
		return s.File.Close()
	}
	return nil
}
