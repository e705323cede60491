package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Which Host the application gets; where the browser is it learns in any case.
func TestPassHost(t *testing.T) {
	app := httptest.NewServer(echo)
	defer app.Close()
	own := app.Listener.Addr().String()
	d := open(t, plan{upstream: app.URL})
	for _, c := range []struct {
		pass PassHost
		want string
	}{{"", host}, {"true", host}, {"TRUE", host}, {"false", own}, {"app.internal:8443", "app.internal:8443"}} {
		d.handler.Routes.list[0].Upstream = newUpstream(t, UpstreamConfig{Upstream: app.URL, PassHost: c.pass})
		_, body := d.do("GET /public/")
		if saw := sawOf(t, body); saw.Host != c.want || saw.Header.Get("X-Forwarded-Host") != host {
			t.Errorf("pass_host: %q: the upstream saw %q, X-Forwarded-Host %q; want %q, %q", c.pass, saw.Host,
				saw.Header.Get("X-Forwarded-Host"), c.want, host)
		}
	}
}

// authority signs certificates for a test.
type authority struct {
	t      *testing.T
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, folder: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// pair gives the files of a certificate for a name and of its key.
func (a *authority) pair(name string) (cert, key string) {
	a.serial++
	own := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1 + a.serial),
		DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}, a.cert, own.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".crt", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", secret)
}

func (a *authority) file() string { return a.write("ca.crt", "CERTIFICATE", a.cert.Raw) }

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.folder, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// An upstream of a private authority, under another name than its address, that
// asks for our certificate.
func TestUpstreamTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.pair("app.internal")
	clientCert, clientKey := ours.pair("gateway.internal")
	foreignCert, foreignKey := theirs.pair("gateway.internal")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ours.cert)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Client", r.TLS.PeerCertificates[0].DNSNames[0])
		w.Header().Set("X-Name", r.TLS.ServerName)
		echo(w, r)
	}))
	app.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	app.EnableHTTP2 = true
	d := open(t, plan{app: echo})
	app.Config.ErrorLog = d.server.Config.ErrorLog
	app.StartTLS()
	defer app.Close()
	_, port, _ := net.SplitHostPort(app.Listener.Addr().String())
	good := UpstreamTLS{CAFile: ours.file(), ServerName: "app.internal", ClientCertFile: clientCert, ClientKeyFile: clientKey}
	for _, c := range []struct {
		name   string
		change func(*UpstreamTLS)
		want   int
	}{
		{"all given", func(*UpstreamTLS) {}, 200},
		{"no authority", func(c *UpstreamTLS) { c.CAFile = "" }, 502},
		{"another authority", func(c *UpstreamTLS) { c.CAFile = theirs.file() }, 502},
		{"no name", func(c *UpstreamTLS) { c.ServerName = "" }, 502},
		{"another name", func(c *UpstreamTLS) { c.ServerName = "other.internal" }, 502},
		{"no certificate", func(c *UpstreamTLS) { c.ClientCertFile, c.ClientKeyFile = "", "" }, 502},
		{"another's certificate", func(c *UpstreamTLS) { c.ClientCertFile, c.ClientKeyFile = foreignCert, foreignKey }, 502},
	} {
		security := good
		c.change(&security)
		d.handler.Routes.list[0].Upstream = newUpstream(t, UpstreamConfig{Upstream: "https://127.0.0.1:" + port, TLS: security})
		for _, line := range []string{"X-Nothing: 1", "Authorization: NTLM x"} { // shared connections, and one of its own
			res, _ := d.do("GET /public/", line)
			if res.StatusCode != c.want || c.want == 200 &&
				(res.Header.Get("X-Client") != "gateway.internal" || res.Header.Get("X-Name") != "app.internal") {
				t.Errorf("%s, %s = %d %v, want %d", c.name, line, res.StatusCode, res.Header, c.want)
			}
		}
	}
	for _, bad := range []UpstreamTLS{{CAFile: "missing"}, {CAFile: serverKey}, {ClientCertFile: clientCert, ClientKeyFile: serverKey}} {
		if _, err := bad.Open(); err == nil {
			t.Errorf("Open(%+v) succeeded", bad)
		}
	}
}
