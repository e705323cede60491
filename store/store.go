// Package store stores small records for a limited time, in this process or in one that all
// replicas share.
//
//	Store ──── Get, Put, Add, Take: one key each
//	Swapper ── Swap too: replaces a value that is still the one that was read
//	Journal ── a short list that every replica follows
//	Lease ──── one replica at a time does work that all of them want done
//	Memory ─── a Swapper in this process
//
// Packages redisstore and boltstore are other Stores; storetest tests them all.
package store

import (
	"context"
	"errors"
	"time"
)

// Results of a Store that works.
var (
	ErrNotFound = errors.New("store: no such record")           // absent or expired
	ErrExists   = errors.New("store: the key is taken already") // from Add: there is a value; from Swap: another one
)

// Store stores small records for a limited time. Implementations are safe for concurrent use and
// pass storetest.Run.
//
// Absence is not a failure: ErrNotFound and ErrExists are results. Any other error means that the
// store is unavailable, and that the state is unknown. A context that has ended is such an error
// too: a client that hangs up does not sign a person out (threats V17). Calls return soon, also if
// the store does not answer and ctx has no deadline. A ttl must be positive; no record is
// permanent. Values are copied in both directions.
type Store interface {
	// Get returns the value; ErrNotFound if it is absent or expired.
	Get(ctx context.Context, key string) ([]byte, error)

	// Put writes the value, replacing an existing one.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Add writes the value if there is none, and otherwise returns ErrExists. Of any number of
	// equal calls, on any replica, one succeeds.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Take returns the value and deletes it in one step: of any number of calls one gets it, the
	// others ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)
}
