package differential

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// rawConns are the idle connections of one worker, by address.
type rawConns map[string]*rawConn

type rawConn struct {
	c  net.Conn
	br *bufio.Reader
}

// reply is a response. Status 0 means that the connection ended without a response.
type reply struct {
	status int
	header http.Header
	body   string
}

// holds reports whether it is a page of that area.
func (r reply) holds(mark string) bool { return strings.Contains(r.body, mark) }

func (w rawConns) close() {
	for _, one := range w {
		one.c.Close()
	}
}

// get sends a path byte for byte. An idle connection that was closed in the meantime is replaced.
func (w rawConns) get(addr, host, path, cookie string) (reply, error) {
	raw := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: application/json\r\n"
	if cookie != "" {
		raw += "Cookie: " + cookie + "\r\n"
	}
	raw += "\r\n"
	if idle := w[addr]; idle != nil {
		if r, err := idle.do(raw); err == nil && r.status != 0 {
			w.reuse(addr, idle, r)
			return r, nil
		}
		w.drop(addr)
	}
	c, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return reply{}, err
	}
	fresh := &rawConn{c, bufio.NewReader(c)}
	r, err := fresh.do(raw)
	if err != nil {
		c.Close()
		return r, fmt.Errorf("%s, path %q: %w", addr, path, err)
	}
	w[addr] = fresh
	w.reuse(addr, fresh, r)
	return r, nil
}

// reuse drops the connection to an address unless it can be used again.
func (w rawConns) reuse(addr string, one *rawConn, r reply) {
	if r.status == 0 || r.header.Get("Connection") == "close" || one.br.Buffered() > 0 {
		w.drop(addr)
	}
}

func (w rawConns) drop(addr string) {
	if one := w[addr]; one != nil {
		one.c.Close()
		delete(w, addr)
	}
}

func (w *rawConn) do(raw string) (reply, error) {
	w.c.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(w.c, raw); err != nil {
		return reply{}, err
	}
	if first, err := w.br.Peek(1); len(first) == 0 {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			return reply{}, err
		}
		return reply{}, nil
	}
	res, err := http.ReadResponse(w.br, nil)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if res.Close {
		res.Header.Set("Connection", "close")
	}
	return reply{res.StatusCode, res.Header, string(body)}, err
}
