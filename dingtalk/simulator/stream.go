package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	streamPath         = "/connect"
	disconnectGrace    = 10 * time.Second // between "disconnect" and the end
	disconnectIDPrefix = "disconnect-"    // a reply to such a message is optional
	linksMax           = 1_000
	frameDeadline      = 5 * time.Second
)

// link is one open stream.
type link struct {
	id      int
	app     string
	events  bool
	conn    *websocket.Conn
	leaving bool // was sent a disconnect frame
	gone    chan struct{}
}

// frame is a message of a stream, in either direction.
type frame struct {
	SpecVersion string            `json:"specVersion,omitempty"`
	Type        string            `json:"type,omitempty"`
	Code        int               `json:"code,omitempty"`
	Headers     map[string]string `json:"headers"`
	Message     string            `json:"message,omitempty"`
	Data        string            `json:"data"`
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// openConnection is step 1: POST /v1.0/gateway/connections/open.
func openConnection(p *Platform, c *call) (any, *apiError) {
	a := p.apps.authenticate(c.text("clientId"), c.text("clientSecret"))
	subscriptions, ok := c.args["subscriptions"].([]any)
	switch {
	case a == nil:
		return nil, apiErrorFor("invalidClientIdOrSecret").withText("无效的clientId或者clientSecret")
	case a.Stopped:
		return nil, apiErrorFor("50003")
	case !ok || len(subscriptions) == 0:
		return nil, apiErrorFor("invalidParameter")
	}
	t := ticket{app: a.ClientID, expires: p.now().Add(ticketLife)}
	for _, s := range subscriptions {
		one, _ := s.(map[string]any)
		t.events = t.events || one["type"] == "EVENT" && one["topic"] == "*"
	}
	text := random("ticket-")
	p.credentials.tickets.put(text, t)
	scheme := "ws://"
	if c.r.TLS != nil {
		scheme = "wss://"
	}
	return map[string]any{"endpoint": scheme + c.r.Host + streamPath, "ticket": text}, nil
}

// serveStream is step 2: the WebSocket. It lives in the request's goroutine.
func serveStream(p *Platform, w http.ResponseWriter, r *http.Request, _ []byte) {
	unlock := p.lock()
	text := r.URL.Query().Get("ticket")
	t, ok := p.credentials.tickets.get(text)
	p.credentials.tickets.delete(text)
	ok = ok && p.now().Before(t.expires)
	unlock()
	// Close waits for streams: a server forgets connections that were hijacked.
	if !ok || p.Streams() >= linksMax || !p.life.begin() {
		http.Error(w, "ticket invalid", http.StatusUnauthorized)
		return
	}
	defer p.life.work.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OnPingReceived: func(context.Context, []byte) bool { return !p.muted() },
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(bodyLimit)
	l := p.addLink(conn, t)
	defer p.removeLink(l)
	for {
		_, data, err := conn.Read(p.life.ctx)
		if err != nil {
			return
		}
		p.handleFrame(l, data)
	}
}

// streams holds the open event streams and what clients did wrong on them.
type streams struct {
	monitor
	life           *lifetime
	ackTimeout     func() time.Duration
	links          []*link
	linkCount      int
	subscribed     map[string]bool       // client ids that ever had a stream for events
	pending        map[string]chan frame // replies that are awaited, by message id
	mute           bool
	protocolErrors []string
}

func (s *streams) start(life *lifetime, ackTimeout func() time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life, s.ackTimeout = life, ackTimeout
	s.subscribed, s.pending = map[string]bool{}, map[string]chan frame{}
}

func (s *streams) addLink(conn *websocket.Conn, t ticket) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linkCount++
	l := &link{id: s.linkCount, app: t.app, events: t.events, conn: conn, gone: make(chan struct{})}
	s.links = append(s.links, l)
	s.subscribed[t.app] = s.subscribed[t.app] || t.events
	s.broadcast()
	return l
}

func (s *streams) removeLink(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = slices.DeleteFunc(s.links, func(x *link) bool { return x == l })
	close(l.gone)
	s.broadcast()
}

func (s *streams) hasSubscribed(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscribed[app]
}

// Complaints returns what clients did wrong on their streams: unreadable frames,
// acknowledgements of unknown messages, wrong answers to a ping.
func (s *streams) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.protocolErrors...)
}

func (s *streams) reportProtocolError(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.protocolErrors = append(s.protocolErrors, fmt.Sprintf(format, args...))
	s.protocolErrors = s.protocolErrors[max(0, len(s.protocolErrors)-logMax):]
}

// Streams is the number of open connections.
func (s *streams) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links)
}

// WaitStreams waits until exactly n connections are open.
func (s *streams) WaitStreams(ctx context.Context, n int) error {
	return s.waitFor(ctx, func() (string, bool) {
		return fmt.Sprintf("%d streams, have %d", n, len(s.links)), len(s.links) == n
	})
}

// Mute stops all traffic on the streams: they stay open, but send neither events
// nor answers to WebSocket pings.
func (s *streams) Mute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

func (s *streams) muted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute
}

// pickLink returns one of the app's streams at random, or nil. Streams that were
// sent a disconnect frame are chosen only if there is no other.
func (s *streams) pickLink(app string) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fit, leaving []*link
	for _, l := range s.links {
		switch {
		case l.app != app || !l.events || s.mute:
		case l.leaving:
			leaving = append(leaving, l)
		default:
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		fit = leaving
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[rand.IntN(len(fit))]
}

func (s *streams) allLinks() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.links)
}

func (l *link) write(ctx context.Context, f frame) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return l.raw(ctx, string(text))
}

func (l *link) raw(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, frameDeadline)
	defer cancel()
	return l.conn.Write(ctx, websocket.MessageText, []byte(text))
}

// sendAndWait sends a frame under a new message id and waits for the reply to it.
func (s *streams) sendAndWait(ctx context.Context, l *link, f frame) (frame, error) {
	id := strings.ToLower(random("message-"))
	f.Headers["messageId"], f.Headers["contentType"] = id, "application/json"
	reply := make(chan frame, 1)
	s.mu.Lock()
	s.pending[id] = reply
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pending, id)
	}()
	if err := l.write(ctx, f); err != nil {
		return frame{}, err
	}
	select {
	case got := <-reply:
		return got, nil
	case <-l.gone:
		return frame{}, errors.New("the stream ended")
	case <-ctx.Done():
		return frame{}, ctx.Err()
	}
}

// handleFrame passes a client's reply to the sendAndWait that waits for it.
func (s *streams) handleFrame(l *link, data []byte) {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		s.reportProtocolError("stream %d: a frame that is no JSON object of texts", l.id)
		return
	}
	id := f.Headers["messageId"]
	s.mu.Lock()
	reply := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	switch {
	case reply != nil:
		reply <- f
	case id != "" && !strings.HasPrefix(id, disconnectIDPrefix):
		s.reportProtocolError("stream %d: an answer to message %q, which is unknown, answered or too old", l.id, id)
	}
}

// Ping sends a SYSTEM ping frame on every stream. The error names the streams that
// answered wrongly or not in time.
func (s *streams) Ping(ctx context.Context) error {
	links := s.allLinks()
	if len(links) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.ackTimeout()) // set before the first link
	defer cancel()
	var wrong []error
	for _, l := range links {
		data := `{"opaque":"` + random("") + `"}`
		got, err := s.sendAndWait(ctx,
			l, frame{SpecVersion: "1.0", Type: "SYSTEM", Headers: map[string]string{"topic": "ping"}, Data: data})
		if err == nil && (got.Code != 200 || got.Message != "OK" || got.Data != data) {
			err = fmt.Errorf("answered code %d, message %q, data %q", got.Code, got.Message, got.Data)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("simulator: ping on stream %d: %w", l.id, err))
		}
	}
	return errors.Join(wrong...)
}

// Disconnect sends a disconnect frame on every stream, with a message id or
// without one, and closes those that are still open ten seconds later. It returns
// the number of streams.
func (s *streams) Disconnect(withID bool) int {
	links := s.allLinks()
	for _, l := range links {
		headers := map[string]string{"topic": "disconnect", "contentType": "application/json"}
		if withID {
			headers["messageId"] = strings.ToLower(random(disconnectIDPrefix))
		}
		l.write(s.life.ctx, frame{Type: "SYSTEM", Headers: headers, Data: `{"reason":"connection is expired"}`})
		s.mu.Lock()
		l.leaving = true
		s.mu.Unlock()
		s.life.run(func() { s.closeLink(l) })
	}
	return len(links)
}

func (s *streams) closeLink(l *link) {
	if s.life.pause(s.life.ctx, disconnectGrace, l.gone) {
		l.conn.CloseNow()
	}
}

// DropStreams closes every connection without a close frame and returns how many.
func (s *streams) DropStreams() int {
	links := s.allLinks()
	for _, l := range links {
		l.conn.CloseNow()
	}
	return len(links)
}

// SendRaw writes any text to every stream, for example QuotaFrame.
func (s *streams) SendRaw(text string) {
	for _, l := range s.allLinks() {
		l.raw(s.life.ctx, text)
	}
}

// QuotaFrame is sent instead of events when the push quota is exhausted.
const QuotaFrame = `{"errCode":20001,"errMsg":"由于当月消息推送量已用完，当前我的消息服务已经暂停"}`
