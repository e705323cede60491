package redisstore

import (
	"context"
	"fmt"
	"time"

	"dinggate/store"

	"github.com/redis/go-redis/v9"
)

var _ store.Swapper = (*Store)(nil)

// swapScript returns 0 if there is no value, 1 if there is another one, 2 if it wrote.
var swapScript = redis.NewScript(`
local now = redis.call('GET', KEYS[1])
if not now then return 0 end
if now ~= ARGV[1] then return 1 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 2`)

// Swap replaces old by new.
func (s *Store) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	return s.do(ctx, "swap", func(ctx context.Context) error {
		life, err := life(ttl)
		if err != nil {
			return err
		}
		n, err := swapScript.Run(ctx, s.client, []string{s.prefix + key}, old, new, life.Milliseconds()).Int()
		switch {
		case err != nil:
			return err
		case n == 0:
			return store.ErrNotFound
		case n == 1:
			return store.ErrExists
		case n == 2:
			return nil
		}
		return fmt.Errorf("a script answers %d", n)
	})
}
