package servertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TickingUpstream echoes WebSocket messages and sends events periodically on its event
// streams.
func TickingUpstream(t *testing.T) *httptest.Server {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for tick := time.NewTicker(20 * time.Millisecond); r.Context().Err() == nil; <-tick.C {
				io.WriteString(w, "data: tick\n")
				http.NewResponseController(w).Flush()
			}
		case "/ws":
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err != nil {
				return
			}
			defer c.CloseNow()
			c.Write(r.Context(), websocket.MessageText, []byte("hello"))
			for {
				kind, text, err := c.Read(context.Background())
				if err != nil {
					return
				}
				c.Write(r.Context(), kind, text)
			}
		}
	}))
	t.Cleanup(app.Close)
	return app
}

// Upstream is an application that records its requests and answers UPSTREAM-MARK.
type Upstream struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (a *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Clone(r.Context()))
	a.mu.Unlock()
	w.Header().Add("Set-Cookie", "dinggate=planted; Path=/")
	w.Header().Add("Set-Cookie", "app=own; Path=/")
	w.Header().Set("X-Auth-Request-User", "planted")
	io.WriteString(w, "UPSTREAM-MARK "+r.Method+" "+r.URL.RequestURI()+" "+string(body))
}

// Reset discards the recorded requests.
func (a *Upstream) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = nil
}

// All returns the recorded requests.
func (a *Upstream) All() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// Count returns the number of recorded requests.
func (a *Upstream) Count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// Last returns the latest request.
func (a *Upstream) Last(t testing.TB) *http.Request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		t.Fatal("the application got no request")
	}
	return a.seen[len(a.seen)-1]
}

// EchoUpstream is an application that keeps WebSockets open.
func EchoUpstream(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
