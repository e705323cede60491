package servertest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"

	"github.com/coder/websocket"
)

// StreamRoutes routes /ws and /events to an application that supports both.
func StreamRoutes(t *testing.T) func(*config.Config) {
	app := TickingUpstream(t)
	return func(c *config.Config) {
		for _, path := range []string{"/events", "/ws"} {
			r := config.DefaultRoute()
			r.Path, r.Upstream = path, app.URL
			c.Routes = append([]config.Route{r}, c.Routes...)
		}
	}
}

// OpenStreams opens a WebSocket and an event stream with a credential.
func OpenStreams(ctx context.Context, t *testing.T, base, line string) *Streams {
	t.Helper()
	name, value, _ := strings.Cut(line, ": ")
	ws, res, err := websocket.Dial(ctx, base+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{name: {value}}})
	if err != nil {
		t.Fatalf("WebSocket: %v %v", res, err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(name, value)
	events, err := http.DefaultClient.Do(r)
	if err != nil || events.StatusCode != 200 {
		t.Fatalf("event stream: %v %v", events, err)
	}
	t.Cleanup(func() { events.Body.Close() })
	if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
		t.Fatalf("WebSocket: %q %v", hello, err)
	}
	return &Streams{ws, events, bufio.NewReader(events.Body)}
}

// WebSocket opens a WebSocket through p; ended is closed when the WebSocket ends.
func (c *FleetClient) WebSocket(p *Program) (ended <-chan struct{}) {
	c.T.Helper()
	c.To = p
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	c.T.Cleanup(cancel)
	dialing, done := context.WithTimeout(ctx, 20*time.Second)
	defer done()
	conn, _, err := websocket.Dial(dialing, "ws://gate.test/socket",
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: c.HTTP.Transport, Jar: c.HTTP.Jar}})
	if err != nil {
		c.T.Fatalf("opening a WebSocket: %v\n%s", err, p.Log)
	}
	if err := conn.Write(dialing, websocket.MessageText, []byte("x")); err != nil {
		c.T.Fatal(err)
	}
	if _, data, err := conn.Read(dialing); err != nil || string(data) != "x" {
		c.T.Fatalf("an echo = %q, %v", data, err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer conn.CloseNow()
		conn.Read(ctx)
	}()
	return gone
}

// IsClosed reports whether a WebSocket of FleetClient.WebSocket has ended.
func IsClosed(gone <-chan struct{}) bool {
	select {
	case <-gone:
		return true
	default:
		return false
	}
}

// Streams are a WebSocket and an event stream of one person.
type Streams struct {
	WebSocket *websocket.Conn
	events    *http.Response
	Lines     *bufio.Reader
}

// OpenStreams opens a WebSocket and an event stream as this client.
func (c *FleetClient) OpenStreams(ctx context.Context, to *Program) *Streams {
	c.T.Helper()
	ws, res, err := websocket.Dial(ctx, FleetURL+"/ws", &websocket.DialOptions{HTTPClient: c.HTTP})
	if err != nil {
		c.T.Fatalf("WebSocket: %v %v\n%s", res, err, to.Log)
	}
	c.T.Cleanup(func() { ws.CloseNow() })
	r, err := http.NewRequestWithContext(ctx, "GET", FleetURL+"/events", nil)
	if err != nil {
		c.T.Fatal(err)
	}
	events, err := c.HTTP.Do(r)
	if err != nil || events.StatusCode != 200 {
		c.T.Fatalf("event stream: %v %v", events, err)
	}
	c.T.Cleanup(func() { events.Body.Close() })
	o := &Streams{ws, events, bufio.NewReader(events.Body)}
	if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
		c.T.Fatalf("WebSocket: %q %v", hello, err)
	}
	return o
}

// Alive checks that the WebSocket echoes a message and that the event stream sends one.
func (o *Streams) Alive(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	if err := o.WebSocket.Write(ctx, websocket.MessageText, []byte(when)); err != nil {
		t.Fatalf("%s: WebSocket: %v", when, err)
	}
	if _, echo, err := o.WebSocket.Read(ctx); err != nil || string(echo) != when {
		t.Fatalf("%s: the WebSocket gives %q %v", when, echo, err)
	}
	for range 2 { // one may have been buffered
		if line, err := o.Lines.ReadString('\n'); err != nil || line != "data: tick\n" {
			t.Fatalf("%s: the event stream gives %q %v", when, line, err)
		}
	}
}

// Gone checks that both have been closed.
func (o *Streams) Gone(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	if _, _, err := o.WebSocket.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("%s: the WebSocket is open: %v", when, err)
	}
	if _, err := io.Copy(io.Discard, o.Lines); err == nil || ctx.Err() != nil {
		t.Errorf("%s: the event stream ended with %v, want an aborted transfer", when, err)
	}
}
