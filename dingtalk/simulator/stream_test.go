package simulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"dinggate/dingtalk/simulator"
)

const openPath = "/v1.0/gateway/connections/open"

// ticket is step 1.
func (w *env) ticket() string {
	w.Helper()
	status, m := w.post(openPath,
		`{`+credentials+`,"subscriptions":[{"type":"EVENT","topic":"*"}],"ua":"x-sdk-go/1","localIp":"127.0.0.1"}`)
	if want := strings.Replace(w.url, "http://", "ws://", 1) + "/connect"; status != 200 || m["endpoint"] != want {
		w.Fatalf("step 1 = %d %v, want the endpoint %s", status, m, want)
	}
	return m["ticket"].(string)
}

func (w *env) dial(ticket string) (*websocket.Conn, error) {
	conn, resp, err := websocket.Dial(w.Context(),
		strings.Replace(w.url, "http://", "ws://", 1)+"/connect?ticket="+url.QueryEscape(ticket), nil)
	if err != nil && resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	return conn, err
}

// listener reads one stream.
type listener struct {
	*env
	conn *websocket.Conn
}

func (w *env) listen() listener {
	w.Helper()
	conn, err := w.dial(w.ticket())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.CloseNow() })
	return listener{w, conn}
}

// received is one frame as a client reads it.
type received struct {
	Type    string
	Headers map[string]string
	Data    string
}

func (l listener) next() received {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 5*time.Second)
	defer cancel()
	_, text, err := l.conn.Read(ctx)
	if err != nil {
		l.Fatalf("reading the stream: %v", err)
	}
	var f received
	if err := json.Unmarshal(text, &f); err != nil {
		l.Fatalf("frame %s: %v", text, err)
	}
	return f
}

// reply acknowledges with this code and status.
func (l listener) reply(f received, code int, status string) {
	l.write(
		fmt.Sprintf(
			`{"code":%d,"headers":{"messageId":%q,"contentType":"application/json"},"message":"OK",`+
				`"data":"{\"status\":%s}"}`,
			code, f.Headers["messageId"], strings.ReplaceAll(fmt.Sprintf("%q", status), `"`, `\"`),
		),
	)
}

func (l listener) write(text string) {
	l.Helper()
	if err := l.conn.Write(l.Context(), websocket.MessageText, []byte(text)); err != nil {
		l.Fatal(err)
	}
}

func (w *env) delivered(id string) error {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	return w.Delivered(ctx, id)
}

// open waits until n streams are open.
func (w *env) open(n int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	if err := w.WaitStreams(ctx, n); err != nil {
		w.Fatal(err)
	}
}

func quick(t *testing.T) *env {
	p := simulator.Demo()
	p.AckWithin = 250 * time.Millisecond // a reply must be in time on a busy machine
	return serve(t, p)
}

func TestStepOne(t *testing.T) {
	const want = "400 invalidClientIdOrSecret"
	for _, c := range []struct{ body, want string }{
		{`{"clientId":"x","clientSecret":"x","subscriptions":[{"type":"EVENT","topic":"*"}]}`, want},
		{`{"clientId":"","clientSecret":"","subscriptions":[{"type":"EVENT","topic":"*"}]}`, want},
		{`{` + credentials + `}`, "400 invalidParameter"},
		{`{` + credentials + `,"subscriptions":[]}`, "400 invalidParameter"},
		{`{` + credentials + `,"subscriptions":[1]}`, "200"},
	} {
		if status, m := demo(t).post(openPath, c.body); outcome(status, m) != c.want {
			t.Errorf("step 1 with %s = %s, want %s", c.body, outcome(status, m), c.want)
		}
	}
}

func TestTicketIsForOneConnection(t *testing.T) {
	w := demo(t)
	ticket := w.ticket()
	conn, err := w.dial(ticket)
	if err != nil {
		t.Fatal(err)
	}
	conn.CloseNow()
	late := w.ticket()
	for i, ticket := range []string{ticket, "x", "", late} {
		if i == 3 {
			w.Advance(90 * time.Second)
		}
		if conn, err := w.dial(ticket); err == nil {
			conn.CloseNow()
			t.Errorf("a used, late or invented ticket opened a connection")
		}
	}
}

func TestPing(t *testing.T) {
	for _, c := range []struct {
		name, reply string
		ok          bool
	}{
		{
			"right", `{"code":200,"headers":{"messageId":"ID","contentType":"application/json"},"message":"OK",` +
				`"data":DATA}`,
			true,
		},
		{"other data", `{"code":200,"headers":{"messageId":"ID"},"message":"OK","data":"{}"}`, false},
		{"other code", `{"code":404,"headers":{"messageId":"ID"},"message":"OK","data":DATA}`, false},
		{"silence", `{"headers":{}}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := quick(t)
			l := w.listen()
			w.open(1)
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				f := l.next()
				data, _ := json.Marshal(f.Data)
				l.write(strings.NewReplacer("ID", f.Headers["messageId"], "DATA", string(data)).Replace(c.reply))
			}()
			err := w.Ping(t.Context())
			<-answered
			if (err == nil) != c.ok {
				t.Errorf("Ping = %v, want ok %v", err, c.ok)
			}
		})
	}
}

func TestDisconnect(t *testing.T) {
	for _, withID := range []bool{true, false} {
		w := demo(t)
		l := w.listen()
		w.open(1)
		if n := w.Disconnect(withID); n != 1 {
			t.Errorf("Disconnect notified %d streams, want 1", n)
		}
		f := l.next()
		if f.Type != "SYSTEM" || f.Headers["topic"] != "disconnect" || (f.Headers["messageId"] != "") != withID ||
			!strings.Contains(f.Data, "reason") {
			t.Errorf("disconnect frame = %+v", f)
		}
		fresh := w.listen()
		w.open(2)
		w.Emit("org_change", map[string]any{})
		fresh.reply(fresh.next(), 200, "SUCCESS") // the closing stream receives no more events
		l.reply(f, 200, "SUCCESS")                // the behaviour of the Go SDK is not an error
		l.conn.CloseNow()
		w.open(1)
		if got := w.Complaints(); len(got) != 0 {
			t.Errorf("complaints = %q", got)
		}
	}
}

func TestStreamFailures(t *testing.T) {
	w := quick(t)
	l := w.listen()
	w.open(1)
	w.SendRaw(simulator.QuotaFrame)
	if _, text, err := l.conn.Read(t.Context()); err != nil || string(text) != simulator.QuotaFrame {
		t.Errorf("raw frame = %q %v", text, err)
	}
	w.Mute(true)
	ctx := l.conn.CloseRead(t.Context())
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := l.conn.Ping(short); err == nil {
		t.Error("a mute stream answered a ping")
	}
	if err := w.delivered(w.Emit("org_change", map[string]any{})); err == nil {
		t.Error("a mute stream delivered an event")
	}
	w.Mute(false)
	l.conn.CloseNow()
	w.open(0)
	l = w.listen()
	w.open(1)
	if n := w.DropStreams(); n != 1 {
		t.Errorf("DropStreams = %d, want 1", n)
	}
	if _, _, err := l.conn.Read(t.Context()); err == nil {
		t.Error("a dropped stream could be read")
	}
	w.open(0)
	w.Fault(simulator.Fault{On: "/connect", Do: simulator.Status(503), Times: 1})
	if conn, err := w.dial(w.ticket()); err == nil {
		conn.CloseNow()
		t.Error("a fault on /connect let the handshake pass")
	}
	w.Close()
	if err := w.delivered(w.Emit("org_change", map[string]any{})); err == nil {
		t.Error("a closed platform delivered an event")
	}
	if !slices.ContainsFunc(w.Deliveries(), func(d simulator.Delivery) bool { return d.Stream == 0 }) {
		t.Error("no delivery without a stream was noted")
	}
}
