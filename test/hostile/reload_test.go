package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/tlstest"
)

// until polls ok for up to 30 seconds and reports whether it became true. It checks that a
// condition is reached, not how fast.
func until(ok func() bool) bool {
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// page requests a page from a process with a Cookie line. The client is authorized, and a 5xx is
// permitted.
func (h *client) page(p *process, cookie string) *answer {
	return h.send(request{
		to:         p.addr,
		raw:        requestText("GET", "/page", h.id, "Accept: text/html", "Sec-Fetch-Mode: navigate", cookie),
		authorized: true,
		failing:    true,
		slow:       true,
		cleared:    true,
	})
}

// load lets n members request a page from p repeatedly until the returned function is called. A
// member for whom accept returns false stops.
func (h *client) load(p *process, n int, accept func(*answer, error) bool) (stop func()) {
	h.env.foreign.Store(h.id, true)
	line := h.member("zhangsan")
	var all sync.WaitGroup
	done := make(chan struct{})
	for range n {
		all.Go(func() {
			w := &rawConns{idle: map[string]*rawConn{}}
			defer w.close()
			for {
				select {
				case <-done:
					return
				default:
				}
				if !accept(w.send(request{raw: requestText("GET", "/page", h.id, line), from: untrusted, to: p.addr})) {
					return
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
	}
}

// signInAt returns the Cookie line of a visitor who signed in at a process.
func (h *client) signInAt(p *process, person string) string {
	v := h.visitor()
	v.to = p.addr
	v.signIn(person)
	return "Cookie: " + sessionCookie + "=" + v.value(sessionCookie)
}

// rechecks covers V7–V10 and V36: memberships are rechecked every second.
func rechecks(s *env, add func(string, func(*client))) {
	quick := func() *process {
		return s.another(func(text string) string {
			return strings.Replace(text, "recheck: 1h", "recheck: 1s, grace: 3s", 1)
		})
	}
	add("V7 a lookup that fails for a moment ends nothing", func(h *client) {
		p := quick()
		defer p.kill()
		line := h.signInAt(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Status(500), Times: 1})
		for range 30 {
			if a := h.page(p, line); a.status != 200 {
				h.failf("got %v", a)
				return
			}
			time.Sleep(80 * time.Millisecond)
		}
	})
	add("V8 a person who left is signed out", func(h *client) {
		p := quick()
		defer p.kill()
		if err := s.sim.Join(simulator.Person{
			ID:      h.id,
			Account: simulator.Account{Nick: "x"},
			Record:  simulator.Record{UserID: h.id, Name: "离开", OrgEmail: h.id + "@example.com", Departments: []int64{42}},
		}); err != nil {
			h.failf("%v", err)
			return
		}
		line := h.signInAt(p, h.id)
		s.sim.Leave(h.id)
		if !until(func() bool { a := h.page(p, line); return a.status == 302 || a.status == 401 || a.status == 403 }) {
			h.failf("the person is still signed in")
		}
	})
	add("V9 V6 DingTalk unreachable for longer than grace", func(h *client) {
		p := quick()
		defer p.kill()
		line := h.signInAt(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: anyEndpoint, Do: simulator.Refuse()})
		var last *answer
		if a := h.page(p, line); a.status != 200 {
			h.failf("at once: %v", a)
		}
		if !until(func() bool { last = h.page(p, line); return last.status != 200 }) {
			h.failf("still served without a confirmed membership")
		}
		if last.status != 503 || last.header["Set-Cookie"] != nil || last.header.Get("Retry-After") == "" {
			h.failf("after grace: %v, want 503 with Retry-After and no cookie", last)
		}
		s.sim.ClearFaults()
		if !until(func() bool { last = h.page(p, line); return last.status == 200 }) {
			h.failf("DingTalk is back: %v", last)
		}
	})
	add("V10 many requests at the moment of the recheck", func(h *client) {
		p := quick()
		defer p.kill()
		line := h.signInAt(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Delay(300 * time.Millisecond)})
		before, began := s.sim.Calls(userGet), time.Now()
		var load sync.WaitGroup
		for range 6 {
			load.Go(func() {
				w := &rawConns{idle: map[string]*rawConn{}}
				defer w.close()
				for time.Since(began) < 2500*time.Millisecond {
					if a, err := w.send(request{
						raw:  requestText("GET", "/page", h.id, line),
						from: untrusted,
						to:   p.addr,
					}); err != nil || a.status != 200 {
						h.failf("got %v %v", a, err)
						return
					}
				}
			})
		}
		load.Wait()
		if n, most := s.sim.Calls(userGet)-before, int(time.Since(began)/time.Second)+1; n > most {
			h.failf("%d lookups of one person in %v, want at most %d", n, time.Since(began), most)
		}
	})
	add("V36 the event stream drops", func(h *client) {
		p := s.another(func(text string) string { return strings.Replace(text, "events: false", "events: true", 1) })
		defer p.kill()
		if !until(func() bool { return s.sim.Streams() > 0 }) {
			h.failf("the event stream does not connect")
			return
		}
		s.sim.DropStreams()
		if !until(func() bool { return s.sim.Streams() > 0 }) {
			h.failf("the event stream does not reconnect")
		}
	})
}

// reloads covers V27, V28 and V37: changes of configuration and certificates under load, and other
// kinds of listeners.
func reloads(s *env, add func(string, func(*client))) {
	add("V27 reloads under load, every third broken", func(h *client) {
		p := s.another(func(text string) string { return text })
		defer p.kill()
		good, err := os.ReadFile(p.file)
		if err != nil {
			h.failf("%v", err)
			return
		}
		stop := h.load(p, 3, func(a *answer, err error) bool {
			fine := err == nil && a.status == 200
			if !fine {
				h.failf("while it reloads: %v %v", a, err)
			}
			return fine
		})
		for i := range 12 {
			text := strings.Replace(string(good), "contact: it@", fmt.Sprintf("title: number %d, contact: it@", i), 1)
			if i%3 == 2 {
				text = []string{"", "routes: []\n", text + "no_such_key: 1\n", text[:len(text)/2], "\x00\xff"}[i%5]
			}
			done := strings.Count(p.output(), "the changed configuration")
			write(s.t, p.file, text)
			p.cmd.Process.Signal(syscall.SIGHUP)
			if !until(func() bool { return strings.Count(p.output(), "the changed configuration") > done }) {
				h.failf("reload %d: the log has no record of it", i)
				break
			}
		}
		stop()
		if output := p.output(); !strings.Contains(output, "was refused") || !strings.Contains(output, "configuration was loaded") {
			h.failf("the log does not record both loaded and refused configurations")
		}
	})
	add("V28 certificates change", func(h *client) {
		first, second := tlstest.NewAuthority(), tlstest.NewAuthority()
		cert, key := first.Files(s.t, tlstest.Leaf{})
		good, err := os.ReadFile(cert)
		if err != nil {
			h.failf("%v", err)
			return
		}
		p := s.another(func(text string) string {
			return text + fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key)
		})
		defer p.kill()
		serves := func(a *tlstest.Authority) bool {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", p.addr, a.ClientConfig())
			if err != nil {
				return false
			}
			return c.Close() == nil
		}
		for _, bad := range []string{"", string(good[:len(good)/2]), "no PEM at all", "\x00"} {
			before := p.output()
			write(s.t, cert, bad)
			p.cmd.Process.Signal(syscall.SIGHUP)
			if !until(func() bool { return p.output() != before }) || !serves(first) {
				h.failf("after %.20q the old pair is not served, or nothing is logged", bad)
			}
		}
		c, k := second.Issue(tlstest.Leaf{})
		write(s.t, cert, string(c)) // the key follows a moment later
		if !serves(first) && !serves(second) {
			h.failf("between certificate and key neither is served")
		}
		write(s.t, key, string(k))
		if !until(func() bool { return serves(second) }) {
			h.failf("the new pair is not loaded")
		}
	})
	for kind, listen := range map[string]string{"a unix socket": "unix:SOCKET", "IPv6": `"[::1]:0"`} {
		add("V37 "+kind, func(h *client) {
			socket := filepath.Join(s.t.TempDir(), "gate.sock")
			p := s.another(func(text string) string {
				return strings.Replace(text, "listen: 127.0.0.1:0\ntrusted",
					"listen: "+strings.Replace(listen, "SOCKET", socket, 1)+"\ntrusted", 1)
			})
			defer p.kill()
			client := &http.Client{
				Timeout: 10 * time.Second,
				Transport: &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) {
					if strings.HasPrefix(p.addr, "[") {
						return net.Dial("tcp6", p.addr)
					}
					return net.Dial("unix", socket)
				}},
			}
			req, err := http.NewRequest("GET", "http://app.test/public/x", nil)
			if err != nil {
				h.failf("%v", err)
				return
			}
			req.Header.Set("X-Case", h.id)
			h.env.foreign.Store(h.id, true)
			r, err := client.Do(req)
			if err != nil {
				h.failf("it reports that it listens on %s: %v", p.addr, err)
				return
			}
			defer r.Body.Close()
			if body, _ := io.ReadAll(r.Body); r.StatusCode != 200 || !strings.Contains(string(body), mark) {
				h.failf("got %d %.100q", r.StatusCode, body)
			}
		})
	}
}

// uploads covers V22, V23, V25 and V31: bodies and loads that would exhaust the memory.
func uploads(s *env, add func(string, func(*client))) {
	const huge = 100 << 20
	add("V22 a slow application slows the upload", func(h *client) {
		stuck, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and reads nothing
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer stuck.Close()
		p := s.another(func(text string) string {
			return strings.Replace(text, "routes:\n",
				"routes:\n  - {path: /stuck, access: public, upstream: \"http://"+stuck.Addr().String()+"\"}\n", 1)
		})
		defer p.kill()
		h.env.foreign.Store(h.id, true)
		w, err := dial(untrusted, p.addr)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer w.c.Close()
		io.WriteString(w.c,
			fmt.Sprintf("POST /stuck HTTP/1.1\r\nHost: app.test\r\nX-Case: %s\r\nContent-Length: %d\r\n\r\n", h.id,
				huge))
		part, sent := make([]byte, 1<<20), 0
		for sent < huge {
			w.c.SetWriteDeadline(time.Now().Add(1500 * time.Millisecond))
			n, err := w.c.Write(part)
			if sent += n; err != nil {
				break
			}
		}
		if sent > 40<<20 { // the size of the kernel buffers of three sockets
			h.failf("%d MiB were read for an application that reads nothing", sent>>20)
		}
	})
	for _, target := range []string{"/page", "/admin/x", "/oauth2/auth", "/oauth2/forward-auth"} {
		add("V23 100 MiB from an anonymous client to "+target, func(h *client) {
			a := h.send(request{
				raw: fmt.Sprintf("POST %s HTTP/1.1\r\nHost: app.test\r\nX-Case: %s\r\nContent-Length: %d\r\n\r\n",
					target, h.id, huge),
				method: "POST",
				fresh:  true,
			})
			if a.status != 401 || a.continued {
				h.failf("got %v, want 401 before the body", a)
			}
		})
	}
	add("V25 a POST is not sent twice", func(h *client) {
		line := h.member("zhangsan")
		h.send(request{raw: requestText("GET", "/page", h.id+"-warm", line), authorized: true})
		a := h.send(request{
			raw: "POST /act/closes HTTP/1.1\r\nHost: app.test\r\nX-Case: " + h.id + "\r\n" + line +
				"\r\nContent-Length: 3\r\n\r\nabc",
			method:     "POST",
			authorized: true,
			failing:    true,
		})
		if n := len(s.up.received(h.id)); a.status != 502 || n != 1 {
			h.failf("got %v, and the application received it %d times", a, n)
		}
	})
	add("V31 many connections", func(h *client) {
		load := 800
		if night() {
			load = 9_900 // each needs two of 20,000 files: slightly below max_connections
		}
		p := s.another(func(text string) string { return text }, "GOMEMLIMIT=256MiB")
		defer p.kill()
		h.env.foreign.Store(h.id, true)
		var conns []*rawConn
		defer func() {
			for _, w := range conns {
				w.c.Close()
			}
		}()
		before := p.resident()
		for i := range load {
			w, err := dial(net.IPv4(127, 9, byte(i>>8), byte(i)).String(), p.addr)
			if err != nil {
				h.failf("connection %d: %v", i, err)
				return
			}
			conns = append(conns, w)
			if a, err := w.do(request{raw: requestText("GET", "/public/x", h.id)}); err != nil || a.status != 200 {
				h.failf("connection %d: %v %v", i, a, err)
				return
			}
		}
		// The race detector multiplies the memory of a connection.
		if grown := p.resident() - before; grown > load*200<<10 {
			h.failf("%d KiB for each of %d connections", grown/load>>10, load)
		}
		if a := h.page(p, h.member("zhangsan")); a.status != 200 {
			h.failf("another request gets %v", a)
		}
	})
}

// resident returns the resident memory of a process in bytes.
func (p *process) resident() (n int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	fmt.Sscan(string(text), new(int), &n)
	return n * os.Getpagesize()
}
