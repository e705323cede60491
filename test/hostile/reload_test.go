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
)

// until polls for at most half a minute: how long something takes is seen in
// the log of a quiet machine, whether it comes is asked here.
func until(ok func() bool) bool {
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// page asks a process for a page with a Cookie line, as a person who may enter
// and whose failure may be a 5xx.
func (h *client) page(p *process, cookie string) *answer {
	return h.send(request{
		to:      p.gate,
		raw:     requestText("GET", "/page", h.id, "Accept: text/html", "Sec-Fetch-Mode: navigate", cookie),
		right:   true,
		failing: true,
		slow:    true,
		cleared: true,
	})
}

// load lets n members ask p for a page, one after another each, until the func
// that it returns is called; a member that dislikes its answer stops.
func (h *client) load(p *process, n int, liked func(*answer, error) bool) (leave func()) {
	h.env.foreign.Store(h.id, true)
	line := h.member("zhangsan")
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range n {
		all.Go(func() {
			w := &rawConns{kept: map[string]*rawConn{}}
			defer w.close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !liked(w.send(request{raw: requestText("GET", "/page", h.id, line), from: stranger, to: p.gate})) {
					return
				}
			}
		})
	}
	return func() {
		close(stop)
		all.Wait()
	}
}

// at is a visitor who signed in at a process.
func (h *client) at(p *process, person string) string {
	v := h.visitor()
	v.to = p.gate
	v.signIn(person)
	return "Cookie: " + sessionCookie + "=" + v.value(sessionCookie)
}

// rechecks are V7–V10 and V36: memberships are looked at again each second.
func rechecks(s *env, add func(string, func(*client))) {
	quick := func() *process {
		return s.another(func(text string) string {
			return strings.Replace(text, "recheck: 1h", "recheck: 1s, grace: 3s", 1)
		})
	}
	add("V7 a lookup that fails for a moment ends nothing", func(h *client) {
		p := quick()
		defer p.kill()
		line := h.at(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Status(500), Times: 1})
		for range 30 {
			if a := h.page(p, line); a.status != 200 {
				h.failf("got %v", a)
				return
			}
			time.Sleep(80 * time.Millisecond)
		}
	})
	add("V8 who has left is out", func(h *client) {
		p := quick()
		defer p.kill()
		if err := s.sim.Join(simulator.Person{
			ID:          h.id,
			UserID:      h.id,
			Name:        "离开",
			Nick:        "x",
			OrgEmail:    h.id + "@example.com",
			Departments: []int64{42},
		}); err != nil {
			h.failf("%v", err)
			return
		}
		line := h.at(p, h.id)
		s.sim.Leave(h.id)
		if !until(func() bool { a := h.page(p, line); return a.status == 302 || a.status == 401 || a.status == 403 }) {
			h.failf("they are still in")
		}
	})
	add("V9 V6 DingTalk away for longer than grace", func(h *client) {
		p := quick()
		defer p.kill()
		line := h.at(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: everything, Do: simulator.Refuse()})
		var last *answer
		if a := h.page(p, line); a.status != 200 {
			h.failf("at once: %v", a)
		}
		if !until(func() bool { last = h.page(p, line); return last.status != 200 }) {
			h.failf("still let in, without anybody who knows them")
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
		line := h.at(p, "zhangsan")
		s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Delay(300 * time.Millisecond)})
		before, began := s.sim.Calls(userGet), time.Now()
		var load sync.WaitGroup
		for range 6 {
			load.Go(func() {
				w := &rawConns{kept: map[string]*rawConn{}}
				defer w.close()
				for time.Since(began) < 2500*time.Millisecond {
					if a, err := w.send(request{
						raw:  requestText("GET", "/page", h.id, line),
						from: stranger,
						to:   p.gate,
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
			h.failf("it does not listen")
			return
		}
		s.sim.DropStreams()
		if !until(func() bool { return s.sim.Streams() > 0 }) {
			h.failf("it does not listen again")
		}
	})
}

// reloads are V27, V28 and V37: configuration and certificates change under
// load, listeners are of other kinds.
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
			done := strings.Count(p.said(), "the changed configuration")
			write(s.t, p.file, text)
			p.cmd.Process.Signal(syscall.SIGHUP)
			if !until(func() bool { return strings.Count(p.said(), "the changed configuration") > done }) {
				h.failf("reload %d: nothing is said of it", i)
				break
			}
		}
		stop()
		if said := p.said(); !strings.Contains(said, "is refused") || !strings.Contains(said, "configuration serves") {
			h.failf("the log does not tell good from bad")
		}
	})
	add("V28 certificates change", func(h *client) {
		first, second := newAuthority(), newAuthority()
		cert, key := first.files(s.t, leaf{})
		good, err := os.ReadFile(cert)
		if err != nil {
			h.failf("%v", err)
			return
		}
		p := s.another(func(text string) string {
			return text + fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key)
		})
		defer p.kill()
		shows := func(a *authority) bool {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", p.gate, a.trusting())
			if err != nil {
				return false
			}
			return c.Close() == nil
		}
		for _, bad := range []string{"", string(good[:len(good)/2]), "no PEM at all", "\x00"} {
			before := p.said()
			write(s.t, cert, bad)
			p.cmd.Process.Signal(syscall.SIGHUP)
			if !until(func() bool { return p.said() != before }) || !shows(first) {
				h.failf("after %.20q the old pair is not shown, or nothing is said", bad)
			}
		}
		c, k := second.issue(leaf{})
		write(s.t, cert, string(c)) // the key comes a moment later
		if !shows(first) && !shows(second) {
			h.failf("between certificate and key neither is shown")
		}
		write(s.t, key, string(k))
		if !until(func() bool { return shows(second) }) {
			h.failf("the new pair is not taken")
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
					if strings.HasPrefix(p.gate, "[") {
						return net.Dial("tcp6", p.gate)
					}
					return net.Dial("unix", socket)
				}},
			}
			ask, err := http.NewRequest("GET", "http://app.test/public/x", nil)
			if err != nil {
				h.failf("%v", err)
				return
			}
			ask.Header.Set("X-Case", h.id)
			h.env.foreign.Store(h.id, true)
			r, err := client.Do(ask)
			if err != nil {
				h.failf("it says it listens on %s: %v", p.gate, err)
				return
			}
			defer r.Body.Close()
			if body, _ := io.ReadAll(r.Body); r.StatusCode != 200 || !strings.Contains(string(body), mark) {
				h.failf("got %d %.100q", r.StatusCode, body)
			}
		})
	}
}

// uploads are V22, V23, V25 and V31: bodies and loads that would fill the memory.
func uploads(s *env, add func(string, func(*client))) {
	const huge = 100 << 20
	add("V22 a slow application holds the uploader back", func(h *client) {
		stuck, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and reads nothing
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
		w, err := dial(stranger, p.gate)
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
		if sent > 40<<20 { // what the kernel's buffers of three sockets take
			h.failf("%d MiB were taken for an application that reads nothing", sent>>20)
		}
	})
	for _, target := range []string{"/page", "/admin/x", "/oauth2/auth", "/oauth2/forward-auth"} {
		add("V23 100 MiB from nobody to "+target, func(h *client) {
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
		h.send(request{raw: requestText("GET", "/page", h.id+"-warm", line), right: true})
		a := h.send(request{
			raw: "POST /act/closes HTTP/1.1\r\nHost: app.test\r\nX-Case: " + h.id + "\r\n" + line +
				"\r\nContent-Length: 3\r\n\r\nabc",
			method:  "POST",
			right:   true,
			failing: true,
		})
		if n := len(s.up.of(h.id)); a.status != 502 || n != 1 {
			h.failf("got %v, and the application saw it %d times", a, n)
		}
	})
	add("V31 many connections", func(h *client) {
		load := 800
		if night() {
			load = 9_900 // of 20,000 files each takes two: a little below max_connections
		}
		p := s.another(func(text string) string { return text }, "GOMEMLIMIT=256MiB")
		defer p.kill()
		h.env.foreign.Store(h.id, true)
		var held []*rawConn
		defer func() {
			for _, w := range held {
				w.c.Close()
			}
		}()
		before := p.resident()
		for i := range load {
			w, err := dial(net.IPv4(127, 9, byte(i>>8), byte(i)).String(), p.gate)
			if err != nil {
				h.failf("connection %d: %v", i, err)
				return
			}
			held = append(held, w)
			if a, err := w.ask(request{raw: requestText("GET", "/public/x", h.id)}); err != nil || a.status != 200 {
				h.failf("connection %d: %v %v", i, a, err)
				return
			}
		}
		// the race detector multiplies what a connection takes
		if grown := p.resident() - before; grown > load*200<<10 {
			h.failf("%d KiB for each of %d connections", grown/load>>10, load)
		}
		if a := h.page(p, h.member("zhangsan")); a.status != 200 {
			h.failf("one more gets %v", a)
		}
	})
}

// resident is the memory that a process occupies, in bytes.
func (p *process) resident() (n int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	fmt.Sscan(string(text), new(int), &n)
	return n * os.Getpagesize()
}
