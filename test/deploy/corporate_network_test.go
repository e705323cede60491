package deploy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
	"dinggate/internal/tlstest"
)

// corporateProxy is an HTTP proxy for Node.js. It supports only CONNECT and requires a password if
// login is set. It connects every name to one port of this machine and appends the name to a log
// file.
const corporateProxy = `
const [port, target, log, login] = process.argv.slice(2);
const wanted = login && 'Basic ' + Buffer.from(login).toString('base64');
const server = require('http').createServer((_, res) => { res.writeHead(405); res.end(); });
server.on('connect', (req, client, head) => {
  client.on('error', () => {});
  if (wanted && req.headers['proxy-authorization'] !== wanted) {
    client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="corp"\r\n\r\n');
    return;
  }
  require('fs').appendFileSync(log, 'CONNECT ' + req.url + '\n');
  const upstream = require('net').connect(target, '127.0.0.1', () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    upstream.write(head);
    upstream.pipe(client).pipe(upstream);
  });
  upstream.on('error', () => client.destroy());
  client.on('close', () => upstream.destroy());
});
server.listen(port, '127.0.0.1');
`

// startCorporateProxy starts a proxy that connects to port, and returns its address and its log.
func startCorporateProxy(t *testing.T, port, login string) (address, log string) {
	t.Helper()
	dir := t.TempDir()
	script, log := filepath.Join(dir, "proxy.js"), filepath.Join(dir, "log")
	writeFile(t, script, corporateProxy)
	address = realtool.FreeAddr(t)
	cmd := exec.Command(realtool.Path(t, "node"), script, address[strings.LastIndexByte(address, ':')+1:], port, log, login)
	startProcess(t, address, cmd)
	return address, log
}

// corporateDingTalk returns a DingTalk with two names, and a directory with the private CA that
// signed its TLS certificate.
func corporateDingTalk(t *testing.T) (server *httptest.Server, authorities string) {
	t.Helper()
	platform := simulator.Demo()
	t.Cleanup(platform.Close)
	server = httptest.NewUnstartedServer(platform)
	authority := tlstest.NewAuthority()
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Pair(tlstest.Leaf{
		Names: []string{"api.dingtalk.test", "oapi.dingtalk.test", "login.dingtalk.test"},
		Ends:  60 * 24 * time.Hour,
	})}}
	server.StartTLS()
	t.Cleanup(server.Close)
	authorities = t.TempDir()
	writeFile(t, filepath.Join(authorities, "corp-ca.pem"), string(authority.PEM()))
	return server, authorities
}

// TestCorporateNetwork follows docs/corporate-network.md: DingTalk is reachable only through an
// HTTP proxy, and its certificate is from a private CA.
func TestCorporateNetwork(t *testing.T) {
	dingtalk, authorities := corporateDingTalk(t)
	port := dingtalk.URL[strings.LastIndexByte(dingtalk.URL, ':')+1:]
	proxy, log := startCorporateProxy(t, port, "")
	authenticating, _ := startCorporateProxy(t, port, "svc:s3cret")
	binary, config := realtool.Dinggate(t), filepath.Join(t.TempDir(), "config.yaml")
	listen, admin := realtool.FreeAddr(t), realtool.FreeAddr(t)
	writeFile(t, config, fmt.Sprintf(`public_url: http://%s
listen: %[1]s
admin: {listen: %q}
dingtalk:
  client_id: %s
  client_secret: %s
  corp_id: %s
  login_url: https://login.dingtalk.test
  api_url: https://api.dingtalk.test
  oapi_url: https://oapi.dingtalk.test
cookie: {secrets: [%s]}
trusted_proxies: [127.0.0.1/32]
tracing: {endpoint: "https://otel.corp.test", sample: 1}
`, listen, admin, simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID, cookieSecret("corp")))
	trust := "SSL_CERT_DIR=/etc/ssl/certs:" + authorities
	doctor := func(environment ...string) (string, int) {
		cmd := exec.Command(binary, "doctor", "--lang", "en", "--user", "zhangsan", "--config", config)
		cmd.Env = append(os.Environ(), environment...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, c := range []struct {
		name        string
		environment []string
		code        int
		want        string
		not         string
	}{
		{"proxy and CA", []string{"HTTPS_PROXY=http://" + proxy, trust}, 0, "HTTP proxy " + proxy, "cannot be reached: api"},
		{"traces", []string{"HTTPS_PROXY=http://" + proxy, trust}, 0, "otel.corp.test, through the HTTP proxy " + proxy,
			"cannot be reached: otel"},
		{"NO_PROXY names the collector", []string{"HTTPS_PROXY=http://" + proxy, "NO_PROXY=corp.test", trust}, 0,
			"cannot be reached: otel.corp.test:443", ""},
		{"without the CA", []string{"HTTPS_PROXY=http://" + proxy}, 1, "is from an unknown authority", ""},
		{"NO_PROXY names DingTalk", []string{"HTTPS_PROXY=http://" + proxy, "NO_PROXY=127.0.0.1,dingtalk.test", trust}, 1,
			"cannot be reached: api.dingtalk.test", ""},
		{"with a password", []string{"HTTPS_PROXY=http://svc:s3cret@" + authenticating, trust}, 0, "HTTP proxy " + authenticating, "s3cret"},
		{"without the password", []string{"HTTPS_PROXY=http://" + authenticating, trust}, 1, "Proxy Authentication Required", ""},
	} {
		out, code := doctor(c.environment...)
		if code != c.code || !strings.Contains(out, c.want) || c.not != "" && strings.Contains(out, c.not) {
			t.Errorf("%s: doctor = %d, want %d with %q and without %q:\n%s", c.name, code, c.code, c.want, c.not, out)
		}
	}
	writeFile(t, log, "")
	startProcess(t, listen, exec.Command(binary, "serve", "--config", config), "HTTPS_PROXY=http://"+proxy, trust)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-again.C {
		status := corporateStatus(t, admin)
		if strings.Contains(status, `"connected":`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the event stream does not connect through the proxy:\n%s", status)
		}
	}
	if seen, err := os.ReadFile(log); err != nil || !strings.Contains(string(seen), "CONNECT api.dingtalk.test:443\n") {
		t.Errorf("the proxy saw %q, want the event stream: %v", seen, err)
	}
	res, err := http.Get("http://" + listen + "/oauth2/userinfo") // its span goes to the collector
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for deadline := time.Now().Add(20 * time.Second); ; <-again.C {
		if seen, err := os.ReadFile(log); err == nil && strings.Contains(string(seen), "CONNECT otel.corp.test:443\n") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the traces do not use the proxy")
		}
	}
}

// corporateStatus returns the response of /status. It returns "" while the server does not
// respond.
func corporateStatus(t *testing.T, admin string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+admin+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := (&http.Client{Timeout: 5 * time.Second}).Do(r)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}
