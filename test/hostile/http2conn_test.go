package hostile

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is an HTTP/2 connection that writes single frames, so that tests can send frames that
// no HTTP client sends.
type http2Conn struct {
	c     *tls.Conn
	fr    *http2.Framer
	block bytes.Buffer // the output of enc
	enc   *hpack.Encoder
	next  uint32
}

func dialHTTP2(from, to string, config *tls.Config) (*http2Conn, error) {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	d := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := tls.DialWithDialer(d, "tcp", to, config)
	if err != nil {
		return nil, err
	}
	w := &http2Conn{c: c, fr: http2.NewFramer(c, c), next: 1}
	w.enc = hpack.NewEncoder(&w.block)
	w.fr.AllowIllegalWrites = true
	w.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.SetDeadline(time.Now().Add(responseTimeout))
	io.WriteString(c, http2.ClientPreface)
	if err := w.fr.WriteSettings(); err != nil {
		c.Close()
		return nil, err
	}
	return w, nil
}

// encode returns the header block of the fields, in this order and unchanged.
func (w *http2Conn) encode(fields []hpack.HeaderField) []byte {
	w.block.Reset()
	for _, f := range fields {
		w.enc.WriteField(f)
	}
	return bytes.Clone(w.block.Bytes())
}

// open begins the next stream with the fields.
func (w *http2Conn) open(fields []hpack.HeaderField, end bool) (id uint32, err error) {
	id = w.next
	w.next += 2
	block := w.encode(fields)
	first, rest := block[:min(len(block), 16<<10)], block[min(len(block), 16<<10):]
	err = w.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      id,
		BlockFragment: first,
		EndStream:     end,
		EndHeaders:    len(rest) == 0,
	})
	for err == nil && len(rest) > 0 {
		n := min(len(rest), 16<<10)
		err = w.fr.WriteContinuation(id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	return id, err
}

// read waits for the response on a stream. Status 0 means that the stream or the connection ended
// without a response. why describes how it ended.
func (w *http2Conn) read(id uint32) (a *answer, why string) {
	a = &answer{header: http.Header{}}
	var body bytes.Buffer
	defer func() { a.body = body.String() }()
	for {
		f, err := w.fr.ReadFrame()
		if e, ok := err.(http2.StreamError); ok && e.StreamID != id {
			continue
		}
		if err != nil {
			a.closed = true
			if e, ok := err.(net.Error); ok && e.Timeout() {
				return a, "timeout"
			}
			return a, "the connection ended"
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				w.fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				w.fr.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			a.closed = true
			if f.ErrCode != http2.ErrCodeNo {
				return a, "GOAWAY " + f.ErrCode.String()
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				a.cut = a.status != 0
				return a, "RST " + f.ErrCode.String()
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			if status, _ := strconv.Atoi(f.PseudoValue("status")); status >= 200 || status == 101 {
				a.status = status
			}
			for _, field := range f.RegularFields() {
				name := http.CanonicalHeaderKey(field.Name)
				a.header[name] = append(a.header[name], field.Value)
			}
			if f.StreamEnded() {
				return a, ""
			}
		case *http2.DataFrame:
			n := uint32(len(f.Data()))
			if n > 0 {
				w.fr.WriteWindowUpdate(0, n)
			}
			if f.StreamID != id {
				continue
			}
			body.Write(f.Data())
			if f.StreamEnded() {
				return a, ""
			}
			if n > 0 {
				w.fr.WriteWindowUpdate(id, n)
			}
		}
	}
}

// line parses "name: value" texts into fields. A pseudo-header begins with a colon.
func line(texts ...string) (fields []hpack.HeaderField) {
	for _, text := range texts {
		at := strings.Index(text[min(1, len(text)):], ": ") + min(1, len(text))
		fields = append(fields, hpack.HeaderField{Name: text[:at], Value: text[at+2:]})
	}
	return fields
}

// fields returns the fields of a request of this case over HTTP/2.
func (h *client) fields(method, path, authority string, more ...string) []hpack.HeaderField {
	fields := line(":method: "+method, ":scheme: https", ":authority: "+authority, ":path: "+path)
	return append(append(fields, line(more...)...), hpack.HeaderField{Name: "x-case", Value: h.id})
}

// stream sends a request over HTTP/2 and checks the invariants of the response. The response is
// never nil. why describes how a stream without a response ended.
func (h *client) stream(s request, fields []hpack.HeaderField, body string) (a *answer, why string) {
	var text strings.Builder
	for _, f := range fields {
		name := http.CanonicalHeaderKey(f.Name)
		fmt.Fprintf(&text, "%s: %.300s\r\n", name, f.Value)
	}
	s.raw, s.to = text.String(), h.env.addr
	if s.from == "" {
		s.from = untrusted
	}
	w, err := h.http2(s)
	if err != nil {
		h.failf("O9: %v", err)
		return &answer{header: http.Header{}}, err.Error()
	}
	began := time.Now()
	w.c.SetDeadline(began.Add(responseTimeout))
	id, err := w.open(fields, body == "")
	if err == nil && body != "" {
		err = w.fr.WriteData(id, true, []byte(body))
	}
	a, why = w.read(id)
	if a.took = time.Since(began); why == "timeout" {
		h.failf("O9: no response to %.300q", s.raw)
	}
	// Responses that net/http generates itself carry no request id.
	a.bare = a.header["X-Request-Id"] == nil && (a.status == 400 || a.status == 431 || a.status == 417)
	if a.closed || s.fresh || why != "" || err != nil {
		w.c.Close()
		h.conns.forget(w)
	}
	h.note(s, a, nil)
	for _, wrong := range h.env.invariants.check(s, a) {
		h.failf("%s\n\tafter %.500q\n\tgot %s %s", wrong, s.raw, a.whole(), why)
	}
	return a, why
}

// http2 returns the worker's connection, or a new one.
func (h *client) http2(s request) (*http2Conn, error) {
	if w := h.conns.http2; w != nil && !s.fresh && w.next < 10_000 {
		return w, nil
	}
	w, err := dialHTTP2(s.from, s.to, h.env.secure)
	if err == nil && !s.fresh {
		h.conns.http2 = w
	}
	return w, err
}

func (w *rawConns) forget(one *http2Conn) {
	if w.http2 == one {
		w.http2 = nil
	}
}
