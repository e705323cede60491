package session

import (
	"context"
	"sync"
)

// tasks are the background goroutines of a Manager, until Run ends.
type tasks struct {
	context context.Context // ends with Run
	cancel  context.CancelFunc

	mu     sync.Mutex
	closed bool
	all    sync.WaitGroup
}

func newTasks() *tasks {
	t := new(tasks)
	t.context, t.cancel = context.WithCancel(context.Background())
	return t
}

// start runs f in the background; it returns false if Run has ended.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.all.Go(f)
	return true
}

// run is start without a goroutine: it returns when f has, or if Run has ended.
func (t *tasks) run(f func()) {
	done := make(chan struct{})
	if t.start(func() { defer close(done); f() }) {
		<-done
	}
}

// close ends the context, waits for running tasks and starts no new ones.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.all.Wait()
}
