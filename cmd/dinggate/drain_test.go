package main

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

	"github.com/coder/websocket"
)

// streamer is an application with everything that takes long.
func streamer(t *testing.T, goOn <-chan struct{}) *httptest.Server {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush := func() { http.NewResponseController(w).Flush() }
		switch r.URL.Path {
		case "/download": // with and without a known length
			if r.URL.RawQuery == "sized" {
				w.Header().Set("Content-Length", "200000")
			}
			w.Write(make([]byte, 100_000))
			flush()
			<-goOn
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
			c.Read(context.Background()) // until the other side goes
		}
	}))
	t.Cleanup(app.Close)
	return app
}

// ticking echoes what comes by a WebSocket, and its event streams tick.
func ticking(t *testing.T) *httptest.Server {
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

// TestDrain: threats V26.
func TestDrain(t *testing.T) {
	goOn := make(chan struct{})
	streams := streamer(t, goOn).Config.Handler
	served := &sync.Map{} // what reached the application
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, short := strings.CutPrefix(r.URL.Path, "/short/"); short {
			served.Store(name, true)
			io.WriteString(w, name)
			return
		}
		streams.ServeHTTP(w, r)
	}))
	t.Cleanup(app.Close)
	s := newSite(t,
		fmt.Sprintf("server: {drain_delay: 2s}\nroutes: [{path: /, access: public, upstream: %q}]\n", app.URL))
	open := func(path string) *http.Response {
		t.Helper()
		res, err := (&http.Client{Transport: &http.Transport{}}).Get(s.gate + path)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s = %v %v", path, res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	sized, chunked, events := open("/download?sized"), open("/download"), open("/events")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.gate+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, text, err := ws.Read(ctx); err != nil || string(text) != "hello" {
		t.Fatalf("WebSocket: %q %v", text, err)
	}

	crowd := drawOn(s, served)
	s.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "not ready", func() bool {
		status, body := fetch(t, http.DefaultClient, s.admin+"/ready")
		return status == 503 && body == "draining\n"
	})
	if status, _ := fetch(t, &http.Client{Transport: &http.Transport{}}, s.gate+"/new"); status != 200 {
		t.Errorf("a new connection within the drain delay = %d, want 200", status)
	}
	if _, _, err = ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want status 1001", err)
	}
	if body, err := io.ReadAll(events.Body); err != nil || string(body) != "data: one\n\n" {
		t.Errorf("the event stream ended with %q %v, want its regular end", body, err)
	}
	eventually(t, "no new connection is taken after the drain delay", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.gate, "http://"), time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	answered, cut := crowd()
	if answered == 0 || len(cut) > 0 {
		t.Errorf(
			"of the requests beside it %d were answered, and the application saw %q, whose clients got no answer",
			answered, cut,
		)
	}
	if status, _ := fetch(t, http.DefaultClient, s.admin+"/ready"); status != 503 {
		t.Errorf("/ready while requests finish = %d, want 503", status)
	}
	close(goOn)
	for name, res := range map[string]*http.Response{"sized": sized, "chunked": chunked} {
		if body, err := io.ReadAll(res.Body); err != nil || len(body) != 200_000 {
			t.Errorf("the %s download ended after %d bytes: %v", name, len(body), err)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v, want exit code 0:\n%s", err, s.log)
	}
}

// drawOn sends requests until no connection is taken any more, over kept
// connections and new ones. It returns a func that waits for that, and tells how
// many were answered and which reached the application without an answer.
func drawOn(s *site, served *sync.Map) func() (answered int, cut []string) {
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
				res, err := c.Get(s.gate + "/short/" + name)
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

// TestDrainDeadline: what takes too long is cut off, and a second signal waits
// for nobody.
func TestDrainDeadline(t *testing.T) {
	goOn := make(chan struct{})
	app := streamer(t, goOn)
	defer close(goOn)
	for _, tt := range []struct {
		timeout string
		again   bool
	}{{"1s", false}, {"1h", true}} {
		s := newSite(t,
			fmt.Sprintf("server: {drain_timeout: %s}\nroutes: [{path: /, access: public, upstream: %q}]\n",
				tt.timeout, app.URL))
		res, err := http.Get(s.gate + "/download?sized")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		s.cmd.Process.Signal(syscall.SIGTERM)
		if tt.again {
			eventually(t, "draining", func() bool { return strings.Contains(s.log.String(), "draining") })
			s.cmd.Process.Signal(syscall.SIGTERM)
		}
		if err := s.cmd.Wait(); (err != nil) != tt.again {
			t.Errorf("drain_timeout %s, second signal %v: serve ends with %v", tt.timeout, tt.again, err)
		}
	}
}

// TestSystemd: what systemd is told, and the socket that it hands over.
func TestSystemd(t *testing.T) {
	told := filepath.Join(t.TempDir(), "notify")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: told, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notified.Close()
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		notified.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := notified.Read(b)
		if err != nil || !regexp.MustCompile("^"+want+"$").Match(b[:n]) {
			t.Fatalf("systemd is told %q %v, want %q", b[:n], err, want)
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
	// The shell knows its own process id, which the program keeps.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve`, binary(t))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(append(os.Environ(), environment...), "NOTIFY_SOCKET="+told, "LISTEN_FDS=1", "LISTEN_FDNAMES=gate")
	p := startProgram(t, cmd)
	hear("READY=1")
	if p.gate != "http://"+l.Addr().String() {
		t.Errorf("serve listens on %s, want the socket %s that it got", p.gate, l.Addr())
	}
	l.Close()
	if status, _ := fetch(t, http.DefaultClient, p.gate+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth over it = %d, want 401", status)
	}
	p.cmd.Process.Signal(syscall.SIGHUP)
	hear(`RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*`)
	hear("READY=1")
	p.cmd.Process.Signal(syscall.SIGTERM)
	hear("STOPPING=1")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v", err)
	}
}
