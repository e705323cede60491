package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"dinggate/store/redisstore"
)

// storeWatch is the known health of the store; the zero value is an unavailable
// store.
type storeWatch struct {
	writable, readable atomic.Uint64         // shares, as the bits of a float64
	recovered          atomic.Int64          // Unix nanoseconds at which more of the store became readable again
	failure            atomic.Pointer[error] // of the last write to the file; nil if it succeeded
}

func (w *storeWatch) set(h redisstore.Health) {
	w.writable.Store(math.Float64bits(h.Writes))
	if before := w.readable.Swap(math.Float64bits(h.Reads)); h.Reads > math.Float64frombits(before) {
		w.recovered.Store(time.Now().UnixNano())
	}
}

func (w *storeWatch) writes() float64 { return math.Float64frombits(w.writable.Load()) }
func (w *storeWatch) reads() float64  { return math.Float64frombits(w.readable.Load()) }

// wrote records the result of an operation on the file. A canceled one is no evidence
// about the disk.
func (w *storeWatch) wrote(op string, err error) {
	switch {
	case op == "get" || errors.Is(err, context.Canceled):
	case err != nil:
		w.failure.Store(&err)
	default:
		w.failure.Store(nil)
	}
}

// State returns the kind of the store, and the share of it that accepts writes.
func (s *Stores) State() (kind string, up float64) {
	switch {
	case s.Redis != nil:
		kind = "redis"
	case s.File != nil:
		kind = "file"
	default:
		kind = "memory"
	}
	return kind, s.watch.writes()
}

// Reads reports readiness for /ready: a store that only refuses writes still has the
// sessions, and other replicas are affected too. At least half of the slots of a Redis
// Cluster must answer: every replica misses the same ones, and if a load balancer removed
// all replicas, all people would be refused.
func (s *Stores) Reads() bool { return s.watch.reads() >= 0.5 }

// note is the second line of /ready if a part of the store is unavailable or takes no
// writes; otherwise "".
func (s *Stores) note() string {
	reads, writes := s.watch.reads(), s.watch.writes()
	switch {
	case reads < 1:
		return fmt.Sprintf("store: %.0f %% of the cluster's slots answer", 100*reads)
	case writes == 0:
		return "store: takes no writes, sign-ins are refused"
	case writes < 1:
		return fmt.Sprintf("store: %.0f %% of the cluster's slots take writes", 100*writes)
	}
	return ""
}

// watchEvery is the interval between two checks of the store.
const watchEvery = time.Second

// fileEvery is the interval between test writes to an idle file: each costs a sync of the
// disk.
const fileEvery = 30 * time.Second

// run watches the store until ctx ends. Two consecutive failures are an outage, one
// success ends it.
func (s *Stores) run(ctx context.Context) {
	if s.Redis == nil && s.File == nil {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := redisstore.Health{Writes: s.watch.writes(), Reads: s.watch.reads()}
	for tried := time.Now(); ; {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		if s.Redis == nil && s.watch.failure.Load() == nil && s.watch.writes() == 1 && now.Sub(tried) < fileEvery {
			continue
		}
		tried = now
		health := s.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		shown := health
		shown.Writes, shown.Reads = max(health.Writes, last.Writes), max(health.Reads, last.Reads)
		last = health
		before := redisstore.Health{Writes: s.watch.writes(), Reads: s.watch.reads()}
		s.watch.set(shown)
		s.watch.report(s.t.Log, before, shown)
	}
}

// probe checks the store once. A file that refuses writes can still be read. It refuses them
// too if the last write of a record failed: the test write may fit where the record did not.
func (s *Stores) probe(ctx context.Context) redisstore.Health {
	if s.Redis != nil {
		return s.Redis.Probe(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	failure := s.watch.failure.Load()
	if err := s.File.Probe(ctx); err != nil {
		return redisstore.Health{Reads: 1, Err: err}
	}
	if failure != nil {
		return redisstore.Health{Reads: 1, Err: *failure}
	}
	return redisstore.Health{Writes: 1, Reads: 1}
}

// report logs the difference between two states.
func (w *storeWatch) report(log *slog.Logger, before, now redisstore.Health) {
	switch {
	case before.Writes == now.Writes && before.Reads == now.Reads:
	case now.Writes == 1:
		log.Warn("the session store is available again")
	case now.Reads == 1 && now.Writes == 0:
		log.Error("the session store refuses writes: sign-ins and sign-outs fail", "err", now.Err.Error())
	case now.Reads == 0:
		log.Error("the session store is unavailable: sessions stay valid, requests that need it get 503", "err", now.Err.Error())
	default:
		log.Error("a part of the session store is unavailable: its sessions stay valid, requests that need it get 503",
			"slots_up", now.Writes, "slots_read", now.Reads, "err", now.Err.Error())
	}
}
