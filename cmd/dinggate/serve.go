package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dinggate/internal/telemetry"
	"dinggate/session"
)

// Limits of every listener. Bodies have no limit here: an upload to an upstream
// may take as long as it likes, one to our own endpoints may not (endpoints.go).
const (
	readHeaderWithin = 10 * time.Second // slow headers are cut (threats D1)
	idleWithin       = 2 * time.Minute
	maxHeaderBytes   = 64 << 10
)

// heapFloor is memory that is held and never touched, so that it takes none. The
// collector waits for a heap to double: of the megabyte that we live in it would
// make a cycle every few hundred requests, and a cycle costs as much as ten.
const heapFloor = 4 << 20

// runServe serves what was read first until ctx ends, then finishes what is in
// flight; read reads the configuration again. It prints one line per listener
// to out, with its real address.
func runServe(ctx context.Context, first loaded, read func() loaded, out io.Writer) error {
	cfg := first.cfg
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	signal.Ignore(syscall.SIGPIPE) // whoever read our log may be gone: that ends nobody's request (threats V29)
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	level := &slog.LevelVar{}
	kit := telemetryKit{
		log:     telemetry.Logger(records, cfg.Log.Format, level),
		access:  &telemetry.AccessLog{Out: records, Console: cfg.Log.Format == "console"},
		metrics: telemetry.NewMetrics(release(), revision(), records.Dropped),
	}
	log.SetFlags(0)
	log.SetOutput(telemetry.Strays{Log: kit.log})
	kit.remember()
	if cfg.Tracing.Endpoint != "" {
		tracing, err := telemetry.StartTracing(ctx, cfg.Tracing.Endpoint, release(), cfg.Tracing.share(), seldom(func(err error) { kit.log.Warn("spans do not arrive", "err", err.Error()) }))
		if err != nil {
			return err
		}
		kit.tracing = tracing
		defer tracing.Close()
	}
	audits, err := openAudit(cfg.Audit, kit)
	if err != nil {
		return err
	}
	if kit.audits = audits; audits != nil {
		defer audits.Close()
	}
	stores, err := openStores(ctx, cfg, kit)
	if err != nil {
		return err
	}
	defer stores.Close()
	r, err := newReloader(first, read, stores, level, kit)
	if err != nil {
		return err
	}
	s := &server{log: kit.log, config: cfg.Server, leave: func() { r.current.leaving.Store(true) },
		end: func(ctx context.Context) bool { return r.current.gate.Load().streams.End(ctx) }}
	s.guard = func(l net.Listener) (net.Listener, error) { return guarded(l, cfg, kit) }
	if err := s.open(r.keys, cfg.Listen, "gate", &r.current, out); err != nil {
		return err
	}
	s.guard = nil
	status := &status{version: release(), revision: revision(), started: time.Now(), today: kit.today, health: kit.health, strangers: kit.strangers,
		dropped: kit.metrics.Dropped, gateway: func() gatewayState { return r.current.gate.Load().state() }, store: stores.state, reload: r.result}
	if err := s.open(nil, cfg.Admin.Listen, "admin", ownNames(cfg.Admin.Listen, adminHandler(&s.ready, stores.Reads, r.note, kit.metrics, status)), out); err != nil {
		return errors.Join(err, s.close())
	}
	background := []func(context.Context){r.run, stores.run, func(ctx context.Context) {
		if stores.File != nil && cfg.Accounts.Binds() {
			serveControl(ctx, &control{dir: cfg.StateDir, bindings: register{bindings: stores.Bindings, note: kit.note},
				sessions: func() *session.Manager { return r.current.gate.Load().sessions }, log: kit.log})
		}
	}}
	if cfg.EnvoyGRPC.Listen != "" {
		answer, err := s.openEnvoyGRPC(cfg, &r.current, out)
		if err != nil {
			return errors.Join(err, s.close())
		}
		background = append(background, answer)
	}
	return s.serve(ctx, func(ctx context.Context) { waitAll(ctx, background...) })
}

// server is the listeners of one process.
type server struct {
	log    *slog.Logger
	config ServerConfig
	leave  func()                     // told once when the drain begins; nil: nobody is
	end    func(context.Context) bool // ends WebSockets and event streams; nil: there are none

	guard func(net.Listener) (net.Listener, error) // put around the next listener; nil: nothing

	ready atomic.Bool
	all   []*http.Server
	start []func() error
}

// open listens now, so that a wrong address stops the start, and serves later.
func (s *server) open(pair *keyPair, address, name string, h http.Handler, out io.Writer) error {
	l, err := passed(name)
	if l == nil && err == nil {
		l, err = listen(address)
	}
	if err != nil {
		return listenError(map[string]string{"gate": "listen", "admin": "admin.listen"}[name], address, err)
	}
	where := "http://" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		where = "unix:" + l.Addr().String()
	}
	if s.guard != nil {
		guarded, err := s.guard(l)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		l = guarded
	}
	if pair != nil {
		l = tls.NewListener(l, pair.config())
		where = strings.Replace(where, "http:", "https:", 1)
	}
	s.add(l, h)
	fmt.Fprintf(out, "%s listening on %s\n", name, where)
	return nil
}

// add serves h on l once serve runs.
func (s *server) add(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: readHeaderWithin, IdleTimeout: idleWithin, MaxHeaderBytes: maxHeaderBytes,
		DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	s.all, s.start = append(s.all, srv), append(s.start, func() error { return srv.Serve(l) })
}

// serve runs until ctx ends or a listener fails, then drains; background work
// stops last.
func (s *server) serve(ctx context.Context, background func(context.Context)) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { background(work) })
	failed := make(chan error, len(s.start))
	for _, start := range s.start {
		all.Go(func() {
			if err := start(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	s.ready.Store(true)
	notify(s.log, "READY=1")
	forgetStart()
	again := time.AfterFunc(time.Second, forgetStart) // listeners and background work have begun by then
	defer again.Stop()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain()
	stop()
	all.Wait()
	return err
}
