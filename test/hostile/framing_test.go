package hostile

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// probe is raw bytes that are sent to a public page of the application, so that they pass as many
// checks as possible. ID stands for the case id. SMUGGLED stands for a second request that must
// never be served.
type probe struct {
	name string
	text string
	want []int // statuses; 0 is a closed connection; empty: any status that the invariants allow
}

const smuggled = "GET /admin/smuggled HTTP/1.1\r\nHost: app.test\r\nX-Case: ID\r\n\r\n"

// post returns a POST with these header lines, followed by rest.
func post(lines, rest string) string {
	return "POST /public/m HTTP/1.1\r\nHost: app.test\r\nX-Case: ID\r\n" + lines + "\r\n" + rest
}

func get(lines string) string { return "GET /public/m HTTP/1.1\r\n" + lines + "X-Case: ID\r\n\r\n" }

// framing covers class M: requests that two programs parse differently.
func framing(s *env) (list []try) {
	for _, p := range slices.Concat(lengths(), encodings(), chunks(), hosts(), lineEnds(), sizes()) {
		list = append(list, try{p.name, func(h *client) { h.probe(p) }})
	}
	return slices.Concat(list, upgrades(s), misframed(s), connectionReuse(), bindings(s))
}

// probe sends p and checks that no smuggled request arrived.
func (h *client) probe(p probe) *answer {
	text := strings.ReplaceAll(strings.ReplaceAll(p.text, "SMUGGLED", smuggled), "ID", h.id)
	method, _, _ := strings.Cut(text, " ")
	a := h.send(request{
		method:     method,
		raw:        text,
		authorized: true,
		fresh:      true,
		more:       true,
		half:       !strings.Contains(text, "\n\r\n") && !strings.Contains(text, "\n\n"),
	})
	if len(p.want) > 0 && !slices.Contains(p.want, a.status) {
		h.failf("got %v, want %d", a, p.want)
	}
	if strings.Contains(a.body+a.rest, "/admin/smuggled") {
		h.failf("the application responded to the smuggled request: %q", a.rest)
	}
	h.checkFraming()
	return a
}

// checkFraming checks that no two programs can parse the received requests differently.
func (h *client) checkFraming() {
	for _, got := range h.env.up.received(h.id) {
		if strings.Contains(got.target, "smuggled") || strings.Contains(got.head, "smuggled") {
			h.failf("the smuggled request arrived: %q", got.head)
		}
		if len(got.values("Content-Length")) > 1 || len(got.values("Transfer-Encoding")) > 1 ||
			len(got.values("Content-Length"))+len(got.values("Transfer-Encoding")) > 1 || len(got.values("Host")) != 1 {
			h.failf("arrived with ambiguous framing: %q", got.head)
		}
		for _, line := range got.lines {
			if strings.ContainsAny(line, "\r\x00\n") || strings.HasPrefix(line, " ") ||
				strings.HasPrefix(line, "\t") || !strings.Contains(line, ":") {
				h.failf("an unclean line arrived: %q", line)
			}
		}
	}
}

func lengths() (list []probe) {
	for _, cl := range []string{"+5", "-5", "0x5", "5, 5", "5,6", "5 5", "05", "5.0", "5e0", "",
		"99999999999999999999", "18446744073709551621", "5\x00", "\x0b5", "５", "5;", "'5'", "chunked"} {
		want := []int{400}
		if cl == "05" {
			want = nil
		}
		list = append(list,
			probe{fmt.Sprintf("M1 Content-Length: %q", cl), post("Content-Length: "+cl+"\r\n", "helloSMUGGLED"), want})
	}
	for name, lines := range map[string]string{
		"CL then TE":       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"TE then CL":       "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
		"CL 0 and TE":      "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
		"CL long and TE":   "Content-Length: 500\r\nTransfer-Encoding: chunked\r\n",
		"two CL":           "Content-Length: 5\r\nContent-Length: 6\r\n",
		"two CL, empty":    "Content-Length: 5\r\nContent-Length:\r\n",
		"CL by underscore": "Content_Length: 50\r\nContent-Length: 0\r\n",
		"CL in Connection": "Connection: Content-Length\r\nContent-Length: 0\r\n",
		"TE in Connection": "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
		"CL and blank":     "Content-Length : 5\r\n",
		"name and blank":   "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
		"HTTP/1.0 TE":      "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
	} {
		text := post(lines, "0\r\n\r\nSMUGGLED")
		if name == "HTTP/1.0 TE" {
			text = strings.Replace(text, "HTTP/1.1", "HTTP/1.0", 1)
		}
		list = append(list, probe{"M1 " + name, text, nil})
	}
	// Bodies on methods that have none.
	for _, lines := range []string{"Content-Length: 60\r\n", "Transfer-Encoding: chunked\r\n",
		"Content-Length: 5\r\n"} {
		list = append(list,
			probe{"M1 GET with " + lines, strings.Replace(post(lines, "0\r\n\r\nSMUGGLED"), "POST", "GET", 1), nil})
	}
	return list
}

func encodings() (list []probe) {
	for _, te := range []string{"chunked, identity", "identity", "xchunked", "chunked, chunked", "\x0bchunked",
		"chunked;q=1", "gzip, chunked", "chunked, gzip", `"chunked"`, "chunked\x00", "chunked,", ",chunked", "cow",
		"chunke", "chunked cow", "chunKed\u00a0", "\u017fchunked", "identity, chunked", "deflate", "", "x",
		"chunked\tx"} {
		list = append(list,
			probe{fmt.Sprintf("M2 Transfer-Encoding: %q", te),
				post("Transfer-Encoding: "+te+"\r\n", "0\r\n\r\nSMUGGLED"), []int{400, 501}},
			probe{fmt.Sprintf("M2 Transfer-Encoding: %q and a length", te),
				post("Transfer-Encoding: "+te+"\r\nContent-Length: 5\r\n", "0\r\n\r\nSMUGGLED"), []int{400, 501}})
	}
	for _, lines := range []string{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding:\r\n chunked\r\n",
		"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "Transfer_Encoding: chunked\r\n",
		"Transfer-Encoding\r\n: chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n",
		"TE: chunked\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n"} {
		list = append(list, probe{fmt.Sprintf("M2 %q", lines), post(lines, "0\r\n\r\nSMUGGLED"), nil})
	}
	return list
}

func chunks() (list []probe) {
	bad := []int{400, 0}
	for _, c := range []struct {
		body string
		want []int
	}{
		{"5\r\nhello\r\n0\r\n\r\n", []int{200}}, {"5;ext\r\nhello\r\n0\r\n\r\n", nil},
		{"5;ext=\"\r\n\"\r\nhello\r\n0\r\n\r\n", nil}, {"05\r\nhello\r\n0\r\n\r\n", nil},
		{"5 \r\nhello\r\n0\r\n\r\n", nil}, {"5\t\r\nhello\r\n0\r\n\r\n", nil},
		{"5\nhello\n0\n\n", nil}, {"5\nhello\r\n0\r\n\r\n", nil}, {"5;\nx\r\nhello\r\n0\r\n\r\n", nil},
		{"+5\r\nhello\r\n0\r\n\r\n", bad}, {"-5\r\nhello\r\n0\r\n\r\n", bad}, {"0x5\r\nhello\r\n0\r\n\r\n", bad},
		{" 5\r\nhello\r\n0\r\n\r\n", bad}, {"g\r\nhello\r\n0\r\n\r\n", bad}, {"\r\nhello\r\n0\r\n\r\n", bad},
		{"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", bad}, {"10000000000000005\r\nhello\r\n0\r\n\r\n", bad},
		{"5\r\nhelloX\r\n0\r\n\r\n", bad}, {"5\r\nhello0\r\n\r\n", bad}, {"5\r\nhel\r\n0\r\n\r\n", bad},
		{"5\x0b\r\nhello\r\n0\r\n\r\n", bad}, {"5,5\r\nhello\r\n0\r\n\r\n", bad},
		{"5\rhello\r\n0\r\n\r\n", bad}, {"５\r\nhello\r\n0\r\n\r\n", bad},
		{"5;" + strings.Repeat("x", 100_000) + "\r\nhello\r\n0\r\n\r\n", bad},
		{strings.Repeat("1;x\r\na\r\n", 5000) + "0\r\n\r\n", nil}, {"5\r\nhello\r\n0\r\nno trailer\r\n\r\n", nil},
		{"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", nil},
		{"5\r\nhello\r\n0\r\nHost: evil.test\r\nTransfer-Encoding: x\r\n\r\n", nil},
		{"5\r\nhello\r\n0\r\nX: y\rZ: w\r\n\r\n", nil}, {"5\r\nhello\r\n00000000000000000\r\n\r\n", nil},
		{"5\r\nhello\r\n-0\r\n\r\n", bad},
	} {
		list = append(list,
			probe{fmt.Sprintf("M3 %.60q", c.body), post("Transfer-Encoding: chunked\r\n", c.body+"SMUGGLED"), c.want})
	}
	return list
}

func hosts() (list []probe) {
	for _, lines := range []string{"", "Host:\r\n", "Host: \t\r\n", "Host: app.test\r\nHost: app.test\r\n",
		"Host: app.test\r\nHost: evil.test\r\n", "Host: app.test, evil.test\r\n", "Host: user@app.test\r\n",
		"Host: app.test/x\r\n", "Host: app.test x\r\n", "Host: app.test\\x\r\n", "Host: app.test?x\r\n",
		"Host: app.test#x\r\n", "Host: app.test:\r\n", "Host: :80\r\n", "Host: app.test:port\r\n",
		"Host: app.test:80:80\r\n", "Host: app.test:-1\r\n", "Host: app.test:65536\r\n", "Host: ａpp.test\r\n",
		"Host: app.test\x00\r\n", "Host: app\x01.test\r\n", "Host: [::1\r\n", "Host: ::1\r\n", "Host: app..test\r\n",
		"Host: .app.test\r\n", "Host: app.test..\r\n", "Host: %61pp.test\r\n", "Host: app.test%2f\r\n",
		"Host: \"app.test\"\r\n", "Host : app.test\r\n", "Host: " + strings.Repeat("a", 300) + "\r\n",
		"Host: app.test;x\r\n", "Host: 'app.test'\r\n", "Host: [app.test]\r\n", "Host: [::1%25lo]\r\n"} {
		list = append(list, probe{fmt.Sprintf("M4 %.60q", lines), get(lines), []int{400}})
	}
	list = append(list, probe{"M4 HTTP/1.0 without Host", "GET /public/m HTTP/1.0\r\nX-Case: ID\r\n\r\n", []int{400}},
		probe{"M4 HTTP/1.0", "GET /public/m HTTP/1.0\r\nHost: app.test\r\nX-Case: ID\r\n\r\n", []int{200}})
	return list
}

func lineEnds() (list []probe) {
	const host = "Host: app.test\r\n"
	for _, c := range []string{
		"X-A: 1\nX-B: 2\r\n", "X-A: 1\r\n folded\r\n", "X-A: 1\r\n\tfolded\r\n", "X-A: a\rb\r\n", "X-A: a\r\r\n",
		"X-A: a\x00b\r\n", "X-A\r\n", "X A: 1\r\n", "X-A : 1\r\n", " X-A: 1\r\n", "\tX-A: 1\r\n", ": 1\r\n",
		"X-\x00A: 1\r\n", "X-A\x0b: 1\r\n", "X-\xe4: 1\r\n", "X-A: \x0b\r\n", "X-A: \x7f\r\n", "(X): 1\r\n",
		"X@A: 1\r\n", "X/A: 1\r\n", "\r\nSMUGGLED",
		"X-A: 1\r\n\r X-B: 2\r\n", "X-Forwarded-User\x00: boss\r\n", "X-Forwarded-User\t: boss\r\n",
		"X-Forwarded-User: a\r\n boss\r\n", "X-A: 1\r\n \r\nX-B: 2\r\n",
	} {
		list = append(list, probe{fmt.Sprintf("M5 %.50q", c), get(host + c), nil})
	}
	for _, text := range []string{
		"GET /public/m HTTP/1.1\nHost: app.test\nX-Case: ID\n\n",
		"GET /public/m HTTP/1.1\rHost: app.test\rX-Case: ID\r\r", " GET /public/m HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"\r\n\r\nGET /public/m HTTP/1.1\r\nHost: app.test\r\nX-Case: ID\r\n\r\n",
		"GET  /public/m HTTP/1.1\r\nHost: app.test\r\n\r\n", "GET\t/public/m\tHTTP/1.1\r\nHost: app.test\r\n\r\n",
		"GET /public/m HTTP/1.1 x\r\nHost: app.test\r\n\r\n", "GET /public/m http/1.1\r\nHost: app.test\r\n\r\n",
		"GET /public/m\r\n\r\n", "GET /public/m HTTP/0.9\r\n\r\n",
		"GET /public/m HTTP/1.2\r\nHost: app.test\r\nX-Case: ID\r\n\r\n",
		"GET /public/m HTTP/2.0\r\nHost: app.test\r\n\r\n", "GET /public/m HTTP/11\r\nHost: app.test\r\n\r\n",
		"GET /public/m HTTP/1.10\r\nHost: app.test\r\n\r\n", "GET /public/m HTTP/-1.1\r\nHost: app.test\r\n\r\n",
		"GET /public/m\x00 HTTP/1.1\r\nHost: app.test\r\n\r\n", "GET /public/m\x0bHTTP/1.1\r\nHost: app.test\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00\x00\x00",
		"HELO x\r\n", "GET /public/m HTTP/1.1\r\n\r\nHost: app.test\r\n\r\n",
		"\xef\xbb\xbfGET /public/m HTTP/1.1\r\nHost: app.test\r\n\r\n",
		"GET /public/m HTTP/1.1\r\nHost: app.test\r\nExpect: junk\r\nX-Case: ID\r\n\r\n",
	} {
		list = append(list, probe{fmt.Sprintf("M5 %.50q", text), text, nil})
	}
	return list
}

// sizes covers M15.
func sizes() (list []probe) {
	const host = "Host: app.test\r\n"
	list = []probe{
		{"M15 a target of 1 MiB", "GET /public/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n" + host + "\r\n",
			[]int{400, 414, 431, 0}},
		{"M15 a path of 10,000 segments",
			"GET /public" + strings.Repeat("/a", 10_000) + " HTTP/1.1\r\n" + host + "X-Case: ID\r\n\r\n", nil},
		{"M15 a path of slashes",
			"GET /public" + strings.Repeat("/", 30_000) + " HTTP/1.1\r\n" + host + "X-Case: ID\r\n\r\n", nil},
		{"M15 a path of escapes",
			"GET /public/" + strings.Repeat("%25", 15_000) + " HTTP/1.1\r\n" + host + "X-Case: ID\r\n\r\n", nil},
		{"M15 a path of parameters",
			"GET /public/" + strings.Repeat(";", 40_000) + " HTTP/1.1\r\n" + host + "X-Case: ID\r\n\r\n", nil},
		{"M15 a path of dots",
			"GET /public/" + strings.Repeat("a./", 15_000) + " HTTP/1.1\r\n" + host + "X-Case: ID\r\n\r\n", nil},
		{"M15 10,000 header lines", get(host + strings.Repeat("X-A: b\r\n", 10_000)), []int{431, 400, 0}},
		{"M15 1,000 header lines", get(host + strings.Repeat("X-A: b\r\n", 1_000)), nil},
		{"M15 one header of 1 MiB", get(host + "X-A: " + strings.Repeat("a", 1<<20) + "\r\n"), []int{431, 400, 0}},
		{"M15 a name of 60 KiB", get(host + strings.Repeat("a", 60<<10) + ": b\r\n"), nil},
		{"M15 a Cookie of 60 KiB", get(host + "Cookie: " + strings.Repeat("a=b; ", 12_000) + "\r\n"), nil},
		{"M15 a Cookie of quotes", get(host + "Cookie: " + strings.Repeat(`a="`, 15_000) + "\r\n"), nil},
		{"M15 X-Forwarded-For of 60 KiB",
			get(host + "X-Forwarded-For: " + strings.Repeat("1.1.1.1, ", 6_000) + "1.1.1.1\r\n"), nil},
		{"M15 Accept-Language of 60 KiB",
			get(host + "Accept-Language: " + strings.Repeat("zh;q=0.1,", 6_000) + "\r\n"), nil},
		{"M15 Accept of 60 KiB", get(host + "Accept: " + strings.Repeat("text/html,", 5_900) + "\r\n"), nil},
		{"M15 Connection of 60 KiB", get(host + "Connection: " + strings.Repeat("x,", 29_000) + "\r\n"), nil},
		{"M15 User-Agent of 60 KiB", get(host + "User-Agent: " + strings.Repeat("\xff", 60<<10) + "\r\n"), nil},
	}
	return list
}

// connectionReuse covers M12–M14 and M16: one connection for several people, and bodies that are only
// announced or are cut off.
func connectionReuse() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for i := range 10 {
		add(fmt.Sprintf("M13 %d", i), func(h *client) {
			for n := range 6 {
				person, lines := "", []string{}
				switch (n + i) % 3 {
				case 1:
					person, lines = "zhangsan", []string{h.member("zhangsan")}
				case 2:
					person, lines = "lisi", []string{h.member("lisi")}
				}
				h.send(request{authorized: true, raw: requestText("GET", "/public/turn", h.id, lines...)})
				seen := h.env.up.received(h.id)
				if len(seen) != n+1 || strings.Join(seen[n].values("X-Forwarded-User"), "") != person {
					h.failf("as %q the application received %+v", person, seen)
				}
			}
		})
	}
	for _, where := range []string{"/page", "/admin/", "/oauth2/sign_out", "/oauth2/userinfo", "/oauth2/callback",
		"/nowhere"} {
		add("M12 Expect at "+where, func(h *client) {
			a := h.send(request{
				method:  "POST",
				fresh:   true,
				raw:     requestText("POST", where, h.id, "Expect: 100-continue", "Content-Length: 104857600"),
				cleared: true,
			})
			if a.continued {
				h.failf("got a 100 before the refusal %v", a)
			}
		})
		add("M12 V23 100 MiB at "+where, func(h *client) {
			a := h.send(request{
				method:  "POST",
				fresh:   true,
				raw:     requestText("POST", where, h.id, "Content-Length: 104857600") + strings.Repeat("x", 1<<20),
				cleared: true,
			})
			if a.status >= 200 && a.status < 300 && where != "/oauth2/sign_out" {
				h.failf("got %v", a)
			}
		})
	}
	for _, cut := range []string{"Content-Length: 100\r\n\r\nhalf",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"Content-Length: 200000\r\n\r\n" + strings.Repeat("x", 100_000)} {
		add(fmt.Sprintf("M14 %.40q", cut), func(h *client) {
			w, err := dial(untrusted, h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			fmt.Fprintf(w.c, "POST /public/cut HTTP/1.1\r\nHost: app.test\r\nX-Case: %s\r\n%s", h.id, cut)
			time.Sleep(100 * time.Millisecond)
			w.c.Close()
			for range 600 {
				if seen := h.env.up.received(h.id); len(seen) > 0 && seen[0].ended {
					if seen[0].whole {
						h.failf("half a body arrived as a complete one: %q", seen[0].body)
					}
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			h.failf("the application still waits for a body whose sender disconnected")
		})
	}
	for _, lines := range [][]string{{"Range: bytes=0-0"}, {"Range: bytes=0-0,1-1,2-2,-1"},
		{"Accept-Encoding: gzip, br, x"}, {"If-None-Match: *"}, {"If-Range: x", "Range: bytes=5-"},
		{"Accept-Encoding: *;q=0"}, {"TE: trailers, deflate"}} {
		add(fmt.Sprintf("M16 %q", lines), func(h *client) {
			if a := h.send(request{
				authorized: true,
				raw:        requestText("GET", "/public/r", h.id, lines...),
			}); a.status != 200 || !strings.HasPrefix(a.body, mark) {
				h.failf("got %v", a)
			}
			for _, got := range h.env.up.received(h.id) {
				for _, line := range lines {
					name, value, _ := strings.Cut(line, ": ")
					if v := got.values(name); name != "TE" && !slices.Equal(v, []string{value}) {
						h.failf("%s arrived as %q", line, v)
					}
				}
			}
		})
	}
	return list
}
