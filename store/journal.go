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
	// of heard or live runs at a time, and none after Follow has returned. It
	// begins with what was appended shortly before, goes on with what comes, in
	// order, and delivers some again after an error: an entry must be harmless
	// when it is heard twice, or long after it was written. heard may keep entry.
	//
	// live(true) says: everything appended until now has been heard, and from
	// here on an entry is heard within moments. live(false) says that this is no
	// longer certain (the connection broke or hangs, the list lost entries):
	// entries may be missing for ever, so that a follower forgets what it
	// once learned from the Store and asks again; with what it learns while not
	// live it waits for live(true) until it relies on hearing of changes. Trouble
	// is noticed within about 2 s. Until the first live(true), and again when
	// Follow returns, nothing is certain; that is not said.
	Follow(ctx context.Context, heard func(entry []byte), live func(bool))
}

// MaxEntry bounds an entry of a Journal.
const MaxEntry = 4 << 10
