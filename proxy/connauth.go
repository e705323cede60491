package proxy

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// ConnectionRefuse is the only value of connection_auth yet.
//
// Upstreams with Windows authentication (IIS, SharePoint and similar) authenticate a
// TCP connection: after an NTLM or Negotiate handshake every request on it is that
// user's. Our upstream connections are shared, so the next client would be served as
// the user before (threats M17). Hence the challenge is not sent to a client, and a
// request that carries such a credential anyway uses a separate connection, closed
// after the answer.
const ConnectionRefuse = "refuse"

// connectionSchemes authenticate a connection (RFC 4559, MS-NTHT).
var connectionSchemes = []string{"ntlm", "negotiate", "kerberos", "nego2"}

// ntlmMessage is the beginning of every NTLM message in base64, under any scheme.
const ntlmMessage = "TlRMTVNTUA"

// pool is an upstream's connections: those that all requests share, and separate ones
// for requests whose credential authenticates the connection.
type pool struct {
	shared, alone *http.Transport
	http2         atomic.Bool // shared has answered over HTTP/2
	silent        atomic.Bool // an HTTP/2 request had no answer: see unanswered
}

func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	if lines := r.Header["Authorization"]; len(lines) > 0 && bindsConnection(lines) {
		return p.alone.RoundTrip(r)
	}
	if p.silent.Load() && len(r.Header["Upgrade"]) == 0 && p.silent.Swap(false) {
		r.Close = true // over HTTP/2: no further request uses the connection, and its streams continue
	}
	res, err := roundTrip(p.shared, r)
	switch {
	case err != nil && p.http2.Load() && unanswered(r, err):
		p.silent.Store(true)
	case err == nil && res.ProtoMajor == 2 && !p.http2.Load():
		p.http2.Store(true)
	}
	return res, err
}

// abandonedAfter is the time after which a client that gives up counts as unanswered.
const abandonedAfter = 5 * time.Second

// unanswered reports that a request had no answer, perhaps because its connection leads
// nowhere: the upstream's machine is gone, or a firewall has forgotten the connection.
// Over HTTP/1 such a connection is closed with its request. Over HTTP/2 net/http would
// continue to use it for every request until the kernel gives it up, a quarter of an
// hour later. Pings at an interval are no alternative: gRPC servers close a connection
// because of them.
func unanswered(r *http.Request, err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	p, ok := r.Context().Value(proxiedRequestKey{}).(*proxiedRequest)
	return ok && time.Since(p.x.Start) > abandonedAfter
}

// bindsConnection reports whether an Authorization header has such a credential, in
// any letter case and in any position where a lenient server might find it.
func bindsConnection(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, ntlmMessage) {
			return true
		}
		for rest := line; rest != ""; {
			var word string
			if i := strings.IndexAny(rest, ", \t;"); i >= 0 {
				word, rest = rest[:i], rest[i+1:]
			} else {
				word, rest = rest, ""
			}
			if connectionScheme(word) {
				return true
			}
		}
	}
	return false
}

func connectionScheme(word string) bool {
	for _, scheme := range connectionSchemes {
		if len(word) == len(scheme) && strings.EqualFold(word, scheme) {
			return true
		}
	}
	return false
}

// challenges are the headers by which an upstream requests a credential.
var challenges = [2]string{"Www-Authenticate", "Proxy-Authenticate"}

// dropConnectionChallenges removes challenges for connection authentication. Other
// challenges stay, and lines without one to remove stay byte for byte.
func dropConnectionChallenges(h http.Header) {
	for _, name := range challenges {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		kept := make([]string, 0, len(lines))
		for _, line := range lines {
			if line = otherChallenges(line); line != "" {
				kept = append(kept, line)
			}
		}
		if delete(h, name); len(kept) > 0 {
			h[name] = kept
		}
	}
}

// otherChallenges removes challenges for connection authentication from one line:
// `Negotiate, Basic realm="a, b", NTLM` becomes `Basic realm="a, b"` (RFC 9110
// §11.6.1). A line with an unterminated quoted string is ambiguous; if it contains
// such a challenge, it is removed as a whole.
func otherChallenges(line string) string {
	if !bindsConnection([]string{line}) {
		return line
	}
	var kept []string
	dropping := false
	for rest := line; rest != ""; {
		var element string
		var ok bool
		if element, rest, ok = nextElement(rest); !ok {
			return ""
		}
		if element == "" {
			continue
		}
		if scheme, begins := challengeScheme(element); begins {
			dropping = connectionScheme(scheme) || strings.Contains(element, ntlmMessage)
		}
		if !dropping {
			kept = append(kept, element)
		}
	}
	return strings.Join(kept, ", ")
}

// nextElement cuts a list at the next comma outside quotation marks; ok is false if a
// quoted string is not terminated.
func nextElement(list string) (element, rest string, ok bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return strings.Trim(list[:i], " \t"), list[i+1:], true
		}
	}
	return strings.Trim(list, " \t"), "", !quoted
}

// challengeScheme recognises a new challenge (`Basic realm=…`, `NTLM`, `Negotiate
// oYG…=`) from a further parameter of the one before (`charset="UTF-8"`).
func challengeScheme(element string) (scheme string, begins bool) {
	end := strings.IndexAny(element, " \t=")
	if end < 0 {
		return element, true
	}
	return element[:end], !strings.HasPrefix(strings.TrimLeft(element[end:], " \t"), "=")
}
