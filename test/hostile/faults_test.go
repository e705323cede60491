package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// openFaulty starts the env whose dependencies fail.
func openFaulty(t *testing.T) *env {
	s := openWith(t, func(text string) string { return text })
	s.budget.Store(1 << 40)
	s.t = t
	return s
}

// night reports whether the slow faults are enabled.
func night() bool { v := os.Getenv("HOSTILE_NIGHT"); return v != "" && v != "0" }

// faults covers class V: a dependency fails. The failure gives no access, ends no session and
// leaves no request pending.
func faults(s *env) []try {
	addFailures(s)
	list := []try{}
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	signInFails := func(name string, slow bool, fault simulator.Fault, want ...int) {
		if slow && !night() {
			return
		}
		add(name, func(h *client) {
			s.sim.Fault(fault)
			began := time.Now()
			a := h.signInRefused("zhangsan", want...)
			if took := time.Since(began); took > 12*time.Second {
				h.failf("the person waited %v", took)
			}
			if a.status == 503 && a.header.Get("Retry-After") == "" {
				h.failf("503 without Retry-After: %v", a)
			}
			s.sim.ClearFaults()
		})
	}
	signInFails("V1 DingTalk hangs", true, simulator.Fault{On: userToken, Do: simulator.Hang()}, 503)
	signInFails("V1 DingTalk is slow", true, simulator.Fault{On: anyEndpoint, Do: simulator.Delay(30 * time.Second)},
		503)
	signInFails("V2 500 at the exchange", false, simulator.Fault{On: userToken, Do: simulator.Status(500)}, 502, 503)
	signInFails("V4 cut in the middle", false, simulator.Fault{On: userToken, Do: simulator.Cut(5)}, 502, 503)
	signInFails("V5 refused", false, simulator.Fault{On: anyEndpoint, Do: simulator.Refuse()}, 502, 503)
	signInFails("V5 reset", false, simulator.Fault{On: anyEndpoint, Do: simulator.Reset()}, 502, 503)
	signInFails("V5 bad TLS", false, simulator.Fault{On: anyEndpoint, Do: simulator.TLS()}, 502, 503)
	add("V2 a code is sent once", func(h *client) {
		s.sim.Fault(simulator.Fault{On: userToken, Do: simulator.Status(503), Times: 10})
		before := s.sim.Calls(userToken)
		h.signInRefused("zhangsan")
		if n := s.sim.Calls(userToken) - before; n != 1 {
			h.failf("the code was sent %d times", n)
		}
	})
	add("V6 it recovers without a restart", func(h *client) { h.visitor().signIn("zhangsan") })
	add("V6 V13 DingTalk unreachable at the start", func(h *client) {
		p := s.another(func(text string) string { return strings.ReplaceAll(text, s.simURL, "http://127.0.0.1:1") })
		defer p.kill()
		if a := h.send(request{to: p.addr, raw: requestText("GET", "/public/x", h.id), authorized: true}); a.status != 200 {
			h.failf("a public page = %v", a)
		}
		if a := h.send(request{
			to:         p.addr,
			raw:        requestText("GET", "/page", h.id, h.member("zhangsan")),
			authorized: true,
		}); a.status != 200 {
			h.failf("an existing session = %v", a)
		}
	})
	rechecks(s, add)
	if s.redis {
		replicas(s, add)
	}
	for _, throttle := range []simulator.Verb{simulator.Code(90018),
		simulator.Code("Forbidden.AccessDenied.QpsLimitForApi"), simulator.Status(429),
		simulator.Body(simulator.PunishBody), simulator.Body(simulator.PunishPage), simulator.Code(90020)} {
		add("V3 V35 throttled: "+throttle.String()[:min(30, len(throttle.String()))], func(h *client) {
			line := h.member("zhangsan")
			s.sim.Fault(simulator.Fault{On: userToken, Do: throttle})
			h.signInRefused("zhangsan", 503, 502)
			before := s.calls()
			h.signInRefused("zhangsan", 503, 502) // refused by the rate limit, or with the repeated error
			if n := s.calls() - before; n > 6 {
				h.failf("%d calls while DingTalk throttles", n)
			}
			if a := h.send(request{raw: requestText("GET", "/page", h.id, line), authorized: true}); a.status != 200 {
				h.failf("an existing session = %v", a)
			}
		})
	}
	list = s.oneAtATime(list)
	add = func(name string, do func(h *client)) { list = append(list, s.inParallel(try{name, do})) }
	upstreamFaults(s, add)
	sealedElsewhere(s, add)
	processes(s, add)
	reloads(s, add)
	uploads(s, add)
	if s.redis {
		stores(s, add)
	}
	return list // docs/hostile.md describes the faults that need a clock or several machines
}

// another runs one more process with a changed configuration of s.
func (s *env) another(change func(string) string, environment ...string) *process {
	return start(s.t, change(s.text), environment...)
}

// addFailures adds request paths that make the application fail.
func addFailures(s *env) {
	s.up.handle("silent", func(c net.Conn, _ *upstreamRequest) { io.Copy(io.Discard, c) })
	s.up.handle("closes", func(net.Conn, *upstreamRequest) {})
	s.up.handle("slow-header", func(c net.Conn, _ *upstreamRequest) { io.WriteString(c, "HTTP/1.1 200"); io.Copy(io.Discard, c) })
	s.up.handle("breaks-off", func(c net.Conn, _ *upstreamRequest) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		c.(*net.TCPConn).SetLinger(0)
	})
	s.up.handle("events", func(c net.Conn, _ *upstreamRequest) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
		io.Copy(io.Discard, c)
	})
	s.up.handle("gone", func(c net.Conn, r *upstreamRequest) {
		s.gone <- r.value("X-Case")
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) { // dinggate closed the connection
			s.gone <- r.value("X-Case")
		}
	})
}

// upstreamFaults covers V19–V21 and V24: an upstream failure is reported as an upstream failure.
func upstreamFaults(s *env, add func(string, func(*client))) {
	page := func(h *client, path string) *answer {
		return h.send(request{
			raw:        requestText("GET", path, h.id, h.member("zhangsan")),
			authorized: true,
			failing:    true,
			slow:       true,
			fresh:      true,
		})
	}
	for path, want := range map[string]int{"/act/silent": 504, "/act/slow-header": 504, "/act/closes": 502} {
		add("V19 "+path, func(h *client) {
			if a := page(h, path); a.status != want {
				h.failf("got %v, want %d", a, want)
			}
		})
	}
	add("V20 a response that breaks off", func(h *client) {
		if a := page(h, "/act/breaks-off"); a.status == 200 && !a.cut {
			h.failf("a truncated response looks complete: %v", a)
		}
	})
	add("V21 events come at once", func(h *client) {
		w, err := dial(untrusted, h.env.addr)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer w.c.Close()
		io.WriteString(w.c, requestText("GET", "/act/events", h.id, h.member("zhangsan")))
		w.c.SetReadDeadline(time.Now().Add(20 * time.Second))
		var got []byte
		for b := make([]byte, 1024); !bytes.Contains(got, []byte("data: one")); {
			n, err := w.br.Read(b)
			if got = append(got, b[:n]...); err != nil {
				h.failf("an event waits in a buffer: %q, %v", got, err)
				return
			}
		}
	})
	add("V24 the client goes away", func(h *client) {
		w, err := dial(untrusted, h.env.addr)
		if err != nil {
			h.failf("%v", err)
			return
		}
		io.WriteString(w.c, requestText("GET", "/act/gone", h.id, h.member("zhangsan")))
		for _, missing := range []string{"did not reach the application", "is not cancelled there"} {
			select {
			case <-s.gone:
			case <-time.After(30 * time.Second):
				h.failf("the request %s", missing)
			}
			w.c.Close()
		}
	})
	add("V17 the client goes away in a sign-in, the session of others stays", func(h *client) {
		line := h.member("zhangsan")
		for range 20 {
			w, err := dial(untrusted, h.env.addr)
			if err != nil {
				continue
			}
			io.WriteString(w.c, requestText("GET", "/page", h.id, line))
			w.c.(*net.TCPConn).SetLinger(0)
			w.c.Close()
		}
		if a := page(h, "/page"); a.status != 200 {
			h.failf("got %v", a)
		}
	})
}

// sealedElsewhere covers C6, C7 and C9: the same cookie at a dinggate with another configuration.
func sealedElsewhere(s *env, add func(string, func(*client))) {
	const fresh = "bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVzISE="
	for name, c := range map[string]struct {
		from, to string
		want     int
	}{
		"C6 V33 sealed with an old key that is configured": {`"` + cookieSecret + `"`,
			`"` + fresh + `", "` + cookieSecret + `"`, 200},
		"C6 sealed with a removed key": {`"` + cookieSecret + `"`, `"` + fresh + `"`, 401},
		"C9 another organisation":      {simulator.DemoCorpID, "dingother0000", 401},
		"C9 stricter rules":            {"{path: /, host", "{path: /, access: {users: [lisi]}, host", 403},
		"C7 a shorter lifetime":        {"recheck: 1h", "recheck: 1h, lifetime: 1ms", 401},
	} {
		add(name, func(h *client) {
			p := s.another(func(text string) string { return strings.Replace(text, c.from, c.to, 1) })
			defer p.kill()
			a := h.send(request{
				to: p.addr,
				raw: requestText("GET", "/page", h.id, h.member("zhangsan"), "Accept: text/html",
					"Sec-Fetch-Mode: cors"),
				authorized: c.want == 200,
				cleared:    true,
			})
			if a.status != c.want {
				h.failf("got %v, want %d", a, c.want)
			}
		})
	}
	add("C10 V33 after a restart, and two at once", func(h *client) {
		p := s.another(func(text string) string { return text })
		defer p.kill()
		line := h.member("zhangsan")
		for _, to := range []string{s.addr, p.addr, s.addr, p.addr} {
			if a := h.send(request{
				to:         to,
				raw:        requestText("GET", "/page", h.id, line),
				authorized: true,
			}); a.status != 200 {
				h.failf("got %v", a)
			}
		}
		v := h.visitor() // V26: another replica completes the sign-in
		state, _ := v.begin("/oauth2/start?rd=%2Fthere")
		if a := v.do(request{to: p.addr, session: true}, "GET",
			"/oauth2/callback?authCode="+v.code("zhangsan")+"&state="+state); a.header.Get("Location") != "/there" {
			h.failf("another replica completes the sign-in with %v", a)
		}
	})
}

// processes covers V26, V29, V30 and V37: signals, full disks, few descriptors.
func processes(s *env, add func(string, func(*client))) {
	same := func(text string) string { return text }
	add("V26 SIGTERM under load", func(h *client) {
		p := s.another(same)
		defer p.kill()
		stop := h.load(p, 4, func(a *answer, err error) bool {
			bad := err == nil && a.status != 200 && a.status != 0 && a.status != 503
			if bad {
				h.failf("while it ends: %v", a)
			}
			return err == nil && !bad
		})
		time.Sleep(300 * time.Millisecond)
		if err := p.finish(); err != nil {
			h.failf("it ended with %v", err)
		}
		stop()
	})
	add("V29 stderr cannot be written", func(h *client) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer full.Close()
		p := startWith(s.t, s.config(), func(cmd *exec.Cmd) { cmd.Stderr = full })
		defer p.kill()
		for range 50 {
			if a := h.send(request{
				to:         p.addr,
				raw:        requestText("GET", "/page", h.id, h.member("zhangsan")),
				authorized: true,
			}); a.status != 200 {
				h.failf("got %v", a)
				return
			}
		}
	})
	add("V30 out of descriptors", func(h *client) {
		p := startWith(s.t, s.config(), func(cmd *exec.Cmd) {
			cmd.Args = append([]string{"sh", "-c", `ulimit -n 64; exec "$@"`, "sh", program}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
		})
		defer p.kill()
		h.env.foreign.Store(h.id, true)
		var conns []*rawConn
		for range 120 {
			if w, err := dial(h.env.newAddress(), p.addr); err == nil {
				conns = append(conns, w)
			}
		}
		time.Sleep(300 * time.Millisecond)
		for _, w := range conns {
			w.c.Close()
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			w := &rawConns{idle: map[string]*rawConn{}}
			a, err := w.send(request{
				raw:   requestText("GET", "/public/x", h.id),
				from:  untrusted,
				to:    p.addr,
				fresh: true,
			})
			if err == nil && a.status == 200 {
				return
			}
		}
		h.failf("it does not recover")
	})
	add("V32 descriptors are released", func(h *client) {
		p := s.another(same)
		defer p.kill()
		line := h.member("zhangsan")
		use := func() {
			for i := range 60 {
				h.send(request{
					to:         p.addr,
					fresh:      true,
					raw:        requestText("GET", fmt.Sprintf("/page?%d", i), h.id, line),
					authorized: true,
				})
			}
		}
		use()
		settled := func() int {
			n := p.descriptors()
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				if now := p.descriptors(); now >= n && n > 0 {
					return now
				} else {
					n = now
				}
			}
			return n
		}
		before := settled()
		for range 5 {
			use()
		}
		if after := settled(); after > before+10 {
			h.failf("%d descriptors, then %d", before, after)
		}
	})
}
