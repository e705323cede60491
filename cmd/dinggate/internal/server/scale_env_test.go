package server

import (
	"context"
	"encoding/base64"
	"errors"
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
	"sync/atomic"
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

// fleet is some replicas of the product with a simulated DingTalk of 10,000 people in 500
// departments, which answers 20 calls per second and API. Everything runs in virtual time:
// network, browsers and Redis are in this process. Redis is a store in memory, with its
// journal and its budget of calls.
type fleet struct {
	t        *testing.T
	size     int           // number of people
	minute   time.Duration // duration of a minute of work
	minutes  int           // number of minutes in hour
	platform *simulator.Platform
	replicas []*replica
	shared   *store.Memory
	journal  storetest.FakeJournal
	calls    ratelimit.Local

	streamless atomic.Bool // no event stream is opened

	mu       sync.Mutex
	received map[string]int // calls that reached DingTalk, by API
	refused  map[string]int // of these, throttled calls
	inSecond map[string]int // maximum in one second of the clock
	second   map[string]int
	now      int64
}

type replica struct {
	*State
	gateway *Gateway
	stop    context.CancelFunc
	ctx     context.Context
	done    chan struct{}
}

const (
	scalePeople      = 10_000
	scaleDepartments = 500
	scaleHost        = "app.example.com"
	networkTime      = 30 * time.Millisecond // of a call to DingTalk
)

// scale skips the test unless it was requested: these tests take minutes.
func scale(t *testing.T) {
	t.Helper()
	if os.Getenv("SCALE") == "" {
		t.Skip("SCALE is not set: make scale")
	}
}

func newFleet(t *testing.T, replicas int, change func(*config.Config)) *fleet {
	t.Helper()
	return newFleetOf(t, scalePeople, replicas, change)
}

// newFleetOf is newFleet with an organisation of another size.
func newFleetOf(t *testing.T, people, replicas int, change func(*config.Config)) *fleet {
	t.Helper()
	f := &fleet{
		t: t, size: people, minute: time.Minute, minutes: 60, platform: simulator.Large(people, people*scaleDepartments/scalePeople),
		shared:   &store.Memory{Max: 10_000_000},
		received: map[string]int{}, refused: map[string]int{}, inSecond: map[string]int{}, second: map[string]int{},
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
	gateway, err := New(c, state)
	if err != nil {
		f.t.Fatal(err)
	}
	state.Serve(gateway)
	r := &replica{State: state, gateway: gateway, done: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(f.t.Context())
	go func() { defer close(r.done); gateway.Run(r.ctx) }()
	f.t.Cleanup(func() {
		r.stop()
		<-r.done
		time.Sleep(time.Second) // a request for the app's token continues without the lookup that began it
		records.Close()
	})
	return r
}

// RoundTrip is the network to DingTalk.
func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(networkTime)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	switch path := r.URL.Path; {
	case f.streamless.Load() && (path == streamPath || path == openPath):
		return nil, errors.New("no route to the event stream")
	case path == streamPath:
		return f.stream(r)
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
	f.received[path]++
	f.second[path]++
	f.inSecond[path] = max(f.inSecond[path], f.second[path])
	if refused {
		f.refused[path]++
	}
}

// reset resets the counts.
func (f *fleet) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.received)
	clear(f.refused)
	clear(f.inSecond)
}

// report logs the calls, a line for each API.
func (f *fleet) report(span time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for path, n := range f.received {
		lines = append(lines, fmt.Sprintf("  %-55s %7d calls, %5.2f/s, at most %2d in a second, %d refused", path, n,
			float64(n)/span.Seconds(), f.inSecond[path], f.refused[path]))
	}
	slices.Sort(lines)
	f.t.Logf("calls to DingTalk:\n%s", strings.Join(lines, "\n"))
}

// people returns all members as a sign-in would return them, without the limit.
func (f *fleet) people() (all []identity.User) {
	f.t.Helper()
	c := f.replicas[0].gateway.Client.Config
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

// browser is the browser of one person.
type browser struct {
	f       *fleet
	address string
	cookies map[string]string
}

// get loads a page from a random replica; it returns nil if the replica ended meanwhile.
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

// outcome is the result of a sign-in.
type outcome struct {
	in       bool
	waited   time.Duration // from the first callback to the session
	attempts int
	refused  int // pages other than a redirect or the waiting page
	last     int // status
}

// signIn makes a whole sign-in from a page, and starts again if a replica ended.
func (b *browser) signIn(person string, within time.Duration) (o outcome) {
	until := time.Now().Add(within)
	var first time.Time
	at := "/"
	for time.Now().Before(until) {
		res := b.get(at)
		if res == nil {
			time.Sleep(time.Second) // the person reloads the page
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
			time.Sleep(2 * time.Second) // time that the person spends there
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

// quantile returns a quantile of sorted durations.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(q*float64(len(all))))].Round(100 * time.Millisecond)
}
