package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"dinggate/internal/web"
)

// Upstream is an application behind this proxy, with connections of its own; safe
// for concurrent use.
type Upstream struct {
	scheme, host string
	base         string // raw, in front of every path; "" or /base
	strip        string // decoded, cut off every path; "" or /prefix
	hostHeader   string // the Host of every request; "" is the browser's
	h2c          bool   // HTTP/2 in clear; it has no Upgrade
	protected    *web.Protected
	pool         pool
	proxy        httputil.ReverseProxy
}

const (
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second

	// maxIdle connections are kept per upstream; fewer would be closed and opened
	// again under load, and a connection costs more than a request.
	maxIdle = 1024

	// maxAnswerHeader bounds an upstream's response header (threats M10).
	maxAnswerHeader = 1 << 20
)

// NewUpstream makes ready what c describes and opens no connection. protected
// are the names that only we may set, headers.request and headers.response
// among them. A Timeout of 0 is that of Defaults.
func NewUpstream(c UpstreamConfig, protected *web.Protected) (*Upstream, error) {
	target, err := c.parse()
	if err != nil {
		return nil, fmt.Errorf("proxy: opening an upstream: the URL %w", err)
	}
	strip, err := c.strip()
	if err != nil {
		return nil, fmt.Errorf("proxy: opening an upstream: strip_prefix %w", err)
	}
	if protected == nil {
		return nil, errors.New("proxy: opening an upstream: no protected names")
	}
	if c.Timeout == 0 {
		c.Timeout = Defaults().Timeout
	}
	if err := c.PassHost.fault(); err != nil {
		return nil, fmt.Errorf("proxy: opening an upstream: pass_host %w", err)
	}
	security, err := c.TLS.Open()
	if err != nil {
		return nil, err
	}
	u := &Upstream{
		scheme:     target.Scheme,
		host:       target.Host,
		base:       strings.TrimSuffix(target.EscapedPath(), "/"),
		strip:      strip,
		hostHeader: c.PassHost.host(target.Host),
		protected:  protected,
	}
	dial := dialFunc((&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext)
	if target.Scheme == "unix" {
		socket, overTCP := target.Path, dial
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return overTCP(ctx, "unix", socket) }
		u.scheme, u.host, u.base = "http", "unix", ""
		u.hostHeader = c.PassHost.host("localhost")
	}
	alone := new(http.Protocols)
	if target.Scheme == schemeH2C {
		u.scheme, u.h2c = "http", true
		alone.SetUnencryptedHTTP2(true)
		u.pool.shared = newTransport(dial, c.Timeout, security) // HTTP/2 gives each answer the number of its request
		u.pool.shared.Protocols = alone
	} else {
		alone.SetHTTP1(true) // over HTTP/2 such a credential means nothing
		u.pool.shared = newTransport(dialKept(dial), c.Timeout, security)
	}
	u.pool.alone = newTransport(dial, c.Timeout, security)
	u.pool.alone.DisableKeepAlives = true
	u.pool.alone.Protocols = alone
	u.proxy = httputil.ReverseProxy{
		Rewrite: u.rewrite, Transport: &u.pool, BufferPool: buffers{}, ModifyResponse: u.modify, ErrorHandler: failed,
		ErrorLog: log.New(io.Discard, "", 0), // all it could say is in the request's own record
	}
	return u, nil
}

func newTransport(dial dialFunc, timeout time.Duration, security *tls.Config) *http.Transport {
	return &http.Transport{ // no Proxy: the environment must not reroute what carries identities
		DialContext:            dial,
		TLSClientConfig:        security.Clone(), // each completes its own
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    tlsTimeout,
		ExpectContinueTimeout:  time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // what the client and the upstream agreed on passes untouched (threats M16)
	}
}

// CloseIdleConnections closes what no request uses now.
func (u *Upstream) CloseIdleConnections() { u.pool.shared.CloseIdleConnections() }

var errAddress = errors.New("proxy: the path cannot be sent on as it is")

// address is where a path leads: the bytes that were sent, less strip, behind
// base. What would change on the way is refused (threats P1, P13).
func (u *Upstream) address(p web.Path) (url.URL, error) {
	to := url.URL{Scheme: u.scheme, Host: u.host}
	raw := p.Raw
	if u.strip != "" {
		var ok bool
		if raw, ok = u.stripped(p); !ok {
			return to, errAddress
		}
	}
	if u.base == "" && strings.HasPrefix(raw, "//") { // net/http would make an absolute URL of it
		if to.Path, to.RawPath = p.Plain, raw; to.EscapedPath() != raw {
			return to, errAddress
		}
		return to, nil
	}
	to.Opaque = u.base + raw // Path and RawPath would be escaped anew where a client sent, say, raw UTF-8
	return to, nil
}

// stripped cuts the prefix off at a segment's border. The rest must be read
// like the path that was decided on, only shorter, and must not begin with two
// slashes, which is a host to browsers and to many frameworks.
func (u *Upstream) stripped(p web.Path) (raw string, ok bool) {
	raw, ok = cutDecoded(p.Raw, u.strip)
	if ok && raw == "" {
		return "/", p.Plain == u.strip
	}
	again, err := web.CleanPath(raw) // refuses a rest without a slash in front
	return raw, ok && err == nil && u.strip+again.Plain == p.Plain && !strings.HasPrefix(again.Plain, "//")
}

// cutDecoded cuts a decoded prefix off a raw path. A slash counts only when it
// was sent as one.
func cutDecoded(raw, prefix string) (rest string, ok bool) {
	for prefix != "" {
		if raw == "" {
			return "", false
		}
		n := 1
		c := raw[0]
		if c == '%' {
			if len(raw) < 3 {
				return "", false
			}
			plain, err := url.PathUnescape(raw[:3])
			if err != nil || plain == "/" {
				return "", false
			}
			n, c = 3, plain[0]
		}
		if c != prefix[0] {
			return "", false
		}
		raw, prefix = raw[n:], prefix[1:]
	}
	return raw, true
}

// rewrite makes the upstream's request of the client's. It runs after the
// hop-by-hop headers were removed, so nothing that is set here can be named
// away by a Connection header (threats H4).
func (u *Upstream) rewrite(pr *httputil.ProxyRequest) {
	p := pr.In.Context().(*proxiedRequest)
	out, h := pr.Out, pr.Out.Header
	*out.URL = p.to
	// byte for byte; nothing is decided on it (threats P15)
	out.URL.RawQuery, out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	if out.Host = p.x.Host; u.hostHeader != "" {
		out.Host = u.hostHeader
	}

	u.protected.Drop(h) // on every route, public ones too (threats H1, H2)
	web.StripCookies(h)
	forwarded(h, p.x)
	if p.session != nil {
		for _, header := range p.session.Headers.Request {
			h[header.Name] = header.Value
		}
		if p.route.Assert != nil {
			if proof := p.route.Assert(p.session, p.grant); proof != nil {
				h[assertionHeader] = proof
			}
		}
	}
	if out.Body != nil {
		u.protected.Drop(out.Trailer) // announced ones too (threats H5)
		p.requestBody.ReadCloser, p.requestBody.from, p.requestBody.trailer = out.Body, pr.In, out.Trailer
		out.Body = &p.requestBody
	}
	for _, name := range idempotency {
		if v, ok := h[name[0]]; ok {
			delete(h, name[0])
			h[name[1]] = v
		}
	}
}

// idempotency are headers that net/http takes for leave to send a POST twice
// when a kept connection dies; it knows them in this spelling only. A second
// try is for the client to decide (threats V25).
var idempotency = [2][2]string{{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"}}

// modify judges and cleans the upstream's answer. Its body passes untouched.
func (u *Upstream) modify(res *http.Response) error {
	p := res.Request.Context().Value(proxiedRequestKey{}).(*proxiedRequest)
	if res.StatusCode < 100 { // 000 is three digits and no status (threats M10)
		return errStatus
	}
	if p.route.OnResponse != nil {
		p.route.OnResponse(time.Since(p.x.Start))
	}
	u.scrubResponse(res.Header)
	if p.handler.HSTS != nil { // once: of two a browser takes the first
		delete(p.w.Header(), hstsHeader)
		res.Header[hstsHeader] = p.handler.HSTS
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return p.switched(res)
	}
	if p.upgrade {
		res.Header["Connection"] = closing // see Handler.Serve
	}
	p.renew(res.Header)
	u.scrubResponse(res.Trailer)
	p.responseBody.ReadCloser, p.responseBody.up, p.responseBody.res = res.Body, u, res
	res.Body = &p.responseBody
	kind := res.Header["Content-Type"]
	events := len(kind) == 1 && strings.HasPrefix(kind[0], "text/event-stream")
	if res.ContentLength < 0 && (events || p.session != nil) {
		p.watch(&p.responseBody, streamAge)
	}
	if events {
		p.x.Streamed = true
		p.track(&p.responseBody)
	}
	return nil
}

const hstsHeader = "Strict-Transport-Security"

var errStatus = errors.New("proxy: the upstream's status is none")

// failed keeps the error for forward, which returns it: one place answers.
func failed(w http.ResponseWriter, _ *http.Request, err error) {
	w.(*proxiedRequest).err = err
}

// buffers lends the buffers that bodies are copied through.
type buffers struct{}

const bufferSize = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
