package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSilentConnection: after a request without an answer, an HTTP/2 connection is used by no
// further one, since it may lead nowhere; its open streams continue.
func TestSilentConnection(t *testing.T) {
	more := make(chan struct{})
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", r.RemoteAddr)
		switch r.URL.Path {
		case "/public/slow":
			<-r.Context().Done()
		case "/public/open":
			http.NewResponseController(w).Flush()
			<-more
			fmt.Fprint(w, "more")
		}
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	between := newSilencer(t, app.Listener.Addr().String())
	d := open(t, plan{upstream: "h2c://" + between.addr, config: UpstreamConfig{Timeout: 300 * time.Millisecond}})
	get := func(path string) (status int, from string) {
		res, _ := d.do("GET " + path)
		return res.StatusCode, res.Header.Get("X-From")
	}
	stream, err := http.Get(d.server.URL + "/public/open")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	used := stream.Header.Get("X-From")
	for _, tt := range []struct {
		name, path string
		silent     bool
		want       []int
	}{
		{"an application that hangs", "/public/slow", false, []int{504, 200, 200}},
		{"a connection that leads nowhere", "/public/x", true, []int{504, 504, 200}},
	} {
		if tt.silent {
			between.silence()
		}
		status, from := get(tt.path)
		got := []int{status}
		for range 2 {
			status, from = get("/public/x")
			got = append(got, status)
		}
		if !slices.Equal(got, tt.want) || from == used || from == "" {
			t.Errorf("%s: %v, at last from %s (before: %s); want %v, from another connection", tt.name, got, from, used, tt.want)
		}
		if used = from; !tt.silent {
			close(more)
			if rest, err := io.ReadAll(stream.Body); string(rest) != "more" || err != nil {
				t.Errorf("%s: an open stream = %q, %v; want it to continue", tt.name, rest, err)
			}
		}
	}
}

// silencer forwards connections, and can make those that are open lead nowhere.
type silencer struct {
	addr string
	mu   sync.Mutex
	open []*atomic.Bool // whether each is silent
}

func newSilencer(t *testing.T, to string) *silencer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &silencer{addr: l.Addr().String()}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			silent := new(atomic.Bool)
			s.mu.Lock()
			s.open = append(s.open, silent)
			s.mu.Unlock()
			go forwardUnless(silent, in, out)
			go forwardUnless(silent, out, in)
		}
	}()
	return s
}

func (s *silencer) silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, silent := range s.open {
		silent.Store(true)
	}
}

func forwardUnless(silent *atomic.Bool, to, from net.Conn) {
	defer to.Close()
	for buf := make([]byte, 4096); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !silent.Load() {
			to.Write(buf[:n])
		}
	}
}
