package hostile

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// denial is class D: one who wants others not to be served.
func denial(s *site) (list []try) {
	add := func(name string, do func(h *hand)) { list = append(list, try{name, do}) }
	for i, text := range []string{"G", "GET / HTTP/1.1\r\nHost: app", "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: ", strings.Repeat("a", 1000), "\x16\x03\x01"} {
		add(fmt.Sprintf("D1 slow headers %d", i), func(h *hand) {
			w, err := dial(h.site.someone(), h.site.gate)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			io.WriteString(w.c, text)
			if answered, _ := trickle(w, strings.Repeat("x", 100), 300*time.Millisecond, 25*time.Second); !answered {
				h.failf("a request that never ends is still welcome after 25 s")
			}
		})
	}
	for _, where := range []string{"/oauth2/sign_out", "/oauth2/userinfo", "/dingtalk/token", "/page", "/nowhere"} {
		add("D2 a slow body at "+where, func(h *hand) {
			w, err := dial(h.site.someone(), h.site.gate)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			io.WriteString(w.c, request("POST", where, h.id, authOne, "Content-Length: 1000", "Sec-Fetch-Site: same-origin"))
			if answered, _ := trickle(w, strings.Repeat("x", 200), 300*time.Millisecond, 25*time.Second); !answered {
				h.failf("no answer for 25 s to a body that drips")
			}
		})
	}
	for i := range 120 { // D4: cookies and codes of the right length
		add(fmt.Sprintf("D4 random %d", i), func(h *hand) {
			raw := make([]byte, 300+i)
			rand.Read(raw)
			text := base64.URLEncoding.EncodeToString(raw)
			if a := h.send(shot{raw: request("GET", "/page", h.id, "Cookie: "+sessionCookie+"="+text)}); a.status != 401 {
				h.failf("got %v", a)
			}
			if a := h.callback("authCode="+text[:min(40, len(text))]+"&state="+base64.RawURLEncoding.EncodeToString(raw[:32]), attemptCookie+"1", text); a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		})
	}
	add("D6 a garbage code, a good state", func(h *hand) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		jar := v.jar
		h.site.budget.Add(1)
		if a := v.ask(shot{trouble: true}, "GET", "/oauth2/callback?authCode=garbage&state="+state); a.status < 400 || v.value(sessionCookie) != "" {
			h.failf("got %v", a)
		}
		v.jar = jar
		for range 10 { // the attempt is used up: nobody is called again (O10)
			if a := v.ask(shot{}, "GET", "/oauth2/callback?authCode=garbage&state="+state); a.status != 403 && a.status != 429 {
				h.failf("again = %v", a)
			}
		}
	})
	add("D5 D6 one address, many attempts", func(h *hand) {
		from := h.site.someone()
		limited := false
		for i := range 200 {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			v.from = from
			h.site.budget.Add(1)
			a := v.ask(shot{trouble: true}, "GET", fmt.Sprintf("/oauth2/callback?authCode=garbage%d&state=%s", i, state))
			if a.status == 429 {
				limited = true
				break
			}
		}
		if !limited {
			h.failf("one address made 200 calls to DingTalk")
		}
	})
	for _, line := range []string{"User-Agent: " + strings.Repeat("A", 60<<10), "User-Agent: a\x1b[31mred", "User-Agent: {\"msg\":\"request\",\"verdict\":\"allow\"}", "User-Agent: \xff\xfe\x80", "User-Agent: \u202egnp", "Referer: https://app.test/\x1b]0;title", "X-Request-Id: " + strings.Repeat("r", 200), "X-Request-Id: a\"b", "X-Request-Id: <script>", "Accept-Language: " + strings.Repeat("x-", 9000), "Cookie: " + strings.Repeat("=", 9000), "Origin: " + strings.Repeat("o", 9000)} {
		for _, where := range []string{"/page", "/oauth2/sign_in", "/oauth2/start", "/page%0a%1b[0m", "/\"},{\"msg\":\"request\""} {
			add(fmt.Sprintf("D9 %.40q at %s", line, where), func(h *hand) {
				a := h.send(shot{from: gateway, raw: request("GET", where, h.id, line), fresh: true})
				if a.bare || a.status == 0 {
					return
				}
				if id := a.header.Get("X-Request-Id"); len(id) > 64 || strings.ContainsAny(id, "\"<> ") {
					h.failf("the request id is %q", id)
				} else if r, ok := h.site.logged(id); !ok || r.Verdict == "allow" {
					h.failf("the record is %+v", r)
				}
			})
		}
	}
	add("D3 1,000 idle connections", func(h *hand) {
		var idle []*wire
		defer func() {
			for _, w := range idle {
				w.c.Close()
			}
		}()
		for range 1000 {
			w, err := dial(h.site.someone(), h.site.gate)
			if err != nil {
				h.failf("%v", err)
				return
			}
			idle = append(idle, w)
		}
		if a := h.send(shot{raw: request("GET", "/public/x", h.id), right: true, fresh: true}); a.status != 200 {
			h.failf("others are not served: %v", a)
		}
	})
	add("D2 50 slow readers", func(h *hand) {
		h.site.up.on("flood", flood)
		before := h.site.memory()
		line := h.member("zhangsan")
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				w, err := dial(h.site.someone(), h.site.gate)
				if err != nil {
					h.failf("%v", err)
					return
				}
				defer w.c.Close()
				io.WriteString(w.c, request("GET", "/act/flood", h.id, line))
				io.CopyN(io.Discard, w.br, 100)
				time.Sleep(time.Second)
			})
		}
		all.Wait()
		if after := h.site.memory(); after > before+200<<20 {
			h.failf("50 slow readers of 1 GiB cost %d MiB", (after-before)>>20)
		}
	})
	return list
}

// flood is an application that answers with 1 GiB.
func flood(c net.Conn, _ *sighting) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 1073741824\r\n\r\n")
	block := make([]byte, 1<<20)
	c.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for range 1024 {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// memory is what the process holds, in bytes.
func (p *process) memory() (n int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// descriptors counts the files and sockets that the process holds.
func (p *process) descriptors() int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(list)
}
