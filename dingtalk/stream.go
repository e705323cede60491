package dingtalk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	openTimeout   = 5 * time.Second
	handleTimeout = 2500 * time.Millisecond // DingTalk waits 3 s for the acknowledgement
	writeTimeout  = 5 * time.Second
	pongTimeout   = 5 * time.Second
	defaultPause  = 3 * time.Second
	longestPause  = time.Minute
	defaultQuiet  = 2 * time.Minute
)

// Stream follows the organisation's events over an outbound WebSocket, so that the
// sessions of a leaver end within seconds.
//
//	open (ticket, once) ──► dial ──► frames ── EVENT ──► Handle ──► acknowledge
//	  ▲                                │  └─── ping ──► the same back
//	  └── pause ◄── lost               └────── disconnect ──► open another, then close
//
// Each event reaches one of several replicas: Handle must distribute it. Events only
// make changes take effect sooner; the periodic recheck finds the same changes
// while the stream is down.
type Stream struct {
	Client *Client

	// Handle handles an event of our organisation, once per event id and one at a time.
	// It has 2.5 s; longer work must run in the background. After an error, DingTalk
	// delivers the event again.
	Handle func(context.Context, Event) error

	// CatchUp is called in the background after each new connection, one call at a time.
	// Events may have been lost between since, a minute before the last event, and now.
	// After an error it is called again. If nil, it is not called.
	CatchUp func(ctx context.Context, since time.Time) error
	Since   time.Time // time of the last event before the first connection; zero: no event was lost

	// Missed is called in the background after a connection was made without an overlap
	// with the previous one: events in between may be lost. If nil, it is not called.
	Missed func(ctx context.Context)

	// OnError receives what the log should contain: lost connections, unreadable frames,
	// an exhausted push quota. No text contains a secret. If nil, errors are dropped.
	OnError func(error)

	Pause time.Duration // before a reconnect, doubled up to a minute, +20 % jitter; 0 = 3 s
	Quiet time.Duration // after this time without a frame, the connection is tested; 0 = 2 min

	mu   sync.Mutex // one event at a time; guards seen
	seen seen

	gap gap

	connected atomic.Int64 // when the open connection was made, Unix nanoseconds; 0: not connected
	lastEvent atomic.Int64 // when the last event of our organisation came, Unix nanoseconds
}

// State is the state of the connection.
type State struct {
	Connected time.Time // since when events can arrive; zero: not connected
	LastEvent time.Time // when the last event of our organisation came; zero: none yet
}

// State returns the state of the connection. It is safe for concurrent use.
func (s *Stream) State() State {
	return State{Connected: moment(s.connected.Load()), LastEvent: moment(s.lastEvent.Load())}
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// link is one connection.
type link struct {
	conn      *websocket.Conn
	since     time.Time
	lastFrame atomic.Int64  // time of the last frame, nanoseconds after since: the wall clock may be changed
	leaving   chan struct{} // closed when DingTalk asks to disconnect
	done      chan struct{} // closed when no more frames come
	asked     sync.Once
	secrets   redactor
}

// Run follows the events until ctx ends, and returns its error. It must not be
// called concurrently.
func (s *Stream) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	var old *link
	covered := true // by the previous connection; no person was known before the first
	for fails := 0; ctx.Err() == nil; fails++ {
		next, err := s.open(ctx)
		if err == nil {
			last := moment(s.lastEvent.Load())
			running.Go(func() { s.follow(ctx, next) })
			running.Go(func() { s.keepAlive(ctx, next) })
			old.close() // after the new connection is open, so that no event is lost
			old = next
			s.connected.Store(next.since.UnixNano())
			if s.CatchUp != nil {
				running.Go(func() { s.catchUp(ctx, next, last) })
			}
			if s.Missed != nil && !covered {
				running.Go(func() { s.Missed(ctx) })
			}
			asked := next.wait(ctx)
			if covered = asked; !asked {
				s.connected.Store(0)
			}
			if time.Since(next.since) > s.pause() {
				fails = 0
			}
			if asked && fails == 0 {
				continue // normal; it needs no pause unless it happens again at once
			}
		} else if ctx.Err() == nil {
			covered = false // DingTalk closes a connection after its disconnect frame
			s.report(err)
		}
		s.backOff(ctx, fails)
	}
	return ctx.Err()
}

func (s *Stream) pause() time.Duration {
	if s.Pause > 0 {
		return s.Pause
	}
	return defaultPause
}

// backOff waits before a reconnect, longer after each failure.
func (s *Stream) backOff(ctx context.Context, fails int) {
	wait := min(s.pause()<<min(fails, 10), longestPause)
	timer := time.NewTimer(wait + jitter(wait/5))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// wait reports whether the connection ended because DingTalk asked to disconnect.
func (l *link) wait(ctx context.Context) (asked bool) {
	select {
	case <-ctx.Done():
	case <-l.done:
	case <-l.leaving:
		return true
	}
	return false
}

func (s *Stream) report(err error) {
	if s.OnError != nil && err != nil {
		s.OnError(err)
	}
}

// open requests a ticket and connects with it. The ticket is a secret, valid for 90 s and
// one connection.
func (s *Stream) open(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*openTimeout)
	defer cancel()
	c := s.Client
	endpoint, ticket, err := c.openTicket(ctx)
	if err != nil {
		return nil, err
	}
	target, err := c.endpoint(endpoint, ticket)
	if err != nil {
		return nil, &unreadableError{pathConnection, err}
	}
	conn, _, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: c.http.Pooled})
	if err != nil {
		return nil, transportError(ctx, "stream", err, secretForms(ticket))
	}
	conn.SetReadLimit(maxBody)
	l := &link{
		conn:    conn,
		since:   time.Now(),
		leaving: make(chan struct{}),
		done:    make(chan struct{}),
		secrets: secretForms(ticket),
	}
	return l, nil
}

// openTicket is step 1: it returns the address to connect to and the ticket.
func (c *Client) openTicket(ctx context.Context) (endpoint, ticket string, err error) {
	body := map[string]any{"clientId": c.Config.ClientID, "clientSecret": c.Config.ClientSecret.Reveal(),
		"ua":            "dinggate-sdk-go/1.0.0",
		"subscriptions": []map[string]string{{"type": "EVENT", "topic": "*"}}} // event types are selected in DingTalk's console
	var got struct {
		Endpoint string `json:"endpoint"`
		Ticket   string `json:"ticket"`
	}
	ctx, stop := context.WithTimeout(ctx, openTimeout)
	defer stop()
	err = c.do(ctx, request{host: hostNew, path: pathConnection, body: body}, &got)
	return got.Endpoint, got.Ticket, err
}

// endpoint is the address to connect to: as DingTalk returned it, but unencrypted
// only if the API itself is (a simulator on this machine).
func (c *Client) endpoint(text, ticket string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || ticket == "" {
		return "", formatError("no endpoint or no ticket")
	}
	plainAPI := strings.HasPrefix(address(c.Config.APIURL, defaultAPIURL), "http://")
	if u.Scheme != "wss" && !(u.Scheme == "ws" && plainAPI) {
		return "", formatError("the endpoint is not wss")
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "ticket=" + url.QueryEscape(ticket)
	return u.String(), nil
}

// close closes a connection that another one replaced.
func (l *link) close() {
	if l != nil {
		l.conn.Close(websocket.StatusNormalClosure, "")
	}
}

// follow reads frames until the connection ends.
func (s *Stream) follow(ctx context.Context, l *link) {
	defer close(l.done)
	defer l.conn.CloseNow()
	for {
		_, data, err := l.conn.Read(ctx)
		if err != nil {
			if ctx.Err() == nil && !l.isLeaving() {
				s.report(errors.New("dingtalk: stream lost: " + l.secrets.text(err.Error())))
			}
			return
		}
		l.lastFrame.Store(int64(time.Since(l.since)))
		// the time counts from the arrival, including the wait for another connection's event
		handling, cancel := context.WithTimeout(ctx, handleTimeout)
		err = s.handleFrame(ctx, handling, l, data)
		cancel()
		if err != nil {
			s.report(fmt.Errorf("dingtalk: stream: %w", err))
		}
	}
}

func (l *link) isLeaving() bool {
	select {
	case <-l.leaving:
		return true
	default:
		return false
	}
}

// keepAlive closes a connection that is silent and does not answer a ping.
func (s *Stream) keepAlive(ctx context.Context, l *link) {
	quiet := s.Quiet
	if quiet <= 0 {
		quiet = defaultQuiet
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.done:
			return
		case <-timer.C:
		}
		silence := time.Since(l.since) - time.Duration(l.lastFrame.Load())
		if silence < quiet {
			timer.Reset(quiet - silence)
			continue
		}
		pinging, cancel := context.WithTimeout(ctx, min(pongTimeout, quiet))
		err := l.conn.Ping(pinging)
		cancel()
		if err != nil {
			l.conn.CloseNow()
			return
		}
		timer.Reset(quiet)
	}
}

// handleFrame answers one frame. handling bounds the time of Handle. An error is
// logged; the connection continues.
func (s *Stream) handleFrame(ctx, handling context.Context, l *link, data []byte) error {
	f, err := readFrame(data)
	if err != nil {
		return err
	}
	id := string(f.Headers.MessageID)
	switch {
	case f.ErrCode != nil && *f.ErrCode != 0:
		return fmt.Errorf("DingTalk says %d %s", *f.ErrCode, redactor(nil).text(f.ErrMsg))
	case f.Type == "SYSTEM" && f.Headers.Topic == "ping":
		return l.answer(ctx, id, f.payload())
	case f.Type == "SYSTEM" && f.Headers.Topic == "disconnect":
		l.asked.Do(func() { close(l.leaving) }) // no answer: DingTalk closes the connection
	case f.Type == "EVENT":
		note, err := s.handle(handling, f)
		return errors.Join(err, l.answer(ctx, id, note))
	}
	return nil
}

// Values of an acknowledgement.
const (
	eventTaken = `{"status":"SUCCESS","message":"success"}`
	eventAgain = `{"status":"LATER","message":"later"}`
)

// handle passes an event to Handle, once, and returns the acknowledgement. Events of
// other organisations and unreadable ones are acknowledged too, otherwise DingTalk
// would deliver them again forever. It handles one event at a time, because two
// connections may deliver the same event.
func (s *Stream) handle(ctx context.Context, f frame) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Headers.EventCorpID != s.Client.Config.CorpID || s.seen.ids[string(f.Headers.EventID)] {
		return eventTaken, nil
	}
	s.lastEvent.Store(time.Now().UnixNano())
	e, err := f.event()
	if err != nil {
		s.seen.add(e.ID)
		return eventTaken, fmt.Errorf("event %s: %w", redactor(nil).label(e.Type), err)
	}
	err = ctx.Err() // the wait took too long
	if err == nil {
		err = s.Handle(ctx, e)
	}
	if err != nil {
		return eventAgain, fmt.Errorf("event %s: %w", redactor(nil).label(e.Type), err)
	}
	s.seen.add(e.ID)
	return eventTaken, nil
}

// answer acknowledges the frame with this message id.
func (l *link) answer(ctx context.Context, id, data string) error {
	text, err := json.Marshal(map[string]any{"code": 200, "message": "OK", "data": data,
		"headers": map[string]string{"messageId": id, "contentType": "application/json"}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := l.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return errors.New("acknowledging: " + l.secrets.text(err.Error()))
	}
	return nil
}
