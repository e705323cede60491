package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// openSite is the shipped program with a simulated DingTalk, whose routes are in
// a file, in front of an application with WebSockets and event streams.
func openSite(t *testing.T, routes string) (*site, *fleet) {
	f := newFleet(t)
	s := &site{dir: t.TempDir()}
	s.file = filepath.Join(s.dir, "config.yaml")
	s.write(t, "config.yaml", routes)
	cmd := exec.Command(binary(t), "serve", "--config", s.file)
	cmd.Env = append(append(cmd.Environ(), environment...), f.env...)
	cmd.Env = append(cmd.Env, "DINGGATE_UPSTREAM=")
	s.program = startProgram(t, cmd)
	return s, f
}

// streams are a WebSocket and an event stream of one person.
type streams struct {
	ws     *websocket.Conn
	events *http.Response
	lines  *bufio.Reader
}

func (c *caller) opens(ctx context.Context, to *program) *streams {
	c.t.Helper()
	ws, res, err := websocket.Dial(ctx, fleetURL+"/ws", &websocket.DialOptions{HTTPClient: c.client})
	if err != nil {
		c.t.Fatalf("WebSocket: %v %v\n%s", res, err, to.log)
	}
	c.t.Cleanup(func() { ws.CloseNow() })
	r, err := http.NewRequestWithContext(ctx, "GET", fleetURL+"/events", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	events, err := c.client.Do(r)
	if err != nil || events.StatusCode != 200 {
		c.t.Fatalf("event stream: %v %v", events, err)
	}
	c.t.Cleanup(func() { events.Body.Close() })
	o := &streams{ws, events, bufio.NewReader(events.Body)}
	if _, hello, err := ws.Read(ctx); err != nil || string(hello) != "hello" {
		c.t.Fatalf("WebSocket: %q %v", hello, err)
	}
	return o
}

// alive sends a word through the WebSocket and one by the event stream.
func (o *streams) alive(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	if err := o.ws.Write(ctx, websocket.MessageText, []byte(when)); err != nil {
		t.Fatalf("%s: WebSocket: %v", when, err)
	}
	if _, echo, err := o.ws.Read(ctx); err != nil || string(echo) != when {
		t.Fatalf("%s: the WebSocket gives %q %v", when, echo, err)
	}
	for range 2 { // one may have waited
		if line, err := o.lines.ReadString('\n'); err != nil || line != "data: tick\n" {
			t.Fatalf("%s: the event stream gives %q %v", when, line, err)
		}
	}
}

// gone reads both to their end.
func (o *streams) gone(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	if _, _, err := o.ws.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("%s: the WebSocket is open: %v", when, err)
	}
	if _, err := io.Copy(io.Discard, o.lines); err == nil || ctx.Err() != nil {
		t.Errorf("%s: the event stream ended with %v, want an aborted transfer", when, err)
	}
}

// TestReloadAndOpenStreams: what is open goes on over reloads, and ends when its
// session does or when by the new rules it could not be there (threats W2, V27).
func TestReloadAndOpenStreams(t *testing.T) {
	app := ticking(t)
	routes := func(extra, access string) string {
		return fmt.Sprintf(
			"sign_in: {title: %s}\nroutes:\n- {path: /open/, access: public, upstream: %q}\n- {path: /, access: "+
				"%s, upstream: %q}\n", extra, app.URL, access, app.URL,
		)
	}
	s, f := openSite(t, routes("first", "signed_in"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	signsOut, refused, stays := f.caller(s.program), f.caller(s.program), f.caller(s.program)
	signsOut.enters(s.program, "zhangsan")
	refused.enters(s.program, "lisi")
	stays.enters(s.program, "wangwu")
	a, b, c := signsOut.opens(ctx, s.program), refused.opens(ctx, s.program), stays.opens(ctx, s.program)
	for i, title := range []string{"second", "third"} {
		s.write(t, "config.yaml", routes(title, "signed_in"))
		eventually(t, title+" serves", func() bool { return s.reloads() > i })
		for _, o := range []*streams{a, b, c} {
			o.alive(ctx, t, title)
		}
	}
	signsOut.leaves(s.program)
	a.gone(ctx, t, "after the sign-out")
	b.alive(ctx, t, "another's sign-out")
	s.write(t, "config.yaml", routes("fourth", "{users: [wangwu, zhangsan]}"))
	b.gone(ctx, t, "after a rule that keeps this person out")
	c.alive(ctx, t, "a rule that lets this person in")
}
