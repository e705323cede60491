package server

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
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/buildinfo"
	"dinggate/internal/telemetry"
	"dinggate/session"
)

// Limits of every listener. Bodies have no limit here: an upload to an upstream
// may take as long as it likes, one to our own endpoints may not (endpoints.go).
const (
	readHeaderTimeout = 10 * time.Second // slow headers are cut (threats D1)
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// heapFloor is memory that is held and never touched, so that it takes none. The
// collector waits for a heap to double: of the megabyte that we live in it would
// make a cycle every few hundred requests, and a cycle costs as much as ten.
const heapFloor = 4 << 20

// Run serves what was read first until ctx ends, then finishes what is in
// flight; read reads the configuration again. It prints one line per listener
// to out, with its real address.
func Run(ctx context.Context, first Loaded, read func() Loaded, out io.Writer) error {
	cfg := first.Cfg
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	limitMemory()
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	level := &slog.LevelVar{}
	kit, closeKit, err := openObservability(ctx, cfg, records, level)
	if err != nil {
		return err
	}
	defer closeKit()
	stores, err := OpenStores(ctx, cfg, kit)
	if err != nil {
		return err
	}
	defer stores.Close()
	st := NewState(stores, kit)
	r, err := newReloader(first, read, st, level)
	if err != nil {
		return err
	}
	s := &Listeners{
		Log:     kit.Log,
		config:  cfg.Server,
		onDrain: func() { st.draining.Store(true) },
		End:     st.Conns.Shutdown,
	}
	s.guard = func(l net.Listener) (net.Listener, error) { return LimitConnections(l, cfg, kit) }
	if err := s.open(r.keys, cfg.Listen, "gate", st, out); err != nil {
		return err
	}
	s.guard = nil
	note := func() string { return strings.Trim(r.note()+"\n"+stores.note(), "\n") }
	operators := admin.Handler(&s.ready, stores.Reads, note, kit.Metrics, newStatus(st, r))
	if cfg.Admin.Ready == config.ReadyDegraded {
		operators = admin.Degraded(&s.ready, stores.Reads, operators)
	}
	if cfg.Admin.Pprof {
		operators = admin.Profiles(operators)
	}
	own := admin.OwnNames(cfg.Admin.Listen, operators)
	if err := s.open(nil, cfg.Admin.Listen, "admin", own, out); err != nil {
		return errors.Join(err, s.Close())
	}
	background := []func(context.Context){r.run, stores.run}
	if socket := config.ControlSocket(cfg, os.Environ()); socket != "" {
		background = append(background, newControl(cfg, st, socket))
	}
	if cfg.EnvoyGRPC.Listen != "" {
		answer, err := s.openEnvoyGRPC(cfg, st, out)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		background = append(background, answer)
	}
	return s.Serve(ctx, func(ctx context.Context) { waitAll(ctx, background...) })
}

// openObservability opens what cfg reports to. The func closes it.
func openObservability(ctx context.Context, cfg *config.Config, records *telemetry.Writer,
	level *slog.LevelVar) (Observability, func(), error) {
	kit := Observability{
		Log:     telemetry.Logger(records, cfg.Log.Format, level),
		Access:  &telemetry.AccessLog{Out: records, Console: cfg.Log.Format == "console"},
		Metrics: telemetry.NewMetrics(buildinfo.Version(), buildinfo.Revision(), records.Dropped),
	}
	log.SetFlags(0)
	log.SetOutput(telemetry.Strays{Log: kit.Log})
	kit.Start()
	if cfg.Tracing.Endpoint != "" {
		tracing, err := telemetry.StartTracing(ctx, cfg.Tracing.Endpoint, buildinfo.Version(), cfg.Tracing.Share(),
			oncePerMinute(func(err error) { kit.Log.Warn("spans do not arrive", "err", err.Error()) }))
		if err != nil {
			return kit, nil, err
		}
		kit.Tracing = tracing
	}
	closeAll := func() {
		if kit.Audits != nil {
			kit.Audits.Close()
		}
		if kit.Tracing != nil {
			kit.Tracing.Close()
		}
	}
	var err error
	if kit.Audits, err = OpenAudit(cfg.Audit, kit); err != nil {
		closeAll()
		return kit, nil, err
	}
	return kit, closeAll, nil
}

func newStatus(st *State, r *reloader) *admin.Status {
	return &admin.Status{
		Version:             buildinfo.Version(),
		Revision:            buildinfo.Revision(),
		Started:             time.Now(),
		Today:               st.Today,
		Health:              st.Health,
		UntrustedForwarders: st.UntrustedForwarders,
		Dropped:             st.Metrics.Dropped,
		Gateway:             st.Status,
		Store:               st.Stores.State,
		Reload:              r.result,
	}
}

// newControl serves the control socket until its context ends.
func newControl(cfg *config.Config, st *State, socket string) func(context.Context) {
	sessions := func() *session.Manager { return st.Serving().Sessions }
	c := &admin.Control{
		Path:     socket,
		Ends:     &admin.SessionStore{Sessions: sessions, Note: st.Note},
		Grants:   st.Grants(),
		Sessions: sessions,
		Log:      st.Log,
	}
	if st.Stores.File != nil {
		c.Copy = st.Stores.File.Backup
	}
	if st.Stores.File != nil && cfg.Accounts.Binds() {
		c.Bindings = &admin.BindingStore{Bindings: st.Stores.Bindings, Note: st.Note}
	}
	return func(ctx context.Context) { admin.ServeControl(ctx, c) }
}

// Listeners is the listeners of one process.
type Listeners struct {
	Log     *slog.Logger
	config  config.ServerConfig
	onDrain func()                     // called once when the drain begins; if nil, it is not called
	End     func(context.Context) bool // ends WebSockets and event streams; nil: there are none

	guard func(net.Listener) (net.Listener, error) // put around the next listener; nil: nothing

	ready atomic.Bool
	all   []*http.Server
	start []func() error
}

// open listens now, so that a wrong address stops the start, and serves later.
func (s *Listeners) open(pair *keyPair, address, name string, h http.Handler, out io.Writer) error {
	l, err := passed(name)
	if l == nil && err == nil {
		l, err = listen(address)
	}
	if err != nil {
		return ListenError(map[string]string{"gate": "listen", "admin": "admin.listen"}[name], address, err)
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
	s.Add(l, h)
	fmt.Fprintf(out, "%s listening on %s\n", name, where)
	return nil
}

// Add serves h on l once serve runs.
func (s *Listeners) Add(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	s.all, s.start = append(s.all, srv), append(s.start, func() error { return srv.Serve(l) })
}

// Serve runs until ctx ends or a listener fails, then drains; background work
// stops last.
func (s *Listeners) Serve(ctx context.Context, background func(context.Context)) error {
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
	notify(s.Log, "READY=1")
	ForgetStart()
	again := time.AfterFunc(time.Second, ForgetStart) // listeners and background work have begun by then
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
