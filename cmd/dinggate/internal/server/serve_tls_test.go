package server_test

import (
	"crypto/tls"
	"fmt"
	"io"
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

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/tlstest"
)

// certify returns a certificate of a new authority.
func certify(name string, life time.Duration) (cert, key []byte) {
	return tlstest.NewAuthority().Issue(tlstest.Leaf{Names: []string{name}, Ends: life})
}

// newTLSEnv serves https with the pair in cert.pem and key.pem, and these lines appended.
func newTLSEnv(t *testing.T, more string, cert, key []byte) *servertest.FileEnv {
	s := &servertest.FileEnv{Dir: t.TempDir()}
	s.File, s.Secret = filepath.Join(s.Dir, "config.yaml"), filepath.Join(s.Dir, "secrets")
	s.Write(t, "secrets", config.NewSecret())
	s.Write(t, "cert.pem", string(cert))
	s.Write(t, "key.pem", string(key))
	text := strings.Replace(fmt.Sprintf(servertest.FileConfig, s.Secret), "http://127.0.0.1:4180", "https://127.0.0.1", 1)
	s.Write(t, "config.yaml",
		text+fmt.Sprintf("tls: {cert_file: %q, key_file: %q%s}\n", filepath.Join(s.Dir, "cert.pem"),
			filepath.Join(s.Dir, "key.pem"), more))
	s.Program = servertest.ServeFile(t, s.File)
	return s
}

// presented returns the name in the certificate that a new handshake presents.
func presented(s *servertest.FileEnv, c *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.Public, "https://"), c)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func anyone() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// TestCertificateRotation tests threats V28, L7.
func TestCertificateRotation(t *testing.T) {
	cert, key := certify("first", -time.Hour) // expired: clients decide, dinggate continues to serve
	s := newTLSEnv(t, ", hsts: 8760h", cert, key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyone(), ForceAttemptHTTP2: true}}
	res, err := client.Get(s.Public + "/oauth2/userinfo")
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
		w.WriteHeader(http.StatusEarlyHints) // which clears the header once it is sent
	}))
	defer app.Close()
	configured, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	s.Write(t, "config.yaml",
		string(configured)+fmt.Sprintf("routes: [{path: /, access: public, upstream: %q}]\n", app.URL))
	servertest.Eventually(t, "the application answers, with our HSTS alone", func() bool {
		res, err := client.Get(s.Public + "/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200 && fmt.Sprint(res.Header["Strict-Transport-Security"]) == "[max-age=31536000]"
	})
	old := anyone()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	if _, err := presented(s, old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	before := s.Metric(t, "dinggate_tls_certificate_expiry_timestamp_seconds")
	second, secondKey := certify("second", 48*time.Hour)
	s.Write(t, "cert.pem", string(second)) // half of a pair, without a signal
	servertest.Eventually(t,
		"half a pair is refused", func() bool { return s.Metric(t, "dinggate_config_last_reload_successful") == "0" })
	if name, err := presented(s, anyone()); err != nil || name != "first" {
		t.Errorf("with half a new pair a handshake gets %q %v, want the old certificate", name, err)
	}
	s.Write(t, "key.pem", string(secondKey))
	servertest.Eventually(t, "the new pair is taken", func() bool { name, _ := presented(s, anyone()); return name == "second" })
	servertest.Eventually(t, "all is well", func() bool { return s.Metric(t, "dinggate_config_last_reload_successful") == "1" })
	if got := s.Metric(t, "dinggate_tls_certificate_expiry_timestamp_seconds"); got == before || got == "" {
		t.Errorf("tls_certificate_expiry_timestamp_seconds is %q before and %q after", before, got)
	}
}

// TestCertificateStays checks that a pair that does not match is not loaded and delays no
// other change, and that a matching one is loaded even if the configuration has mistakes.
func TestCertificateStays(t *testing.T) {
	cert, key := certify("first", 48*time.Hour)
	s := newTLSEnv(t, "", cert, key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyone(), DisableKeepAlives: true}}
	good, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	titled := func(title string) string { return string(good) + "sign_in: {title: " + title + "}\n" }
	serves := func(title string) func() bool {
		return func() bool {
			_, page := servertest.Fetch(t, client, s.Public+"/oauth2/sign_in")
			return strings.Contains(page, title)
		}
	}
	_, other := certify("other", 48*time.Hour)
	for name, bad := range map[string]struct{ file, text string }{"the key of another": {"key.pem", string(other)},
		"half a certificate": {"cert.pem", string(cert[:len(cert)/2])}, "nothing": {"cert.pem", ""}} {
		s.Write(t, bad.file, bad.text)
		s.Write(t, "config.yaml", titled(fmt.Sprintf("%q", name)))
		s.Cmd.Process.Signal(syscall.SIGHUP)
		servertest.Eventually(t, "the rest is taken beside "+name, serves(name))
		if shown, err := presented(s, anyone()); err != nil || shown != "first" {
			t.Errorf("%s: a handshake gets %q %v, want the old certificate", name, shown, err)
		}
		servertest.Eventually(t, name+" is reported", func() bool { // one may be reported between two reloads
			status, ready := servertest.Fetch(t, http.DefaultClient, s.Admin+"/ready")
			_, page := servertest.Fetch(t, http.DefaultClient, s.Admin+"/status")
			return status == 200 && strings.HasPrefix(ready, "ready\n") && strings.Contains(ready, "tls.cert_file") &&
				strings.Contains(page, `"partly": true`) &&
				strings.Contains(page, "not a matching certificate and key in PEM format") &&
				s.Metric(t, "dinggate_config_last_reload_successful") == "0"
		})
		servertest.Eventually(t, "the log has it too", func() bool {
			return strings.Contains(s.Log.String(),
				"a part of the changed configuration was refused and is unchanged")
		})
		s.Write(t, "cert.pem", string(cert))
		s.Write(t, "key.pem", string(key))
		servertest.Eventually(t,
			"the pair is mended", func() bool { return s.Metric(t, "dinggate_config_last_reload_successful") == "1" })
	}
	if log := s.Log.String(); strings.Contains(log, "the old one stays in use") {
		t.Errorf("a pair that is none refused the whole configuration:\n%s", log)
	}
	s.Write(t, "config.yaml", titled("unseen")+"no_such_key: 1\n")
	servertest.Eventually(t, "a mistake is refused", func() bool { return strings.Contains(s.Log.String(), "no_such_key") })
	second, secondKey := certify("second", 48*time.Hour)
	s.Write(t, "cert.pem", string(second))
	s.Write(t, "key.pem", string(secondKey))
	servertest.Eventually(t,
		"the pair is taken beside a mistake", func() bool { name, _ := presented(s, anyone()); return name == "second" })
	if serves("unseen")() {
		t.Error("a configuration with a mistake serves")
	}
}

func TestClientCertificate(t *testing.T) {
	cert, key := certify("gate", time.Hour)
	ours := tlstest.NewAuthority()
	s := newTLSEnv(t, ", client_ca_file: "+ours.File(t), cert, key)
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		want         bool
	}{
		"the gateway's":        {[]tls.Certificate{ours.Pair(tlstest.Leaf{Names: []string{"gateway"}, Client: true})}, true},
		"another of that name": {[]tls.Certificate{tlstest.NewAuthority().Pair(tlstest.Leaf{Names: []string{"gateway"}, Client: true})}, false},
		"none":                 {},
	} {
		c := anyone()
		c.Certificates = tt.certificates
		res, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: c}}).Get(s.Public + "/oauth2/auth")
		if (err == nil) != tt.want {
			t.Errorf("with %s certificate: %v, want in: %v", name, err, tt.want)
		}
		if err == nil {
			res.Body.Close()
		}
	}
}

// TestProxyProtocol tests threats L9. Peers in proxy_protocol must send the header, and no
// other peer may.
func TestProxyProtocol(t *testing.T) {
	const request = "GET /oauth2/auth HTTP/1.1\r\nHost: 127.0.0.1:4180\r\nConnection: close\r\n\r\n"
	const v1 = "PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x7f\x00\x00\x01\x04\xd2\x00\x50"
	listed, others := servertest.NewFileEnv(t, "proxy_protocol: [127.0.0.0/8]\n"), servertest.NewFileEnv(t, "proxy_protocol: [10.0.0.0/8]\n")
	for _, tt := range []struct {
		name   string
		s      *servertest.FileEnv
		send   string
		client string // in the log; "": the connection ends without a response
	}{
		{"v1", listed, v1 + request, "192.0.2.7"}, {"v2", listed, v2 + request, "192.0.2.8"},
		{"none", listed, request, ""}, {"junk", listed, "PROXY TCP4 1 2 3 4\r\n" + request, ""},
		{"two", listed, v1 + v1 + request, ""},
		{"claim", others, v1 + request, ""}, {"plain", others, request, "127.0.0.1"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(tt.s.Public, "http://"))
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
			servertest.Eventually(t,
				tt.name+" is in the log as "+tt.client, func() bool {
					return strings.Contains(tt.s.Log.String(), `"client":"`+tt.client+`"`)
				})
		}
	}
}

// TestSinks tests threats V29. A log that cannot be written blocks no request.
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
		cmd := exec.Command(servertest.Binary(t), "serve")
		// Without trusted proxies a warning is the first line of the log.
		cmd.Env = append(append(os.Environ(), servertest.Environ...), "DINGGATE_TRUSTED_PROXIES=")
		cmd.Stderr = sink
		p := servertest.StartOn(t, cmd)
		for i := range 2000 { // more than the buffer of a pipe
			if status, _ := servertest.Fetch(t, http.DefaultClient, p.Public+"/oauth2/auth"); status != 401 {
				t.Fatalf("%s: request %d = %d, want 401", name, i, status)
			}
		}
		if name != "a reader that stopped" { // 4 MiB are buffered before lines are dropped
			servertest.Eventually(t,
				name+" is counted", func() bool { return p.Metric(t, "dinggate_log_records_dropped_total") > "0" })
		}
		p.Cmd.Process.Signal(syscall.SIGTERM)
		if err := p.Cmd.Wait(); err != nil {
			t.Errorf("%s: serve ends with %v, want exit code 0", name, err)
		}
	}
}

// TestFewFiles tests threats V30, D1, D3. With 256 descriptors and more idle clients than
// that, the other clients wait, the admin listener answers, and all are served when the
// idle clients disconnect.
func TestFewFiles(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `ulimit -n 256 && exec "$0" serve`, servertest.Binary(t))
	cmd.Env = append(os.Environ(), servertest.Environ...)
	p := servertest.Start(t, cmd)
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for range 300 {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.Public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "G") // and the rest of the header never arrives
		idle = append(idle, c)
	}
	servertest.Eventually(t, "dinggate is full", func() bool { return p.Metric(t, "dinggate_connections_open") == "96" })
	if got := p.Metric(t, "dinggate_connections_max"); got != "96" {
		t.Errorf("connections_max = %s with 256 files, want 96", got)
	}
	if status, _ := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready"); status != 200 {
		t.Errorf("/ready without a free connection = %d", status)
	}
	// They are disconnected when their header takes too long, and the next ones are
	// accepted.
	if status, _ := servertest.Fetch(t, &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{}},
		p.Public+"/oauth2/auth"); status != 401 {
		t.Errorf("/oauth2/auth behind 300 slow clients = %d, want 401", status)
	}
}
