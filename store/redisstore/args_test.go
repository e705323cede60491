package redisstore

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

type redisPipe = redis.Pipeliner

func itoa(n int) string { return strconv.Itoa(n) }

func entryArgs(s *Store, text string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: s.streams[0], MaxLen: journalMax, Approx: true, Values: []any{entryField, text}}
}
