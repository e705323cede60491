package store

import "context"

// Journal is a short list that all replicas append to and follow: recent revocations, and the
// people to look up again. It saves a lookup in the Store for every request. It has to be fast,
// but not durable: what must not be lost is in the Store. Implementations are safe for concurrent
// use and pass storetest.RunJournal.
type Journal interface {
	// Append adds an entry that every follower receives, also this replica's own; an entry is not
	// empty and has at most MaxEntry bytes. After an error the others may or may not receive it.
	// Like a Store it returns soon.
	Append(ctx context.Context, entry []byte) error

	// Follow delivers entries until ctx ends, then returns; at most one call of receive or live
	// runs at a time, and none after Follow has returned. It begins with entries appended shortly
	// before, continues with new ones, in order, and delivers some again after an error: an entry
	// must be harmless when it is received twice, or long after it was written. receive may keep
	// entry.
	//
	// live(true) means that everything appended so far has been received, and that new entries are
	// received within moments. live(false) means that this is no longer certain (the connection
	// broke or hangs, the list lost entries): entries may be missing permanently. A follower then
	// drops what it had read from the Store and reads it again; what it reads while not live is
	// valid for a short time only. A failure is detected within about 2 s. Before the first
	// live(true), and after Follow has returned, nothing is certain; live is not called for that.
	Follow(ctx context.Context, receive func(entry []byte), live func(bool))
}

// MaxEntry bounds an entry of a Journal.
const MaxEntry = 4 << 10
