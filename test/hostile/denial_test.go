package hostile

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// denial covers class D: denial of service.
func denial(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for i, text := range []string{"G", "GET / HTTP/1.1\r\nHost: app", "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: ",
		strings.Repeat("a", 1000), "\x16\x03\x01"} {
		add(fmt.Sprintf("D1 slow headers %d", i), func(h *client) {
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			io.WriteString(w.c, text)
			// The peer answers a byte that arrives after the connection was closed with a reset.
			responded, err := sendSlowly(w, strings.Repeat("x", 100), 300*time.Millisecond, 25*time.Second)
			if !responded && !isEnd(err) {
				h.failf("a request that never ends is still accepted after 25 s")
			}
		})
	}
	for _, where := range []string{"/oauth2/sign_out", "/oauth2/userinfo", "/dingtalk/token", "/page", "/nowhere"} {
		add("D2 a slow body at "+where, func(h *client) {
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			io.WriteString(w.c,
				requestText("POST", where, h.id, authOne, "Content-Length: 1000", "Sec-Fetch-Site: same-origin"))
			responded, err := sendSlowly(w, strings.Repeat("x", 200), 300*time.Millisecond, 25*time.Second)
			if !responded && !isEnd(err) {
				h.failf("no response within 25 s to a body that arrives byte by byte")
			}
		})
	}
	for i := range 120 { // D4: cookies and codes of the right length
		add(fmt.Sprintf("D4 random %d", i), func(h *client) {
			raw := make([]byte, 300+i)
			rand.Read(raw)
			text := base64.URLEncoding.EncodeToString(raw)
			if a := h.send(request{raw: requestText("GET", "/page", h.id,
				"Cookie: "+sessionCookie+"="+text)}); a.status != 401 {
				h.failf("got %v", a)
			}
			if a := h.callback("authCode="+text[:min(40, len(text))]+"&state="+
				base64.RawURLEncoding.EncodeToString(raw[:32]), attemptCookie+"1", text); a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		})
	}
	add("D6 a garbage code, a good state", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		jar := v.jar
		h.env.budget.Add(1)
		if a := v.do(request{failing: true}, "GET",
			"/oauth2/callback?authCode=garbage&state="+state); a.status < 400 || v.value(sessionCookie) != "" {
			h.failf("got %v", a)
		}
		v.jar = jar
		for range 10 { // the attempt is used up, so no call is made (O10)
			if a := v.do(request{}, "GET", "/oauth2/callback?authCode=garbage&state="+state); a.status != 403 &&
				a.status != 429 {
				h.failf("again = %v", a)
			}
		}
	})
	add("D5 D6 one address, many attempts", func(h *client) {
		from := h.env.newAddress()
		limited := false
		for i := range 200 {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			v.from = from
			h.env.budget.Add(1)
			a := v.do(request{failing: true}, "GET",
				fmt.Sprintf("/oauth2/callback?authCode=garbage%d&state=%s", i, state))
			if a.status == 429 {
				limited = true
				break
			}
		}
		if !limited {
			h.failf("one address made 200 calls to DingTalk")
		}
	})
	for _, line := range []string{"User-Agent: " + strings.Repeat("A", 60<<10), "User-Agent: a\x1b[31mred",
		"User-Agent: {\"msg\":\"request\",\"verdict\":\"allow\"}", "User-Agent: \xff\xfe\x80",
		"User-Agent: \u202egnp", "User-Agent: a\u009b31mred\u0085{\"msg\":\"request\"}",
		"Referer: https://app.test/\x1b]0;title", "X-Request-Id: " + strings.Repeat("r", 200), "X-Request-Id: a\"b",
		"X-Request-Id: <script>", "Accept-Language: " + strings.Repeat("x-", 9000),
		"Cookie: " + strings.Repeat("=", 9000), "Origin: " + strings.Repeat("o", 9000)} {
		for _, where := range []string{"/page", "/oauth2/sign_in", "/oauth2/start", "/page%0a%1b[0m",
			"/\"},{\"msg\":\"request\"", "/page\u0085\u009b31m", "/oauth2/\u009b31m"} {
			add(fmt.Sprintf("D9 %.40q at %s", line, where), func(h *client) {
				a := h.send(request{from: gateway, raw: requestText("GET", where, h.id, line), fresh: true})
				if a.bare || a.status == 0 {
					return
				}
				if id := a.header.Get("X-Request-Id"); len(id) > 64 || strings.ContainsAny(id, "\"<> ") {
					h.failf("the request id is %q", id)
				} else if r, ok := h.env.logged(id); !ok || r.Verdict == "allow" {
					h.failf("the record is %+v", r)
				}
			})
		}
	}
	idle := 2000
	if night() {
		idle = 8000 // each needs one descriptor in this process and one in dinggate
	}
	add(fmt.Sprintf("D3 %d idle connections", idle), func(h *client) {
		var idleConns []*rawConn
		defer func() {
			for _, w := range idleConns {
				w.c.Close()
			}
		}()
		before := h.env.memory()
		for range idle {
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			idleConns = append(idleConns, w)
		}
		for _, w := range idleConns[:idle/2] { // half of them after a request
			io.WriteString(w.c, requestText("GET", "/oauth2/auth", h.id))
		}
		for _, w := range idleConns[:idle/2] {
			w.c.SetReadDeadline(time.Now().Add(responseTimeout))
			if line, err := w.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
				h.failf("one of %d got %q, %v", idle, line, err)
				return
			}
		}
		if a := h.send(request{raw: requestText("GET", "/public/x", h.id), authorized: true, fresh: true}); a.status != 200 {
			h.failf("other clients are not served: %v", a)
		}
		h.env.addNote("D3: %d connections cost %d KiB each, with the race detector", idle,
			(h.env.memory()-before)>>10/int64(idle))
	})
	add("D1 1,000 slow clients", func(h *client) {
		var slow []*rawConn
		defer func() {
			for _, w := range slow {
				w.c.Close()
			}
		}()
		for range 1000 {
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			slow = append(slow, w)
		}
		var took []time.Duration
		began := time.Now()
		for second := 0; time.Since(began) < 12*time.Second; second++ { // one byte each, every second
			for _, w := range slow {
				w.c.Write([]byte{"GET / HTTP/1.1\r\nX-A: "[min(second, 20)]})
			}
			a := h.send(request{raw: requestText("GET", "/public/x", h.id), authorized: true, fresh: true})
			if a.status != 200 {
				h.failf("other clients are not served: %v", a)
			}
			took = append(took, a.took)
			time.Sleep(time.Until(began.Add(time.Duration(second+1) * time.Second)))
		}
		slices.Sort(took)
		h.env.addNote("D1: beside 1,000 slow clients others get a response within %v, %v at most",
			took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		open := 0
		for _, w := range slow {
			w.c.SetReadDeadline(time.Now().Add(responseTimeout))
			if _, err := w.br.Peek(1); err != nil && !isEnd(err) {
				open++
			}
		}
		if open > 0 {
			h.failf("%d of 1,000 are still accepted", open)
		}
	})
	add("D2 50 slow readers", func(h *client) {
		h.env.up.handle("flood", flood)
		before := h.env.memory()
		line := h.member("zhangsan")
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				w, err := dial(h.env.newAddress(), h.env.addr)
				if err != nil {
					h.failf("%v", err)
					return
				}
				defer w.c.Close()
				io.WriteString(w.c, requestText("GET", "/act/flood", h.id, line))
				io.CopyN(io.Discard, w.br, 100)
				time.Sleep(time.Second)
			})
		}
		all.Wait()
		if after := h.env.memory(); after > before+200<<20 {
			h.failf("50 slow readers of 1 GiB cost %d MiB", (after-before)>>20)
		}
	})
	return list
}

// flood is an application that responds with 1 GiB.
func flood(c net.Conn, _ *upstreamRequest) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 1073741824\r\n\r\n")
	block := make([]byte, 1<<20)
	c.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 1024 {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// memory returns the resident memory of the process in bytes.
func (p *process) memory() (n int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// descriptors counts the open files and sockets of the process.
func (p *process) descriptors() int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(list)
}
