package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Health is what a Probe found.
type Health struct {
	Writes float64 // share of the slots that take writes, 0 to 1; of a server alone 0 or 1
	Reads  float64 // share that answers what it is asked, whether it takes writes or not
	Err    error   // why Writes is below 1; nil: it is not
}

// probes is how many places of a cluster's slots are asked: a share is known to
// a sixteenth, and no node is asked for more than a few keys a second.
const probes = 16

// probeKeys are the keys that a Probe writes: in a cluster spread evenly over the
// slots, whatever node has them.
func probeKeys(prefix string, clustered bool) (keys []string) {
	if !clustered {
		return []string{prefix + "ping"}
	}
	for i := range probes {
		keys = append(keys, prefix+"ping{"+tagNear((2*i+1)*slotCount/(2*probes))+"}")
	}
	return keys
}

// Probe asks every part of the store whether it is there and takes writes. One
// that hangs costs a Probe the time of one operation.
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
			h.Err = fmt.Errorf("redisstore: ping: %w", tame(err))
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
