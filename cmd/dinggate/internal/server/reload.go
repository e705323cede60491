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
//	a file that was read ─┴─► read anew ─► mistakes? ─► the old gateway serves on
//	                                   └─► New with the same State ─► State.Serve
//
// A certificate that is no pair with its key is a mistake of its own: the old
// pair stays and the rest is taken. The files of the pair that is shown are
// followed also while the configuration is refused.
//
// The new gateway is complete before it replaces the old one, so that there is
// always one that serves; requests under way end in the gateway that they came to,
// and open connections still end with their session.
type reloader struct {
	state *State
	level *slog.LevelVar
	keys  *keyPair // nil: no TLS of our own
	read  func() Loaded

	hangup  chan os.Signal
	serving Loaded        // the configuration that the gateway is made from; its files are those read last
	running []*generation // the last one serves, the others end soon
	last    atomic.Pointer[admin.ReloadResult]
}

// generation is a gateway whose background work runs.
type generation struct {
	gateway *Gateway
	ignore  context.CancelFunc // ends the following of events
	stop    context.CancelFunc // ends all that goes on in the background
	stopped chan struct{}
}

const (
	// retireWithin is how long the old gateway's background work goes on: longer than
	// any of its requests waits for a lookup.
	retireWithin = lookupTimeout + 5*time.Second

	lookupTimeout = 10 * time.Second

	// maxRetiring bounds the old gateways that still work, if reloads come fast.
	maxRetiring = 2
)

// newReloader makes the first gateway and has it serve. From here on SIGHUP does
// not end the process.
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

// serve notes what the gateway is made from. The accounts see to their file
// themselves, whatever becomes of the rest.
func (r *reloader) serve(now Loaded) {
	r.serving = now
	delete(now.files, now.Cfg.Accounts.HtpasswdFile)
}

// result is how the last reading ended, that of the accounts' file with it.
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
		Text: conf.Textf("stays as it was: %s", err),
	})
	return &all
}

// note is what /ready adds while a changed configuration is refused, otherwise "".
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

// run runs the gateway's background work and reloads, until ctx ends.
func (r *reloader) run(ctx context.Context) {
	defer signal.Stop(r.hangup)
	watch := newFileWatch(r.serving.files, func(err error) {
		r.state.Log.Warn("watching the configuration: changes are noticed by reading it again", "err", err.Error())
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

// start runs g in the background, beside the gateways before it for a while.
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

// retire lets the gateways before the one that serves end their work.
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

// reload reads the configuration and takes it, or says what is wrong with it.
func (r *reloader) reload(ctx context.Context) {
	notify(r.state.Log, "RELOADING=1"+monotonic())
	defer notify(r.state.Log, "READY=1")
	next := r.read()
	err := r.take(ctx, next)
	if err == nil {
		return
	}
	// the mistake may be mended in a file that only one of them names
	r.serving.files = both(next.files, r.serving.files)
	if r.keys != nil {
		_ = r.keys.load(r.serving.Cfg.TLS) // a renewed pair of what serves; otherwise the old one stays
	}
	found, ok := errors.AsType[config.Problems](err)
	if !ok {
		found = config.Problems{{Text: conf.TextOf(err)}}
	}
	last := *r.last.Load()
	last.Refused, last.Problems, last.Partly, last.First = time.Now(), found, false, false
	r.last.Store(&last)
	r.state.Metrics.Reloaded(false)
	r.state.Log.Error("the changed configuration is refused, the old one serves on",
		"problems", found.Lines(i18n.English))
}

func (r *reloader) take(ctx context.Context, next Loaded) error {
	all := config.Refusing(next.Problems)
	stay, wrong := all.Staying()
	if len(wrong) > 0 || r.keys == nil && len(stay) > 0 { // without TLS of our own there is nothing that could stay
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
		r.state.Log.Error("a part of the changed configuration is refused and stays as it was",
			"problems", stay.Lines(i18n.English))
	}
	r.last.Store(&result)
	r.state.Metrics.Reloaded(len(stay) == 0)
	if len(fixed) > 0 {
		r.state.Log.Warn("the configuration is taken, but these keys need a restart and keep their old values",
			"keys", fixed)
	}
	for _, p := range next.Problems {
		r.state.Log.Warn("configuration", "problem", p.String())
	}
	r.state.Log.Info("the changed configuration serves")
	return nil
}

// renew takes the pair that next names, unless something is known to be wrong
// with it; it gives what stays as it was, with the reason.
func (r *reloader) renew(next *Loaded, stay config.Problems) config.Problems {
	if r.keys == nil {
		return nil
	}
	for _, name := range next.Cfg.TLS.Files() { // of one that waits for a restart to be turned off, too
		if _, read := next.files[name]; !read {
			next.files[name] = r.serving.files[name]
		}
	}
	if len(stay) > 0 {
		return stay
	}
	if err := r.keys.load(next.Cfg.TLS); err != nil { // it has changed again since it was read
		stay = config.Problems{{
			Key:   "tls.cert_file",
			Text:  conf.Textf("stays as it was: %s", config.Cause(err)),
			Stays: true,
		}}
	}
	return stay
}

// both is the union of two readings; of a file in both the newer one counts.
func both(newer, older map[string]digest) map[string]digest {
	all := make(map[string]digest, len(newer)+len(older))
	for _, m := range []map[string]digest{older, newer} {
		for name, d := range m {
			all[name] = d
		}
	}
	return all
}

// waitAll runs every part of the background until all have ended.
func waitAll(ctx context.Context, parts ...func(context.Context)) {
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() { part(ctx) })
	}
	all.Wait()
}
