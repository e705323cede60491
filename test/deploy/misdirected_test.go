package deploy_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// TestMisdirected checks requests on a shared HTTP/2 connection. Browsers use one connection for
// all hosts with the same certificate and address. A request for a host that is not configured
// must get 421 on it, so that the browser opens another connection. The connection must stay
// usable for the configured host. curl is the client.
func TestMisdirected(t *testing.T) {
	curl := realtool.Path(t, "curl")
	dir, listen := t.TempDir(), realtool.FreeAddr(t)
	certificate, config := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "config.yaml")
	writeFile(t, certificate, gatewayCertificate())
	port := listen[strings.LastIndexByte(listen, ':')+1:]
	writeFile(t, config, fmt.Sprintf(`public_url: https://app.example.com:%s
listen: %s
admin: {listen: 127.0.0.1:0}
tls: {cert_file: tls.pem, key_file: tls.pem}
dingtalk: {client_id: a, client_secret: b, corp_id: c, api_url: "http://127.0.0.1:1", oapi_url: "http://127.0.0.1:1", events: false}
cookie: {secrets: [%s]}
routes: [{path: /, host: "*.apps.example.org", access: public}, {path: /}]
`, port, listen, cookieSecret("two")))
	startProcess(t, listen, exec.Command(realtool.Dinggate(t), "serve", "--config", config))
	base := "https://app.example.com:" + port
	args := []string{"--parallel-max", "1"}
	for i, host := range []string{"app.example.com:" + port, "evil.test", "one.apps.example.org", "a.b.apps.example.org",
		"app.example.com:" + port} {
		if i > 0 {
			args = append(args, "--next")
		}
		args = append(args, "-sS", "--http2", "-k", "--resolve", "app.example.com:"+port+":127.0.0.1",
			"-o", "/dev/null", "-w", `%{http_code} %{http_version} %{num_connects}\n`, "-H", "Host: "+host, base+"/oauth2/sign_in")
	}
	out, err := exec.Command(curl, args...).CombinedOutput()
	if want := "200 2 1\n421 2 0\n200 2 0\n421 2 0\n200 2 0\n"; err != nil || string(out) != want {
		t.Errorf("status, HTTP version and new connections are, %v\n%swant\n%s", err, out, want)
	}
}
