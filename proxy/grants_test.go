package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/identity"
)

// TestGrant_Stream: a grant allows its route to its person only, and an open stream ends with it
// (threats G4).
func TestGrant_Stream(t *testing.T) {
	gone := make(chan bool, 1)
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 0\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- true
	})})
	var over atomic.Bool
	routes := d.handler.Routes
	routes.grants = true
	routes.list[2].Granted = func(_ context.Context, u *identity.User) (string, time.Time, error) {
		if over.Load() || u.Username != "zhangsan" {
			return "", time.Time{}, nil
		}
		return "grant-1", time.Now().Add(time.Hour), nil
	}
	_, cookie := d.signIn("zhangsan")
	_, foreign := d.signIn("lisi")
	get := func(cookie string) *http.Response {
		conn := d.speak("GET /admin/events HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := get(foreign); res.StatusCode != http.StatusForbidden {
		t.Fatalf("a person without a grant: %d", res.StatusCode)
	}
	res := get(cookie)
	events := bufio.NewReader(res.Body)
	if got, err := events.ReadString('\n'); res.StatusCode != http.StatusOK || got != "data: 0\n" {
		t.Fatalf("with the grant: %d %q %v", res.StatusCode, got, err)
	}
	over.Store(true)
	if _, err := io.ReadAll(events); err != io.ErrUnexpectedEOF {
		t.Errorf("after the grant the stream gave %v, want an aborted transfer", err)
	}
	<-gone
	if x := d.last(2); x.Err == nil || !strings.Contains(x.Err.Error(), "grant under an open stream ended") {
		t.Errorf("record %v, want the end of the grant", x.Err)
	}
}
