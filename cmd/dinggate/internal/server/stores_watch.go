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

// storeWatch is what is known of the store's health; the zero value is a store
// that is away.
type storeWatch struct {
	writable, readable atomic.Uint64 // shares, as the bits of a float64
	failed             atomic.Bool   // a write to the file failed, and none was made since
}

func (w *storeWatch) set(h redisstore.Health) {
	w.writable.Store(math.Float64bits(h.Writes))
	w.readable.Store(math.Float64bits(h.Reads))
}

func (w *storeWatch) writes() float64 { return math.Float64frombits(w.writable.Load()) }
func (w *storeWatch) reads() float64  { return math.Float64frombits(w.readable.Load()) }

// wrote notes how an operation on the file ended. What a caller gave up says
// nothing of the disk.
func (w *storeWatch) wrote(op string, err error) {
	switch {
	case op == "get" || errors.Is(err, context.Canceled):
	case err != nil:
		w.failed.Store(true)
	default:
		w.failed.Store(false)
	}
}

// State is which kind of store there is, and which share of it answers and takes
// writes.
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

// Reads is what /ready says: a store that only refuses writes still knows who is
// signed in, and no replica would be better off. Of a Redis Cluster at least half
// of the slots must answer: every replica misses the same ones, and a balancer that
// took all of them away would turn everybody away.
func (s *Stores) Reads() bool { return s.watch.reads() >= 0.5 }

// note is the line of /ready about a store of which a part is away; "" when all
// of it answers.
func (s *Stores) note() string {
	if reads := s.watch.reads(); reads < 1 {
		return fmt.Sprintf("store: %.0f %% of the cluster's slots answer", 100*reads)
	}
	return ""
}

// watchEvery is the pause between two questions to the store whether it is there.
const watchEvery = time.Second

// fileEvery is how often a file that nobody writes to is tried: each time costs a
// sync of the disk.
const fileEvery = 30 * time.Second

// run watches the store until ctx ends. Two failures in a row are an outage, one
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
		if s.Redis == nil && !s.watch.failed.Load() && s.watch.writes() == 1 && now.Sub(tried) < fileEvery {
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

// probe asks the store once. A file that takes no writes can still be read.
func (s *Stores) probe(ctx context.Context) redisstore.Health {
	if s.Redis != nil {
		return s.Redis.Probe(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	if err := s.File.Probe(ctx); err != nil {
		return redisstore.Health{Reads: 1, Err: err}
	}
	return redisstore.Health{Writes: 1, Reads: 1}
}

// report logs what has changed between two states.
func (w *storeWatch) report(log *slog.Logger, before, now redisstore.Health) {
	switch {
	case before.Writes == now.Writes && before.Reads == now.Reads:
	case now.Writes == 1:
		log.Warn("the session store is back")
	case now.Reads == 1 && now.Writes == 0:
		log.Error("the session store takes no writes: nobody can sign in or out", "err", now.Err.Error())
	case now.Reads == 0:
		log.Error("the session store is away: sessions are kept, requests that need it get 503", "err", now.Err.Error())
	default:
		log.Error("a part of the session store is away: sessions there are kept, requests that need it get 503",
			"slots_up", now.Writes, "slots_read", now.Reads, "err", now.Err.Error())
	}
}
