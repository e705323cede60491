package main

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
	"dinggate/session"
)

// testEnv is the whole product on loopback: simulator, an application that
// remembers what it got, and dinggate.
type testEnv struct {
	t           testing.TB
	base        string // of dinggate
	platform    *simulator.Platform
	platformURL string // where the simulator is
	app         *recorder
	log         *lockedBuffer
	gate        *server.Gateway
	state       *server.State // serves gate, or what followed it
	cfg         *config.Config
	stores      *server.Stores
	kit         server.Observability
	reload      admin.ReloadResult // what the admin listener tells
}

const canary = "canary-4f1c9d"

// newTestEnv wires a dinggate; change may alter its configuration.
func newTestEnv(t testing.TB, change func(*config.Config), kits ...func(*server.Observability)) *testEnv {
	h := &testEnv{t: t, platform: simulator.Demo(), app: &recorder{}, log: &lockedBuffer{}}
	if err := h.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.ClientSecret = canary + "-app-secret"
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(h.platform)
	t.Cleanup(dingtalk.Close)
	h.platformURL = dingtalk.URL
	app := httptest.NewServer(h.app)
	t.Cleanup(app.Close)
	front := httptest.NewUnstartedServer(nil)
	h.base = "http://" + front.Listener.Addr().String()

	c := demoConfig(h.base, app.URL, dingtalk.URL)
	c.DingTalk.ClientSecret = conf.NewSecret(canary + "-app-secret")
	c.Cookie.Secrets = []conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString([]byte((canary +
		strings.Repeat("k", 32))[:32])))}
	c.TrustedProxies = []string{"127.0.0.1/32"}
	if change != nil {
		change(c)
	}
	records := telemetry.NewWriter(h.log)
	kit := server.Observability{
		Log:     telemetry.Logger(records, "json", slog.LevelInfo),
		Access:  &telemetry.AccessLog{Out: records},
		Metrics: telemetry.NewMetrics("test", "", records.Dropped),
	}
	var err error
	if kit.Audits, err = server.OpenAudit(c.Audit, kit); err != nil {
		t.Fatal(err)
	} else if kit.Audits != nil {
		t.Cleanup(kit.Audits.Close)
	}
	kit.Start()
	for _, change := range kits {
		change(&kit)
	}
	h.cfg, h.stores, h.kit = c, server.MemoryStores(), kit
	if c.Session.Store == session.StoreRedis {
		if h.stores, err = server.OpenStores(t.Context(), c, kit); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.stores.Close() })
	}
	h.state = server.NewState(h.stores, kit)
	if h.gate, err = server.New(c, h.state); err != nil {
		t.Fatal(err)
	}
	h.state.Serve(h.gate)
	front.Config.Handler = h.state
	front.Config.DisableGeneralOptionsHandler = true
	front.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func(first *server.Gateway) { first.Run(ctx); close(done) }(h.gate) // a test may put another in its place
	t.Cleanup(func() { front.Close(); cancel(); <-done; h.platform.Close(); records.Close() })
	return h
}

// recorder is the application: it keeps what it got and answers UPSTREAM-MARK.
type recorder struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (a *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Clone(r.Context()))
	a.mu.Unlock()
	w.Header().Add("Set-Cookie", "dinggate=planted; Path=/")
	w.Header().Add("Set-Cookie", "app=own; Path=/")
	w.Header().Set("X-Auth-Request-User", "planted")
	io.WriteString(w, "UPSTREAM-MARK "+r.Method+" "+r.URL.RequestURI()+" "+string(body))
}

// forget drops what came so far.
func (a *recorder) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = nil
}

// all are the requests that it got.
func (a *recorder) all() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

func (a *recorder) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

func (a *recorder) last(t testing.TB) *http.Request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		t.Fatal("the application got no request")
	}
	return a.seen[len(a.seen)-1]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// visitor is a browser with a cookie jar that follows no redirect by itself.
type visitor struct {
	t      testing.TB
	client *http.Client
	header http.Header
}

func (h *testEnv) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &visitor{h.t,
		&http.Client{
			Jar:           jar,
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		http.Header{"Accept": {"text/html"}, "Accept-Language": {"en"}}}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (v *visitor) do(method, address, body string, headers ...string) answer {
	v.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header = v.header.Clone()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value) // as written: no canonical form
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{res, string(text)}
}

// get loads a page. From a refused callback it goes on to the address without a
// code, which shows the refusal (threats S14).
func (v *visitor) get(address string, headers ...string) answer {
	v.t.Helper()
	a := v.do(http.MethodGet, address, "", headers...)
	to, err := a.Location()
	if a.StatusCode != http.StatusSeeOther || err != nil || !to.Query().Has("refused") {
		return a
	}
	if to.Query().Has("code") || to.Query().Has("authCode") || to.Query().Has("state") {
		v.t.Errorf("GET %s leads to %s, which still has a code", address, to)
	}
	return v.do(http.MethodGet, to.String(), "", headers...)
}

// leave opens a page of dinggate and gives DingTalk's address that it leads to.
func (v *visitor) leave(address string) string {
	v.t.Helper()
	a := v.get(address)
	at := a.Header.Get("Location")
	if a.StatusCode != http.StatusFound || !strings.Contains(at, "/oauth2/auth?") {
		v.t.Fatalf("GET %s = %d to %q, want 302 to DingTalk", address, a.StatusCode, at)
	}
	return at
}

// choose clicks a person on DingTalk's page and gives the callback's address.
func (v *visitor) choose(authorize, person string) string {
	v.t.Helper()
	a := v.get(authorize)
	button := regexp.MustCompile(`id="(?:person-)?` + person +
		`" name="person" value="([^"]*)"`).FindStringSubmatch(a.body)
	if button == nil {
		v.t.Fatalf("DingTalk's page has no button for %s:\n%s", person, a.body)
	}
	next := v.get(authorize + "&person=" + url.QueryEscape(button[1]))
	if next.StatusCode != http.StatusFound {
		v.t.Fatalf("choosing %s at DingTalk = %d %s", person, next.StatusCode, next.body)
	}
	return next.Header.Get("Location")
}

// signIn goes the whole way and gives the callback's answer.
func (v *visitor) signIn(address, person string) answer {
	v.t.Helper()
	return v.get(v.choose(v.leave(address), person))
}
