package hostile

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
)

// The recorder binds a connection to the client that sent NTLM, Negotiate or Kerberos credentials
// on it, as IIS does. Its later responses on that connection carry the case id in X-Bound. The
// invariants of all classes check that header.

// bind records the request and returns the case id that the connection is bound to, or "".
func (u *recorder) bind(c net.Conn, s *upstreamRequest) (who string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.nth = u.served[c]
	u.served[c]++
	for _, line := range s.values("Authorization") {
		low := strings.ToLower(line)
		if strings.Contains(low, "ntlm") || strings.Contains(low, "negotiate") || strings.Contains(low, "kerberos") ||
			strings.Contains(line, "TlRMTVNTUA") {
			u.boundTo[c] = s.value("X-Case")
		}
	}
	return u.boundTo[c]
}

// bindings covers M17: upstreams that bind a person to a connection.
func bindings(s *env) (list []try) {
	s.up.handle("challenge", func(c net.Conn, r *upstreamRequest) {
		lines, _ := url.QueryUnescape(r.target[strings.IndexByte(r.target, '?')+1:])
		io.WriteString(c,
			"HTTP/1.1 401 Unauthorized\r\nX-Upstream: x\r\n"+lines+
				"\r\nWWW-Authenticate: Basic realm=\"app\"\r\nContent-Length: 0\r\n\r\n")
	})
	step := func(n byte) string {
		return base64.StdEncoding.EncodeToString(append([]byte("NTLMSSP\x00"), n, 0, 0, 0))
	}
	for _, challenge := range []string{
		"WWW-Authenticate: NTLM", "WWW-Authenticate: Negotiate", "WWW-Authenticate: ntlm",
		"www-authenticate: NEGOTIATE", "WWW-Authenticate: Kerberos", "WWW-Authenticate: NTLM " + step(2),
		"WWW-Authenticate: Negotiate oYG2MIGzoAMKAQE=", "WWW-Authenticate: Negotiate,NTLM",
		"WWW-Authenticate: NTLM, Digest realm=\"d\"", "WWW-Authenticate: Digest realm=\"d\", NTLM",
		"WWW-Authenticate: Basic realm=\"x, NTLM", "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM",
		"WWW-Authenticate:\tNTLM\t", "WWW-Authenticate: , ,NTLM", "Proxy-Authenticate: NTLM",
		"WWW-Authenticate: X " + step(2),
	} {
		list = append(list, try{"M17 challenged " + challenge, func(h *client) {
			for _, where := range []string{"/act/challenge?", "/act/challenge?x&"} {
				a := h.send(request{
					raw: requestText("GET", strings.TrimSuffix(where, "x&")+url.QueryEscape(challenge), h.id,
						h.member("zhangsan")),
					authorized: true,
					fresh:      true,
				})
				text := strings.ToLower(strings.Join(append(a.header["Www-Authenticate"],
					a.header["Proxy-Authenticate"]...), "\n"))
				if a.status != 401 || strings.Contains(text, "ntlm") || strings.Contains(text, "negotiate") ||
					strings.Contains(text, "kerberos") || strings.Contains(text, "tlrmtvntua") ||
					!strings.Contains(text, `basic realm="app"`) {
					h.failf("challenged with %q: %v", text, a)
				}
			}
		}})
	}
	for _, credential := range []string{
		"NTLM " + step(1), "NTLM " + step(3), "ntlm " + step(3), "Negotiate " + step(3), "NEGOTIATE YIIG",
		"negotiate\tYIIG", "Kerberos YIIG", "NTLM", "Basic eDp5, NTLM " + step(3), "Basic eDp5,Negotiate x",
		"Other " + step(3), "NTLM  " + step(3), "\tNTLM " + step(3),
	} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			for _, target := range []string{"/public/bound", "/page"} {
				list = append(list,
					try{fmt.Sprintf("M17 %s %s %q", method, target, credential), func(h *client) {
						h.checkOwnConnection(method, target, credential)
					}})
			}
		}
	}
	return list
}

// checkOwnConnection sends a credential that authenticates a connection. The request must be the first and the
// last of its upstream connection. The requests that follow use the shared connections, and the
// recorder reports the case id that each connection is bound to.
func (h *client) checkOwnConnection(method, target, credential string) {
	lines := []string{"Authorization: " + credential, h.member("zhangsan")}
	if method == "POST" {
		lines = append(lines, "Content-Length: 0")
	}
	if a := h.send(request{
		method:     method,
		raw:        requestText(method, target, h.id, lines...),
		authorized: true,
	}); a.status != 200 {
		h.failf("got %v", a)
	}
	seen := h.env.up.received(h.id)
	if len(seen) != 1 || seen[0].nth != 0 || !strings.EqualFold(seen[0].value("Connection"), "close") {
		h.failf("arrived on a shared connection: %+v", seen)
	}
	other := h.id + "-other"
	for range 4 {
		h.send(request{raw: requestText("GET", target, other, h.member("lisi")), authorized: true})
	}
}
