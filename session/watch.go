package session

import (
	"reflect"
	"sync"
	"time"
)

// watches are the open connections that are closed when their session ends.
type watches struct {
	max int
	now chan struct{} // buffered: requests an inspection by Run

	mu  sync.Mutex
	all map[*watch]struct{}
}

func newWatches(max int) *watches {
	return &watches{max: max, now: make(chan struct{}, 1), all: map[*watch]struct{}{}}
}

// inspectNow makes Run inspect the open connections now.
func (ws *watches) inspectNow() {
	select {
	case ws.now <- struct{}{}:
	default:
	}
}

// len is the number of open connections.
func (ws *watches) len() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

type watch struct {
	s     *Session
	gone  chan struct{}
	timer *time.Timer // the session's lifetime
}

// Watch returns a channel for a connection that outlives its request, such as a
// WebSocket. It is closed when the session is revoked or past its lifetime, when
// membership can no longer be confirmed, and when the person's profile changed, since
// another rule may apply now: close the connection; a client that reconnects is
// authorized again. The idle limit does not close it. If no requests come, only Run
// notices a lost membership.
//
// Call stop when the connection ends; it may be called more than once. If MaxWatches
// connections are open, or the session is over, the channel is closed from the start.
func (m *Manager) Watch(s *Session) (gone <-chan struct{}, stop func()) {
	m.init()
	w := &watch{s: s, gone: make(chan struct{})}
	if !m.watches.add(w, s.SignedIn.Add(m.Config.Lifetime).Sub(m.Time())) {
		close(w.gone)
		return w.gone, func() {}
	}
	// A revocation between Load and here found no watch to close.
	_, out := m.endOf(s)
	if s.entry != nil && !out {
		newest, _ := m.view(s.entry, m.Time())
		out = !reflect.DeepEqual(newest.User, s.User)
	}
	if out {
		m.watches.close(w)
	}
	return w.gone, func() { m.watches.drop(w) }
}

func (ws *watches) add(w *watch, left time.Duration) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) >= ws.max || left <= 0 {
		return false
	}
	ws.all[w] = struct{}{}
	w.timer = time.AfterFunc(left, func() { ws.close(w) })
	return true
}

// drop removes w without closing its channel.
func (ws *watches) drop(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.timer.Stop()
	delete(ws.all, w)
}

// close closes w unless it is closed or was dropped.
func (ws *watches) close(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, open := ws.all[w]; open {
		ws.remove(w)
	}
}

// remove closes the channel of w, which must be open; the caller holds ws.mu.
func (ws *watches) remove(w *watch) {
	w.timer.Stop()
	delete(ws.all, w)
	close(w.gone)
}

// end closes every watch whose session is over and lists their sessions.
func (ws *watches) end(over func(*Session) bool) (ended []*Session) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if over(w.s) {
			ws.remove(w)
			ended = append(ended, w.s)
		}
	}
	return ended
}

// list copies the open watches, for iteration without the lock.
func (ws *watches) list() []*watch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	open := make([]*watch, 0, len(ws.all))
	for w := range ws.all {
		open = append(open, w)
	}
	return open
}
