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

// Upstream is an application behind this proxy, with its own connection pool. Make it with
// NewUpstream; safe for concurrent use.
type Upstream struct {
	scheme, host string
	base         string // raw, prepended to every path; "" or /base
	strip        string // decoded, removed from every path; "" or /prefix
	hostHeader   string // the Host of every request; "" is the browser's
	h2c          bool   // HTTP/2 without TLS; it has no Upgrade
	protected    *web.Protected
	pool         pool
	proxy        httputil.ReverseProxy
}

const (
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second

	// maxIdle idle connections are kept per upstream; with fewer, connections would be
	// closed and reopened under load, and opening one costs more than a request.
	maxIdle = 1024

	// maxAnswerHeader bounds an upstream's response header (threats M10).
	maxAnswerHeader = 1 << 20
)

// NewUpstream prepares the upstream that c describes and opens no connection.
// protected are the names that only we may set, including headers.request and
// headers.response. A Timeout of 0 is that of Defaults. The error names the wrong setting; it
// may be one of reading the files of c.TLS.
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
		u.pool.shared = newTransport(dial, c.Timeout, security) // HTTP/2 assigns each answer to its request
		u.pool.shared.Protocols = alone
	} else {
		alone.SetHTTP1(true) // over HTTP/2 such a credential does not authenticate the connection
		u.pool.shared = newTransport(dialPooled(dial), c.Timeout, security)
	}
	u.pool.alone = newTransport(dial, c.Timeout, security)
	u.pool.alone.DisableKeepAlives = true
	u.pool.alone.Protocols = alone
	u.proxy = httputil.ReverseProxy{
		Rewrite: u.rewrite, Transport: &u.pool, BufferPool: buffers{}, ModifyResponse: u.modify, ErrorHandler: failed,
		ErrorLog: log.New(io.Discard, "", 0), // the same errors are in the access record
	}
	return u, nil
}

func newTransport(dial dialFunc, timeout time.Duration, security *tls.Config) *http.Transport {
	return &http.Transport{ // no Proxy: the environment must not redirect requests that carry identities
		DialContext:            dial,
		TLSClientConfig:        security.Clone(), // each transport modifies its own
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    tlsTimeout,
		ExpectContinueTimeout:  time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // the encoding that the client and the upstream agreed on is not changed (threats M16)
	}
}

// CloseIdleConnections closes the connections that no request uses now.
func (u *Upstream) CloseIdleConnections() { u.pool.shared.CloseIdleConnections() }

var errAddress = errors.New("proxy: the path cannot be sent on as it is")

// address is the upstream URL of a path: the bytes as sent, without strip, after base.
// A path that would change by this is refused (threats P1, P13).
func (u *Upstream) address(p web.Path) (url.URL, error) {
	to := url.URL{Scheme: u.scheme, Host: u.host}
	raw := p.Raw
	if u.strip != "" {
		var ok bool
		if raw, ok = u.stripped(p); !ok {
			return to, errAddress
		}
	}
	if u.base == "" && strings.HasPrefix(raw, "//") { // net/http would parse it as an absolute URL
		if to.Path, to.RawPath = p.Plain, raw; to.EscapedPath() != raw {
			return to, errAddress
		}
		return to, nil
	}
	to.Opaque = u.base + raw // Path and RawPath would be escaped again if a client sent, say, raw UTF-8
	return to, nil
}

// stripped removes the prefix at a segment boundary. The rest must have the same
// reading as the authorized path, only shorter, and must not begin with two slashes,
// which many browsers and frameworks read as a host.
func (u *Upstream) stripped(p web.Path) (raw string, ok bool) {
	raw, ok = cutDecoded(p.Raw, u.strip)
	if ok && raw == "" {
		return "/", p.Plain == u.strip
	}
	again, err := web.CleanPath(raw) // refuses a rest without a leading slash
	return raw, ok && err == nil && u.strip+again.Plain == p.Plain && !strings.HasPrefix(again.Plain, "//")
}

// cutDecoded removes a decoded prefix from a raw path. An encoded slash does not count
// as a slash.
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

// rewrite turns the client's request into the upstream's. It runs after the hop-by-hop
// headers were removed, so that a Connection header cannot remove what is set here
// (threats H4).
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

// idempotency are headers that make net/http send a POST twice if a reused connection
// breaks; it recognises them in this spelling only. Whether to retry is for the client
// to decide (threats V25).
var idempotency = [2][2]string{{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"}}

// modify checks and cleans the upstream's answer. Its body is not changed.
func (u *Upstream) modify(res *http.Response) error {
	p := res.Request.Context().Value(proxiedRequestKey{}).(*proxiedRequest)
	if res.StatusCode < 100 { // 000 is three digits but no status (threats M10)
		return errStatus
	}
	if p.route.OnResponse != nil {
		p.route.OnResponse(time.Since(p.x.Start))
	}
	u.scrubResponse(res.Header)
	if p.handler.HSTS != nil { // set once: of two a browser uses the first
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
		p.watch(func() { _ = p.responseBody.Close() }, streamAge)
	}
	if events {
		p.x.Streamed = true
		p.track(&p.responseBody)
	}
	return nil
}

const hstsHeader = "Strict-Transport-Security"

var errStatus = errors.New("proxy: the upstream's status is none")

// failed stores the error for forward, which returns it, so that there is one place
// that answers.
func failed(w http.ResponseWriter, _ *http.Request, err error) {
	w.(*proxiedRequest).err = err
}

// buffers is the pool of buffers that bodies are copied through.
type buffers struct{}

const bufferSize = 32 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
