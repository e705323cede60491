package session

import (
	"context"
	"time"
)

// Store keeps small records for a while. Implementations are safe for
// concurrent use and pass storetest.Run.
//
// Absence is not a failure: ErrNone and ErrExists are answers, any other error
// means that the store is ill, and nothing may be concluded from it. A context
// that has ended is such an error too: a client that hangs up signs nobody out
// (threats V17). A ttl must be positive; nothing is kept for ever. Values are
// copied on the way in and out.
type Store interface {
	// Get returns the value; ErrNone when it is absent or expired.
	Get(ctx context.Context, key string) ([]byte, error)

	// Put writes the value, also over another one.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Add writes the value only where there is none; else ErrExists. Of any
	// number of equal calls, on any replica, one wins.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Take returns the value and deletes it in one step: of any number of calls
	// one gets it, the others ErrNone.
	Take(ctx context.Context, key string) ([]byte, error)
}
