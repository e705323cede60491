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

// usedAttempts bounds the set of redeemed sign-ins; a full one refuses.
const usedAttempts = 100_000

// ssoRecords bounds the records of third parties: about two per sign-in.
const ssoRecords = 200_000

// ticketRecords bounds the pending tickets; each lives for a minute and a half.
const ticketRecords = 50_000

// indexRecords bounds the parts of the list of sessions: some hundreds per secret.
const indexRecords = 5_000

// Stores holds state that outlives a request. It is opened once per process and survives
// a reload of the configuration.
type Stores struct {
	Sessions store.Store      // sessions, or sign-outs; nil: in the session manager's memory only
	Used     store.Store      // redeemed sign-in attempts
	SSO      store.Swapper    // codes and refresh tokens of third parties
	Claims   store.Store      // owners of the unionids of an SSO service
	OIDC     store.Swapper    // codes and tokens of applications, and the keys that sign for them
	Pending  store.Swapper    // authorization requests that wait for a sign-in
	Access   store.Swapper    // requests for access and grants
	Index    store.Swapper    // the list of sessions
	Tickets  store.Swapper    // of sessions in transfer to hosts of other domains
	Journal  store.Journal    // nil: this is the only process
	Bindings account.Bindings // bindings of DingTalk users to accounts, sealed with keys
	keys     *bindingKeys     // nil: not persistent

	Redis *redisstore.Store // with session.store redis, otherwise nil
	File  *boltstore.File   // with state_dir and without Redis, otherwise nil

	t     Observability
	watch storeWatch
}

// MemoryStores are lost when the process ends.
func MemoryStores() *Stores {
	s := &Stores{
		Used:     &store.Memory{Max: usedAttempts},
		SSO:      &store.Memory{Max: ssoRecords},
		Claims:   &store.Memory{Max: claimsMax},
		OIDC:     &store.Memory{Max: oidcRecords},
		Pending:  &store.Memory{Max: pendingRecords},
		Access:   &store.Memory{Max: accessRecords},
		Index:    &store.Memory{Max: indexRecords},
		Tickets:  &store.Memory{Max: ticketRecords},
		Bindings: new(account.Memory),
	}
	s.watch.set(redisstore.Health{Writes: 1, Reads: 1})
	return s
}

// OpenStores opens the stores of cfg. An unavailable Redis is not an error, since it may
// come up later; a file that another process has open is one.
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
			"sessions are stored in cookies: a sign-out takes effect in this process only, not on other replicas or " +
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
	var lost bool // OnFollow is not called concurrently
	r.OnFollow = func(live bool, why error) {
		switch {
		case !live:
			lost = true
			t.Log.Warn("the journal is disconnected: requests read Redis instead", "err", why.Error())
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
		Index:    r,
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
		t.Log.Error("the session store is unavailable: not ready until it answers", "err", health.Err.Error())
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
	var errs [9]error
	s.Sessions, errs[0] = f.Table("sessions", 1_000_000)
	s.Used, errs[1] = f.Table("used", usedAttempts)
	s.SSO, errs[2] = f.Table("sso", ssoRecords)
	s.Claims, errs[3] = f.Table("claims", claimsMax)
	s.OIDC, errs[4] = f.Table("oidc", oidcRecords)
	s.Pending, errs[5] = f.Table("oidc_pending", pendingRecords)
	s.Access, errs[6] = f.Table("access", accessRecords)
	s.Tickets, errs[7] = f.Table("tickets", ticketRecords)
	s.Index, errs[8] = f.Table("session_index", indexRecords)
	bindings, migrated, err := f.Bindings(account.Records{Sealer: keys})
	s.Bindings = bindings
	if migrated > 0 {
		t.Log.Info("bindings of an older release were sealed", "count", migrated)
	}
	if err := errors.Join(append(errs[:], err)...); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.watch.set(redisstore.Health{Writes: 1, Reads: 1})
	t.Log.Info("sessions are stored in cookies: a sign-out takes effect on this machine only, not on other replicas",
		"state_dir", dir)
	return s, nil
}

// Close is called at the end of the process: run has returned, and no request is in progress.
func (s *Stores) Close() error {
	if s.Redis != nil {
		return s.Redis.Close()
	}
	if s.File != nil {
		return s.File.Close()
	}
	return nil
}
