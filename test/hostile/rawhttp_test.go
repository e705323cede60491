package hostile

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// request is one request, byte for byte, and what its response may do.
type request struct {
	raw    string
	method string // how to parse the response; "" is GET
	from   string // source address; "" is untrusted
	to     string // host:port; "" is dinggate

	authorized bool // the sender is authorized for the application
	session    bool // the session cookie may be set
	cleared    bool // the session cookie may be cleared
	slow       bool // slow for a known reason; O9 is not checked
	failing    bool // a fault was injected: a 5xx is the correct response
	fresh      bool // uses its own connection, which is closed afterwards
	elsewhere  bool // another server than dinggate responds
	half       bool // half-close the connection after the request

	secure *tls.Config // TLS configuration; nil: plain TCP
	more   bool        // read on after the response, into answer.rest
}

// answer is a response. Status 0 means that the connection ended without a response.
type answer struct {
	status    int
	header    http.Header
	body      string
	rest      string // the bytes after the response, for a request with more
	closed    bool
	took      time.Duration
	cut       bool // the body ended before its announced length
	continued bool // a 1xx response preceded it
	bare      bool // net/http refused the request before dinggate's own code ran
}

func (a *answer) String() string {
	if a.status == 0 {
		return "no response"
	}
	short := http.Header{}
	for _, name := range []string{"Location", "Set-Cookie", "Content-Type", "X-Dinggate-Reason", "X-Upstream"} {
		if v := a.header[name]; v != nil {
			short[name] = v
		}
	}
	body := a.body
	if _, heading, page := strings.Cut(body, `<h1`); page {
		body = heading
	}
	return fmt.Sprintf("%d %.300s %.150q", a.status, headLine(short), body)
}

// whole returns the entire response for the report of a failure.
func (a *answer) whole() string {
	if a.status == 0 {
		return "no response"
	}
	state := ""
	for _, flag := range []struct {
		set  bool
		name string
	}{{a.closed, "closed"}, {a.cut, "cut off"}, {a.continued, "after a 100"}, {a.bare, "by net/http"}} {
		if flag.set {
			state += ", " + flag.name
		}
	}
	text := fmt.Sprintf("%d after %v%s: %.1000s %.400q", a.status, a.took.Round(time.Millisecond), state,
		headLine(a.header), a.body)
	if a.rest != "" {
		text += fmt.Sprintf(" and then %.300q", a.rest)
	}
	return text
}

func headLine(h http.Header) string {
	var b strings.Builder
	h.Write(&b)
	return strings.ReplaceAll(b.String(), "\r\n", "; ")
}

// rawConns are the idle connections of one worker.
type rawConns struct {
	idle  map[string]*rawConn
	http2 *http2Conn // uses HTTP/2
}

type rawConn struct {
	c  net.Conn
	br *bufio.Reader
}

func (w *rawConns) close() {
	for key, one := range w.idle {
		one.c.Close()
		delete(w.idle, key)
	}
	if w.http2 != nil {
		w.http2.c.Close()
	}
}

func dial(from, to string) (*rawConn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if strings.HasPrefix(to, "127.") {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return &rawConn{c, bufio.NewReader(c)}, nil
}

// responseTimeout is the maximum time to wait for a response. The limit of O9 is much lower.
const responseTimeout = 30 * time.Second

// send sends s once. An idle connection that was closed in the meantime is replaced.
func (w *rawConns) send(s request) (*answer, error) {
	key := s.from + " " + s.to
	if one := w.idle[key]; one != nil && !s.fresh {
		delete(w.idle, key)
		if a, err := one.do(s); err == nil && a.status != 0 {
			w.reuse(key, one, a)
			return a, nil
		}
		one.c.Close()
	}
	one, err := dial(s.from, s.to)
	if err != nil {
		return nil, err
	}
	if s.secure != nil {
		one.c = tls.Client(one.c, s.secure)
		one.br.Reset(one.c)
	}
	a, err := one.do(s)
	if err != nil {
		one.c.Close()
		return nil, err
	}
	if s.fresh {
		a.closed = true
	}
	w.reuse(key, one, a)
	return a, nil
}

func (w *rawConns) reuse(key string, one *rawConn, a *answer) {
	if a.closed || a.status == 0 || one.br.Buffered() > 0 {
		one.c.Close()
		return
	}
	if old := w.idle[key]; old != nil {
		old.c.Close()
	}
	w.idle[key] = one
}

// do writes the request and reads its response. A write error is ignored because a server may
// respond and close before it has read the entire request.
func (w *rawConn) do(s request) (*answer, error) {
	began := time.Now()
	w.c.SetDeadline(began.Add(responseTimeout))
	_, writing := io.WriteString(w.c, s.raw)
	if s.half {
		w.c.(interface{ CloseWrite() error }).CloseWrite()
	}
	a, err := w.read(s)
	if err != nil {
		return nil, errors.Join(err, writing)
	}
	a.took = time.Since(began)
	if s.more {
		wait := 300 * time.Millisecond
		if a.closed && a.status != 101 { // the response announced it, so the close arrives however busy the machine is
			wait = responseTimeout
		}
		w.c.SetReadDeadline(time.Now().Add(wait))
		rest, err := io.ReadAll(w.br)
		a.rest, a.closed = string(rest), true
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			a.closed = false // still open and without further data
		}
	}
	return a, nil
}

func (w *rawConn) read(s request) (*answer, error) {
	first, err := w.br.Peek(1)
	if len(first) == 0 {
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return nil, err
		}
		return &answer{closed: true}, nil // closed: a refusal without a response
	}
	method := s.method
	if method == "" {
		method = "GET"
	}
	continued := false
	r, err := http.ReadResponse(w.br, &http.Request{Method: method})
	for err == nil && r.StatusCode >= 100 && r.StatusCode < 200 && r.StatusCode != 101 {
		continued = continued || r.StatusCode == 100
		r, err = http.ReadResponse(w.br, &http.Request{Method: method})
	}
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	a := &answer{status: r.StatusCode, header: r.Header, closed: r.Close, continued: continued}
	if r.StatusCode == 101 {
		a.closed = true
		return a, nil
	}
	var body bytes.Buffer
	if _, err := io.Copy(&body, io.LimitReader(r.Body, 1<<20)); err != nil {
		a.closed, a.cut = true, true
	}
	a.body = body.String()
	// Refusals of net/http carry no Date.
	a.bare = a.closed && len(r.Header["Date"]) == 0 &&
		strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") || a.status == 417
	return a, nil
}
