package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// reloader replaces the gateway when the configuration changes:
//
//	SIGHUP ───────────────┐
//	a file that was read ─┴─► read again ─► mistakes? ─► the current gateway continues
//	                                    └─► New with the same State ─► State.Serve
//
// A certificate that does not match its key is a separate mistake: the current pair stays
// and the rest is loaded. The files of the current pair are watched also while the
// configuration is refused.
//
// The new gateway is complete before it replaces the current one, so that there is always
// one that serves. Requests in progress finish in the gateway that they started in, and
// open connections still end with their session.
type reloader struct {
	state *State
	level *slog.LevelVar
	keys  *keyPair // nil: no TLS
	read  func() Loaded

	hangup  chan os.Signal
	serving Loaded        // the configuration of the current gateway; its files are those read last
	running []*generation // the last one serves, the others end soon
	last    atomic.Pointer[admin.ReloadResult]
}

// generation is a gateway with running background work.
type generation struct {
	gateway *Gateway
	ignore  context.CancelFunc // stops following events
	stop    context.CancelFunc // stops all background work
	stopped chan struct{}
}

const (
	// retireWithin is how long the previous gateway's background work continues: longer than
	// any of its requests waits for a lookup.
	retireWithin = lookupTimeout + 5*time.Second

	lookupTimeout = 10 * time.Second

	// maxRetiring bounds the previous gateways that still work, during frequent reloads.
	maxRetiring = 2
)

// newReloader builds the first gateway and makes it serve. From then on, SIGHUP does not
// end the process.
func newReloader(first Loaded, read func() Loaded, st *State, level *slog.LevelVar) (*reloader, error) {
	r := &reloader{state: st, level: level, read: read, hangup: make(chan os.Signal, 1)}
	r.serve(first)
	level.Set(first.Cfg.Log.Slog())
	if first.Cfg.TLS.On() {
		r.keys = &keyPair{}
		if err := r.keys.load(first.Cfg.TLS); err != nil {
			return nil, err
		}
		st.Metrics.Certificate(r.keys.notAfter)
	}
	g, err := New(first.Cfg, st)
	if err != nil {
		return nil, err
	}
	st.Serve(g)
	r.last.Store(&admin.ReloadResult{Taken: time.Now(), First: true})
	st.Metrics.Configured(func() bool { return r.result().Refused.IsZero() },
		func() time.Time { return r.last.Load().Taken })
	signal.Notify(r.hangup, syscall.SIGHUP)
	return r, nil
}

// serve records the configuration of the current gateway. The accounts watch their file
// themselves, independently of the rest.
func (r *reloader) serve(now Loaded) {
	r.serving = now
	delete(now.files, now.Cfg.Accounts.HtpasswdFile)
}

// result returns the result of the last reading, including that of the accounts' file.
func (r *reloader) result() *admin.ReloadResult {
	last := r.last.Load()
	at, err := r.state.Serving().Accounts.File.Refused()
	if err == nil {
		return last
	}
	all := *last
	all.Partly = all.Partly || all.Refused.IsZero()
	all.Refused, all.First = at, false
	all.Problems = append(all.Problems[:len(all.Problems):len(all.Problems)], conf.Problem{
		Key:  "accounts.htpasswd_file",
		Text: conf.Textf("is unchanged: %s", err),
	})
	return &all
}

// note is the note in /ready while a changed configuration is refused, otherwise "".
func (r *reloader) note() string {
	last := r.result()
	of := "the one of " + last.Taken.UTC().Format(time.RFC3339)
	switch {
	case last.Refused.IsZero():
		return ""
	case last.Partly:
		return "the configuration has mistakes; " + of + " serves, with what these keys had before: " +
			last.Problems.Keys()
	}
	return "the changed configuration has mistakes and is refused; " + of + " serves on"
}

// run runs the gateway's background work and reloads until ctx ends.
func (r *reloader) run(ctx context.Context) {
	defer signal.Stop(r.hangup)
	watch := newFileWatch(r.serving.files, func(err error) {
		r.state.Log.Warn("watching the configuration failed: changes are detected by reading it again", "err", err.Error())
	})
	defer watch.close()
	r.start(ctx, r.state.Serving())
	for {
		select {
		case <-ctx.Done():
			for _, old := range r.running {
				<-old.stopped
			}
			return
		case <-r.hangup:
			r.reload(ctx)
		case <-watch.events:
			watch.soon()
			continue
		case err := <-watch.errors:
			r.state.Log.Debug("watching the configuration", "err", err.Error())
			watch.soon()
			continue
		case <-watch.poll.C:
			watch.soon()
			continue
		case <-watch.due:
			if !watch.changed() {
				continue
			}
			r.reload(ctx)
		}
		watch.set(r.serving.files)
	}
}

// start starts g in the background; the previous gateways continue for a while.
func (r *reloader) start(ctx context.Context, g *Gateway) {
	all, stop := context.WithCancel(ctx)
	events, ignore := context.WithCancel(all)
	next := &generation{gateway: g, ignore: ignore, stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(next.stopped)
		defer stop()
		g.runWith(all, events)
	}()
	r.running = append(r.running, next)
}

// retire makes the previous gateways end their background work.
func (r *reloader) retire() {
	old := r.running[:len(r.running)-1]
	for i, g := range old {
		g.ignore() // each event reaches one stream, which must be the new one
		g.gateway.closeIdle()
		if len(old)-i > maxRetiring {
			g.stop()
		}
	}
	last := old[len(old)-1]
	time.AfterFunc(retireWithin, last.stop)
	kept := r.running[:0]
	for _, g := range r.running {
		select {
		case <-g.stopped:
		default:
			kept = append(kept, g)
		}
	}
	r.running = kept
}

// reload reads the configuration and loads it, or logs its mistakes.
func (r *reloader) reload(ctx context.Context) {
	notify(r.state.Log, "RELOADING=1"+monotonic())
	defer notify(r.state.Log, "READY=1")
	next := r.read()
	err := r.take(ctx, next)
	if err == nil {
		return
	}
	// the correction may be in a file that only one of them names
	r.serving.files = both(next.files, r.serving.files)
	if r.keys != nil {
		_ = r.keys.load(r.serving.Cfg.TLS) // load a renewed pair of the current configuration; otherwise the old one stays
	}
	found, ok := errors.AsType[config.Problems](err)
	if !ok {
		found = config.Problems{{Text: conf.TextOf(err)}}
	}
	last := *r.last.Load()
	last.Refused, last.Problems, last.Partly, last.First = time.Now(), found, false, false
	r.last.Store(&last)
	r.state.Metrics.Reloaded(false)
	r.state.Log.Error("the changed configuration was refused, the old one stays in use",
		"problems", found.Lines(i18n.English))
}

func (r *reloader) take(ctx context.Context, next Loaded) error {
	all := config.Refusing(next.Problems)
	stay, wrong := all.Staying()
	if len(wrong) > 0 || r.keys == nil && len(stay) > 0 { // without TLS there is no part that could stay
		return all
	}
	fixed := config.KeepFixed(r.serving.Cfg, next.Cfg)
	if len(fixed) > 0 {
		var found conf.Problems
		next.Cfg.Check(&found)
		if wrong := config.Refusing(found.All()); len(wrong) > 0 {
			return append(wrong,
				conf.Problem{Text: conf.Textf("these keys need a restart: %s", strings.Join(fixed, ", "))})
		}
	}
	g, err := New(next.Cfg, r.state)
	if err != nil {
		return err
	}
	stay = r.renew(&next, stay)
	r.level.Set(next.Cfg.Log.Slog())
	r.start(ctx, g)
	r.state.Serve(g)
	r.retire()
	r.serve(next)
	result := admin.ReloadResult{Taken: time.Now(), Restart: fixed}
	if len(stay) > 0 {
		result.Refused, result.Problems, result.Partly = result.Taken, stay, true
		r.state.Log.Error("a part of the changed configuration was refused and is unchanged",
			"problems", stay.Lines(i18n.English))
	}
	r.last.Store(&result)
	r.state.Metrics.Reloaded(len(stay) == 0)
	if len(fixed) > 0 {
		r.state.Log.Warn("the configuration was loaded, but these keys need a restart and keep their old values",
			"keys", fixed)
	}
	for _, p := range next.Problems {
		r.state.Log.Warn("configuration", "problem", p.String())
	}
	r.state.Log.Info("the changed configuration was loaded")
	return nil
}

// renew loads the pair that next names, unless a mistake in it is known; it returns the
// mistakes that keep the old pair.
func (r *reloader) renew(next *Loaded, stay config.Problems) config.Problems {
	if r.keys == nil {
		return nil
	}
	for _, name := range next.Cfg.TLS.Files() { // also of one that needs a restart to be turned off
		if _, read := next.files[name]; !read {
			next.files[name] = r.serving.files[name]
		}
	}
	if len(stay) > 0 {
		return stay
	}
	if err := r.keys.load(next.Cfg.TLS); err != nil { // it changed again after it was read
		stay = config.Problems{{
			Key:   "tls.cert_file",
			Text:  conf.Textf("is unchanged: %s", config.Cause(err)),
			Stays: true,
		}}
	}
	return stay
}

// both merges the files of two readings; the newer one takes precedence.
func both(newer, older map[string]digest) map[string]digest {
	all := make(map[string]digest, len(newer)+len(older))
	for _, m := range []map[string]digest{older, newer} {
		for name, d := range m {
			all[name] = d
		}
	}
	return all
}

// waitAll runs all parts of the background work until they have returned.
func waitAll(ctx context.Context, parts ...func(context.Context)) {
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() { part(ctx) })
	}
	all.Wait()
}
