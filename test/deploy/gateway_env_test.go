package deploy_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"

	"github.com/coder/websocket"
)

// gatewayEnv connects one gateway: the address for browsers, a real dinggate, an application that
// records its requests, and a simulated DingTalk.
type gatewayEnv struct {
	t         *testing.T
	base      string // URL of the gateway for browsers
	addresses gatewayAddresses
	binary    string
	platform  *simulator.Platform
	dingtalk  string
	app       *gatewayApp
	dinggate  *process
	kind      realGateway
	config    string // of dinggate; "" is deploy/config.yaml
}

// gatewayAddresses holds the values that a test changes in an example.
type gatewayAddresses struct {
	dir                   string // of the changed files
	public, dinggate, app string // host:port
}

// newGatewayEnv starts all parts, the gateway last.
func newGatewayEnv(t *testing.T, g realGateway) *gatewayEnv {
	program := g.path(t)
	h := &gatewayEnv{t: t, kind: g, binary: realtool.Dinggate(t), platform: simulator.Demo(), app: &gatewayApp{}}
	dingtalk := httptest.NewServer(h.platform)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(h.platform.Close)
	app := httptest.NewServer(h.app)
	t.Cleanup(app.Close)
	h.dingtalk = dingtalk.URL
	h.addresses = gatewayAddresses{
		dir:      t.TempDir(),
		public:   realtool.FreeAddr(t),
		dinggate: realtool.FreeAddr(t),
		app:      app.Listener.Addr().String(),
	}
	h.base = "http://" + h.addresses.public
	h.startDinggate("DINGGATE_COOKIE_SECRETS=" + cookieSecret("old"))
	if g.own != nil {
		g.own(t, h.addresses)
	} else {
		g.write(t, h.addresses, false)
	}
	startProcess(t, h.addresses.public, exec.Command(program, g.run(h.addresses)...), "XDG_DATA_HOME="+h.addresses.dir,
		"XDG_CONFIG_HOME="+h.addresses.dir, "HOME="+h.addresses.dir)
	h.awaitRoutes()
	return h
}

// awaitRoutes waits for a gateway that listens before it has loaded its routes.
func (h *gatewayEnv) awaitRoutes() {
	h.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		if h.visitor().page("/oauth2/sign_in").StatusCode == http.StatusOK {
			return
		}
	}
	h.t.Fatalf("%s has no route for /oauth2/", h.base)
}

// startDinggate runs the real dinggate with deploy/config.yaml. The environment holds the values that
// differ on this machine and overrides the file. A running dinggate is ended first, so that the
// new process can use its address.
func (h *gatewayEnv) startDinggate(environment ...string) {
	h.t.Helper()
	if h.dinggate != nil {
		h.dinggate.end()
	}
	file := h.config
	if file == "" {
		file = exampleFile("config.yaml")
	}
	h.dinggate = startProcess(h.t, h.addresses.dinggate,
		exec.Command(h.binary, "serve", "--config", file), append([]string{
			"DINGGATE_PUBLIC_URL=" + h.base, "DINGGATE_LISTEN=" + h.addresses.dinggate, "DINGGATE_ADMIN_LISTEN=127.0.0.1:0",
			"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
			"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID, "DINGGATE_DINGTALK_LOGIN_URL=" + h.dingtalk,
			"DINGGATE_DINGTALK_API_URL=" + h.dingtalk, "DINGGATE_DINGTALK_OAPI_URL=" + h.dingtalk,
			"DINGGATE_ASSERTION_ENABLED=true",
		}, environment...)...)
}

// cookieSecret returns the same secret for the same name.
func cookieSecret(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// process is a program that listens. Its last output is shown if the test fails.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer // read after end only
	once   sync.Once
	done   chan struct{}
}

func startProcess(t *testing.T, address string, cmd *exec.Cmd, environment ...string) *process {
	t.Helper()
	var output bytes.Buffer // read after Wait only
	cmd.Stdout, cmd.Stderr, cmd.Env = &output, &output, append(os.Environ(), environment...)
	inGroup(cmd)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, output: &output, done: make(chan struct{})}
	go func() { cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			lines := strings.SplitAfter(output.String(), "\n")
			t.Logf("the last output of %s:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-12):], ""))
		}
	})
	for timeout := time.After(20 * time.Second); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended without serving:\n%s", cmd, &output)
		case <-timeout:
			t.Fatalf("%s does not listen on %s", cmd, address)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end kills the process, because the next process needs the address immediately.
func (p *process) end() {
	p.once.Do(func() { killGroup(p.cmd) })
	<-p.done
}

// gatewayApp is the application. It records its requests, echoes WebSocket messages and responds
// with UPSTREAM-MARK.
type gatewayApp struct {
	mu   sync.Mutex
	seen []receivedRequest
}

// receivedRequest is a request as the application received it.
type receivedRequest struct {
	method, uri, host string
	header            http.Header
	body              string // length and SHA-256
}

func (a *gatewayApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, bufio.NewReader(r.Body))
	if err != nil {
		n = -1 // an incomplete body does not count
	}
	a.mu.Lock()
	a.seen = append(a.seen,
		receivedRequest{r.Method, r.RequestURI, r.Host, r.Header.Clone(), fmt.Sprintf("%d %x", n, sum.Sum(nil))})
	a.mu.Unlock()
	if r.Header.Get("Upgrade") != "" {
		a.echo(w, r)
		return
	}
	w.Header().Set("Set-Cookie", "app=own; Path=/")
	io.WriteString(w, "UPSTREAM-MARK")
}

func (a *gatewayApp) echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	kind, text, err := c.Read(r.Context())
	if err != nil {
		return
	}
	c.Write(r.Context(), kind, text)
	c.Close(websocket.StatusNormalClosure, "")
}

// takeRequests returns the requests that the application received since the previous call.
func (a *gatewayApp) takeRequests() []receivedRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// claims lists the identity headers by folded name, because an application may read
// X_Auth_Request_User as X-Auth-Request-User.
func (r receivedRequest) claims() map[string][]string {
	found := map[string][]string{}
	for name, values := range r.header {
		folded := strings.Map(func(c rune) rune {
			if strings.ContainsRune("-_.", c) {
				return -1
			}
			return c
		}, strings.ToLower(name))
		if who, ok := strings.CutPrefix(folded, "xauthrequest"); ok {
			found[who] = append(found[who], values...)
		}
		for _, other := range []string{"xforwardeduser", "xforwardedemail", "xforwardedpreferredusername",
			"xforwardedgroups", "xforwardedaccesstoken", "remoteuser", "remoteemail", "remotename", "remotegroups"} {
			if folded == other {
				found[name] = append(found[name], values...)
			}
		}
	}
	return found
}
