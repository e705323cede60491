package simulator

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	bodyLimit       = 1 << 20 // bytes read of a request or an answer
	codesMax        = 10_000
	messagesMax     = 10_000
	tokensMax       = 20_000
	eventsMax       = 1_000
	peopleMax       = 100_000
	faultsMax       = 1_000
	unknownEndpoint = "unknown" // counts the calls of paths that DingTalk does not have
)

// Platform simulates DingTalk: the sign-in page, both APIs and the event stream
// behind one base URL, which serves as login_url, api_url and oapi_url at once.
//
// The exported fields are the initial state. They are read at the first use and not
// again, except Now, Transport and AckWithin: make later changes through the
// methods. A zero Platform is usable and has neither apps nor people. All methods
// are safe for concurrent use. Close a Platform that is served, before its server.
type Platform struct {
	CorpID      string       // the organisation of all apps; "" = DemoCorpID
	CorpName    string       // the name of department 1; "" = CorpID
	Apps        []App        // the first one is the default wherever an app may be left out
	Departments []Department // department 1 exists without being listed
	Roles       []Role
	People      []Person
	Callback    CallbackForm // how the code comes back at the redirect URI

	Now       func() time.Time // nil = time.Now; Advance counts on top of it
	AckWithin time.Duration    // how long an event waits for its acknowledgement before it is sent again; 0 = 3 s

	once     sync.Once
	life     lifetime
	controls http.Handler

	mu          sync.Mutex // guards the fields below, to messages
	skew        time.Duration
	form        CallbackForm
	org         organisation
	apps        appRegistry
	credentials credentials
	messages    messageBox

	// These have locks of their own, taken after mu.
	callCounter
	faultInjector
	streams
	eventLog
}

// setUp copies the exported fields into the state that methods change.
func (p *Platform) setUp() {
	p.life.start()
	p.streams.start(&p.life, func() time.Duration {
		if p.AckWithin > 0 {
			return p.AckWithin
		}
		return 3 * time.Second
	})
	p.emitted.max = eventsMax
	p.controls = controlAPI{p}.handler()
	p.form = p.Callback
	p.credentials = newCredentials()
	for _, a := range p.Apps {
		p.apps.list = append(p.apps.list, a.clone())
	}
	p.org.corpID = cmp.Or(p.CorpID, DemoCorpID)
	p.org.departments = append(p.org.departments, &Department{ID: 1, Name: cmp.Or(p.CorpName, p.org.corpID)})
	for _, d := range p.Departments {
		if d.ID == 1 {
			*p.org.departments[0] = d
			continue
		}
		p.org.departments = append(p.org.departments, &d)
	}
	for _, r := range p.Roles {
		p.org.roles = append(p.org.roles, &r)
	}
	if err := p.org.addAll(p.People); err != nil {
		panic(err) // the initial state contradicts itself: a test must not run with it
	}
}

// lock locks mu, after the set-up if this is the first use.
func (p *Platform) lock() (unlock func()) {
	p.once.Do(p.setUp)
	p.mu.Lock()
	return p.mu.Unlock
}

// Close ends hanging answers, event deliveries and streams, and waits for the
// latter two. Closing twice is allowed.
func (p *Platform) Close() {
	p.once.Do(p.setUp)
	p.life.close()
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

// ServeHTTP serves DingTalk, and the control path below /_simulator/.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_simulator/") {
		p.once.Do(p.setUp)
		p.controls.ServeHTTP(w, r)
		return
	}
	e := findEndpoint(r.URL.Path)
	date := p.Time()
	// faults first: a test that waits for the call finds its faults applied
	faults := p.matchFaults(e.name, r.URL.Path)
	p.count(e.name)

	body, ok := readBody(w, r)
	if !ok {
		return
	}
	w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
	p.injectFaults(w, r, faults, e, func(w http.ResponseWriter) { e.serve(p, w, r, body) })
}

// endpoint is one path of DingTalk.
type endpoint struct {
	name  string
	old   bool // answers as the old host does
	serve func(p *Platform, w http.ResponseWriter, r *http.Request, body []byte)
}

// findEndpoint finds the endpoint of a path. Paths that DingTalk does not have
// get the answer that it gives for such paths.
func findEndpoint(path string) endpoint {
	switch path {
	case loginPath:
		return endpoint{name: path, serve: serveSignIn}
	case streamPath:
		return endpoint{name: path, serve: serveStream}
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

// random returns an unguessable string; the prefix names its kind to the reader of a
// leaked one.
func random(prefix string) string { return prefix + rand.Text() }
