package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
)

// drain stops everything in an order that loses no request (threats V26):
//
//	not ready ─► drain_delay: load balancers choose other replicas, connections are still accepted
//	          ─► no new connection; WebSockets get 1001, event streams end
//	          ─► requests in flight finish, within drain_timeout
//	          ─► the listener that reports "not ready"
//
// A second signal ends the process at once (see cli.Invocation.Until).
func (s *Listeners) drain() {
	s.ready.Store(false)
	notify(s.Log, "STOPPING=1")
	s.Log.Info("draining", "delay", s.config.DrainDelay.String())
	if s.onDrain != nil {
		s.onDrain()
	}
	time.Sleep(s.config.DrainDelay)
	within := s.config.DrainTimeout
	if within == 0 {
		within = config.DrainWithin
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var all sync.WaitGroup
	for _, end := range s.ends {
		all.Go(func() { end(ctx) })
	}
	var cut atomic.Bool
	for _, srv := range s.all[:max(1, len(s.all))-1] {
		all.Go(func() {
			if !shutdown(ctx, srv) {
				cut.Store(true)
			}
		})
	}
	all.Wait()
	for _, srv := range s.all[max(1, len(s.all))-1:] {
		shutdown(ctx, srv)
	}
	if cut.Load() {
		s.Log.Warn("drained, but some requests exceeded drain_timeout and were aborted")
		return
	}
	s.Log.Info("drained")
}

// shutdown reports whether all requests in flight finished.
func shutdown(ctx context.Context, srv *http.Server) bool {
	if srv.Shutdown(ctx) == nil {
		return true
	}
	srv.Close()
	return false
}

// Close closes what was opened by a start that fails.
func (s *Listeners) Close() error {
	var errs []error
	for _, srv := range s.all {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}
