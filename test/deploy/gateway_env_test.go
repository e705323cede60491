package deploy_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
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

	"github.com/coder/websocket"
)

// gatewayEnv is what one gateway connects: a browser's address, a real dinggate,
// an application that records its requests, and a simulated DingTalk.
type gatewayEnv struct {
	t        *testing.T
	base     string // the gateway, as browsers call it
	site     gatewayAddresses
	binary   string
	platform *simulator.Platform
	dingtalk string
	app      *gatewayApp
	gate     *gatewayProcess
	kind     realGateway
	config   string // of the gate; "" is deploy/config.yaml
}

// gatewayAddresses is what a test changes in an example.
type gatewayAddresses struct {
	dir               string // of the changed files
	public, gate, app string // host:port
}

// newGatewayHouse starts everything, the gateway last.
func newGatewayHouse(t *testing.T, g realGateway) *gatewayEnv {
	program := g.path(t)
	h := &gatewayEnv{t: t, kind: g, binary: gatewayBinary(t), platform: simulator.Demo(), app: &gatewayApp{}}
	dingtalk := httptest.NewServer(h.platform)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(h.platform.Close)
	app := httptest.NewServer(h.app)
	t.Cleanup(app.Close)
	h.dingtalk = dingtalk.URL
	h.site = gatewayAddresses{
		dir:    t.TempDir(),
		public: freeGatewayAddress(t),
		gate:   freeGatewayAddress(t),
		app:    app.Listener.Addr().String(),
	}
	h.base = "http://" + h.site.public
	h.startGate("DINGGATE_COOKIE_SECRETS=" + gatewaySecret("old"))
	g.write(t, h.site, false)
	startGatewayProcess(t, h.site.public, exec.Command(program, g.run(h.site)...), "XDG_DATA_HOME="+h.site.dir,
		"XDG_CONFIG_HOME="+h.site.dir, "HOME="+h.site.dir)
	h.awaitRoutes()
	return h
}

// awaitRoutes waits for a gateway that listens before it has read its routes.
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

// startGate runs the real gate with deploy/config.yaml; the environment says
// what differs on this machine, and comes before the file. A gate that runs
// is ended first, so that the next one has its address.
func (h *gatewayEnv) startGate(environment ...string) {
	h.t.Helper()
	if h.gate != nil {
		h.gate.end()
	}
	file := h.config
	if file == "" {
		file = exampleFile("config.yaml")
	}
	h.gate = startGatewayProcess(h.t, h.site.gate,
		exec.Command(h.binary, "serve", "--config", file), append([]string{
			"DINGGATE_PUBLIC_URL=" + h.base, "DINGGATE_LISTEN=" + h.site.gate, "DINGGATE_ADMIN_LISTEN=127.0.0.1:0",
			"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
			"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID, "DINGGATE_DINGTALK_LOGIN_URL=" + h.dingtalk,
			"DINGGATE_DINGTALK_API_URL=" + h.dingtalk, "DINGGATE_DINGTALK_OAPI_URL=" + h.dingtalk,
			"DINGGATE_ASSERTION_ENABLED=true",
		}, environment...)...)
}

// gatewaySecret is the same for the same name.
func gatewaySecret(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// gatewayBinary builds dinggate; only linking is repeated.
func gatewayBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dinggate")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/dinggate").CombinedOutput(); err != nil {
		t.Fatalf("go build ../../cmd/dinggate: %v\n%s", err, out)
	}
	return path
}

// freeGatewayAddress is an address that nobody listened on a moment ago, below the
// ports that systems give to connections and to :0: other tests that run meanwhile
// would take one of those.
func freeGatewayAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

// gatewayProcess is a program that listens. What it said last is shown when the test fails.
type gatewayProcess struct {
	cmd    *exec.Cmd
	output *bytes.Buffer // read after end only
	once   sync.Once
	done   chan struct{}
}

func startGatewayProcess(t *testing.T, address string, cmd *exec.Cmd, environment ...string) *gatewayProcess {
	t.Helper()
	var output bytes.Buffer // read after Wait only
	cmd.Stdout, cmd.Stderr, cmd.Env = &output, &output, append(os.Environ(), environment...)
	inGroup(cmd)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &gatewayProcess{cmd: cmd, output: &output, done: make(chan struct{})}
	go func() { cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			lines := strings.SplitAfter(output.String(), "\n")
			t.Logf("%s said last:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-12):], ""))
		}
	})
	for patience := time.After(20 * time.Second); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended without serving:\n%s", cmd, &output)
		case <-patience:
			t.Fatalf("%s does not listen on %s", cmd, address)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end kills: the next process wants the address now.
func (p *gatewayProcess) end() {
	p.once.Do(func() { killGroup(p.cmd) })
	<-p.done
}

// gatewayApp is the application: it keeps what it got, echoes on WebSockets,
// and answers UPSTREAM-MARK.
type gatewayApp struct {
	mu   sync.Mutex
	seen []gatewayRequest
}

// gatewayRequest is a request as the application got it.
type gatewayRequest struct {
	method, uri, host string
	header            http.Header
	body              string // length and SHA-256
}

func (a *gatewayApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, bufio.NewReader(r.Body))
	if err != nil {
		n = -1 // half a body is no body
	}
	a.mu.Lock()
	a.seen = append(a.seen,
		gatewayRequest{r.Method, r.RequestURI, r.Host, r.Header.Clone(), fmt.Sprintf("%d %x", n, sum.Sum(nil))})
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

// took gives what the application got since it was last asked.
func (a *gatewayApp) took() []gatewayRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// claims lists what the header says of a person, by folded name, since an
// application may read X_Auth_Request_User as X-Auth-Request-User.
func (r gatewayRequest) claims() map[string][]string {
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
