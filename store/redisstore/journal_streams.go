package redisstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// In a cluster the journal is three streams, a third of the slots apart, so that each is on
// another master if slots are evenly shared. An entry is appended to all of them, which succeeds
// if a majority has it; a follower follows all, and is live while a majority is live. Any two
// majorities have a stream in common: if one master is unavailable, nothing is missed and nothing
// is reported.
//
//	Append ─┬─ journal       ── follower ─┐
//	        ├─ journal{a}    ── follower ─┼─ merged ── receive, live
//	        └─ journal{b}    ── follower ─┘
//
// The first one has the same name as outside of a cluster, and as before there were three:
// replicas of both releases receive each other's entries.

// clusterStreams is the number of streams in a cluster.
const clusterStreams = 3

// streamNames are the keys of the journal.
func streamNames(prefix string, clustered bool) []string {
	names := []string{prefix + journalKey}
	for i := 1; clustered && i < clusterStreams; i++ {
		slot := (slotOf(names[0]) + i*slotCount/clusterStreams) % slotCount
		names = append(names, prefix+journalKey+"{"+tagNear(slot)+"}")
	}
	return names
}

func (s *Store) most() int { return len(s.streams)/2 + 1 }

// stragglerWait is how long Append waits for the last stream if a majority has the entry: entries
// of one writer then have the same order everywhere.
const stragglerWait = 50 * time.Millisecond

// addToMost appends an entry to all streams, and returns when a majority has it, or cannot have
// it.
func (s *Store) addToMost(ctx context.Context, values []string) error {
	if len(s.streams) == 1 {
		_, err := s.add(ctx, s.streams[0], values)
		return err
	}
	results := make(chan error, len(s.streams))
	for _, stream := range s.streams {
		s.writers.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
			defer cancel()
			_, err := s.add(ctx, stream, values)
			results <- err
		})
	}
	var late <-chan time.Time
	var failed error
	for have, lack := 0, 0; have+lack < len(s.streams); {
		select {
		case err := <-results:
			if err == nil {
				have++
			} else {
				lack++
				failed = errors.Join(failed, err)
			}
			if have == s.most() && err == nil {
				late = time.After(stragglerWait)
			}
			if lack > len(s.streams)-s.most() {
				return failed
			}
		case <-late:
			return nil
		case <-ctx.Done():
			if have >= s.most() {
				return nil
			}
			return errors.Join(ctx.Err(), failed)
		}
	}
	return nil
}

// Follow delivers entries until ctx ends.
func (s *Store) Follow(ctx context.Context, receive func(entry []byte), live func(bool)) {
	m := merged{
		receive: receive,
		live:    live,
		follows: s.OnFollow,
		most:    s.most(),
		up:      make([]bool, len(s.streams)),
		seen:    map[string]bool{},
	}
	var all sync.WaitGroup
	for i, stream := range s.streams {
		f := follower{
			s:       s,
			stream:  stream,
			receive: m.take,
			live:    func(up bool, why error) { m.setLive(i, up, why) },
		}
		all.Go(func() { f.run(ctx) })
	}
	all.Wait()
}

// merged merges several streams into one journal.
type merged struct {
	receive func([]byte)
	live    func(bool)
	follows func(bool, error)
	most    int

	mu    sync.Mutex
	up    []bool // which streams are live
	alive bool   // a majority of them is
	seen  map[string]bool
	ring  []string // the contents of seen, in order of arrival; at most journalMax
	next  int
}

// take delivers an entry, unless another stream has delivered it.
func (m *merged) take(e redis.XMessage) {
	value, ok := e.Values[entryField].(string)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id, ok := e.Values[idField].(string); ok {
		if m.seen[id] {
			return
		}
		m.remember(id)
	}
	m.receive([]byte(value))
}

// remember records an id, replacing the oldest one.
func (m *merged) remember(id string) {
	m.seen[id] = true
	if len(m.ring) < journalMax {
		m.ring = append(m.ring, id)
		return
	}
	delete(m.seen, m.ring[m.next])
	m.ring[m.next] = id
	m.next = (m.next + 1) % journalMax
}

// setLive records whether stream i is live. A stream that may have lost entries makes everything
// uncertain, however many are live: it may be one of those that had an entry.
func (m *merged) setLive(i int, up bool, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up[i] = up
	if errors.Is(why, errGap) {
		m.set(false, why)
	}
	n := len(slices.DeleteFunc(slices.Clone(m.up), func(up bool) bool { return !up }))
	m.set(n >= m.most, why)
}

func (m *merged) set(alive bool, why error) {
	if m.alive == alive {
		return
	}
	m.alive = alive
	if m.follows != nil {
		m.follows(alive, why)
	}
	m.live(alive)
}
