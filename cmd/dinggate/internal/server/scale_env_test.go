package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/internal/telemetry"
	"dinggate/session"
	"dinggate/store"
	"dinggate/store/storetest"
)

// fleet is some replicas of the product, before a simulated DingTalk of 10,000
// people in 500 departments that answers 20 calls a second and API, all in virtual
// time: network, browsers and Redis are in this process. Redis is a store in memory,
// with its journal and its allowance of calls.
type fleet struct {
	t        *testing.T
	platform *simulator.Platform
	replicas []*replica
	shared   *store.Memory
	journal  storetest.FakeJournal
	calls    ratelimit.Local

	mu       sync.Mutex
	asked    map[string]int // calls that reached DingTalk, by API
	refused  map[string]int // of these as one too many
	inSecond map[string]int // the most in one second of the clock
	second   map[string]int
	now      int64
}

type replica struct {
	*State
	gate *Gateway
	stop context.CancelFunc
	ctx  context.Context
	done chan struct{}
}

const (
	scalePeople      = 10_000
	scaleDepartments = 500
	scaleHost        = "app.example.com"
	networkTime      = 30 * time.Millisecond // of a call to DingTalk
)

// scale skips unless the numbers are asked for: they take minutes.
func scale(t *testing.T) {
	t.Helper()
	if os.Getenv("SCALE") == "" {
		t.Skip("SCALE is not set: make scale")
	}
}

func newFleet(t *testing.T, replicas int, change func(*config.Config)) *fleet {
	t.Helper()
	f := &fleet{
		t: t, platform: simulator.Large(scalePeople, scaleDepartments), shared: &store.Memory{Max: 10_000_000},
		asked: map[string]int{}, refused: map[string]int{}, inSecond: map[string]int{}, second: map[string]int{},
	}
	t.Cleanup(f.platform.Close)
	var raw [32]byte
	copy(raw[:], "a key that all the replicas know")
	secret := conf.NewSecret(base64.StdEncoding.EncodeToString(raw[:]))
	for range replicas {
		c := config.Default()
		c.PublicURL = "https://" + scaleHost
		c.DingTalk.ClientID, c.DingTalk.CorpID = simulator.DemoClientID, simulator.DemoCorpID
		c.DingTalk.ClientSecret = conf.NewSecret(simulator.DemoClientSecret)
		base := "http://127.0.0.1:1" // never dialled: see RoundTrip
		c.DingTalk.LoginURL, c.DingTalk.APIURL, c.DingTalk.OAPIURL = base, base, base
		c.DingTalk.Events = false
		c.Cookie.Secrets = []conf.Secret{secret}
		c.Session.Store = session.StoreRedis
		c.Upstream = base
		if change != nil {
			change(c)
		}
		f.replicas = append(f.replicas, f.start(c))
	}
	return f
}

func (f *fleet) start(c *config.Config) *replica {
	records := telemetry.NewWriter(io.Discard)
	kit := Observability{
		Log:     telemetry.Logger(records, "json", nil),
		Access:  &telemetry.AccessLog{Out: records},
		Metrics: telemetry.NewMetrics("test", "", records.Dropped),
	}
	kit.Start()
	stores := MemoryStores()
	stores.Sessions, stores.Used, stores.SSO, stores.Claims = f.shared, f.shared, f.shared, f.shared
	stores.OIDC, stores.Pending, stores.Journal = f.shared, f.shared, &f.journal
	state := NewState(stores, kit)
	state.calls, state.transport = &f.calls, f
	gate, err := New(c, state)
	if err != nil {
		f.t.Fatal(err)
	}
	state.Serve(gate)
	r := &replica{State: state, gate: gate, done: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(f.t.Context())
	go func() { defer close(r.done); gate.Run(r.ctx) }()
	f.t.Cleanup(func() { r.stop(); <-r.done; records.Close() })
	return r
}

// RoundTrip is the network to DingTalk.
func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(networkTime)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	f.platform.ServeHTTP(w, r)
	f.count(r.URL.Path, strings.Contains(w.Body.String(), `"sub_code":"90018"`) || strings.Contains(w.Body.String(), "QpsLimit"))
	return w.Result(), nil
}

func (f *fleet) count(path string, refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now().Unix(); now != f.now {
		f.now, f.second = now, map[string]int{}
	}
	f.asked[path]++
	f.second[path]++
	f.inSecond[path] = max(f.inSecond[path], f.second[path])
	if refused {
		f.refused[path]++
	}
}

// reset begins to count anew.
func (f *fleet) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.asked)
	clear(f.refused)
	clear(f.inSecond)
}

// report logs the calls, a line for each API.
func (f *fleet) report(span time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for path, n := range f.asked {
		lines = append(lines, fmt.Sprintf("  %-55s %7d calls, %5.2f/s, at most %2d in a second, %d refused", path, n,
			float64(n)/span.Seconds(), f.inSecond[path], f.refused[path]))
	}
	slices.Sort(lines)
	f.t.Logf("calls to DingTalk:\n%s", strings.Join(lines, "\n"))
}

// people reads everybody, as a sign-in would have found them, without the limit.
func (f *fleet) people() (all []identity.User) {
	f.t.Helper()
	c := f.replicas[0].gate.Client.Config
	free := &dingtalk.Client{Config: c, Transport: f}
	f.limit(0)
	err := (&dingtalk.Organisation{Directory: &dingtalk.Directory{Client: free}}).Read(f.t.Context(),
		func(u identity.User) { all = append(all, u) })
	if err != nil {
		f.t.Fatal(err)
	}
	f.limit(20)
	slices.SortFunc(all, func(a, b identity.User) int { return strings.Compare(a.UserID, b.UserID) })
	return all
}

func (f *fleet) limit(perSecond int) {
	err := f.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) { a.PerSecond = perSecond })
	if err != nil {
		f.t.Fatal(err)
	}
}

// browser is a person's.
type browser struct {
	f       *fleet
	address string
	cookies map[string]string
}

// get loads a page from a replica by chance; nil: the replica died meanwhile.
func (b *browser) get(target string) *http.Response {
	alive := slices.DeleteFunc(slices.Clone(b.f.replicas), func(r *replica) bool { return r.ctx.Err() != nil })
	on := alive[rand.IntN(len(alive))]
	r := httptest.NewRequestWithContext(on.ctx, http.MethodGet, target, nil)
	r.Host, r.RemoteAddr = scaleHost, b.address+":40000"
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	on.ServeHTTP(w, r)
	if on.ctx.Err() != nil {
		return nil
	}
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return res
}

// outcome is how a sign-in went.
type outcome struct {
	in       bool
	waited   time.Duration // from the first callback to the session
	attempts int
	refused  int // pages that were neither a redirect nor the page that waits
	last     int // status
}

// signIn goes all the way from a page, and begins anew where a replica died.
func (b *browser) signIn(person string, within time.Duration) (o outcome) {
	until := time.Now().Add(within)
	var first time.Time
	at := "/"
	for time.Now().Before(until) {
		res := b.get(at)
		if res == nil {
			time.Sleep(time.Second) // the person loads the page again
			continue
		}
		o.last = res.StatusCode
		to, err := url.Parse(res.Header.Get("Location"))
		switch {
		case err != nil:
			b.f.t.Fatal(err)
		case res.StatusCode == http.StatusOK && res.Header.Get("Refresh") != "":
			var seconds int
			fmt.Sscan(res.Header.Get("Refresh"), &seconds)
			time.Sleep(time.Duration(max(1, seconds)) * time.Second)
		case res.StatusCode/100 == 3 && to.Query().Get("state") != "": // to DingTalk
			o.attempts++
			code, err := b.f.platform.Code(simulator.Browser, "", person)
			if err != nil {
				b.f.t.Fatal(err)
			}
			time.Sleep(2 * time.Second) // the person there
			if first.IsZero() {
				first = time.Now()
			}
			at = "/oauth2/callback?" + url.Values{"authCode": {code}, "state": {to.Query().Get("state")}}.Encode()
		case res.StatusCode/100 == 3 && strings.HasPrefix(to.Path, "/oauth2/"):
			at = to.RequestURI()
		case res.StatusCode/100 == 3:
			o.in, o.waited = true, time.Since(first)
			return o
		default:
			o.refused++
			at = "/"
			time.Sleep(time.Second)
		}
	}
	return o
}

// quantile of sorted durations.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(q*float64(len(all))))].Round(100 * time.Millisecond)
}
