package storetest

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"dinggate/store"
)

// FakeJournal is a store.Journal in memory, for tests with several replicas in one process. The
// zero value is ready to use. It works in virtual time. It imports no other package of dinggate,
// so that tests inside package session can use it.
type FakeJournal struct {
	mu      sync.Mutex
	entries [][]byte
	changed chan struct{} // closed at each change
	cut     int           // odd: it is unreachable
}

var errCut = errors.New("storetest: the journal is unreachable")

// Cut makes the journal unreachable until Mend.
func (j *FakeJournal) Cut() { j.turn(1) }

// Mend makes it reachable again.
func (j *FakeJournal) Mend() { j.turn(0) }

func (j *FakeJournal) turn(to int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cut%2 != to {
		j.cut++
		j.wake()
	}
}

// Lose deletes every entry and breaks the connections, like a server that restarts without its
// data.
func (j *FakeJournal) Lose() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
	j.cut += 2
	j.wake()
}

// wake requires j.mu.
func (j *FakeJournal) wake() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// Append adds a copy of entry.
func (j *FakeJournal) Append(ctx context.Context, entry []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(entry) == 0 || len(entry) > store.MaxEntry {
		return errors.New("storetest: the entry is empty or too long")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cut%2 == 1 {
		return errCut
	}
	j.entries = append(j.entries, bytes.Clone(entry))
	j.wake()
	return nil
}

// Follow delivers all existing and new entries, and all of them again after each Cut.
func (j *FakeJournal) Follow(ctx context.Context, receive func(entry []byte), live func(bool)) {
	next, cut, alive := 0, -1, false
	for ctx.Err() == nil {
		j.mu.Lock()
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed, now := j.changed, j.cut
		if now != cut {
			next = 0
		}
		var fresh [][]byte
		if now%2 == 0 {
			fresh = j.entries[min(next, len(j.entries)):]
			next = len(j.entries)
		}
		j.mu.Unlock()
		if now != cut && alive {
			alive = false
			live(false)
		}
		cut = now
		for _, entry := range fresh {
			receive(bytes.Clone(entry))
		}
		if now%2 == 0 && !alive {
			alive = true
			live(true)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}
