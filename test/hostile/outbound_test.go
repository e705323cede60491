package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"dinggate/internal/tlstest"
)

// outbound covers L8: outgoing TLS connections. A DingTalk, service or application with an invalid
// certificate receives no data, and no secret follows a redirect.
func outbound(s *env) (list []try) {
	authorities := filepath.Join(s.t.TempDir(), "authorities.pem")
	write(s.t, authorities, string(s.authority.PEM()))
	// serve serves h over TLS and returns host:port.
	serve := func(pair tls.Certificate, h http.Handler, change func(*tls.Config)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10}
		if change != nil {
			change(c)
		}
		server := &http.Server{Handler: h, TLSConfig: c, ErrorLog: log.New(io.Discard, "", 0)}
		go server.ServeTLS(l, "", "")
		s.t.Cleanup(func() { server.Close() })
		return l.Addr().String()
	}
	// withDingTalk starts a dinggate whose DingTalk is at address.
	withDingTalk := func(address string) *process {
		return s.another(func(text string) string {
			for _, key := range []string{"api_url: ", "oapi_url: "} {
				text = strings.Replace(text, "\n  "+key+s.simURL, "\n  "+key+address, 1)
			}
			return text
		}, "SSL_CERT_FILE="+authorities)
	}
	// signIn runs a sign-in at p and returns the response and whether there is a session.
	signIn := func(h *client, p *process) (a *answer, in bool) {
		v := h.visitor()
		a = v.do(request{to: p.addr, secure: s.secure, fresh: true}, "GET", "/oauth2/start")
		_, state, _ := strings.Cut(a.header.Get("Location"), "state=")
		state, _, _ = strings.Cut(state, "&")
		a = v.do(request{to: p.addr, secure: s.secure, fresh: true, failing: true, slow: true, session: true}, "GET",
			"/oauth2/callback?authCode="+v.code("zhangsan")+"&state="+state)
		return a, v.value(sessionCookie) != ""
	}
	other := tlstest.NewAuthority()
	for name, c := range map[string]struct {
		pair   tls.Certificate
		change func(*tls.Config)
		in     bool
	}{
		"valid":               {s.authority.Pair(tlstest.Leaf{}), nil, true},
		"of another host":     {s.authority.Pair(tlstest.Leaf{Names: []string{"dingtalk.evil.test"}}), nil, false},
		"of another address":  {s.authority.Pair(tlstest.Leaf{Names: []string{"app.test", "127.0.0.9"}}), nil, false},
		"expired":             {s.authority.Pair(tlstest.Leaf{Ends: -time.Minute}), nil, false},
		"not yet valid":       {s.authority.Pair(tlstest.Leaf{Begins: 30 * time.Minute}), nil, false},
		"self-signed":         {s.authority.Pair(tlstest.Leaf{SelfSigned: true}), nil, false},
		"another authority's": {other.Pair(tlstest.Leaf{}), nil, false},
		"one for clients":     {s.authority.Pair(tlstest.Leaf{Client: true}), nil, false},
		"valid, over TLS 1.1": {s.authority.Pair(tlstest.Leaf{}), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 },
			false},
		"valid, RC4 and 3DES": {s.authority.Pair(tlstest.Leaf{}), func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12,
				[]uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
		}, false},
	} {
		list = append(list, try{"L8 DingTalk's certificate is " + name, func(h *client) {
			if c.in {
				s.budget.Add(callsPerSignIn)
			}
			p := withDingTalk("https://" + serve(c.pair, s.sim, c.change))
			defer p.kill()
			a, in := signIn(h, p)
			if in != c.in || !in && a.status != 502 && a.status != 503 {
				h.failf("a session: %v (%v), want %v", in, a, c.in)
			}
			if !c.in && strings.Contains(p.output(), canary) {
				h.failf("a secret is in the log")
			}
		}})
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, elsewhere := range []string{"http", "https"} {
			list = append(list,
				try{fmt.Sprintf("L8 DingTalk redirects by %d to %s elsewhere", status, elsewhere), func(h *client) {
					up := newRecorder(s.t)
					to := up.url()
					if elsewhere == "https" {
						to = "https://" +
							serve(s.authority.Pair(tlstest.Leaf{}),
								http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
									up.record(&upstreamRequest{head: r.Method + " " + r.URL.String(), target: r.URL.String()})
								}), nil)
					}
					p := withDingTalk("https://" +
						serve(s.authority.Pair(tlstest.Leaf{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							http.Redirect(w, r, to+r.URL.RequestURI(), status)
						}), nil))
					defer p.kill()
					if a, in := signIn(h, p); in || a.status != 502 && a.status != 503 {
						h.failf("a session: %v (%v)", in, a)
					}
					if _, unlabelled := up.take(); len(unlabelled) > 0 {
						h.failf("the secret was forwarded: %q", unlabelled[0].head)
					}
				}})
		}
	}
	for name, c := range map[string]struct {
		pair tls.Certificate
		want int
	}{"valid": {s.authority.Pair(tlstest.Leaf{}), 200}, "of another host": {s.authority.Pair(tlstest.Leaf{Names: []string{"evil.test"}}), 502},
		"expired":             {s.authority.Pair(tlstest.Leaf{Ends: -time.Minute}), 502},
		"another authority's": {other.Pair(tlstest.Leaf{}), 502}, "self-signed": {s.authority.Pair(tlstest.Leaf{SelfSigned: true}), 502}} {
		list = append(list, try{"L8 the application's certificate is " + name, func(h *client) {
			requests := make(chan bool, 10)
			to := "https://" + serve(c.pair, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests <- true
				w.Header().Set("X-Upstream", mark)
				fmt.Fprint(w, mark)
			}), nil)
			p := s.another(func(text string) string { return strings.ReplaceAll(text, s.up.url(), to) },
				"SSL_CERT_FILE="+authorities)
			defer p.kill()
			a := h.send(request{
				to:         p.addr,
				secure:     s.secure,
				fresh:      true,
				failing:    true,
				authorized: true,
				raw:        requestText("GET", "/page", h.id, h.member("zhangsan")),
			})
			if a.status != c.want || (len(requests) > 0) != (c.want == 200) {
				h.failf("got %v, want %d", a, c.want)
			}
		}})
	}
	return list
}
