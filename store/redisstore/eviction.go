package redisstore

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Eviction returns the first maxmemory-policy other than noeviction of the nodes that accept
// writes, "" if there is none. With any other policy a full Redis evicts records: sign-outs, so
// that a session stays valid, and the marks of used codes and attempts, so that they can be used
// again. known is false if no node answers, for example without +info in the ACL.
func (s *Store) Eviction(ctx context.Context) (policy string, known bool) {
	var mutex sync.Mutex
	ask := func(ctx context.Context, client redis.Cmdable) error {
		text, err := client.Info(ctx, "memory").Result()
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if found, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
				mutex.Lock()
				known = true
				if policy == "" && found != "noeviction" {
					policy = found
				}
				mutex.Unlock()
			}
		}
		return nil
	}
	s.do(ctx, "info", func(ctx context.Context) error { // an error leaves known false
		if cluster, ok := s.client.(*redis.ClusterClient); ok {
			return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
				return ask(ctx, node)
			})
		}
		return ask(ctx, s.client)
	})
	mutex.Lock()
	defer mutex.Unlock()
	return policy, known
}
