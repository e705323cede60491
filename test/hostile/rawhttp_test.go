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

// request is one request, byte for byte, and what it may do.
type request struct {
	raw    string
	method string // how to read the answer; "" is GET
	from   string // source address; "" is stranger
	to     string // host:port; "" is dinggate

	right     bool // the sender may reach the application
	session   bool // the session cookie may be set
	cleared   bool // … or cleared
	slow      bool // takes its time for a reason of its own; O9 is not asked
	failing   bool // something is made to fail: a 5xx is the right answer
	fresh     bool // wants a connection of its own, closed afterwards
	elsewhere bool // it is not dinggate that answers
	half      bool // nothing more will be sent, and the connection says so

	secure *tls.Config // how TLS is spoken; nil: not at all
	more   bool        // read on after the answer, into answer.rest
}

// answer is what came back. Status 0: the connection ended without an answer.
type answer struct {
	status    int
	header    http.Header
	body      string
	rest      string // what came after it on the connection, for a request with more
	closed    bool
	took      time.Duration
	cut       bool // the body ended before it said it would
	continued bool // a 1xx came first
	bare      bool // net/http refused the request before dinggate's own code ran
}

func (a *answer) String() string {
	if a.status == 0 {
		return "no answer"
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

// whole is all of it that may help who reads of a failure.
func (a *answer) whole() string {
	if a.status == 0 {
		return "no answer"
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

// rawConns are the connections that one worker keeps.
type rawConns struct {
	kept   map[string]*rawConn
	second *http2Conn // speaks HTTP/2
}

type rawConn struct {
	c  net.Conn
	br *bufio.Reader
}

func (w *rawConns) close() {
	for key, one := range w.kept {
		one.c.Close()
		delete(w.kept, key)
	}
	if w.second != nil {
		w.second.c.Close()
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

// patience is how long an answer is waited for at most. O9 judges much earlier.
const patience = 30 * time.Second

// send sends s once. A kept connection that died meanwhile is replaced.
func (w *rawConns) send(s request) (*answer, error) {
	key := s.from + " " + s.to
	if one := w.kept[key]; one != nil && !s.fresh {
		delete(w.kept, key)
		if a, err := one.ask(s); err == nil && a.status != 0 {
			w.keep(key, one, a)
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
	a, err := one.ask(s)
	if err != nil {
		one.c.Close()
		return nil, err
	}
	if s.fresh {
		a.closed = true
	}
	w.keep(key, one, a)
	return a, nil
}

func (w *rawConns) keep(key string, one *rawConn, a *answer) {
	if a.closed || a.status == 0 || one.br.Buffered() > 0 {
		one.c.Close()
		return
	}
	if old := w.kept[key]; old != nil {
		old.c.Close()
	}
	w.kept[key] = one
}

// ask writes the request and reads its answer. A write error is none: a server
// may answer and close before it has read everything.
func (w *rawConn) ask(s request) (*answer, error) {
	began := time.Now()
	w.c.SetDeadline(began.Add(patience))
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
		if a.closed && a.status != 101 { // it said so: however busy the machine is, the end comes
			wait = patience
		}
		w.c.SetReadDeadline(time.Now().Add(wait))
		rest, err := io.ReadAll(w.br)
		a.rest, a.closed = string(rest), true
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			a.closed = false // still open, and nothing more to say
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
		return &answer{closed: true}, nil // ended: a refusal without words
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
		return nil, fmt.Errorf("reading the answer: %w", err)
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
	// net/http's own refusals carry no Date.
	a.bare = a.closed && len(r.Header["Date"]) == 0 &&
		strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") || a.status == 417
	return a, nil
}
