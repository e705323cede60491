// Package store keeps small records for a while, in this process or in one that
// all replicas share.
//
//	Store ───────── Get, Put, Add, Take: one key each
//	Journal ─────── a short list that every replica follows
//	Lease ───────── one replica at a time does what all of them want done
//	SharedLimiter ─ all replicas together stay below a rate
//	Memory ──────── a Store in this process
//
// Stores elsewhere are in redisstore and boltstore; storetest checks them all.
package store

import (
	"context"
	"errors"
	"time"
)

// Answers of a Store. They say that it works.
var (
	ErrNotFound = errors.New("store: no such record")           // absent or expired
	ErrExists   = errors.New("store: the key is taken already") // only from Add
)

// Store keeps small records for a while. Implementations are safe for
// concurrent use and pass storetest.Run.
//
// Absence is not a failure: ErrNotFound and ErrExists are answers, any other
// error means that the store is unavailable, and nothing may be concluded from
// it. A context that has ended is such an error too: a client that hangs up
// signs nobody out (threats V17). A ttl must be positive; nothing is kept for
// ever. Values are copied on the way in and out.
type Store interface {
	// Get returns the value; ErrNotFound when it is absent or expired.
	Get(ctx context.Context, key string) ([]byte, error)

	// Put writes the value, also over another one.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Add writes the value only where there is none, otherwise ErrExists. Of any
	// number of equal calls, on any replica, one wins.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Take returns the value and deletes it in one step: of any number of calls
	// one gets it, the others ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)
}
