package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"dinggate/internal/tlstest"
)

// TestPassHost: which Host the application receives; X-Forwarded-Host is the browser's in any
// case.
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

// TestUpstreamTLS: an upstream with a private authority, another name than its address, and a
// client certificate.
func TestUpstreamTLS(t *testing.T) {
	ours, theirs := tlstest.NewAuthority(), tlstest.NewAuthority()
	serverCert, serverKey := ours.Files(t, tlstest.Leaf{Names: []string{"app.internal"}})
	clientCert, clientKey := ours.Files(t, tlstest.Leaf{Names: []string{"gateway.internal"}, Client: true})
	foreignCert, foreignKey := theirs.Files(t, tlstest.Leaf{Names: []string{"gateway.internal"}, Client: true})
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Client", r.TLS.PeerCertificates[0].DNSNames[0])
		w.Header().Set("X-Name", r.TLS.ServerName)
		echo(w, r)
	}))
	app.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool()}
	app.EnableHTTP2 = true
	d := open(t, plan{app: echo})
	app.Config.ErrorLog = d.server.Config.ErrorLog
	app.StartTLS()
	defer app.Close()
	_, port, _ := net.SplitHostPort(app.Listener.Addr().String())
	good := UpstreamTLS{CAFile: ours.File(t), ServerName: "app.internal", ClientCertFile: clientCert, ClientKeyFile: clientKey}
	for _, c := range []struct {
		name   string
		change func(*UpstreamTLS)
		want   int
	}{
		{"all given", func(*UpstreamTLS) {}, 200},
		{"no authority", func(c *UpstreamTLS) { c.CAFile = "" }, 502},
		{"another authority", func(c *UpstreamTLS) { c.CAFile = theirs.File(t) }, 502},
		{"no name", func(c *UpstreamTLS) { c.ServerName = "" }, 502},
		{"another name", func(c *UpstreamTLS) { c.ServerName = "other.internal" }, 502},
		{"no certificate", func(c *UpstreamTLS) { c.ClientCertFile, c.ClientKeyFile = "", "" }, 502},
		{"another's certificate", func(c *UpstreamTLS) { c.ClientCertFile, c.ClientKeyFile = foreignCert, foreignKey }, 502},
	} {
		security := good
		c.change(&security)
		d.handler.Routes.list[0].Upstream = newUpstream(t, UpstreamConfig{Upstream: "https://127.0.0.1:" + port, TLS: security})
		for _, line := range []string{"X-Nothing: 1", "Authorization: NTLM x"} { // shared connections, and a separate one
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
