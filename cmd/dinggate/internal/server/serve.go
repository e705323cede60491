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
	"slices"
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

// Limits of every listener. Bodies have no time limit here: an upload to an upstream may
// take any time, one to our own endpoints may not (endpoints.go).
const (
	readHeaderTimeout = 10 * time.Second // slow headers are cut (threats D1)
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Run serves the configuration first until ctx ends, then finishes requests in flight;
// read reads the configuration again. It prints one line per listener to out, with its
// actual address.
func Run(ctx context.Context, first Loaded, read func() Loaded, out io.Writer) error {
	cfg := first.Cfg
	limitMemory(os.DirFS("/"))
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
	s := &Listeners{Log: kit.Log, config: cfg.Server, onDrain: func() { st.draining.Store(true) }}
	s.EndWith(st.Conns.Shutdown)
	clients := opening{
		name:    "dinggate",
		key:     "listen",
		address: cfg.Listen,
		wrap:    func(l net.Listener) (net.Listener, error) { return LimitConnections(l, cfg, kit) },
		pair:    r.keys,
		handler: st,
	}
	if err := s.open(clients, out); err != nil {
		return err
	}
	note := func() string { return lines(r.note(), stores.note(), kit.auditNote(cfg.Audit)) }
	status := newStatus(cfg, st, r)
	facts := status.Facts
	st.report.Store(&facts)
	operators := admin.Handler(&s.ready, stores.Reads, note, kit.Metrics, status)
	if cfg.Admin.Ready == config.ReadyDegraded {
		operators = admin.Degraded(&s.ready, stores.Reads, operators)
	}
	if cfg.Admin.Pprof {
		operators = admin.Profiles(operators)
	}
	own := admin.OwnNames(cfg.Admin.Listen, operators)
	if err := s.open(opening{name: "admin", key: "admin.listen", address: cfg.Admin.Listen, handler: own}, out); err != nil {
		return errors.Join(err, s.Close())
	}
	background := []func(context.Context){r.run, stores.run, tuneCollector}
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
	err = s.Serve(ctx, func(ctx context.Context) { waitAll(ctx, background...) })
	st.replicas.leave(st.Serving().keyring)
	return err
}

// openObservability opens the sinks that cfg names. The func closes them.
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
			oncePerMinute(func(err error) { kit.Log.Warn("exporting spans failed", "err", err.Error()) }))
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

// lines joins the non-empty lines.
func lines(all ...string) string {
	return strings.Join(slices.DeleteFunc(all, func(line string) bool { return line == "" }), "\n")
}

func newStatus(cfg *config.Config, st *State, r *reloader) *admin.Status {
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
		Audit:               func() *admin.AuditState { return st.auditSink(cfg.Audit) },
		Reload:              r.result,
	}
}

// newControl serves the control socket until its context ends.
func newControl(cfg *config.Config, st *State, socket string) func(context.Context) {
	sessions := func() *session.Manager { return st.Serving().Sessions }
	c := &admin.Control{
		Path:     socket,
		Ends:     &admin.SessionStore{Sessions: sessions, Note: st.Note, Grants: st.Grants()},
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

// Listeners are the listeners of one process.
type Listeners struct {
	Log     *slog.Logger
	config  config.ServerConfig
	onDrain func() // called once when the drain begins; if nil, it is not called

	ready atomic.Bool
	all   []*http.Server
	start []func() error
	ends  []func(context.Context) bool
}

// EndWith makes the drain call end, which ends connections that do not end by themselves, such as
// WebSockets, and returns when they have ended or its context has. Call it before Serve.
func (s *Listeners) EndWith(end func(context.Context) bool) { s.ends = append(s.ends, end) }

// opening is a listener of Run.
type opening struct {
	name    string // in the output; the name of the socket that systemd passes
	key     string // of the configuration, for an error
	address string
	wrap    func(net.Listener) (net.Listener, error) // nil: it is not wrapped
	pair    *keyPair                                 // nil: no TLS
	handler http.Handler
}

// open listens immediately, so that a wrong address fails the start, and serves later.
func (s *Listeners) open(o opening, out io.Writer) error {
	l, err := passed(o.name)
	if l == nil && err == nil {
		l, err = listen(o.address)
	}
	if err != nil {
		return ListenError(o.key, o.address, err)
	}
	where := "http://" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		where = "unix:" + l.Addr().String()
	}
	if o.wrap != nil {
		wrapped, err := o.wrap(l)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		l = wrapped
	}
	if o.pair != nil {
		l = tls.NewListener(l, o.pair.config())
		where = strings.Replace(where, "http:", "https:", 1)
	}
	s.Add(l, o.handler)
	fmt.Fprintf(out, "%s listening on %s\n", o.name, where)
	return nil
}

// Add makes Serve serve h on l.
func (s *Listeners) Add(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	s.all, s.start = append(s.all, srv), append(s.start, func() error { return srv.Serve(l) })
}

// Serve runs until ctx ends or a listener fails, then drains. Background work stops
// last.
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
	again := time.AfterFunc(time.Second, ForgetStart) // by then listeners and background work have started
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
