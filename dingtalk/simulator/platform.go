package simulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	bodyLimit       = 1 << 20 // of a request that we read
	codesMax        = 10_000
	tokensMax       = 20_000
	eventsMax       = 1_000
	peopleMax       = 100_000
	faultsMax       = 1_000
	unknownEndpoint = "unknown" // where calls to paths that DingTalk does not have are counted
)

// Platform is one DingTalk: the sign-in page, both APIs and the event stream
// behind one base URL, which serves as login_url, api_url and oapi_url at once.
//
// The exported fields are the set-up. They are read at the first use and not
// looked at again (Now excepted): later changes go through the methods. A zero
// Platform works, it has neither apps nor people. All methods are safe for
// concurrent use. A Platform that is served must be closed, before its server.
type Platform struct {
	CorpID      string       // the organisation of all apps; "" = DemoCorpID
	CorpName    string       // what department 1 is called; "" = CorpID
	Apps        []App        // the first one is the default wherever an app may be left out
	Departments []Department // department 1 exists without being named
	Roles       []Role
	People      []Person
	Callback    CallbackForm // how the code comes back at the redirect URI

	Now       func() time.Time  // nil = time.Now; Advance counts on top of it
	Transport http.RoundTripper // carries HTTP pushes; nil = http.DefaultTransport
	AckWithin time.Duration     // how long an event waits for its acknowledgement before it is sent again; 0 = 3 s

	once   sync.Once
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // deliveries and streams

	controls http.Handler

	mu             sync.Mutex
	closed         bool
	skew           time.Duration
	corp           string
	form           CallbackForm
	apps           []*App
	departments    []*Department
	roles          []*Role
	people         []*Person
	codes          boundedMap[code]
	appTokens      boundedMap[*appToken]
	userTokens     boundedMap[*userToken]
	refreshes      boundedMap[*userToken]
	tickets        boundedMap[ticket]
	events         boundedMap[*emittedEvent]
	failedPush     []failedPush
	links          []*link
	linkCount      int
	subscribed     map[string]bool // client ids that ever had a stream
	changed        chan struct{}   // closed when links or calls change
	pendingReplies map[string]chan frame
	inFlight       int // deliveries that have not ended
	deliveries     []Delivery
	protocolErrors []string
	mute           bool
	faults         []*activeFault
	cleared        chan struct{} // closed by ClearFaults
	calls          map[string]int
	recent         map[string]rate
}

// setUp copies the exported fields into the state that methods change.
func (p *Platform) setUp() {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.corp = or(p.CorpID, DemoCorpID)
	p.form = p.Callback
	p.codes.max, p.appTokens.max, p.userTokens.max, p.refreshes.max = codesMax, tokensMax, tokensMax, tokensMax
	p.tickets.max, p.events.max = codesMax, eventsMax
	p.pendingReplies, p.subscribed, p.calls, p.recent = map[string]chan frame{}, map[string]bool{}, map[string]int{}, map[string]rate{}
	p.cleared, p.changed = make(chan struct{}), make(chan struct{})
	p.controls = p.controlPath()
	for _, a := range p.Apps {
		p.apps = append(p.apps, a.clone())
	}
	p.departments = append(p.departments, &Department{ID: 1, Name: or(p.CorpName, p.corp)})
	for _, d := range p.Departments {
		if d.ID == 1 {
			*p.departments[0] = d
			continue
		}
		p.departments = append(p.departments, &d)
	}
	for _, r := range p.Roles {
		p.roles = append(p.roles, &r)
	}
	for _, who := range p.People {
		if err := p.add(who); err != nil {
			panic(err) // a set-up that contradicts itself: a test should not run on
		}
	}
}

// lock makes sure that the set-up was read and takes the lock; call the
// answer to give it back.
func (p *Platform) lock() (unlock func()) {
	p.once.Do(p.setUp)
	p.mu.Lock()
	return p.mu.Unlock
}

// Close ends hanging answers, event deliveries and streams, and waits for the
// latter two. Closing twice is allowed.
func (p *Platform) Close() {
	unlock := p.lock()
	p.closed = true
	unlock()
	p.cancel()
	p.work.Wait()
}

// Advance moves the platform's clock: codes and tokens grow older, and the
// Date header of every answer goes along. A negative d moves it back.
func (p *Platform) Advance(d time.Duration) {
	defer p.lock()()
	p.skew += d
}

// Time is the platform's clock.
func (p *Platform) Time() time.Time {
	defer p.lock()()
	return p.now()
}

func (p *Platform) now() time.Time {
	if p.Now != nil {
		return p.Now().Add(p.skew)
	}
	return time.Now().Add(p.skew)
}

// SetCallback changes how codes come back from now on.
func (p *Platform) SetCallback(form CallbackForm) {
	defer p.lock()()
	p.form = form
}

// Calls counts the requests that reached an endpoint since the start or the
// last ResetCalls, whatever a fault did to them. Endpoints are named as
// DingTalk's documentation names them ("/v1.0/oauth2/{corpId}/token");
// everything that DingTalk does not have is counted as "unknown".
func (p *Platform) Calls(endpoint string) int {
	defer p.lock()()
	return p.calls[endpoint]
}

// AllCalls is Calls for every endpoint that was called.
func (p *Platform) AllCalls() map[string]int {
	defer p.lock()()
	return maps.Clone(p.calls)
}

// ResetCalls sets all counters to zero.
func (p *Platform) ResetCalls() {
	defer p.lock()()
	clear(p.calls)
}

// WaitCalls waits until an endpoint was called at least n times.
func (p *Platform) WaitCalls(ctx context.Context, endpoint string, n int) error {
	return p.until(ctx, func() (string, bool) {
		return fmt.Sprintf("%d calls of %s, have %d", n, endpoint, p.calls[endpoint]), p.calls[endpoint] >= n
	})
}

// until waits for something about links or calls; ready is asked under the lock.
func (p *Platform) until(ctx context.Context, ready func() (string, bool)) error {
	for {
		unlock := p.lock()
		what, ok := ready()
		changed := p.changed
		unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("simulator: waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// broadcast lets everybody who waits in until look again.
func (p *Platform) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// ServeHTTP is DingTalk, and the control path below /_simulator/.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_simulator/") {
		p.once.Do(p.setUp)
		p.controls.ServeHTTP(w, r)
		return
	}
	e := findEndpoint(r.URL.Path)
	unlock := p.lock()
	p.calls[e.name]++
	p.broadcast()
	date := p.now()
	due := p.matchFaults(e.name, r.URL.Path)
	unlock()

	body, ok := readBody(w, r)
	if !ok {
		return
	}
	w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
	p.injectFault(w, r, due, e, func(w http.ResponseWriter) { e.serve(p, w, r, body) })
}

// endpoint is one address of DingTalk.
type endpoint struct {
	name  string
	old   bool // speaks the dialect of the old host
	serve func(p *Platform, w http.ResponseWriter, r *http.Request, body []byte)
}

// findEndpoint tells which endpoint a path belongs to; what DingTalk does not have
// gets the answer that it has for such paths.
func findEndpoint(path string) endpoint {
	switch path {
	case loginPath:
		return endpoint{name: path, serve: (*Platform).login}
	case streamPath:
		return endpoint{name: path, serve: (*Platform).connect}
	}
	if c, ok := oldCalls[path]; ok {
		return endpoint{path, true, c.serve}
	}
	if name, ok := newName(path); ok {
		return endpoint{name, false, newCalls[name].serve}
	}
	if isNew(path) {
		return endpoint{unknownEndpoint, false, unknownNew}
	}
	return endpoint{unknownEndpoint, true, unknownOld}
}

// random is a fresh text nobody can guess; the prefix tells a reader of a
// leaked one what it was.
func random(prefix string) string { return prefix + rand.Text() }

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// boundedMap keeps the max youngest things: to put one more away drops the oldest,
// since a demo that runs for a month must not grow.
type boundedMap[T any] struct {
	max   int
	items map[string]T
	order []string
}

func (s *boundedMap[T]) put(key string, v T) {
	if s.items == nil {
		s.items = map[string]T{}
	}
	if len(s.order) >= 2*s.max {
		s.order = slices.DeleteFunc(s.order, func(k string) bool { _, ok := s.items[k]; return !ok })
	}
	for len(s.items) >= s.max {
		delete(s.items, s.order[0])
		s.order = s.order[1:]
	}
	if _, known := s.items[key]; !known {
		s.order = append(s.order, key)
	}
	s.items[key] = v
}

func (s *boundedMap[T]) get(key string) (T, bool) {
	v, ok := s.items[key]
	return v, ok
}

func (s *boundedMap[T]) delete(key string) { delete(s.items, key) }
