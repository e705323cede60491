package hostile

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"dinggate/dingtalk/simulator"
)

// cookies covers class C: which cookies are accepted as a session, and which cookies the
// application receives.
func cookies(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	value := func(h *client) string {
		_, text, _ := strings.Cut(h.member("zhangsan"), sessionCookie+"=")
		return text
	}
	refused := func(h *client, lines ...string) *answer {
		a := h.send(request{raw: requestText("GET", "/page", h.id, lines...)})
		if a.status != 401 && a.status != 400 && a.status != 431 || len(h.env.up.received(h.id)) > 0 {
			h.failf("got %v, want 401", a)
		}
		return a
	}
	// C5: every byte is changed, and every length is tried.
	first := &client{env: s, conns: &rawConns{idle: map[string]*rawConn{}}, id: "C-warm"}
	length := len(value(first))
	first.conns.close()
	for i := range length {
		add(fmt.Sprintf("C5 flip at %d", i), func(h *client) {
			b := []byte(value(h))
			if b[i] ^= byte(1 << (i % 6)); b[i] == ';' || b[i] <= ' ' {
				b[i] = 'A'
			}
			refused(h, "Cookie: "+sessionCookie+"="+string(b))
		})
		add(fmt.Sprintf("C5 cut at %d", i), func(h *client) { refused(h, "Cookie: "+sessionCookie+"="+value(h)[:i]) })
	}
	for i := range 200 {
		add(fmt.Sprintf("C5 otherwise %d", i), func(h *client) {
			refused(h, "Cookie: "+sessionCookie+"="+corrupt(value(h), i))
		})
	}
	for i := range 10 {
		add(fmt.Sprintf("C5 spliced %d", i), func(h *client) {
			one := value(h)
			_, two, _ := strings.Cut(h.member("lisi"), sessionCookie+"=")
			at := (i + 1) * min(len(one), len(two)) / 11
			refused(h, "Cookie: "+sessionCookie+"="+one[:at]+two[at:])
			refused(h, "Cookie: "+sessionCookie+"="+two[:at]+one[at:])
		})
	}
	list = append(list, duplicateCookies(value, refused)...)
	list = append(list, stripped(value)...)
	list = append(list, planted(s)...)
	list = append(list, applicationCookies()...)
	return append(list, sessionLifetime()...)
}

// duplicateCookies covers C3, C4, C11 and C12: cookies beside the genuine one, and cookies whose names
// resemble its name.
func duplicateCookies(value func(*client) string, refused func(*client, ...string) *answer) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, c := range []struct {
		lines []string
		in    bool
	}{
		{[]string{"S=V; S=junk"}, true}, {[]string{"S=junk; S=V"}, true}, {[]string{"S=V", "S=junk"}, true},
		{[]string{"S=junk", "S=V"}, true}, {[]string{"S=; S=V"}, true}, {[]string{"a=b; S=V; c=d"}, true},
		{[]string{"S=V; S=V"}, false},
		{[]string{"S=V; S=W"}, false}, {[]string{"S=W; S=V"}, false}, {[]string{"S=V", "S=W"}, false},
		{[]string{"S=W; S=junk; S=V"}, false},
		{[]string{"S =V"}, false}, {[]string{"S\t=V"}, false}, {[]string{"s=V"}, false},
		{[]string{"__host-dinggate=V"}, false}, {[]string{"dinggate=V"}, false},
		{[]string{"__Secure-dinggate=V"}, false}, {[]string{"__HOST-DINGGATE=V"}, false},
		{[]string{"\u00a0S=V"}, false}, {[]string{"\u2000S=V"}, false},
		{[]string{"$Version=1, S=V"}, false}, {[]string{"=S=V"}, false}, {[]string{"=V"}, false},
		{[]string{`S="V"`}, false}, {[]string{`S="V`}, false}, {[]string{`a="x; S=V; y"`}, false},
		{[]string{`a="x; S=V"`}, false}, {[]string{"S=V,"}, false}, {[]string{"S=V x"}, false},
		{[]string{"a=S=V"}, false}, {[]string{"S: V"}, false}, {[]string{"S==V"}, false},
		{[]string{"S_0=V"}, false}, {[]string{"S-0=V"}, false}, {[]string{"S-1=V; S-2=V"}, false},
		{[]string{"S.0=V"}, false}, {[]string{"S[]=V"}, false}, {[]string{"%53=V"}, false},
		{[]string{"__Host%2Ddinggate=V"}, false}, {[]string{"__Host-dinggate%3DV"}, false},
		{[]string{"a=b,S=V"}, false}, {[]string{"a=b S=V"}, false}, {[]string{"a=b&S=V"}, false},
		{[]string{"S=V%20"}, false}, {[]string{"S=%56V"}, false},
	} {
		add(fmt.Sprintf("C3 C4 %q", c.lines), func(h *client) {
			_, other, _ := strings.Cut(h.member("lisi"), sessionCookie+"=")
			var lines []string
			for _, line := range c.lines {
				if strings.HasPrefix(line, "__") || strings.HasPrefix(line, "dinggate") ||
					strings.HasPrefix(line, "%53") {
					line = strings.ReplaceAll(line, "=V", "="+value(h))
				} else {
					line = strings.NewReplacer("S=", sessionCookie+"=", "S ", sessionCookie+" ", "S\t",
						sessionCookie+"\t", "S:", sessionCookie+":", "S_", sessionCookie+"_", "S-", sessionCookie+"-",
						"S.", sessionCookie+".", "S[", sessionCookie+"[", "V", value(h), "W", other).Replace(line)
				}
				lines = append(lines, "Cookie: "+line)
			}
			if !c.in {
				refused(h, lines...)
				return
			}
			a := h.send(request{raw: requestText("GET", "/page", h.id, lines...), authorized: true})
			if seen := h.env.up.received(h.id); a.status != 200 || len(seen) != 1 ||
				seen[0].value("X-Forwarded-User") != "zhangsan" || strings.Contains(seen[0].head, "dinggate") {
				h.failf("got %v, the application received %+v", a, seen)
			}
		})
	}
	for _, n := range []int{100, 2999, 3000, 6000} {
		for _, at := range []string{"first", "last"} {
			add(fmt.Sprintf("C12 %d cookies, ours %s", n, at), func(h *client) {
				line := strings.Repeat("a=b; ", n) + sessionCookie + "=" + value(h)
				if at == "first" {
					line = sessionCookie + "=" + value(h) + strings.Repeat("; a=b", n)
				}
				a := h.send(request{raw: requestText("GET", "/page", h.id, "Cookie: "+line), authorized: true})
				if want := map[bool]int{true: 200, false: 431}[n < 3000]; a.status != want {
					h.failf("got %v, want %d", a, want)
				}
				for _, got := range h.env.up.received(h.id) {
					if strings.Contains(got.head, "dinggate") || strings.Count(got.head, "a=b") != n {
						h.failf("arrived changed; response %v", a)
					}
				}
			})
		}
	}
	add("C12 60 KiB of cookies", func(h *client) {
		a := h.send(request{
			raw: requestText("GET", "/page", h.id,
				"Cookie: "+sessionCookie+"="+value(h)+"; a="+strings.Repeat("b", 60<<10)),
			authorized: true,
		})
		if a.status != 431 || len(h.env.up.received(h.id)) > 0 {
			h.failf("got %v, want 431 and nothing forwarded", a)
		}
	})
	add("C11 10,000 pieces", func(h *client) {
		var b strings.Builder
		for i := range 2500 {
			fmt.Fprintf(&b, "%s_%d=x; ", sessionCookie, i)
		}
		refused(h, "Cookie: "+b.String())
		h.send(request{raw: requestText("GET", "/public/p", h.id, "Cookie: "+b.String()+"app=1"), authorized: true})
		for _, got := range h.env.up.received(h.id) {
			if got.value("Cookie") != "app=1" {
				h.failf("pieces arrived: %.300q", got.value("Cookie"))
			}
		}
	})
	return list
}

// stripped covers C13: the application's cookies are forwarded byte for byte, and no cookie of
// dinggate is forwarded.
func stripped(value func(*client) string) (list []try) {
	for line, want := range map[string]string{
		"a=1; S=V; b=2": "a=1; b=2", "S=V; a=1": "a=1", "a=1; S=V": "a=1", "a=1;b=2;S=V": "a=1;b=2",
		`a="x y"; S=V`: `a="x y"`, "a=1; S=V; S-attempt-0=x; b": "a=1; b", "a=%E5%BC%A0; S=V": "a=%E5%BC%A0",
		"a=张; S=V": "a=张", "a=1,2; S=V": "a=1,2", "a==; S=V": "a==", "a; S=V": "a", "; S=V; a=1": "",
		`a={"b":1}; S=V`: `a={"b":1}`, "A=1; a=2; S=V": "A=1; a=2", "dinggate=x; a=1; S=V": "a=1",
		"Dinggate-Attempt=x; a=1; S=V": "a=1", "S=junk; S=V; a=1": "a=1", "_oauth2_proxy=x; S=V": "_oauth2_proxy=x",
		"a=1;  b=2; S=V": "a=1;  b=2",
		"mydinggate=1; S=V; dinggate_theme=dark; dinggateway=x": "mydinggate=1; " +
			"dinggate_theme=dark; dinggateway=x",
		"S=V; __Host-dinggateway=1; dinggate-attempts=2; dinggate-linked=3; dinggate-language=4": "__Host-dinggateway=1; " +
			"dinggate-attempts=2; dinggate-linked=3; dinggate-language=4",
		`S=V; p="a; mydinggate=1"; q=/?dinggate=1`: `p="a; mydinggate=1"; q=/?dinggate=1`,
		`S=V; p="a; S=V"; a=1`:                     "a=1", `S=V; p="a;S =V"; a=1`: "a=1", "S=V; p=x, S=V; a=1": "a=1",
		"S=V; p=x S=V; a=1": "a=1",
		"S=V; S[]=V; S.0=V; ..Host-dinggate=V; __Host%2Ddinggate=V; S%20=V; =S=V; a=1": "a=1",
		"S=V; dinggate-link=x; dinggate-lang=zh; DINGGATE-LANG=en; a=1":                "a=1",
	} {
		list = append(list, try{"C13 " + line, func(h *client) {
			text := strings.NewReplacer("S=V", sessionCookie+"="+value(h), "S=junk", sessionCookie+"=junk", "S-",
				sessionCookie+"-", "S[", sessionCookie+"[", "S.", sessionCookie+".", "S%", sessionCookie+"%", "S ",
				sessionCookie+" ", "=V", "="+value(h)).Replace(line)
			h.send(request{raw: requestText("GET", "/page", h.id, "Cookie: "+text), authorized: true})
			seen := h.env.up.received(h.id)
			if len(seen) != 1 {
				h.failf("the application received %d requests", len(seen))
				return
			}
			if got := strings.Join(seen[0].values("Cookie"), "|"); want != "" && got != want ||
				want == "" && strings.Contains(got, "dinggate") {
				h.failf("arrived as %q, want %q", got, want)
			}
		}})
	}
	return list
}

// planted covers C14: an application sets or clears the cookies of dinggate.
func planted(s *env) (list []try) {
	s.up.handle("plant", func(c net.Conn, r *upstreamRequest) {
		line, _ := url.QueryUnescape(r.target[strings.IndexByte(r.target, '?')+1:])
		io.WriteString(c,
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\n"+line+"\r\nSet-Cookie: app=own; Path=/\r\nContent-Length: 0\r\n\r\n")
	})
	for _, line := range []string{"Set-Cookie: __Host-dinggate=x; Path=/; Secure",
		"Set-Cookie: __Host-dinggate=; Max-Age=0; Path=/; Secure", "set-cookie: __host-dinggate=x",
		"Set-Cookie:  __Host-dinggate=x", "Set-Cookie: __Host-dinggate =x", "Set-Cookie:\t__Host-dinggate=x",
		"Set-Cookie: dinggate=x", "Set-Cookie: __Host-dinggate-attempt-0=x",
		"Set-Cookie: a=b\r\nSet-Cookie: __Host-dinggate=x", "Set-Cookie: __Host-dinggate",
		"Set-Cookie: =__Host-dinggate=x", "Set-Cookie: __Host-dinggate\t=x", "SET-COOKIE: __HOST-DINGGATE=x",
		"Set-Cookie: dinggate-lang=en", "Set-Cookie: __Secure-dinggate=x", "Set-Cookie: \u00a0__Host-dinggate=x",
		"Set-Cookie: app2=1; dinggate=x", "Set-Cookie2: __Host-dinggate=x", "Clear-Site-Data: \"cookies\""} {
		list = append(list, try{"C14 " + line, func(h *client) {
			a := h.send(request{
				raw:        requestText("GET", "/act/plant?"+url.QueryEscape(line), h.id, h.member("zhangsan")),
				authorized: true,
				failing:    true,
				fresh:      true,
			})
			own := false
			for _, c := range a.header["Set-Cookie"] {
				own = own || c == "app=own; Path=/"
				if name, _, _ := strings.Cut(c, ";"); strings.Contains(strings.ToLower(name), "dinggate") {
					h.failf("the application set %q", c)
				}
			}
			if a.status == 200 && !own {
				h.failf("its own cookie is lost: %v", a)
			}
			if a.header["Clear-Site-Data"] != nil {
				h.failf("the application cleared our cookies: %v", a)
			}
		}})
	}
	return list
}

// applicationCookies covers the other side of C14: cookies whose names only resemble ours belong to the
// application.
func applicationCookies() (list []try) {
	for _, name := range resembling {
		list = append(list, try{"C14 not ours: " + name, func(h *client) {
			line := name + "=1; Path=/; Secure"
			a := h.send(request{
				raw: requestText("GET", "/act/plant?"+url.QueryEscape("Set-Cookie: "+line), h.id,
					h.member("zhangsan")),
				authorized: true,
				fresh:      true,
			})
			if !slices.Contains(a.header["Set-Cookie"], line) {
				h.failf("the application's cookie is lost: %v", a)
			}
		}})
	}
	return list
}

// sessionLifetime covers C1, C2, C10 and C16: the lifetime of a session.
func sessionLifetime() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	add("C1 planted before a sign-in", func(h *client) {
		_, planted, _ := strings.Cut(h.member("lisi"), sessionCookie+"=")
		v := h.visitor()
		state, _ := v.begin("/oauth2/start", "Cookie: "+sessionCookie+"="+planted)
		v.finish("zhangsan", state)
		if v.value(sessionCookie) == planted || v.value(sessionCookie) == "" {
			h.failf("the session is the planted one")
		}
		h.send(request{raw: requestText("GET", "/page", h.id, "Cookie: "+sessionCookie+"="+planted), authorized: true})
		if seen := h.env.up.received(h.id); len(seen) != 1 || seen[0].value("X-Forwarded-User") != "lisi" {
			h.failf("the planted cookie changed its identity: %+v", seen)
		}
	})
	add("C10 after a sign-out, C2", func(h *client) {
		v := h.visitor().signIn("zhangsan")
		old := v.value(sessionCookie)
		if a := v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin",
			"Origin: null", "Content-Length: 0"); a.status != 303 || v.value(sessionCookie) != "" {
			h.failf("sign-out = %v", a)
		}
		ended := "Cookie: " + sessionCookie + "=" + old
		for range 3 {
			if a := h.send(request{raw: requestText("GET", "/page", h.id, ended)}); a.status != 401 {
				h.failf("the old cookie got %v", a)
			}
		}
		for _, where := range []string{"/oauth2/sign_in", "/oauth2/sign_out", "/oauth2/userinfo",
			"/oauth2/callback?state=x", "/oauth2/start"} {
			a := h.send(request{raw: requestText("GET", where, h.id, "Accept: text/html", ended), cleared: true})
			if !strings.Contains(strings.Join(a.header["Set-Cookie"], "\n"), sessionCookie+"=;") {
				h.failf("%s does not clear an ended session's cookie: %v", where, a)
			}
		}
		for _, d := range endpoints[1:] {
			if a := d.do(h, "GET", "/page", []string{ended}); a.status != 401 {
				h.failf("%s: the old cookie got %v", d.name, a)
			}
		}
	})
	add("C16 200 departments", func(h *client) {
		var ids, roles []int64
		for i := range int64(200) {
			h.env.sim.AddDepartment(simulator.Department{ID: 90_000 + i, Name: strings.Repeat("部", 30) + fmt.Sprint(i)})
			ids = append(ids, 90_000+i)
		}
		roles = []int64{100, 101, 200, 300}
		h.env.sim.Join(simulator.Person{
			ID: "many",
			Record: simulator.Record{
				UserID:      "many",
				Name:        strings.Repeat("名", 60),
				OrgEmail:    strings.Repeat("m", 60) + "@yunfan.example",
				Departments: ids,
				Roles:       roles,
			},
		})
		h.env.budget.Add(400)
		v := h.visitor().signIn("many")
		if a := v.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
			h.failf("got %v", a)
		}
	})
	add("S people in parallel", func(h *client) {
		var all sync.WaitGroup
		for _, person := range []string{"zhangsan", "lisi", "wangwu"} {
			line := h.member(person)
			all.Go(func() {
				w := &rawConns{idle: map[string]*rawConn{}}
				defer w.close()
				for range 60 {
					a, err := w.send(request{
						raw:  requestText("GET", "/oauth2/userinfo", h.id, line),
						from: untrusted,
						to:   h.env.addr,
					})
					if err != nil || !strings.Contains(a.body, `"username":"`+person+`"`) {
						h.failf("%s got %v, %v", person, a, err)
						return
					}
				}
			})
		}
		all.Wait()
	})
	return list
}
