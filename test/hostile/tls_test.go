package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/tlstest"
)

// openSecure starts the env that serves TLS and HTTP/2.
func openSecure(t *testing.T) *env {
	a := tlstest.NewAuthority()
	cert, key := a.Files(t, tlstest.Leaf{})
	s := openWith(t, func(text string) string {
		return text + fmt.Sprintf("tls: {cert_file: %q, key_file: %q, hsts: 8760h}\n", cert, key)
	})
	s.t, s.secure, s.authority = t, a.ClientConfig(), a
	s.up.handle("flood", flood)
	return s
}

// tlsTries covers D10 and L7: the data before the first request.
func tlsTries(s *env) []try {
	return slices.Concat(http2Tries(s), versions(s), hellos(s), names(s), clients(s), pairs(s), outbound(s))
}

// versions checks that dinggate accepts no version below TLS 1.2, no weak cipher suite and no
// renegotiation.
func versions(s *env) (list []try) {
	handshakeTry := func(name string, change func(c *tls.Config), want bool) {
		list = append(list, try{"L7 " + name, func(h *client) {
			c := s.secure.Clone()
			c.InsecureSkipVerify = true
			change(c)
			conn, err := tls.Dial("tcp", s.addr, c)
			if err == nil {
				defer conn.Close()
			}
			if (err == nil) != want {
				h.failf("the handshake gives %v, want it to succeed: %v", err, want)
			}
		}})
	}
	only := func(v uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
	}
	handshakeTry("TLS 1.0", only(tls.VersionTLS10), false)
	handshakeTry("TLS 1.1", only(tls.VersionTLS11), false)
	handshakeTry("TLS 1.2", only(tls.VersionTLS12), true)
	handshakeTry("TLS 1.3", only(tls.VersionTLS13), true)
	for _, suite := range tls.InsecureCipherSuites() {
		handshakeTry("the suite "+suite.Name, func(c *tls.Config) {
			only(tls.VersionTLS12)(c)
			c.CipherSuites = []uint16{suite.ID}
		}, false)
	}
	for _, protocols := range [][]string{{"spdy/3"}, {"h3"}, {"http/1.0"}, {"h2c"}, {"HTTP/1.1"},
		{strings.Repeat("x", 255)}} {
		handshakeTry(fmt.Sprintf("the protocol %.20q", protocols), func(c *tls.Config) { c.NextProtos = protocols }, false)
	}
	list = append(list, try{"L7 renegotiation", func(h *client) {
		program, err := exec.LookPath("openssl")
		if err != nil {
			return // no client here supports it
		}
		cmd := exec.Command(program, "s_client", "-connect", s.addr, "-tls1_2", "-servername", "app.test",
			"-legacy_renegotiation")
		in, out := strings.NewReader("R\nGET /public/x HTTP/1.1\r\nHost: app.test\r\nX-Case: "+h.id+
			"\r\nConnection: close\r\n\r\n"), &strings.Builder{}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = io.MultiReader(in, delayedEOF(2*time.Second)), out, out
		cmd.Run()
		if text := out.String(); !strings.Contains(text, "RENEGOTIATING") || strings.Contains(text, "HTTP/1.1 200") {
			h.failf("openssl prints %.2000s", text)
		}
	}})
	return list
}

// delayedEOF is a reader that returns io.EOF after a delay.
type delayedEOF time.Duration

func (l delayedEOF) Read([]byte) (int, error) { time.Sleep(time.Duration(l)); return 0, io.EOF }

// clientHello returns the first message of a client.
func clientHello(c *tls.Config) []byte {
	ours, theirs := net.Pipe()
	go tls.Client(ours, c).Handshake()
	b := make([]byte, 16<<10)
	n, _ := theirs.Read(b)
	theirs.Close()
	ours.Close()
	return b[:n]
}

// hellos covers D10: handshakes that are cut off, slow or malformed.
func hellos(s *env) (list []try) {
	hello := string(clientHello(&tls.Config{ServerName: "aaaaaaaa.test"}))
	add := func(name, text string, pause time.Duration) {
		list = append(list, try{"D10 " + name, func(h *client) {
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			first := text
			if pause > 0 {
				first = text[:1]
			}
			io.WriteString(w.c, first)
			if closed, err := sendSlowly(w, text[len(first):], max(pause, 200*time.Millisecond), 25*time.Second); !closed &&
				!isEnd(err) {
				h.failf("a handshake that never ends is still accepted after 25 s")
			}
		}})
	}
	add("one byte", "\x16", 0)
	add("half a hello", hello[:len(hello)/2], 0)
	add("a hello and no more", hello, 0)
	add("a hello byte by byte", hello, 300*time.Millisecond)
	add("an empty record", "\x16\x03\x01\x00\x00", 0)
	add("SSL 2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80", 0)
	add("SSL 3", strings.Replace(hello, "\x03\x03", "\x03\x00", 1), 0)
	add("a record of 64 KiB", "\x16\x03\x01\xff\xff"+strings.Repeat("x", 65535), 0)
	add("a hello of 16 MiB", "\x16\x03\x01\x40\x00\x01\xff\xff\xff"+strings.Repeat("x", 0x4000-4), 0)
	add("an alert", "\x15\x03\x01\x00\x02\x02\x28", 0)
	add("heartbleed", "\x18\x03\x02\x00\x03\x01\x40\x00", 0)
	add("HTTP in clear", "GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n", 0)
	add("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 0)
	for name, odd := range map[string]string{"NUL": "aaaa\x00aaa.test", "line break": "aaa\r\naaa.test",
		"blank": "aaaa aaa.test", "dots": ".............", "slashes": "../../../etc/", "final dot": "aaaaaaaa.tes.",
		"address": "127.000.0.001", "high": "aaaa\xff\xfeaa.test", "wildcard": "*.*.*.*.*.tes"} {
		list = append(list, try{"D10 SNI " + name, func(h *client) { // answered or refused; dinggate keeps running
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			io.WriteString(w.c, strings.Replace(hello, "aaaaaaaa.test", odd, 1))
			w.c.SetReadDeadline(time.Now().Add(responseTimeout))
			if _, err := w.br.Peek(1); err != nil && !isEnd(err) {
				h.failf("no response: %v", err)
			}
			w.c.Close()
			h.checkServed()
		}})
	}
	list = append(list, try{"D10 200 that break off", func(h *client) {
		for i := range 200 {
			if w, err := dial(h.env.newAddress(), h.env.addr); err == nil {
				io.WriteString(w.c, hello[:i*len(hello)/200])
				w.c.(*net.TCPConn).SetLinger(0)
				w.c.Close()
			}
		}
		h.checkServed()
	}}, try{"D10 tiny records", func(h *client) {
		c := s.secure.Clone()
		c.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", s.addr, c)
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(responseTimeout))
		for _, b := range []byte(requestText("GET", "/public/x", h.id, "Connection: close")) {
			conn.Write([]byte{b})
		}
		if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "HTTP/1.1 200") {
			h.failf("got %.200q", text)
		}
	}}, try{"D10 HTTP/1 where HTTP/2 was agreed", func(h *client) {
		c := s.secure.Clone()
		c.NextProtos = []string{"h2"}
		h.checkNever(c, requestText("GET", "/public/x", h.id), "HTTP/1.1 200")
	}}, try{"D10 HTTP/2 where HTTP/1 was agreed", func(h *client) {
		c := s.secure.Clone()
		c.NextProtos = []string{"http/1.1"}
		h.checkNever(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", mark)
	}})
	return list
}

func isEnd(err error) bool {
	e, ok := err.(net.Error)
	return !ok || !e.Timeout()
}

// checkServed checks that other clients are served.
func (h *client) checkServed() {
	if a := h.send(request{raw: requestText("GET", "/public/x", h.id), authorized: true, fresh: true}); a.status != 200 {
		h.failf("other clients are not served: %v", a)
	}
}

// checkNever writes text into a TLS connection. The response must not contain never.
func (h *client) checkNever(c *tls.Config, text, never string) {
	conn, err := tls.Dial("tcp", h.env.addr, c)
	if err != nil {
		h.failf("%v", err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	io.WriteString(conn, text)
	if got, _ := io.ReadAll(conn); strings.Contains(string(got), never) {
		h.failf("got %.200q", got)
	}
}

// names checks that the server name of the handshake and the host of the request are independent,
// and that only the host selects a route.
func names(s *env) (list []try) {
	for _, sni := range []string{"app.test", "evil.test", "", "127.0.0.1", "APP.test", "app.test.", "localhost",
		strings.Repeat("a.", 100) + "test"} {
		for _, host := range []string{"app.test", "evil.test", "localhost"} {
			list = append(list, try{fmt.Sprintf("D10 SNI %.20q, Host %q", sni, host), func(h *client) {
				c := s.secure.Clone()
				c.ServerName, c.InsecureSkipVerify = sni, true
				a := h.send(request{
					raw:        requestText("GET", "/page", h.id, "Host: "+host, h.member("zhangsan")),
					authorized: host == "app.test",
					fresh:      true,
					secure:     c,
				})
				if (a.status == 200) != (host == "app.test") {
					h.failf("got %v", a)
				}
				if v := a.header["Strict-Transport-Security"]; len(v) != 1 && a.status != 0 && !a.bare {
					h.failf("Strict-Transport-Security: %q", v)
				}
			}})
		}
	}
	return list
}

// clients covers L7: client certificates that are required and valid.
func clients(s *env) (list []try) {
	dir := s.t.TempDir()
	write(s.t, filepath.Join(dir, "ca.pem"), string(s.authority.PEM()))
	p := s.another(func(text string) string {
		return strings.Replace(text, "hsts:", "client_ca_file: "+filepath.Join(dir, "ca.pem")+", hsts:", 1)
	})
	foreign := tlstest.NewAuthority()
	for name, c := range map[string]struct {
		pair *tls.Certificate
		in   bool
	}{
		"valid":             {ptr(s.authority.Pair(tlstest.Leaf{Client: true})), true},
		"none":              {nil, false},
		"self-signed":       {ptr(s.authority.Pair(tlstest.Leaf{Client: true, SelfSigned: true})), false},
		"another's":         {ptr(foreign.Pair(tlstest.Leaf{Client: true})), false},
		"an expired one":    {ptr(s.authority.Pair(tlstest.Leaf{Client: true, Ends: -time.Minute})), false},
		"one not yet valid": {ptr(s.authority.Pair(tlstest.Leaf{Client: true, Begins: 30 * time.Minute})), false},
		"one for servers":   {ptr(s.authority.Pair(tlstest.Leaf{})), false},
		"a key not its own": {&tls.Certificate{
			Certificate: s.authority.Pair(tlstest.Leaf{Client: true}).Certificate,
			PrivateKey:  foreign.Key,
		}, false},
		"the authority's": {&tls.Certificate{
			Certificate: [][]byte{s.authority.Cert.Raw},
			PrivateKey:  foreign.Key,
		}, false},
		"a chain of another": {&tls.Certificate{
			Certificate: append(foreign.Pair(tlstest.Leaf{Client: true}).Certificate, s.authority.Cert.Raw),
			PrivateKey:  foreign.Key,
		}, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			list = append(list,
				try{fmt.Sprintf("L7 a client's certificate: %s, TLS %x", name, version), func(h *client) {
					config := s.secure.Clone()
					config.MinVersion, config.MaxVersion = version, version
					if c.pair != nil {
						config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
							return c.pair, nil
						}
					}
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					a, err := w.send(request{
						raw:    requestText("GET", "/public/x", h.id),
						from:   "127.0.0.1",
						to:     p.addr,
						secure: config,
						fresh:  true,
					})
					h.env.foreign.Store(h.id, true)
					if got := err == nil && a.status == 200; got != c.in {
						h.failf("accepted: %v (%v, %v), want %v", got, a, err, c.in)
					}
				}})
		}
	}
	return list
}

func ptr[T any](v T) *T { return &v }

// pairs covers L7: dinggate does not start with an invalid pair of certificate and key.
func pairs(s *env) (list []try) {
	cert, key := s.authority.Files(s.t, tlstest.Leaf{})
	_, other := s.authority.Files(s.t, tlstest.Leaf{})
	dir := s.t.TempDir()
	text, err := os.ReadFile(cert)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(dir, "half.pem"), string(text[:len(text)/2]))
	write(s.t, filepath.Join(dir, "empty.pem"), "")
	for name, lines := range map[string]string{
		"another's key":      fmt.Sprintf("cert_file: %q, key_file: %q", cert, other),
		"half a certificate": fmt.Sprintf("cert_file: %q, key_file: %q", filepath.Join(dir, "half.pem"), key),
		"an empty file":      fmt.Sprintf("cert_file: %q, key_file: %q", filepath.Join(dir, "empty.pem"), key),
		"the two exchanged":  fmt.Sprintf("cert_file: %q, key_file: %q", key, cert),
		"no key":             fmt.Sprintf("cert_file: %q", cert),
		"no certificate":     fmt.Sprintf("key_file: %q", key),
		"a directory":        fmt.Sprintf("cert_file: %q, key_file: %q", dir, key),
		"no file":            fmt.Sprintf("cert_file: %q, key_file: %q", filepath.Join(dir, "none.pem"), key),
		"an authority that is empty": fmt.Sprintf("cert_file: %q, key_file: %q, client_ca_file: %q", cert, key,
			filepath.Join(dir, "empty.pem")),
		"an authority only": fmt.Sprintf("client_ca_file: %q", cert),
	} {
		list = append(list, try{"L7 " + name, func(h *client) {
			before, _, _ := strings.Cut(s.text, "\ntls: ")
			file := filepath.Join(s.t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(before+"\ntls: {"+lines+"}\n"), 0o600); err != nil {
				h.failf("%v", err)
				return
			}
			cmd := exec.Command(program, "serve", "--config", file)
			timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != 1 && cmd.ProcessState.ExitCode() != 2 ||
				strings.Contains(string(out), "goroutine") || !strings.Contains(string(out), "tls") {
				h.failf("it ends with %v and prints %.500s", err, out)
			}
		}})
	}
	return list
}
