package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/identity"
	"dinggate/session"
)

// streamPath is the path of the event stream, openPath the path that issues a ticket for
// it.
const streamPath, openPath = "/connect", "/v1.0/gateway/connections/open"

// stream opens the event stream: a WebSocket over a pipe.
func (f *fleet) stream(r *http.Request) (*http.Response, error) {
	near, far := net.Pipe()
	w := &hijacked{conn: far, header: http.Header{}, answered: make(chan int, 1)}
	r = r.Clone(context.WithoutCancel(r.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.platform.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		far.Close()
	}()
	status := <-w.answered
	res := &http.Response{StatusCode: status, Header: w.header, Request: r, Body: near, ProtoMajor: 1, ProtoMinor: 1}
	if status != http.StatusSwitchingProtocols {
		<-done
		near.Close()
		res.Body = io.NopCloser(strings.NewReader(w.body.String()))
	}
	return res, nil
}

// hijacked is the server's side of a connection that becomes a WebSocket.
type hijacked struct {
	conn     net.Conn
	header   http.Header
	body     strings.Builder
	answered chan int
}

func (w *hijacked) Header() http.Header { return w.header }

func (w *hijacked) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *hijacked) WriteHeader(status int) {
	select {
	case w.answered <- status:
	default:
	}
}

func (w *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// dayEnd is a way to lose access that only an event reports at once.
type dayEnd struct {
	name, person string
	do           func(*simulator.Platform, string) error
	still        func(identity.User) bool // whether a rule would admit the person; nil: every member
}

var dayEnds = []dayEnd{
	{"left the organisation", "m00001", (*simulator.Platform).Leave, nil},
	{"account disabled", "m00002", (*simulator.Platform).Disable, nil},
	{"moved to another department", "m00003", func(p *simulator.Platform, id string) error { return p.Move(id, 43) },
		func(u identity.User) bool { return !slices.Contains(u.Departments, 43) }},
	{"lost a role", "m00020", func(p *simulator.Platform, id string) error { return p.SetRoles(id) },
		func(u identity.User) bool { return len(u.Roles) > 0 }},
	{"outside the app's scope", "human", func(p *simulator.Platform, _ string) error {
		return p.ChangeApp("", func(a *simulator.App) {
			for id := range int64(10) {
				a.Scope = append(a.Scope, 100_000+id)
			}
			a.Scope = append(a.Scope, 42, 43)
		})
	}, nil},
	{"account migrated (another unionId)", "m00005", func(p *simulator.Platform, id string) error { return p.Migrate(id, "") }, nil},
}

// TestADayWithoutEvents: for a whole day of virtual time the event stream cannot be
// opened. A person who loses access meanwhile is refused within session.recheck. If the
// recheck interval is days, the person is refused within 10 s after the stream has
// reconnected: some are found by the leave records, the others by the lists of the
// directory or, if there are few people, by a lookup of each.
func TestADayWithoutEvents(t *testing.T) {
	for _, tt := range []struct {
		people, replicas int
		recheck          time.Duration
		missing          []string
		within           time.Duration // after the stream has reconnected
	}{
		{40, 2, 5 * time.Minute, nil, 0},
		{40, 1, 72 * time.Hour, nil, 10 * time.Second},
		{400, 2, 72 * time.Hour, nil, 10 * time.Second},
		{400, 1, 72 * time.Hour, []string{"qyapi_get_department_member"}, 30 * time.Second}, // 18 people per second
	} {
		t.Run(fmt.Sprintf("%d people, recheck %v, without %v", tt.people, tt.recheck, tt.missing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleetOf(t, tt.people, tt.replicas, func(c *config.Config) {
					c.DingTalk.Events = true
					c.Session.Recheck, c.Session.Lifetime = tt.recheck, 30*24*time.Hour
				})
				if tt.within == 0 {
					f.dayInUse(tt.recheck)
				} else {
					f.dayAtRest(tt.missing, tt.within)
				}
			})
		})
	}
}

// signedIn holds the credentials of a person, by userid.
func (f *fleet) signedIn(missing []string) map[string]string {
	if err := f.platform.Join(simulator.Person{ID: "human", Record: simulator.Record{Name: "人事", Departments: []int64{44}}}); err != nil {
		f.t.Fatal(err)
	}
	people := f.people()
	if err := f.platform.ChangeApp("", func(a *simulator.App) { a.Missing = missing }); err != nil {
		f.t.Fatal(err)
	}
	cookies := map[string]string{}
	for i, u := range people {
		_, c, err := f.replicas[i%len(f.replicas)].gateway.Sessions.Begin(f.t.Context(), session.SignIn{User: u})
		if err != nil {
			f.t.Fatal(err)
		}
		cookies[u.UserID] = c.Value
		for _, r := range f.replicas { // each replica has seen every session
			if _, err := r.gateway.Sessions.Load(f.t.Context(), []string{c.Value}, gatewayMaxWait); err != nil {
				f.t.Fatalf("%s: %v", u.UserID, err)
			}
		}
	}
	return cookies
}

// in reports whether a person would be admitted at any replica.
func (f *fleet) in(end dayEnd, cookie string) bool {
	for _, r := range f.replicas {
		s, err := r.gateway.Sessions.Load(f.t.Context(), []string{cookie}, gatewayMaxWait)
		if err == nil && (end.still == nil || end.still(s.User)) {
			return true
		}
	}
	return false
}

// over waits until access has ended, and measures the time.
func (f *fleet) over(cookies map[string]string, most time.Duration) {
	f.t.Helper()
	began := time.Now()
	for _, end := range dayEnds {
		for f.in(end, cookies[end.person]) && time.Since(began) < most {
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, end := range dayEnds {
		if f.in(end, cookies[end.person]) {
			f.t.Errorf("%s: not over after %v", end.name, most)
		}
	}
	if !f.in(dayEnd{}, cookies["m00009"]) {
		f.t.Error("a user who lost nothing is signed out")
	}
	f.t.Logf("all over after %v", time.Since(began).Round(100*time.Millisecond))
}

func (f *fleet) loseAccess() {
	f.t.Helper()
	for _, end := range dayEnds {
		if err := end.do(f.platform, end.person); err != nil {
			f.t.Fatalf("%s: %v", end.name, err)
		}
	}
}

// dayInUse tests a day on which people work all the time, so that the recheck finds the
// change.
func (f *fleet) dayInUse(recheck time.Duration) {
	cookies := f.signedIn(nil)
	f.interrupt()
	f.atWork(cookies, 12*time.Hour+time.Minute) // people were looked up a moment ago
	f.loseAccess()
	f.over(cookies, recheck+recheck/10)
	f.atWork(cookies, 12*time.Hour)
	f.streamless.Store(false)
	f.connected(len(f.replicas))
	f.over(cookies, 0)
}

// atWork makes each person of interest send a request every minute.
func (f *fleet) atWork(cookies map[string]string, span time.Duration) {
	for until := time.Now().Add(span); time.Now().Before(until); time.Sleep(time.Minute) {
		f.in(dayEnd{}, cookies["m00009"])
		for _, end := range dayEnds {
			f.in(end, cookies[end.person])
		}
	}
}

// dayAtRest tests a day without requests: no lookup happens before the stream has
// reconnected.
func (f *fleet) dayAtRest(missing []string, within time.Duration) {
	cookies := f.signedIn(missing)
	f.interrupt()
	time.Sleep(12 * time.Hour)
	f.loseAccess()
	time.Sleep(12 * time.Hour)
	for _, end := range dayEnds {
		if !f.in(end, cookies[end.person]) {
			f.t.Errorf("%s: over without an event: what ended it?", end.name)
		}
	}
	f.streamless.Store(false)
	f.connected(1) // the first replica whose stream has reconnected
	f.over(cookies, within)
}

// interrupt ends the event streams permanently.
func (f *fleet) interrupt() {
	f.connected(len(f.replicas))
	f.streamless.Store(true)
	f.platform.DropStreams()
	synctest.Wait()
}

// connected waits for the event streams of this many replicas.
func (f *fleet) connected(n int) {
	f.t.Helper()
	for range 20_000 {
		if f.platform.Streams() >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatal("the event stream is not connected")
}
