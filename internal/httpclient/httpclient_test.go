package httpclient

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
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
