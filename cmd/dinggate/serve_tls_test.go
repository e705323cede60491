package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certify makes a certificate that stands for itself, for 127.0.0.1.
func certify(t *testing.T, name string, notAfter time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-48 * time.Hour),
		NotAfter:              notAfter,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})
}

// secureSite serves https with the pair in cert.pem and key.pem, and these lines more.
func secureSite(t *testing.T, more string, cert, key []byte) *site {
	s := &site{dir: t.TempDir()}
	s.file, s.secret = filepath.Join(s.dir, "config.yaml"), filepath.Join(s.dir, "secrets")
	s.write(t, "secrets", newSecret())
	s.write(t, "cert.pem", string(cert))
	s.write(t, "key.pem", string(key))
	text := strings.Replace(fmt.Sprintf(reloadedConfig, s.secret), "http://127.0.0.1:4180", "https://127.0.0.1", 1)
	s.write(t, "config.yaml",
		text+fmt.Sprintf("tls: {cert_file: %q, key_file: %q%s}\n", filepath.Join(s.dir, "cert.pem"),
			filepath.Join(s.dir, "key.pem"), more))
	s.program = serveFile(t, s.file)
	return s
}

// presented is the name on the certificate that a new handshake gets.
func (s *site) presented(c *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.gate, "https://"), c)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func anyone() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// TestCertificateRotation: threats V28, L7.
func TestCertificateRotation(t *testing.T) {
	cert, key := certify(t, "first", time.Now().Add(-time.Hour)) // expired: the clients' business, we serve on
	s := secureSite(t, ", hsts: 8760h", cert, key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyone(), ForceAttemptHTTP2: true}}
	res, err := client.Get(s.gate + "/oauth2/userinfo")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 401 || res.ProtoMajor != 2 ||
		res.Header.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("/oauth2/userinfo = %d over %s with %q, want 401 over HTTP/2 with HSTS", res.StatusCode, res.Proto,
			res.Header.Get("Strict-Transport-Security"))
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=1; includeSubDomains")
		w.WriteHeader(http.StatusEarlyHints) // which empties the header once it is sent
	}))
	defer app.Close()
	configured, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "config.yaml",
		string(configured)+fmt.Sprintf("routes: [{path: /, access: public, upstream: %q}]\n", app.URL))
	eventually(t, "the application answers, with our HSTS alone", func() bool {
		res, err := client.Get(s.gate + "/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200 && fmt.Sprint(res.Header["Strict-Transport-Security"]) == "[max-age=31536000]"
	})
	old := anyone()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	if _, err := s.presented(old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	before := s.metric(t, "dinggate_tls_certificate_expiry_timestamp_seconds")
	second, secondKey := certify(t, "second", time.Now().Add(48*time.Hour))
	s.write(t, "cert.pem", string(second)) // half of a pair; nobody sends a signal
	eventually(t,
		"half a pair is refused", func() bool { return s.metric(t, "dinggate_config_last_reload_successful") == "0" })
	if name, err := s.presented(anyone()); err != nil || name != "first" {
		t.Errorf("with half a new pair a handshake gets %q %v, want the old certificate", name, err)
	}
	s.write(t, "key.pem", string(secondKey))
	eventually(t, "the new pair is taken", func() bool { name, _ := s.presented(anyone()); return name == "second" })
	eventually(t, "all is well", func() bool { return s.metric(t, "dinggate_config_last_reload_successful") == "1" })
	if got := s.metric(t, "dinggate_tls_certificate_expiry_timestamp_seconds"); got == before || got == "" {
		t.Errorf("tls_certificate_expiry_timestamp_seconds is %q before and %q after", before, got)
	}
}

// TestCertificateStays: a pair that is none stays away and keeps nothing else
// away; a good one is taken even while the configuration has mistakes.
func TestCertificateStays(t *testing.T) {
	cert, key := certify(t, "first", time.Now().Add(48*time.Hour))
	s := secureSite(t, "", cert, key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyone(), DisableKeepAlives: true}}
	good, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	titled := func(title string) string { return string(good) + "sign_in: {title: " + title + "}\n" }
	serves := func(title string) func() bool {
		return func() bool {
			_, page := fetch(t, client, s.gate+"/oauth2/sign_in")
			return strings.Contains(page, title)
		}
	}
	_, other := certify(t, "other", time.Now().Add(48*time.Hour))
	for name, bad := range map[string]struct{ file, text string }{"the key of another": {"key.pem", string(other)},
		"half a certificate": {"cert.pem", string(cert[:len(cert)/2])}, "nothing": {"cert.pem", ""}} {
		s.write(t, bad.file, bad.text)
		s.write(t, "config.yaml", titled(fmt.Sprintf("%q", name)))
		s.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, "the rest is taken beside "+name, serves(name))
		if shown, err := s.presented(anyone()); err != nil || shown != "first" {
			t.Errorf("%s: a handshake gets %q %v, want the old certificate", name, shown, err)
		}
		eventually(t, name+" is told", func() bool { // between two reloads one of them is told
			status, ready := fetch(t, http.DefaultClient, s.admin+"/ready")
			_, page := fetch(t, http.DefaultClient, s.admin+"/status")
			return status == 200 && strings.HasPrefix(ready, "ready\n") && strings.Contains(ready, "tls.cert_file") &&
				strings.Contains(page, `"partly": true`) &&
				strings.Contains(page, "no pair of certificate and key") &&
				s.metric(t, "dinggate_config_last_reload_successful") == "0"
		})
		eventually(t, "the log tells it too", func() bool {
			return strings.Contains(s.log.String(),
				"a part of the changed configuration is refused and stays as it was")
		})
		s.write(t, "cert.pem", string(cert))
		s.write(t, "key.pem", string(key))
		eventually(t,
			"the pair is mended", func() bool { return s.metric(t, "dinggate_config_last_reload_successful") == "1" })
	}
	if log := s.log.String(); strings.Contains(log, "the old one serves on") {
		t.Errorf("a pair that is none refused the whole configuration:\n%s", log)
	}
	s.write(t, "config.yaml", titled("unseen")+"no_such_key: 1\n")
	eventually(t, "a mistake is refused", func() bool { return strings.Contains(s.log.String(), "no_such_key") })
	second, secondKey := certify(t, "second", time.Now().Add(48*time.Hour))
	s.write(t, "cert.pem", string(second))
	s.write(t, "key.pem", string(secondKey))
	eventually(t,
		"the pair is taken beside a mistake", func() bool { name, _ := s.presented(anyone()); return name == "second" })
	if serves("unseen")() {
		t.Error("a configuration with a mistake serves")
	}
}

func TestClientCertificate(t *testing.T) {
	cert, key := certify(t, "gate", time.Now().Add(time.Hour))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	mine, mineKey := certify(t, "gateway", time.Now().Add(time.Hour))
	other, otherKey := certify(t, "gateway", time.Now().Add(time.Hour))
	if err := os.WriteFile(ca, mine, 0o600); err != nil {
		t.Fatal(err)
	}
	s := secureSite(t, ", client_ca_file: "+ca, cert, key)
	for name, tt := range map[string]struct {
		cert, key []byte
		want      bool
	}{"the gateway's": {mine, mineKey, true}, "another of that name": {other, otherKey, false}, "none": {}} {
		c := anyone()
		if tt.cert != nil {
			pair, err := tls.X509KeyPair(tt.cert, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		res, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: c}}).Get(s.gate + "/oauth2/auth")
		if (err == nil) != tt.want {
			t.Errorf("with %s certificate: %v, want in: %v", name, err, tt.want)
		}
		if err == nil {
			res.Body.Close()
		}
	}
}

// TestProxyProtocol: threats L9. Who must send it must, and nobody else may.
func TestProxyProtocol(t *testing.T) {
	const request = "GET /oauth2/auth HTTP/1.1\r\nHost: 127.0.0.1:4180\r\nConnection: close\r\n\r\n"
	const v1 = "PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x7f\x00\x00\x01\x04\xd2\x00\x50"
	listed, others := newSite(t, "proxy_protocol: [127.0.0.0/8]\n"), newSite(t, "proxy_protocol: [10.0.0.0/8]\n")
	for _, tt := range []struct {
		name   string
		s      *site
		send   string
		client string // in the log; "": the connection ends without an answer
	}{
		{"v1", listed, v1 + request, "192.0.2.7"}, {"v2", listed, v2 + request, "192.0.2.8"},
		{"none", listed, request, ""}, {"junk", listed, "PROXY TCP4 1 2 3 4\r\n" + request, ""},
		{"two", listed, v1 + v1 + request, ""},
		{"claim", others, v1 + request, ""}, {"plain", others, request, "127.0.0.1"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(tt.s.gate, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, tt.send)
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if got := strings.HasPrefix(string(answer), "HTTP/1.1 401"); got != (tt.client != "") {
			t.Errorf("%s: answered %.40q, want an answer: %v", tt.name, answer, tt.client != "")
		}
		if tt.client != "" {
			eventually(t,
				tt.name+" is in the log as "+tt.client, func() bool {
					return strings.Contains(tt.s.log.String(), `"client":"`+tt.client+`"`)
				})
		}
	}
}

// TestSinks: threats V29. A log that cannot be written stops nobody.
func TestSinks(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("SKIPPED: no /dev/full on this system")
	}
	defer full.Close()
	gone, closed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	defer closed.Close()
	unread, stopped, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	defer stopped.Close()
	for name, sink := range map[string]*os.File{"a full disk": full, "a closed pipe": closed,
		"a reader that stopped": stopped} {
		cmd := exec.Command(binary(t), "serve")
		// Without trusted proxies a warning is the first thing that goes there.
		cmd.Env = append(append(os.Environ(), environment...), "DINGGATE_TRUSTED_PROXIES=")
		cmd.Stderr = sink
		p := startOn(t, cmd)
		for i := range 2000 { // more than a pipe holds
			if status, _ := fetch(t, http.DefaultClient, p.gate+"/oauth2/auth"); status != 401 {
				t.Fatalf("%s: request %d = %d, want 401", name, i, status)
			}
		}
		if name != "a reader that stopped" { // there 4 MiB wait before anything is dropped
			eventually(t,
				name+" is counted", func() bool { return p.metric(t, "dinggate_log_records_dropped_total") > "0" })
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: serve ends with %v, want exit code 0", name, err)
		}
	}
}

// TestFewFiles: threats V30, D1, D3. With 256 descriptors and more idle clients
// than that, the rest wait, the admin listener answers, and all goes on when
// they leave.
func TestFewFiles(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `ulimit -n 256 && exec "$0" serve`, binary(t))
	cmd.Env = append(os.Environ(), environment...)
	p := startProgram(t, cmd)
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for range 300 {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.gate, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "G") // and the rest of the header never comes
		idle = append(idle, c)
	}
	eventually(t, "dinggate is full", func() bool { return p.metric(t, "dinggate_connections_open") == "96" })
	if got := p.metric(t, "dinggate_connections_max"); got != "96" {
		t.Errorf("connections_max = %s with 256 files, want 96", got)
	}
	if status, _ := fetch(t, http.DefaultClient, p.admin+"/ready"); status != 200 {
		t.Errorf("/ready with a full gate = %d", status)
	}
	// They are cut when their header takes too long, and the next ones come in.
	if status, _ := fetch(t, &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{}},
		p.gate+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth behind 300 slow clients = %d, want 401", status)
	}
}
