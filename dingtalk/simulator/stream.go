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
	ticketLife         = 90 * time.Second
	disconnectGrace    = 10 * time.Second // between "disconnect" and the end
	disconnectIDPrefix = "disconnect-"    // such messages need no answer and may have one
	linksMax           = 1_000
	frameDeadline      = 5 * time.Second
)

// ticket opens one connection.
type ticket struct {
	app     string
	events  bool // EVENT was subscribed
	expires time.Time
}

// link is one open stream.
type link struct {
	id      int
	app     string
	events  bool
	conn    *websocket.Conn
	leaving bool // was told to disconnect
	gone    chan struct{}
}

// frame is what goes over a stream, both ways.
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
func (p *Platform) openConnection(c *call) (any, *apiError) {
	a := p.authenticateApp(c.text("clientId"), c.text("clientSecret"))
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
	p.tickets.put(text, t)
	scheme := "ws://"
	if c.r.TLS != nil {
		scheme = "wss://"
	}
	return map[string]any{"endpoint": scheme + c.r.Host + streamPath, "ticket": text}, nil
}

// connect is step 2: the WebSocket. It lives in the request's goroutine.
func (p *Platform) connect(w http.ResponseWriter, r *http.Request, _ []byte) {
	unlock := p.lock()
	text := r.URL.Query().Get("ticket")
	t, ok := p.tickets.get(text)
	p.tickets.delete(text)
	ok = ok && p.now().Before(t.expires) && !p.closed && len(p.links) < linksMax
	if ok {
		p.work.Add(1) // Close waits for streams: a server forgets connections that were taken over
		defer p.work.Done()
	}
	unlock()
	if !ok {
		http.Error(w, "ticket invalid", http.StatusUnauthorized)
		return
	}
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
		_, data, err := conn.Read(p.ctx)
		if err != nil {
			return
		}
		p.handleFrame(l, data)
	}
}

func (p *Platform) addLink(conn *websocket.Conn, t ticket) *link {
	defer p.lock()()
	p.linkCount++
	l := &link{id: p.linkCount, app: t.app, events: t.events, conn: conn, gone: make(chan struct{})}
	p.links = append(p.links, l)
	p.subscribed[t.app] = p.subscribed[t.app] || t.events
	p.broadcast()
	return l
}

func (p *Platform) removeLink(l *link) {
	defer p.lock()()
	p.links = slices.DeleteFunc(p.links, func(x *link) bool { return x == l })
	close(l.gone)
	p.broadcast()
}

// Streams is the number of open connections.
func (p *Platform) Streams() int {
	defer p.lock()()
	return len(p.links)
}

// WaitStreams waits until exactly n connections are open.
func (p *Platform) WaitStreams(ctx context.Context, n int) error {
	return p.until(ctx, func() (string, bool) {
		return fmt.Sprintf("%d streams, have %d", n, len(p.links)), len(p.links) == n
	})
}

// Mute makes all streams fall silent: they stay open, but neither events nor
// answers to WebSocket pings come over them.
func (p *Platform) Mute(mute bool) {
	defer p.lock()()
	p.mute = mute
}

func (p *Platform) muted() bool {
	defer p.lock()()
	return p.mute
}

// pickLink is one of the app's streams at random, one that was told to disconnect only if there is no other.
func (p *Platform) pickLink(app string) *link {
	defer p.lock()()
	var fit, leaving []*link
	for _, l := range p.links {
		switch {
		case l.app != app || !l.events || p.mute:
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

func (p *Platform) allLinks() []*link {
	defer p.lock()()
	return slices.Clone(p.links)
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
func (p *Platform) sendAndWait(ctx context.Context, l *link, f frame) (frame, error) {
	id := strings.ToLower(random("message-"))
	f.Headers["messageId"], f.Headers["contentType"] = id, "application/json"
	reply := make(chan frame, 1)
	unlock := p.lock()
	p.pendingReplies[id] = reply
	unlock()
	defer func() {
		defer p.lock()()
		delete(p.pendingReplies, id)
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

// handleFrame sorts what a client says to whoever waits for it.
func (p *Platform) handleFrame(l *link, data []byte) {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		p.reportProtocolError("stream %d: a frame that is no JSON object of texts", l.id)
		return
	}
	id := f.Headers["messageId"]
	unlock := p.lock()
	reply := p.pendingReplies[id]
	delete(p.pendingReplies, id)
	unlock()
	switch {
	case reply != nil:
		reply <- f
	case id != "" && !strings.HasPrefix(id, disconnectIDPrefix):
		p.reportProtocolError("stream %d: an answer to message %q, which is unknown, answered or too old", l.id, id)
	}
}

// Ping asks every stream with a SYSTEM frame and tells which answered wrongly or not in time.
func (p *Platform) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.ackTimeout())
	defer cancel()
	var wrong []error
	for _, l := range p.allLinks() {
		data := `{"opaque":"` + random("") + `"}`
		got, err := p.sendAndWait(ctx, l, frame{SpecVersion: "1.0", Type: "SYSTEM", Headers: map[string]string{"topic": "ping"}, Data: data})
		if err == nil && (got.Code != 200 || got.Message != "OK" || got.Data != data) {
			err = fmt.Errorf("answered code %d, message %q, data %q", got.Code, got.Message, got.Data)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("simulator: ping on stream %d: %w", l.id, err))
		}
	}
	return errors.Join(wrong...)
}

// Disconnect tells every stream to end, with a message id or without one, and
// ends those that are still open ten seconds later. It returns how many it told.
func (p *Platform) Disconnect(withID bool) int {
	links := p.allLinks()
	for _, l := range links {
		headers := map[string]string{"topic": "disconnect", "contentType": "application/json"}
		if withID {
			headers["messageId"] = strings.ToLower(random(disconnectIDPrefix))
		}
		l.write(p.ctx, frame{Type: "SYSTEM", Headers: headers, Data: `{"reason":"connection is expired"}`})
		unlock := p.lock()
		l.leaving = true
		if !p.closed {
			p.work.Go(func() { p.closeLink(l) })
		}
		unlock()
	}
	return len(links)
}

func (p *Platform) closeLink(l *link) {
	if p.pause(p.ctx, disconnectGrace, l.gone) {
		l.conn.CloseNow()
	}
}

// DropStreams breaks every stream without a word and returns how many.
func (p *Platform) DropStreams() int {
	links := p.allLinks()
	for _, l := range links {
		l.conn.CloseNow()
	}
	return len(links)
}

// SendRaw writes any text to every stream: garbage, or the notice that the
// push quota is spent (QuotaFrame).
func (p *Platform) SendRaw(text string) {
	for _, l := range p.allLinks() {
		l.raw(p.ctx, text)
	}
}

// QuotaFrame is what comes instead of content when the push quota is spent.
const QuotaFrame = `{"errCode":20001,"errMsg":"由于当月消息推送量已用完，当前我的消息服务已经暂停"}`
