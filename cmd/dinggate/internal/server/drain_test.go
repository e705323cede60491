package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/coder/websocket"
)

// streamer is an application with every kind of long request.
func streamer(t *testing.T, release <-chan struct{}) *httptest.Server {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush := func() { http.NewResponseController(w).Flush() }
		switch r.URL.Path {
		case "/download": // with and without a known length
			if r.URL.RawQuery == "sized" {
				w.Header().Set("Content-Length", "200000")
			}
			w.Write(make([]byte, 100_000))
			flush()
			<-release
			w.Write(make([]byte, 100_000))
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: one\n\n")
			flush()
			<-r.Context().Done()
		case "/ws":
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			c.Write(r.Context(), websocket.MessageText, []byte("hello"))
			c.Read(context.Background()) // until the client disconnects
		}
	}))
	t.Cleanup(app.Close)
	return app
}

// TestDrain tests threats V26.
func TestDrain(t *testing.T) {
	release := make(chan struct{})
	streams := streamer(t, release).Config.Handler
	served := &sync.Map{} // requests that reached the application
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, short := strings.CutPrefix(r.URL.Path, "/short/"); short {
			served.Store(name, true)
			io.WriteString(w, name)
			return
		}
		streams.ServeHTTP(w, r)
	}))
	t.Cleanup(app.Close)
	s := servertest.NewFileEnv(t,
		fmt.Sprintf("server: {drain_delay: 2s}\nroutes: [{path: /, access: public, upstream: %q}]\n", app.URL))
	open := func(path string) *http.Response {
		t.Helper()
		res, err := (&http.Client{Transport: &http.Transport{}}).Get(s.Public + path)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s = %v %v", path, res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	sized, chunked, events := open("/download?sized"), open("/download"), open("/events")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.Public+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, text, err := ws.Read(ctx); err != nil || string(text) != "hello" {
		t.Fatalf("WebSocket: %q %v", text, err)
	}

	load := drawOn(s, served)
	s.Cmd.Process.Signal(syscall.SIGTERM)
	servertest.Eventually(t, "not ready", func() bool {
		status, body := servertest.Fetch(t, http.DefaultClient, s.Admin+"/ready")
		return status == 503 && body == "draining\n"
	})
	if status, _ := servertest.Fetch(t, &http.Client{Transport: &http.Transport{}}, s.Public+"/new"); status != 200 {
		t.Errorf("a new connection within the drain delay = %d, want 200", status)
	}
	if _, _, err = ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want status 1001", err)
	}
	if body, err := io.ReadAll(events.Body); err != nil || string(body) != "data: one\n\n" {
		t.Errorf("the event stream ended with %q %v, want its regular end", body, err)
	}
	servertest.Eventually(t, "no new connection is taken after the drain delay", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.Public, "http://"), time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	answered, cut := load()
	if answered == 0 || len(cut) > 0 {
		t.Errorf(
			"of the requests beside it %d were answered, and the application saw %q, whose clients got no answer",
			answered, cut,
		)
	}
	if status, _ := servertest.Fetch(t, http.DefaultClient, s.Admin+"/ready"); status != 503 {
		t.Errorf("/ready while requests finish = %d, want 503", status)
	}
	close(release)
	for name, res := range map[string]*http.Response{"sized": sized, "chunked": chunked} {
		if body, err := io.ReadAll(res.Body); err != nil || len(body) != 200_000 {
			t.Errorf("the %s download ended after %d bytes: %v", name, len(body), err)
		}
	}
	if err := s.Cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v, want exit code 0:\n%s", err, s.Log)
	}
}

// drawOn sends requests over reused and new connections until no connection is accepted any
// more. It returns a func that waits for that, and returns how many requests were answered
// and which ones reached the application without a response.
func drawOn(s *servertest.FileEnv, served *sync.Map) func() (answered int, cut []string) {
	var mu sync.Mutex
	var load sync.WaitGroup
	done := 0
	var lost []string
	for client := range 4 {
		load.Go(func() {
			c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: client%2 == 0}}
			defer c.CloseIdleConnections()
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d", client, i)
				res, err := c.Get(s.Public + "/short/" + name)
				var body []byte
				if err == nil {
					body, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				_, reached := served.Load(name)
				mu.Lock()
				if err == nil && string(body) == name {
					done++
				} else if err == nil || reached {
					lost = append(lost, name)
				}
				mu.Unlock()
				if err != nil && errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
			}
		})
	}
	return func() (int, []string) {
		load.Wait()
		return done, lost
	}
}

// TestDrainDeadline checks that requests beyond the deadline are aborted, and that a
// second signal ends the process at once.
func TestDrainDeadline(t *testing.T) {
	release := make(chan struct{})
	app := streamer(t, release)
	defer close(release)
	for _, tt := range []struct {
		timeout string
		again   bool
	}{{"1s", false}, {"1h", true}} {
		s := servertest.NewFileEnv(t,
			fmt.Sprintf("server: {drain_timeout: %s}\nroutes: [{path: /, access: public, upstream: %q}]\n",
				tt.timeout, app.URL))
		res, err := http.Get(s.Public + "/download?sized")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		s.Cmd.Process.Signal(syscall.SIGTERM)
		if tt.again {
			servertest.Eventually(t, "draining", func() bool { return strings.Contains(s.Log.String(), "draining") })
			s.Cmd.Process.Signal(syscall.SIGTERM)
		}
		if err := s.Cmd.Wait(); (err != nil) != tt.again {
			t.Errorf("drain_timeout %s, second signal %v: serve ends with %v", tt.timeout, tt.again, err)
		}
	}
}

// TestSystemd checks the notifications to systemd, and the listener that systemd passes.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notified.Close()
	expect := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		notified.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := notified.Read(b)
		if err != nil || !regexp.MustCompile("^"+want+"$").Match(b[:n]) {
			t.Fatalf("systemd gets %q %v, want %q", b[:n], err, want)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// The shell knows its own process id, which the program has after exec.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve`, servertest.Binary(t))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(append(os.Environ(), servertest.Environ...), "NOTIFY_SOCKET="+path, "LISTEN_FDS=1", "LISTEN_FDNAMES=gate")
	p := servertest.Start(t, cmd)
	expect("READY=1")
	if p.Public != "http://"+l.Addr().String() {
		t.Errorf("serve listens on %s, want the socket %s that it got", p.Public, l.Addr())
	}
	l.Close()
	if status, _ := servertest.Fetch(t, http.DefaultClient, p.Public+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth over it = %d, want 401", status)
	}
	p.Cmd.Process.Signal(syscall.SIGHUP)
	expect(`RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*`)
	expect("READY=1")
	p.Cmd.Process.Signal(syscall.SIGTERM)
	expect("STOPPING=1")
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v", err)
	}
}
