package store

import "context"

// Journal is a short list that all replicas append to and follow: what has just
// ended, and who is to be looked up again. It spares every request a question to
// the Store. It only has to be fast; what must not be forgotten is in the Store.
// Implementations are safe for concurrent use and pass storetest.RunJournal.
type Journal interface {
	// Append adds an entry that every follower receives, this replica's own too;
	// an entry is not empty and has at most MaxEntry bytes. After an error the
	// others may or may not receive it. Like the Store, it answers soon or fails.
	Append(ctx context.Context, entry []byte) error

	// Follow hands over entries until ctx ends, then returns; at most one call
	// of receive or live runs at a time, and none after Follow has returned. It
	// begins with what was appended shortly before, goes on with what comes, in
	// order, and delivers some again after an error: an entry must be harmless
	// when it is received twice, or long after it was written. receive may keep
	// entry.
	//
	// live(true) means that everything appended until now has been received, and
	// that from here on an entry is received within moments. live(false) means
	// that this is no longer certain (the connection broke or hangs, the list lost
	// entries): entries may be missing for ever, so that a follower forgets what it
	// once learned from the Store and asks again; what it learns while not live
	// counts for a short time only. A failure is noticed within about 2 s. Until
	// the first live(true), and again when Follow has returned, nothing is
	// certain; live is not called for that.
	Follow(ctx context.Context, receive func(entry []byte), live func(bool))
}

// MaxEntry bounds an entry of a Journal.
const MaxEntry = 4 << 10
