package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// redisOrSkip reports whether a redis-server is installed. Without one only this part of the class
// is skipped, and the skip is reported.
func redisOrSkip(t *testing.T) (found bool) {
	t.Run("redis-server", func(t *testing.T) { realtool.Path(t, "redis-server"); found = true })
	return found
}

// inRedis runs one more process that stores its sessions in a Redis.
func (s *env) inRedis(url string, more ...string) *process {
	return s.another(func(text string) string {
		text = strings.Replace(text, "recheck: 1h", "recheck: 1h, store: redis", 1) +
			fmt.Sprintf("redis: {url: %q}\n", url)
		return strings.NewReplacer(more...).Replace(text)
	})
}

// stores covers V13–V16, C10 and C17: two replicas on one Redis that is slow, sends wrong replies,
// dies or is emptied. The failure ends no session and gives no access.
func stores(s *env, add func(string, func(*client))) {
	// checkOutage checks an outage. Once the cached sessions have expired, a page is 503 and nginx
	// receives 403.
	checkOutage := func(h *client, p *process, line, what string) {
		var a *answer
		if !until(func() bool { a = h.page(p, line); return a.status != 200 }) {
			h.failf("%s: pages are still served", what)
		}
		if a.status != 503 || a.header["Set-Cookie"] != nil || a.header.Get("Retry-After") == "" {
			h.failf("%s: a page is %v, want 503, Retry-After, no cookie", what, a)
		}
		a = h.send(request{
			to:   p.addr,
			from: gateway,
			raw: requestText("GET", "/oauth2/auth", h.id, line, "X-Original-URI: /page", "X-Original-Method: GET",
				"X-Forwarded-Host: app.test", "X-Forwarded-Proto: https"),
			failing: true,
			slow:    true,
		})
		if a.status != 403 || a.header.Get("X-Dinggate-Reason") == "" || a.header["Set-Cookie"] != nil {
			h.failf("%s: /oauth2/auth is %v, want 403 with a reason", what, a)
		}
	}
	awaitRecovery := func(h *client, p *process, line string) {
		var a *answer
		if !until(func() bool { a = h.page(p, line); return a.status == 200 }) {
			h.failf("after the outage: %v", a)
		}
	}
	for name, change := range map[string]struct{ fail, recover func(*realtool.Redis) }{
		"V14 Redis dies and returns": {(*realtool.Redis).Kill, (*realtool.Redis).Start},
		"V15 Redis hangs":            {(*realtool.Redis).Hang, (*realtool.Redis).Wake},
	} {
		add(name, func(h *client) {
			redis := realtool.StartRedis(s.t, "--appendonly", "yes", "--appendfsync", "always")
			defer redis.Kill()
			p := s.inRedis(redis.URL())
			defer p.kill()
			line := h.signInAt(p, "zhangsan")
			change.fail(redis)
			checkOutage(h, p, line, name)
			change.recover(redis)
			awaitRecovery(h, p, line)
		})
	}
	add("V16 C17 Redis is emptied; its data contains nothing readable", func(h *client) {
		redis := realtool.StartRedis(s.t)
		defer redis.Kill()
		p := s.inRedis(redis.URL())
		defer p.kill()
		line := h.signInAt(p, "zhangsan")
		who, _ := s.sim.Who("zhangsan")
		_, cookie, _ := strings.Cut(line, sessionCookie+"=")
		dump := dumped(redis)
		for _, secret := range []string{canary, cookie, cookie[:len(cookie)/2], who.UnionID, who.Name, who.OrgEmail,
			"zhangsan"} {
			for name, form := range forms(secret) {
				if len(form) > 5 && strings.Contains(dump, form) {
					h.failf("%.12s… can be read in the store (%s)", secret, name)
				}
			}
		}
		for _, key := range strings.Fields(redis.Do("KEYS", "*")) { // no key in the store is a ticket
			for _, ticket := range []string{key, key[strings.LastIndexByte(key, ':')+1:]} {
				if a := h.send(request{
					to: p.addr,
					raw: requestText("GET", "/page", h.id, "Accept: text/html",
						"Cookie: "+sessionCookie+"="+ticket),
					cleared: true,
				}); a.status == 200 {
					h.failf("a key of the store is accepted as a ticket: %q", ticket)
				}
			}
		}
		redis.Do("FLUSHALL")
		if !until(func() bool { a := h.page(p, line); return a.status == 302 }) {
			h.failf("the store is empty, and the person is still signed in: %v", h.page(p, line))
		}
		again := h.signInAt(p, "zhangsan")
		if a := h.page(p, again); a.status != 200 {
			h.failf("a new sign-in: %v", a)
		}
	})
	add("V13 Redis unreachable at the start", func(h *client) {
		redis := realtool.StartRedis(s.t)
		redis.Kill()
		p := s.inRedis(redis.URL())
		defer p.kill()
		if a := h.send(request{to: p.addr, raw: requestText("GET", "/public/x", h.id), authorized: true}); a.status != 200 {
			h.failf("a public page: %v", a)
		}
		admin := "GET /ready HTTP/1.1\r\nHost: localhost\r\nX-Case: " + h.id + "\r\n\r\n"
		if a := h.send(request{to: p.admin, elsewhere: true, slow: true, raw: admin}); a.status != 503 {
			h.failf("/ready: %v", a)
		}
		redis.Start()
		defer redis.Kill()
		if !until(func() bool {
			return h.send(request{to: p.admin, elsewhere: true, slow: true, raw: admin}).status == 200
		}) {
			h.failf("not ready with Redis back")
		}
		h.signInAt(p, "zhangsan")
	})
	for _, reply := range []string{"LOADING Redis is loading the dataset in memory",
		"READONLY You can't write against a read only replica.",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"NOAUTH Authentication required.", "MOVED 3999 127.0.0.1:6381", "CLUSTERDOWN The cluster is down",
		"ERR unknown", "", "\x00"} {
		add(fmt.Sprintf("V15 Redis replies %.9q", reply), func(h *client) {
			redis := realtool.StartRedis(s.t)
			defer redis.Kill()
			proxy := newFaultyProxy(s.t, redis.Addr)
			defer proxy.close()
			p := s.inRedis("redis://" + proxy.l.Addr().String() + "/0")
			defer p.kill()
			line := h.signInAt(p, "zhangsan")
			proxy.replyWith(&reply)
			checkOutage(h, p, line, fmt.Sprintf("%.9q", reply))
			proxy.replyWith(nil)
			awaitRecovery(h, p, line)
		})
	}
	add("C10 V14 a sign-out reaches the other replica", func(h *client) {
		redis := realtool.StartRedis(s.t)
		defer redis.Kill()
		p, other := s.inRedis(redis.URL()), s.inRedis(redis.URL())
		defer p.kill()
		defer other.kill()
		line := h.signInAt(p, "zhangsan")
		if a := h.page(other, line); a.status != 200 {
			h.failf("at the other replica: %v", a)
		}
		a := h.send(request{
			to:      p.addr,
			method:  "POST",
			cleared: true,
			raw: requestText("POST", "/oauth2/sign_out", h.id, line, "Sec-Fetch-Site: same-origin",
				"Content-Length: 0"),
		})
		if a.status >= 400 {
			h.failf("signing out: %v", a)
		}
		if a := h.page(p, line); a.status != 302 {
			h.failf("here: %v", a)
		}
		if !until(func() bool { return h.page(other, line).status == 302 }) {
			h.failf("still signed in there")
		}
	})
}

// replicas covers V11 and V12: several replicas look up a person once.
func replicas(s *env, add func(string, func(*client))) {
	add("V11 two replicas, one lookup", func(h *client) {
		redis := realtool.StartRedis(s.t)
		defer redis.Kill()
		var all []*process
		for range 2 {
			p := s.inRedis(redis.URL(), "recheck: 1h", "recheck: 1s")
			defer p.kill()
			all = append(all, p)
		}
		line := h.signInAt(all[0], "zhangsan")
		s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Delay(200 * time.Millisecond)})
		before, began := s.sim.Calls(userGet), time.Now()
		var load sync.WaitGroup
		for i := range 4 {
			load.Go(func() {
				for time.Since(began) < 3*time.Second {
					w := &rawConns{idle: map[string]*rawConn{}}
					if a, err := w.send(request{
						raw:  requestText("GET", "/page", h.id, line),
						from: untrusted,
						to:   all[i%2].addr,
					}); err != nil || a.status != 200 {
						h.failf("got %v %v", a, err)
						return
					}
					w.close()
				}
			})
		}
		load.Wait()
		if n, most := s.sim.Calls(userGet)-before, int(time.Since(began)/time.Second)+1; n > most {
			h.failf("%d lookups of one person in %v, want at most %d", n, time.Since(began), most)
		}
	})
	if night() {
		add("V12 the replica that looks a person up dies", func(h *client) {
			redis := realtool.StartRedis(s.t)
			defer redis.Kill()
			first, second := s.inRedis(redis.URL(), "recheck: 1h", "recheck: 1s"),
				s.inRedis(redis.URL(), "recheck: 1h", "recheck: 1s")
			defer second.kill()
			line := h.signInAt(first, "zhangsan")
			s.sim.Fault(simulator.Fault{On: userGet, Do: simulator.Hang()})
			before := s.sim.Calls(userGet)
			until(func() bool { h.page(first, line); return s.sim.Calls(userGet) > before })
			first.kill()
			s.sim.ClearFaults()
			before = s.sim.Calls(userGet)
			if !until(func() bool { h.page(second, line); return s.sim.Calls(userGet) > before }) {
				h.failf("the other replica does not take over")
			}
		})
	}
}

// dumped returns everything that a Redis holds, keys and values.
func dumped(redis *realtool.Redis) string {
	var all strings.Builder
	for _, key := range strings.Split(strings.TrimSuffix(redis.Do("KEYS", "*"), "\n"), "\n") {
		fmt.Fprintln(&all, key)
		for _, command := range [][]string{{"GET", key}, {"HGETALL", key}, {"SMEMBERS", key},
			{"ZRANGE", key, "0", "-1", "WITHSCORES"}, {"XRANGE", key, "-", "+"}, {"LRANGE", key, "0", "-1"}} {
			fmt.Fprintln(&all, redis.Do(command...))
		}
	}
	return all.String()
}

// faultyProxy is a proxy in front of a Redis. It forwards everything until a reply is set. The reply
// is the error that answers every command, or "" to close the connection.
type faultyProxy struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	reply *string
	open  []net.Conn
}

func newFaultyProxy(t *testing.T, to string) *faultyProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &faultyProxy{l: l, to: to}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

// replyWith changes the replies on new connections and closes the open ones.
func (r *faultyProxy) replyWith(reply *string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply = reply
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

func (r *faultyProxy) close() {
	r.l.Close()
	closed := ""
	r.replyWith(&closed)
}

func (r *faultyProxy) serve(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	reply := r.reply
	r.open = append(slices.Clip(r.open), c)
	r.mu.Unlock()
	switch {
	case reply == nil:
		redis, err := net.Dial("tcp", r.to)
		if err != nil {
			return
		}
		defer redis.Close()
		go func() { io.Copy(redis, c); redis.Close() }()
		io.Copy(c, redis)
	case *reply != "":
		for in := bufio.NewReader(c); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			var words int
			if n, _ := fmt.Sscanf(line, "*%d\r\n", &words); n != 1 {
				continue // a word of the command, or its length
			}
			if _, err := fmt.Fprintf(c, "-%s\r\n", *reply); err != nil {
				return
			}
		}
	}
}
