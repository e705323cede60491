package dingtalk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dinggate/internal/identity"
)

const (
	catchUpMargin = time.Minute // before the last event: for clock differences and events in transit
	catchUpAgain  = time.Minute // after an error, doubled up to an hour
)

// gap is the time since which events may have been lost.
type gap struct {
	mu       sync.Mutex // held while CatchUp runs
	since    time.Time  // zero: no event was lost up to caughtUp
	caughtUp time.Time
	denied   bool // the missing permission was reported
}

// catchUp calls CatchUp for events that may have been lost before this connection,
// again after an error while the connection lasts; last is the time of the last
// event. Without the permission, it is called again for the next connection.
func (s *Stream) catchUp(ctx context.Context, l *link, last time.Time) {
	g := &s.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.caughtUp.IsZero() {
		g.caughtUp = s.Since
	}
	if g.since.IsZero() {
		if g.since = g.caughtUp; last.After(g.since) {
			g.since = last
		}
	}
	for wait := catchUpAgain; ctx.Err() == nil; wait = min(2*wait, time.Hour) {
		err := error(nil)
		if !g.since.IsZero() {
			err = s.CatchUp(ctx, g.since.Add(-catchUpMargin))
		}
		if err == nil {
			g.since, g.caughtUp = time.Time{}, l.since
			return
		}
		f, ok := errors.AsType[*identity.Failure](err)
		missing := ok && f.Class == identity.Operator
		if ctx.Err() == nil && !(missing && g.denied) {
			s.report(fmt.Errorf("dingtalk: who left while no event could arrive: %w", err))
		}
		if g.denied = missing; missing {
			return
		}
		timer := time.NewTimer(wait + jitter(wait/5))
		select {
		case <-ctx.Done():
		case <-l.done:
			timer.Stop()
			return // the next connection continues
		case <-timer.C:
		}
		timer.Stop()
	}
}
