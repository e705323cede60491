package httpclient

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// service answers /moved with a redirect to /thief, and counts connections and requests of /thief.
func service(t *testing.T) (base string, connections, thefts *atomic.Int64) {
	connections, thefts = new(atomic.Int64), new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/thief", http.StatusTemporaryRedirect)
		case "/thief":
			thefts.Add(1)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, connections, thefts
}

func TestClients(t *testing.T) {
	own, given := New(nil), New(&http.Transport{})
	for _, c := range []struct {
		name        string
		client      *http.Client
		connections int64 // of three calls
	}{
		{"pooled", own.Pooled, 1},
		{"fresh", own.Fresh, 3},
		{"pooled over a given transport", given.Pooled, 1},
		{"fresh over a given transport", given.Fresh, 1},
	} {
		base, connections, thefts := service(t)
		for range 3 {
			res, err := c.client.Get(base + "/moved")
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusTemporaryRedirect {
				t.Errorf("%s: GET /moved = %d, want %d as it is", c.name, res.StatusCode, http.StatusTemporaryRedirect)
			}
		}
		if connections.Load() != c.connections || thefts.Load() != 0 {
			t.Errorf("%s: %d connections and %d calls where it was redirected to, want %d and 0", c.name,
				connections.Load(), thefts.Load(), c.connections)
		}
	}
	own.CloseIdleConnections()
	given.CloseIdleConnections()
}

// TestSilentConnection: calls leave an HTTP/2 connection that leads nowhere, such as one that a
// firewall has forgotten.
func TestSilentConnection(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	own := transport()
	own.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	own.TLSClientConfig.NextProtos = nil
	own.HTTP2.SendPingTimeout /= 100
	own.HTTP2.PingTimeout /= 100
	var connections atomic.Int64
	dial := own.DialContext
	first := &frozenConn{thawed: make(chan struct{})}
	own.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if connections.Add(1) > 1 || err != nil {
			return conn, err
		}
		first.Conn = conn
		return first, nil
	}
	defer own.CloseIdleConnections()
	call := func() (proto string, err error) {
		res, err := (&http.Client{Transport: own, Timeout: 10 * time.Second}).Get(s.URL)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
	for range 2 {
		if proto, err := call(); proto != "HTTP/2.0" || err != nil || connections.Load() != 1 {
			t.Fatalf("call = %q, %v over %d connections, want HTTP/2.0 over one", proto, err, connections.Load())
		}
	}
	first.frozen.Store(true)
	call() // a call at that moment may be lost
	if proto, err := call(); proto != "HTTP/2.0" || err != nil || connections.Load() != 2 {
		t.Errorf("after the connection fell silent: %q, %v over %d connections, want another", proto, err, connections.Load())
	}
}

// frozenConn is a connection that sends and receives nothing any more once it is frozen.
type frozenConn struct {
	net.Conn
	frozen atomic.Bool
	thawed chan struct{} // closed by Close
	once   sync.Once
}

func (c *frozenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.frozen.Load() {
		<-c.thawed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *frozenConn) Write(b []byte) (int, error) {
	if c.frozen.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *frozenConn) Close() error {
	c.once.Do(func() { close(c.thawed) })
	return c.Conn.Close()
}
