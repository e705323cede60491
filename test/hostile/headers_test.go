package hostile

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// protectedNames are header names that some application reads as the identity or the address of a
// client. An upstream receives each of them from dinggate or not at all.
var protectedNames = []string{
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups",
	"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Access-Token",
	"X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Rewrite-URL", "X-Real-IP",
	"X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "Proxy",
	"Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Forwarded-Client-Cert", "X-SSL-Client-DN",
	"SSL-Client-Cert", "X-Dinggate-Assertion", "X-Request-Id", "X-HTTP-Method-Override",
}

// spellings write a header name in ways that some framework folds to the same name: only letters
// and digits are significant.
var spellings = []func(string) string{
	func(s string) string { return s },
	strings.ToLower,
	strings.ToUpper,
	func(s string) string { return strings.ReplaceAll(s, "-", "_") },
	func(s string) string { return strings.ReplaceAll(s, "-", ".") },
	func(s string) string { return strings.Replace(strings.ToLower(s), "-", "_", 1) },
	func(s string) string { return strings.ReplaceAll(s, "-", "") },
	func(s string) string { return strings.ReplaceAll(s, "-", "--") },
	func(s string) string { return "_" + s },
	func(s string) string { return s + "-" },
	func(s string) string { return strings.ReplaceAll(s, "-", "~") },
	alternate,
}

func alternate(s string) string {
	b := []byte(strings.ToLower(s))
	for i := 1; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

const forged = "FORGED"

// handshake is the header of a WebSocket handshake from the page's own origin.
var handshake = []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	"Sec-WebSocket-Version: 13", "Origin: https://app.test"}

// headers covers class H: the identity headers that an upstream receives.
func headers(s *env) (list []try) {
	s.up.handle("ws", func(c net.Conn, _ *upstreamRequest) {
		fmt.Fprintf(c,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Upstream: %s\r\n"+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", mark)
		time.Sleep(10 * time.Millisecond)
	})
	forms := [][]string{}
	for _, name := range protectedNames {
		for _, spell := range spellings {
			forms = append(forms, []string{spell(name) + ": " + forged})
		}
		many := slices.Repeat([]string{name + ": " + forged}, 40)
		forms = append(forms, // H3: several copies, one empty, many; a list; white space
			[]string{name + ": " + forged, strings.ReplaceAll(name, "-", "_") + ": " + forged,
				strings.ToLower(name) + ": " + forged},
			[]string{name + ":", name + ": " + forged}, many, []string{name + ":\t " + forged + " \t"})
	}
	for _, lines := range forms {
		for _, where := range []struct {
			name, target string
			member, ws   bool
		}{{"anonymous", "/page", false, false}, {"signed in", "/page", true, false},
			{"public", "/public/page", false, false}, {"WebSocket", "/act/ws", true, true},
			{"signed in on a public route", "/public/page", true, false}} {
			list = append(list, try{fmt.Sprintf("H1 %s %.100q", where.name, lines), func(h *client) {
				forge(h, where.target, where.member, where.ws, lines)
			}})
		}
	}
	list = append(list, connectionLists()...)
	list = append(list, trailers()...)
	list = append(list, directoryValues(s)...)
	list = append(list, ownClaims()...)
	return append(list, ignoredClaims()...)
}

func forge(h *client, target string, member, ws bool, lines []string) {
	public := strings.HasPrefix(target, "/public/")
	if lines = slices.Clone(lines); member {
		lines = append(lines, h.member("zhangsan"))
	}
	if ws {
		lines = append(lines, handshake...)
	}
	a := h.send(request{raw: requestText("GET", target, h.id, lines...), authorized: member || public, fresh: ws})
	seen := h.env.up.received(h.id)
	if !member && !public {
		if len(seen) > 0 || a.status != 401 {
			h.failf("an anonymous client got %v", a)
		}
		return
	}
	if want := 200; ws && a.status != 101 || !ws && a.status != want {
		h.failf("got %v", a)
	}
	if len(seen) == 0 {
		h.failf("the application received no request")
		return
	}
	h.clean(&seen[len(seen)-1], member)
}

// clean checks the headers that the application received.
func (h *client) clean(got *upstreamRequest, member bool) {
	if strings.Contains(got.head, forged) {
		h.failf("a forged value arrived: %q", got.head)
	}
	who := map[string]string{"X-Forwarded-User": "", "X-Forwarded-Email": "", "X-Forwarded-Preferred-Username": "",
		"X-Forwarded-Groups": ""}
	if member {
		who = map[string]string{"X-Forwarded-User": "zhangsan", "X-Forwarded-Email": "zhangsan@yunfan.example",
			"X-Forwarded-Preferred-Username": "%E5%BC%A0%E4%B8%89", "X-Forwarded-Groups": "%E4%B8%BB%E7%AE%A1"}
	}
	for name, want := range who {
		if v := got.values(name); member && (len(v) != 1 || v[0] != want) || !member && strings.Join(v, "") != "" {
			h.failf("%s arrived as %q, want %q", name, v, want)
		}
	}
	for name, want := range map[string]string{"X-Forwarded-For": untrusted, "X-Real-IP": untrusted,
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.test"} {
		if v := got.values(name); len(v) != 1 || v[0] != want {
			h.failf("%s arrived as %q, want %q", name, v, want)
		}
	}
	for _, name := range protectedNames {
		if v := got.values(name); len(v) > 1 {
			h.failf("%s arrived %d times", name, len(v))
		}
	}
	if strings.Contains(strings.ToLower(got.head), "dinggate=") || strings.Contains(got.head, "dinggate-attempt") {
		h.failf("our cookie arrived: %q", got.head)
	}
}

// connectionLists covers H4: names that a Connection header declares hop-by-hop.
func connectionLists() (list []try) {
	names := append(slices.Clone(protectedNames[:12]), "Cookie", "X-Real-IP", "X-Request-Id", "Host")
	for _, name := range names {
		for _, lines := range [][]string{
			{"Connection: " + name}, {"Connection: close, " + strings.ToLower(name)},
			{"Connection: keep-alive", "Connection: " + strings.ToUpper(name)}, {"Connection: ," + name + ",,"},
			{"connection:\t" + name + " "}, {"Connection: " + strings.ReplaceAll(name, "-", "_") + "," + name},
			{"Proxy-Connection: " + name}, {"Keep-Alive: " + name}, {"Connection: " + name, name + ": " + forged},
		} {
			if name == "Cookie" || name == "Host" {
				lines = lines[:1]
			}
			list = append(list,
				try{fmt.Sprintf("H4 %q", lines), func(h *client) { forge(h, "/page", true, false, lines) }})
		}
	}
	return list
}

// trailers covers H5: the trailers of a chunked body.
func trailers() (list []try) {
	for _, name := range protectedNames {
		for _, spell := range spellings[:5] {
			for _, announced := range []bool{true, false} {
				list = append(list, try{fmt.Sprintf("H5 %s announced %v", spell(name), announced), func(h *client) {
					lines := []string{"Transfer-Encoding: chunked", h.member("zhangsan")}
					if announced {
						lines = append(lines, "Trailer: "+spell(name)+", X-Fine")
					}
					raw := requestText("POST", "/page", h.id, lines...) + "3\r\nabc\r\n0\r\n" + spell(name) + ": " +
						forged + "\r\nX-Fine: yes\r\n\r\n"
					a := h.send(request{method: "POST", raw: raw, authorized: true})
					if a.status == 200 && len(h.env.up.received(h.id)) != 1 {
						h.failf("a response without the application: %v", a)
					}
					for _, got := range h.env.up.received(h.id) {
						if whole := got.head + string(got.body); strings.Contains(whole, forged) ||
							strings.Count(fold(got.head+string(got.body)), fold(name)) > strings.Count(fold(got.head),
								fold(name)) || !strings.HasPrefix(string(got.body), "abc") {
							h.failf("the trailer arrived: %q, response %v", whole, a)
						}
						h.clean(&got, true)
					}
				}})
			}
		}
	}
	return list
}

// ignoredClaims covers H6–H8, H14 and H15: claims that change nothing.
func ignoredClaims() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, spell := range spellings[:7] {
		for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			for _, method := range []string{"POST", "DELETE", "PUT"} {
				line := spell(name) + ": GET"
				add("H14 "+method+" "+line, func(h *client) {
					if a := h.send(request{
						method: method,
						raw:    requestText(method, "/read/x", h.id, line, "Content-Length: 0"),
					}); a.status != 401 {
						h.failf("got %v, want 401", a)
					}
					h.send(request{
						method:     method,
						authorized: true,
						raw:        requestText(method, "/public/x", h.id, line, "Content-Length: 0"),
					})
					for _, got := range h.env.up.received(h.id) {
						if len(got.values(name)) > 0 || got.method != method {
							h.failf("the override arrived: %q", got.head)
						}
					}
				})
			}
		}
	}
	for _, agent := range []string{"kube-probe/1.33", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Prometheus/2",
		"DingTalk/8.0", "AliApp(DingTalk/7.0.0)", "dingtalk-win/1.0.0", "DingTalkBot", "dingtalk-linkservice",
		"curl/8", "HealthChecker", "Consul Health Check", "Mozilla/5.0 (compatible; UptimeRobot)", ""} {
		for _, target := range []string{"/page", "/admin/", "/ping", "/healthz", "/robots.txt", "/favicon.ico",
			"/.well-known/acme-challenge/x", "/oauth2/auth", "/oauth2/userinfo", "/oauth2/metrics", "/livez",
			"/ready", "/metrics", "/debug/pprof/"} {
			add("H15 "+agent+" at "+target, func(h *client) {
				if a := h.send(request{raw: requestText("GET", target, h.id,
					"User-Agent: "+agent)}); a.status != 401 && a.status != 404 {
					h.failf("got %v", a)
				}
			})
		}
	}
	for _, value := range []string{"Basic dXNlcjpwYXNz", "Bearer abc.def", "Digest username=\"x\"", "Negotiate YII=",
		"anything"} {
		add("H8 "+value, func(h *client) {
			h.send(request{
				authorized: true,
				raw:        requestText("GET", "/page", h.id, "Authorization: "+value, h.member("zhangsan")),
			})
			if seen := h.env.up.received(h.id); len(seen) != 1 ||
				!slices.Equal(seen[0].values("Authorization"), []string{value}) {
				h.failf("Authorization arrived as %+v", seen)
			}
			if a := h.send(request{raw: requestText("GET", "/page", h.id, "Authorization: "+value)}); a.status != 401 {
				h.failf("it is accepted as a session: %v", a)
			}
		})
	}
	for _, host := range []string{"APP.TEST", "App.Test.", "app.test.", "app.test:443", "APP.TEST.:443",
		"app.test:0443"} {
		add("H13 "+host, func(h *client) {
			if a := h.send(request{
				raw:        requestText("GET", "/page", h.id, "Host: "+host, h.member("zhangsan")),
				authorized: true,
			}); a.status != 200 && a.status != 400 {
				h.failf("got %v", a)
			}
			for _, got := range h.env.up.received(h.id) {
				if got.value("Host") != "app.test" || got.value("X-Forwarded-Host") != "app.test" {
					h.failf("arrived as %q", got.head)
				}
			}
		})
	}
	for _, host := range []string{"evil.test", "app.test.evil.test", "xapp.test", "127.0.0.1", "localhost", "[::1]",
		"app.test:444", "app", "APP.TEST.EVIL"} {
		add("H13 foreign "+host, func(h *client) {
			if a := h.send(request{
				raw:        requestText("GET", "/page", h.id, "Host: "+host, h.member("zhangsan")),
				authorized: host == "app.test:444",
			}); host == "127.0.0.1" && a.status != 404 ||
				host != "127.0.0.1" && host != "app.test:444" && a.status != 421 {
				h.failf("got %v, want 404 at our own address and 421 elsewhere", a)
			}
		})
	}
	return list
}

// directoryValues covers H9–H11: the values in the directory and how they arrive at the application.
func directoryValues(s *env) (list []try) {
	for i, value := range []string{
		"a\r\nX-Forwarded-User: boss", "a\nb", "a\rb", "a\x00b", "张三", "\u202egnahz", "a,b", "a;b", `"a"`, "a%2Cb",
		"%E5%BC%A0", "a\tb", " a ", "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "😀", "a\u2028b", "é",
		"e\u0301", "admin", "=cmd|' /C calc'!A0", "嘊嘍X: y", strings.Repeat("长", 80), "a:b", `a\b`, "a'b", "$(id)",
		"\u0085x",
	} {
		id := fmt.Sprintf("h%d", i)
		list = append(list, try{fmt.Sprintf("H9 name %.60q", value), func(h *client) {
			got := h.newMember(id, value, "")
			if got == nil {
				return
			}
			name := got.values("X-Forwarded-Preferred-Username")
			if len(name) != 1 {
				h.failf("the name arrived as %q", name)
				return
			}
			if plain, err := url.PathUnescape(name[0]); err != nil ||
				strings.TrimSpace(plain) != strings.TrimSpace(value) &&
					!strings.ContainsAny(value, "\r\n\x00\t\u0085") &&
					!(len(value) > 200 && strings.HasPrefix(value, plain)) {
				h.failf("the name arrived as %q, which is %q", name[0], plain)
			}
			for i := 0; i < len(got.head); i++ {
				if got.head[i] >= 0x7f {
					h.failf("a byte above ASCII arrived: %q", got.head)
					return
				}
			}
			if v := got.values("X-Forwarded-User"); len(v) != 1 || v[0] != id {
				h.failf("the user arrived as %q", v)
			}
		}})
	}
	for i, mail := range []string{"a@b@yunfan.example", "zhangsan@yunfan.example,boss@yunfan.example",
		"<boss@yunfan.example>", "boss @yunfan.example", "boss@yunfan.example.", "BOSS@YUNFAN.EXAMPLE",
		"boss@yunfan.example\r\nX: y", "@yunfan.example", "boss@", "boss", `"a@evil.test"@yunfan.example`,
		"boss@yunfan.example ", "张@例.example", "boss@yunfan.example\x00@evil.test", "a@b;c@d"} {
		id := fmt.Sprintf("m%d", i)
		list = append(list, try{fmt.Sprintf("H10 mail %.60q", mail), func(h *client) {
			got := h.newMember(id, "人", mail)
			if got == nil {
				return
			}
			v := got.values("X-Forwarded-Email")
			if len(v) != 1 || strings.Count(v[0], "@") > 1 || strings.ContainsAny(v[0], ", <>\"\x00;") {
				h.failf("the mail arrived as %q", v)
			}
		}})
	}
	return list
}
