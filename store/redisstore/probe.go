package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Health is the result of a Probe.
type Health struct {
	Writes float64 // share of the slots that accept writes, 0 to 1; of a single server 0 or 1
	Reads  float64 // share that answers reads, whether it accepts writes or not
	Err    error   // why Writes is below 1; nil if it is not
}

// probes is the number of slots of a cluster that are probed: a share is known to a sixteenth, and
// no node gets more than a few requests a second.
const probes = 16

// probeKeys are the keys that a Probe writes: in a cluster evenly spread over the slots,
// independent of the nodes.
func probeKeys(prefix string, clustered bool) (keys []string) {
	if !clustered {
		return []string{prefix + "ping"}
	}
	for i := range probes {
		keys = append(keys, prefix+"ping{"+tagNear((2*i+1)*slotCount/(2*probes))+"}")
	}
	return keys
}

// Probe checks whether every part of the store is reachable and accepts writes. A part that hangs
// delays a Probe by the time of one operation.
func (s *Store) Probe(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	begin := time.Now()
	errs := make([]error, len(s.probed))
	var all sync.WaitGroup
	for i, key := range s.probed {
		all.Go(func() {
			errs[i] = s.twice(ctx, "ping", func(ctx context.Context) error {
				return s.client.Set(ctx, key, "1", time.Minute).Err()
			})
		})
	}
	all.Wait()
	var h Health
	for _, err := range errs {
		if err == nil {
			h.Writes++
		} else if h.Err == nil || !Reads(err) {
			h.Err = fmt.Errorf("redisstore: ping: %w", redact(err))
		}
		if Reads(err) {
			h.Reads++
		}
	}
	h.Writes /= float64(len(errs))
	h.Reads /= float64(len(errs))
	if h.Err != nil && s.lookAround != nil && ctx.Err() != context.Canceled {
		s.lookAround(ctx)
	}
	if s.Observe != nil {
		s.Observe(ctx, "ping", time.Since(begin), h.Err)
	}
	return h
}

// Clustered reports whether the store is a Redis Cluster.
func (s *Store) Clustered() bool {
	_, ok := s.client.(*redis.ClusterClient)
	return ok
}
