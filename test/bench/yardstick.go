package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// yardstick serves a server to compare with, until it is killed. `handler` only answers
// 200 (`handler-tls` over TLS, with the certificate in the folder target), `proxy` is a
// bare httputil.ReverseProxy with a BufferPool, `upstream` is the application behind both
// proxies. `like` is the handler with the status and header of a likeness: it measures
// what net/http needs to write them.
func yardstick(kind, target string) error {
	var h http.Handler
	switch kind {
	case "handler", "handler-tls":
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	case "like":
		var as likeness
		if err := json.Unmarshal([]byte(target), &as); err != nil {
			return err
		}
		h = as
	case "proxy":
		u, err := url.Parse(target)
		if err != nil {
			return err
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// by default it would open connections anew under load
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 1024
		transport.DisableCompression = true
		h = &httputil.ReverseProxy{
			Rewrite:    func(pr *httputil.ProxyRequest) { pr.SetURL(u); pr.SetXForwarded() },
			BufferPool: &buffers{},
			Transport:  transport,
		}
	case "upstream":
		h = http.HandlerFunc(application)
	default:
		return fmt.Errorf("no yardstick is called %q", kind)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	if kind == "handler-tls" {
		fmt.Printf("listening on https://%s\n", l.Addr())
		return server.ServeTLS(l, filepath.Join(target, certFile), filepath.Join(target, keyFile))
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	return server.Serve(l)
}

// likeness is the status and header of a response.
type likeness struct {
	Status int
	Header http.Header
}

func (l likeness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), l.Header)
	w.WriteHeader(l.Status)
}

var connections atomic.Int64 // accepted by the application

// application is behind both proxies.
func application(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/opened":
		fmt.Fprintln(w, connections.Load())
	case "/events":
		events(w, r)
	case "/echo":
		echo(w, r)
	default:
		upstream(w, r)
	}
}

// upstream answers 1 KiB, or as many bytes as `?bytes=` requests, after it has read the
// body.
func upstream(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		io.Copy(io.Discard, r.Body)
	}
	n := 1 << 10
	if v, err := strconv.Atoi(r.URL.Query().Get("bytes")); err == nil {
		n = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	chunk := bytes.Repeat([]byte("x"), min(n, 64<<10))
	for n > 0 {
		k, err := w.Write(chunk[:min(n, len(chunk))])
		if err != nil {
			return
		}
		n -= k
	}
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return *v
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
