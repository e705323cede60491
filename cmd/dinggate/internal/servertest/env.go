package servertest

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
	"dinggate/session"
)

// Env is the whole product on loopback, in this process: a simulated DingTalk, dinggate,
// and an upstream that records requests.
type Env struct {
	T           testing.TB
	URL         string // of dinggate
	Platform    *simulator.Platform
	PlatformURL string // where the simulator is
	Upstream    *Upstream
	Log         *LogBuffer
	Gateway     *server.Gateway
	State       *server.State // serves gateway, or its successor after a reload
	Config      *config.Config
	Stores      *server.Stores
	Kit         server.Observability
	Reload      admin.ReloadResult // what /status reports about the last reload
}

// Canary is the prefix of every secret of an Env. A test searches for it in output that
// must not contain a secret.
const Canary = "canary-4f1c9d"

// New builds and serves an Env until the test ends. change may alter its configuration,
// and kits its observability.
func New(t testing.TB, change func(*config.Config), kits ...func(*server.Observability)) *Env {
	h := &Env{T: t, Platform: simulator.Demo(), Upstream: &Upstream{}, Log: &LogBuffer{}}
	if err := h.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.ClientSecret = Canary + "-app-secret"
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(h.Platform)
	t.Cleanup(dingtalk.Close)
	h.PlatformURL = dingtalk.URL
	app := httptest.NewServer(h.Upstream)
	t.Cleanup(app.Close)
	front := httptest.NewUnstartedServer(nil)
	h.URL = "http://" + front.Listener.Addr().String()

	c := demo.Config(h.URL, app.URL, dingtalk.URL)
	c.DingTalk.ClientSecret = conf.NewSecret(Canary + "-app-secret")
	c.Cookie.Secrets = []conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString([]byte((Canary +
		strings.Repeat("k", 32))[:32])))}
	c.TrustedProxies = []string{"127.0.0.1/32"}
	if change != nil {
		change(c)
	}
	records := telemetry.NewWriter(h.Log)
	kit := server.Observability{
		Log:     telemetry.Logger(records, "json", slog.LevelInfo),
		Access:  &telemetry.AccessLog{Out: records},
		Metrics: telemetry.NewMetrics("test", "", records.Dropped),
	}
	kit.Start()
	var err error
	if kit.Audits, err = server.OpenAudit(c.Audit, kit); err != nil {
		t.Fatal(err)
	} else if kit.Audits != nil {
		t.Cleanup(kit.Audits.Close)
	}
	for _, change := range kits {
		change(&kit)
	}
	h.Config, h.Stores, h.Kit = c, server.MemoryStores(), kit
	if c.Session.Store == session.StoreRedis {
		if h.Stores, err = server.OpenStores(t.Context(), c, kit); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Stores.Close() })
	}
	h.State = server.NewState(h.Stores, kit)
	if h.Gateway, err = server.New(c, h.State); err != nil {
		t.Fatal(err)
	}
	h.State.Serve(h.Gateway)
	front.Config.Handler = h.State
	front.Config.DisableGeneralOptionsHandler = true
	front.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func(first *server.Gateway) { first.Run(ctx); close(done) }(h.Gateway) // a test may replace it
	t.Cleanup(func() { front.Close(); cancel(); <-done; h.Platform.Close(); records.Close() })
	return h
}

// ReloadWith serves another configuration, as a reload does.
func (h *Env) ReloadWith(change func(*config.Config)) {
	h.T.Helper()
	cfg := *h.Config
	change(&cfg)
	next, err := server.New(&cfg, h.State)
	if err != nil {
		h.T.Fatal(err)
	}
	h.Config, h.Gateway = &cfg, next
	h.State.Serve(next)
}

// Replica serves the same environment a second time, with the same stores, and returns its
// address.
func (h *Env) Replica(change func(*config.Config)) string {
	cfg := *h.Config
	change(&cfg)
	kit := h.Kit
	kit.Start() // a process of its own counts for itself
	kit.Metrics = telemetry.NewMetrics("test", "", func() uint64 { return 0 })
	state := server.NewState(h.Stores, kit)
	g, err := server.New(&cfg, state)
	if err != nil {
		h.T.Fatal(err)
	}
	state.Serve(g)
	server := httptest.NewServer(state)
	h.T.Cleanup(server.Close)
	return server.URL
}
