package accessrequest

import (
	"context"
	"maps"
	"sync"
	"time"
)

// served holds the fingerprints of the routes for which access can be requested, and of those for
// which it could be before.
type served struct {
	mu      sync.Mutex
	current map[string]bool
	retired map[string]time.Time // when access could last be requested
}

func (s *served) set(fingerprints []string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]bool{}
	for _, f := range fingerprints {
		next[f] = true
	}
	for f := range s.current {
		if !next[f] {
			if s.retired == nil {
				s.retired = map[string]time.Time{}
			}
			s.retired[f] = now
		}
	}
	s.current = next
}

// now is the set of routes for which access can be requested.
func (s *served) now() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// outlived reports whether a request is older than the last removal of its route.
func (s *served) outlived(q *Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.retired[q.Route.Fingerprint]
	return ok && !q.Requested.After(at.Add(skew))
}

// forget drops routes that were retired before until: the store has no live request for them.
func (s *served) forget(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.retired, func(_ string, at time.Time) bool { return !at.After(until) })
}

// Serve sets the routes for which access can be requested. Grants for other routes are invalid at
// once, whatever the store does, and stay invalid if such a route returns unchanged (threats G4).
// EndOther writes their end to the store.
func (b *Book) Serve(fingerprints []string) { b.served.set(fingerprints, b.now()) }

// EndOther ends the grants and requests for routes for which access cannot be requested now, and
// for those that were missing meanwhile (threats G4).
func (b *Book) EndOther(ctx context.Context) error {
	current := b.served.now()
	if len(current) == 0 { // most likely access was never requested: nothing is written then
		some := false
		for n := 0; n < b.shardCount() && !some; n++ {
			s, err := b.readShard(ctx, n)
			if err != nil {
				return err
			}
			some = len(s.People) > 0
		}
		if !some {
			return nil
		}
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	began := b.now()
	err := b.sweep(ctx, func(q *Request) string {
		if current[q.Route.Fingerprint] && !b.served.outlived(q) {
			return ""
		}
		return EndChanged
	})
	if err == nil {
		b.served.forget(began)
	}
	return err
}

// RunServed ends the requests for routes for which access can no longer be requested. Unless there
// are none, it then is Run.
func (b *Book) RunServed(ctx context.Context) {
	for b.EndOther(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
	if len(b.served.now()) > 0 {
		b.Run(ctx)
	}
}
