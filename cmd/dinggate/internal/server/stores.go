package server

import (
	"context"
	"errors"
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

// ticketRecords bounds the tickets on their way; each lives for a minute and a half.
const ticketRecords = 50_000

// Stores is what outlives a request. It is opened once per process: a reload of
// the configuration keeps it.
type Stores struct {
	Sessions store.Store      // sessions, or sign-outs; nil: in the memory of the session manager alone
	Used     store.Store      // redeemed attempts
	SSO      store.Swapper    // codes and refresh tokens of third parties
	Claims   store.Store      // whose the unionids of an SSO service are
	OIDC     store.Swapper    // what applications hold, and the keys that sign for them
	Pending  store.Swapper    // their requests that wait for a sign-in
	Access   store.Swapper    // requests for access and grants
	Tickets  store.Swapper    // of sessions on their way to hosts of other domains
	Journal  store.Journal    // nil: this process is alone
	Bindings account.Bindings // which DingTalk person is which account, sealed under keys
	keys     *bindingKeys     // nil: nothing lasts

	Redis *redisstore.Store // with session.store redis, otherwise nil
	File  *boltstore.File   // with state_dir and without Redis, otherwise nil

	t     Observability
	watch storeWatch
}

// MemoryStores forget everything with the process.
func MemoryStores() *Stores {
	s := &Stores{
		Used:     &store.Memory{Max: usedAttempts},
		SSO:      &store.Memory{Max: ssoRecords},
		Claims:   &store.Memory{Max: claimsMax},
		OIDC:     &store.Memory{Max: oidcRecords},
		Pending:  &store.Memory{Max: pendingRecords},
		Access:   &store.Memory{Max: accessRecords},
		Tickets:  &store.Memory{Max: ticketRecords},
		Bindings: new(account.Memory),
	}
	s.watch.set(redisstore.Health{Writes: 1, Reads: 1})
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
	t.Metrics.Gauge("store_up", "1 while the session store answers and takes writes, 0 while it does not; of a "+
		"Redis Cluster the share of its slots that do.", s.watch.writes)
	return s, nil
}

func openRedis(ctx context.Context, c redisstore.Config, keys *bindingKeys, t Observability) (*Stores, error) {
	r, err := redisstore.Open(c)
	if err != nil {
		return nil, err
	}
	r.Observe = func(ctx context.Context, op string, d time.Duration, err error) {
		t.Metrics.Store(op, redisstore.Reason(err), d)
		t.Tracing.Stored(ctx, "redis", op, redisstore.Reason(err), d)
	}
	var lost bool // OnFollow is called by one goroutine at a time
	r.OnFollow = func(live bool, why error) {
		switch {
		case !live:
			lost = true
			t.Log.Warn("the journal is disconnected: requests ask Redis instead", "err", why.Error())
		case lost:
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
		Access:   r,
		Tickets:  r,
		Journal:  r,
		Bindings: r.Bindings(keys),
		keys:     keys,
		Redis:    r,
		t:        t,
	}
	health := r.Probe(ctx)
	s.watch.set(health)
	switch {
	case health.Err == nil:
		t.Log.Info("sessions are shared through Redis")
	case s.Reads():
		s.watch.report(t.Log, redisstore.Health{Writes: 1, Reads: 1}, health)
	default:
		t.Log.Error("the session store is away: not ready until it comes", "err", health.Err.Error())
	}
	return s, nil
}

func openFile(dir string, keys *bindingKeys, t Observability) (*Stores, error) {
	f, err := boltstore.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &Stores{File: f, keys: keys, t: t}
	f.Observe = func(ctx context.Context, op string, d time.Duration, err error) {
		result := "ok"
		if err != nil {
			result = "other"
		}
		s.watch.wrote(op, err)
		t.Metrics.Store(op, result, d)
		t.Tracing.Stored(ctx, "file", op, result, d)
	}
	var errs [8]error
	s.Sessions, errs[0] = f.Table("sessions", 1_000_000)
	s.Used, errs[1] = f.Table("used", usedAttempts)
	s.SSO, errs[2] = f.Table("sso", ssoRecords)
	s.Claims, errs[3] = f.Table("claims", claimsMax)
	s.OIDC, errs[4] = f.Table("oidc", oidcRecords)
	s.Pending, errs[5] = f.Table("oidc_pending", pendingRecords)
	s.Access, errs[6] = f.Table("access", accessRecords)
	s.Tickets, errs[7] = f.Table("tickets", ticketRecords)
	bindings, migrated, err := f.Bindings(account.Records{Sealer: keys})
	s.Bindings = bindings
	if migrated > 0 {
		t.Log.Info("bindings of an older release are sealed now", "count", migrated)
	}
	if err := errors.Join(append(errs[:], err)...); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.watch.set(redisstore.Health{Writes: 1, Reads: 1})
	t.Log.Info("sessions live in cookies: a sign-out is known to this machine alone, not to other replicas",
		"state_dir", dir)
	return s, nil
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
