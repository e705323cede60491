package hostile

import (
	"bytes"
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

// openIll starts the env whose dependencies fail.
func openIll(t *testing.T) *env {
	s := openWith(t, func(text string) string { return text })
	s.budget.Store(1 << 40)
	s.t = t
	return s
}

// night is whether the slow faults are asked for.
func night() bool { v := os.Getenv("HOSTILE_NIGHT"); return v != "" && v != "0" }

// faults is class V: what surrounds us fails, and nobody is let in, signed out
// or left waiting for it.
func faults(s *env) []try {
	teach(s)
	list := []try{}
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	signInFails := func(name string, slow bool, fault simulator.Fault, want ...int) {
		if slow && !night() {
			return
		}
		add(name, func(h *client) {
			s.sim.Fault(fault)
			began := time.Now()
			a := h.refused("zhangsan", want...)
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
	signInFails("V1 DingTalk is slow", true, simulator.Fault{On: everything, Do: simulator.Delay(30 * time.Second)},
		503)
	signInFails("V2 500 at the exchange", false, simulator.Fault{On: userToken, Do: simulator.Status(500)}, 502, 503)
	signInFails("V4 cut in the middle", false, simulator.Fault{On: userToken, Do: simulator.Cut(5)}, 502, 503)
	signInFails("V5 refused", false, simulator.Fault{On: everything, Do: simulator.Refuse()}, 502, 503)
	signInFails("V5 reset", false, simulator.Fault{On: everything, Do: simulator.Reset()}, 502, 503)
	signInFails("V5 bad TLS", false, simulator.Fault{On: everything, Do: simulator.TLS()}, 502, 503)
	add("V2 a code is sent once", func(h *client) {
		s.sim.Fault(simulator.Fault{On: userToken, Do: simulator.Status(503), Times: 10})
		before := s.sim.Calls(userToken)
		h.refused("zhangsan")
		if n := s.sim.Calls(userToken) - before; n != 1 {
			h.failf("the code was sent %d times", n)
		}
	})
	add("V6 it recovers without a restart", func(h *client) { h.visitor().signIn("zhangsan") })
	add("V6 V13 DingTalk away at the start", func(h *client) {
		p := s.another(func(text string) string { return strings.ReplaceAll(text, s.simURL, "http://127.0.0.1:1") })
		defer p.kill()
		if a := h.send(request{to: p.gate, raw: requestText("GET", "/public/x", h.id), right: true}); a.status != 200 {
			h.failf("a public page = %v", a)
		}
		if a := h.send(request{
			to:    p.gate,
			raw:   requestText("GET", "/page", h.id, h.member("zhangsan")),
			right: true,
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
			h.refused("zhangsan", 503, 502)
			before := s.calls()
			h.refused("zhangsan", 503, 502) // held back, or told again
			if n := s.calls() - before; n > 6 {
				h.failf("%d calls while DingTalk asks for quiet", n)
			}
			if a := h.send(request{raw: requestText("GET", "/page", h.id, line), right: true}); a.status != 200 {
				h.failf("an existing session = %v", a)
			}
		})
	}
	list = s.inTurns(list)
	add = func(name string, do func(h *client)) { list = append(list, s.beside(try{name, do})) }
	upstreamFaults(s, add)
	sealing(s, add)
	processes(s, add)
	reloads(s, add)
	uploads(s, add)
	if s.redis {
		stores(s, add)
	}
	return list // what needs a clock or several machines is told in docs/hostile.md
}

// another runs one more process with the configuration of s, changed.
func (s *env) another(change func(string) string, environment ...string) *process {
	return start(s.t, change(s.text), environment...)
}

// teach makes the application ill on request.
func teach(s *env) {
	s.up.on("silent", func(c net.Conn, _ *sighting) { io.Copy(io.Discard, c) })
	s.up.on("closes", func(net.Conn, *sighting) {})
	s.up.on("slow-header", func(c net.Conn, _ *sighting) { io.WriteString(c, "HTTP/1.1 200"); io.Copy(io.Discard, c) })
	s.up.on("breaks-off", func(c net.Conn, _ *sighting) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		c.(*net.TCPConn).SetLinger(0)
	})
	s.up.on("events", func(c net.Conn, _ *sighting) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
		io.Copy(io.Discard, c)
	})
	s.up.on("gone", func(c net.Conn, r *sighting) {
		b := make([]byte, 1)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		c.Read(b) // ends when dinggate lets go
		s.gone <- r.value("X-Case")
	})
}

// upstreamFaults are V19–V21, V24: the application's illness is told as such.
func upstreamFaults(s *env, add func(string, func(*client))) {
	page := func(h *client, path string) *answer {
		return h.send(request{
			raw:     requestText("GET", path, h.id, h.member("zhangsan")),
			right:   true,
			failing: true,
			slow:    true,
			fresh:   true,
		})
	}
	for path, want := range map[string]int{"/act/silent": 504, "/act/slow-header": 504, "/act/closes": 502} {
		add("V19 "+path, func(h *client) {
			if a := page(h, path); a.status != want {
				h.failf("got %v, want %d", a, want)
			}
		})
	}
	add("V20 an answer that breaks off", func(h *client) {
		if a := page(h, "/act/breaks-off"); a.status == 200 && !a.cut {
			h.failf("half an answer looks whole: %v", a)
		}
	})
	add("V21 events come at once", func(h *client) {
		w, err := dial(stranger, h.env.gate)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer w.c.Close()
		io.WriteString(w.c, requestText("GET", "/act/events", h.id, h.member("zhangsan")))
		w.c.SetReadDeadline(time.Now().Add(5 * time.Second))
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
		w, err := dial(stranger, h.env.gate)
		if err != nil {
			h.failf("%v", err)
			return
		}
		io.WriteString(w.c, requestText("GET", "/act/gone", h.id, h.member("zhangsan")))
		time.Sleep(200 * time.Millisecond)
		w.c.Close()
		select {
		case <-s.gone:
		case <-time.After(10 * time.Second):
			h.failf("the application works on for nobody")
		}
	})
	add("V17 the client goes away in a sign-in, the session of others stays", func(h *client) {
		line := h.member("zhangsan")
		for range 20 {
			w, err := dial(stranger, h.env.gate)
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

// sealing are C6, C7, C9: the same cookie at a dinggate that differs.
func sealing(s *env, add func(string, func(*client))) {
	const fresh = "bmV3IHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGVzISE="
	for name, c := range map[string]struct {
		from, to string
		want     int
	}{
		"C6 V33 sealed with an old key in the ring": {`"` + cookieSecret + `"`,
			`"` + fresh + `", "` + cookieSecret + `"`, 200},
		"C6 sealed with a key that is gone": {`"` + cookieSecret + `"`, `"` + fresh + `"`, 401},
		"C9 another organisation's gate":    {simulator.DemoCorpID, "dingother0000", 401},
		"C9 stricter rules":                 {"{path: /, host", "{path: /, access: {users: [lisi]}, host", 403},
		"C7 a shorter lifetime":             {"recheck: 1h", "recheck: 1h, lifetime: 1ms", 401},
	} {
		add(name, func(h *client) {
			p := s.another(func(text string) string { return strings.Replace(text, c.from, c.to, 1) })
			defer p.kill()
			a := h.send(request{
				to: p.gate,
				raw: requestText("GET", "/page", h.id, h.member("zhangsan"), "Accept: text/html",
					"Sec-Fetch-Mode: cors"),
				right:   c.want == 200,
				cleared: true,
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
		for _, to := range []string{s.gate, p.gate, s.gate, p.gate} {
			if a := h.send(request{
				to:    to,
				raw:   requestText("GET", "/page", h.id, line),
				right: true,
			}); a.status != 200 {
				h.failf("got %v", a)
			}
		}
		v := h.visitor() // V26: another replica finishes the sign-in
		state, _ := v.begin("/oauth2/start?rd=%2Fthere")
		if a := v.ask(request{to: p.gate, session: true}, "GET",
			"/oauth2/callback?authCode="+v.code("zhangsan")+"&state="+state); a.header.Get("Location") != "/there" {
			h.failf("another replica ends the sign-in with %v", a)
		}
	})
}

// processes are V26, V29, V30, V37: signals, full disks, few descriptors.
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
	add("V29 nobody reads what it says", func(h *client) {
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
				to:    p.gate,
				raw:   requestText("GET", "/page", h.id, h.member("zhangsan")),
				right: true,
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
		var held []*rawConn
		for range 120 {
			if w, err := dial(h.env.someone(), p.gate); err == nil {
				held = append(held, w)
			}
		}
		time.Sleep(300 * time.Millisecond)
		for _, w := range held {
			w.c.Close()
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			w := &rawConns{kept: map[string]*rawConn{}}
			a, err := w.send(request{
				raw:   requestText("GET", "/public/x", h.id),
				from:  stranger,
				to:    p.gate,
				fresh: true,
			})
			if err == nil && a.status == 200 {
				return
			}
		}
		h.failf("it does not recover")
	})
	add("V32 what it holds goes back", func(h *client) {
		p := s.another(same)
		defer p.kill()
		line := h.member("zhangsan")
		use := func() {
			for i := range 60 {
				h.send(request{
					to:    p.gate,
					fresh: true,
					raw:   requestText("GET", fmt.Sprintf("/page?%d", i), h.id, line),
					right: true,
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
