package hostile

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
)

// The recorder takes a connection for the person who sent NTLM, Negotiate or Kerberos on
// it, as IIS does: its answers there carry X-Bound with that case's id. The oracle
// holds every answer of every class against it.

// bound files whom a connection is taken for from this request on.
func (u *recorder) bound(c net.Conn, s *sighting) (who string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.nth = u.served[c]
	u.served[c]++
	for _, line := range s.values("Authorization") {
		low := strings.ToLower(line)
		if strings.Contains(low, "ntlm") || strings.Contains(low, "negotiate") || strings.Contains(low, "kerberos") ||
			strings.Contains(line, "TlRMTVNTUA") {
			u.people[c] = s.value("X-Case")
		}
	}
	return u.people[c]
}

// bindings is M17: upstreams that bind a person to a connection.
func bindings(s *env) (list []try) {
	s.up.on("challenge", func(c net.Conn, r *sighting) {
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
					right: true,
					fresh: true,
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
						h.alone(method, target, credential)
					}})
			}
		}
	}
	return list
}

// alone sends a credential that belongs to a connection: what arrives is the
// first and last request of its connection. Others come after it on the shared
// ones; the recorder sees whom they are taken for.
func (h *client) alone(method, target, credential string) {
	lines := []string{"Authorization: " + credential, h.member("zhangsan")}
	if method == "POST" {
		lines = append(lines, "Content-Length: 0")
	}
	if a := h.send(request{
		method: method,
		raw:    requestText(method, target, h.id, lines...),
		right:  true,
	}); a.status != 200 {
		h.failf("got %v", a)
	}
	seen := h.env.up.of(h.id)
	if len(seen) != 1 || seen[0].nth != 0 || !strings.EqualFold(seen[0].value("Connection"), "close") {
		h.failf("arrived on a connection that others use: %+v", seen)
	}
	other := h.id + "-other"
	for range 4 {
		h.send(request{raw: requestText("GET", target, other, h.member("lisi")), right: true})
	}
}
