package hostile

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/tlstest"
)

// The source addresses of requests. Loopback has many addresses, so a try that reaches a limit per
// client address does not affect the other tries.
const (
	untrusted = "127.0.0.1"
	gateway   = "127.0.0.2" // the only trusted proxy
)

// canary is a part of every secret of an env. Output that contains it has leaked a secret.
const canary = "canary7f3a"

// env is one dinggate with its DingTalk, its application and its stores.
type env struct {
	*process
	up          *recorder
	nginx       *nginxGateway // nil without nginx
	sim         *simulator.Platform
	simURL      string
	secure      *tls.Config        // TLS configuration of clients; nil: plain HTTP
	authority   *tlstest.Authority // issuer of its certificates; nil: plain HTTP
	text        string             // the initial configuration
	domain      string             // cookie.domain
	otherHosts  []string           // hosts of dinggate on other domains
	notes       []string           // figures for the report
	excused     []string           // log lines that are allowed beside the records
	tokens      *tokenService      // the service at which people sign in; nil: DingTalk
	link        string             // the token of an account link that all tries share
	invariants  *invariants
	nameService *nameService  // the service at which people sign in; nil: DingTalk
	service     string        // its address, "" for DingTalk
	htpasswd    *htpasswdFile // local accounts whose passwords change; nil: none
	budget      atomic.Int64  // expected calls to DingTalk
	seq         atomic.Int64
	t           *testing.T   // of the class, for processes that tries start
	gone        chan string  // cases whose upstream request arrived, then was cancelled
	foreign     sync.Map     // cases that used another process
	redis       bool         // a redis-server is installed
	turn        sync.RWMutex // write-locked by tries that change the platform, read-locked by all others
	partnerMu   sync.Mutex
	partner     string // Cookie line of the person who signs in for third parties
	partnerUses int
	sessions    map[string]string // name → Cookie line of a session that all tries share
}

// open starts the env that most classes share.
func open(t *testing.T) *env { return openWith(t, func(text string) string { return text }) }

// openWith starts an env whose configuration is changed. In it, UP stands for the application's
// address.
func openWith(t *testing.T, change func(string) string) *env {
	s := &env{up: newRecorder(t), sim: simulator.Demo(), sessions: map[string]string{}, gone: make(chan string, 100)}
	dingtalk := &http.Server{Handler: s.sim}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go dingtalk.Serve(l)
	t.Cleanup(func() { s.sim.Close(); dingtalk.Close() })
	s.simURL = "http://" + l.Addr().String()
	err = s.sim.ChangeApp("", func(a *simulator.App) {
		a.ClientSecret = canary + "-app-secret"
		a.Redirects = []string{"https://app.test/oauth2/callback"}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.text = strings.ReplaceAll(change(s.config()), "UP\"", s.up.url()+"\"")
	s.process = start(t, s.text)
	s.invariants = &invariants{env: s}
	return s
}

// cookieSecret is 32 bytes that begin with the canary.
var cookieSecret = base64.StdEncoding.EncodeToString([]byte((canary + strings.Repeat("k", 32))[:32]))

func (s *env) config() string {
	return fmt.Sprintf(`
public_url: https://app.test
listen: 127.0.0.1:0
trusted_proxies: [%[1]s/32]
allowed_redirects: [https://friend.test]
dingtalk:
  client_id: %[2]s
  client_secret: %[3]s-app-secret
  corp_id: %[4]s
  rate: 1000 # the simulator here has no limit, and many sign in at once
  events: false
  login_url: %[5]s
  api_url: %[5]s
  oapi_url: %[5]s
cookie: {secrets: ["%[6]s"]}
session: {recheck: 1h}
sign_in: {contact: it@app.test}
sso_server:
  clients:
    - {client_id: app-one, client_secret: %[3]s-one-with-thirty-two-bytes-and-more, redirect_urls: ["%[8]s"]}
    - {client_id: app-two, client_secret: %[3]s-two-with-thirty-two-bytes-and-more, redirect_urls: ["%[9]s"]}
    - {client_id: app-query, client_secret: %[3]s-query-with-thirty-two-bytes-and-more, redirect_urls: ["%[10]s"]}
admin: {listen: 127.0.0.1:0}
routes:
  - {path: /open, access: public, upstream: "%[7]s"}
  - {path: /public/, access: public, websocket: true, upstream: "%[7]s"}
  - {path: /read/, methods: [GET], access: public, upstream: "%[7]s"}
  - {path: /admin/, access: {users: [lisi]}, upstream: "%[7]s"}
  - {path: /report.php, access: {users: [lisi]}, upstream: "%[7]s"}
  - {path: /strip/, strip_prefix: /strip, upstream: "%[7]s"}
  - {path: /office/, access: {networks: [192.0.2.0/24]}, upstream: "%[7]s"}
  - {path: /gateway/, access: signed_in}
  - {path: /, host: app.test, websocket: true, timeout: 3s, upstream: "%[7]s"}
`, gateway, simulator.DemoClientID, canary, simulator.DemoCorpID, s.simURL, cookieSecret, s.up.url(), oneCallback,
		twoCallback, queryCallback)
}

// process is a running dinggate and its output.
type process struct {
	addr, admin string // host:port
	file        string // its configuration
	cmd         *exec.Cmd
	exited      chan struct{}
	stop        sync.Once

	mu       sync.Mutex
	recorded *sync.Cond
	lines    map[string]record // by request id
	stray    []string          // lines that are not records, such as a panic or a data race
	all      bytes.Buffer
}

// record is one line of the access log.
type record struct {
	Req, Msg, Path, Verdict, User, Route, Endpoint, Code, Err string
	Status                                                    int
}

var listening = regexp.MustCompile(`^(dinggate|admin) listening on (?:https?://|unix:)?(.*)$`)

// start runs dinggate serve with a configuration and waits for its listeners.
func start(t *testing.T, config string, environment ...string) *process {
	return startWith(t, config, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), environment...) })
}

func startWith(t *testing.T, config string, change func(*exec.Cmd)) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{
		file:   file,
		cmd:    exec.Command(program, "serve", "--config", file),
		exited: make(chan struct{}),
		lines:  map[string]record{},
	}
	p.recorded = sync.NewCond(&p.mu)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = &lineWriter{line: p.logLine}
	change(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for (p.addr == "" || p.admin == "") && lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && m[1] == "dinggate" {
			p.addr = m[2]
		} else if m != nil {
			p.admin = m[2]
		}
	}
	go func() {
		rest, _ := io.ReadAll(out)
		p.mu.Lock()
		p.all.Write(rest)
		p.mu.Unlock()
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() { p.kill() })
	if p.addr == "" || p.admin == "" {
		<-p.exited
		t.Fatalf("dinggate did not start:\n%s", p.output())
	}
	return p
}

func (p *process) logLine(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Write(line)
	p.all.WriteByte('\n')
	var r record
	// A record that contains terminal control characters is stray too (D9).
	if err := json.Unmarshal(line, &r); err != nil || r.Msg == "" || bytes.ContainsFunc(line, unsafe) {
		p.stray = append(p.stray, string(line))
		return
	}
	if r.Msg == "request" {
		p.lines[r.Req] = r
		p.recorded.Broadcast()
	}
}

// unsafe reports whether r moves a cursor, ends a line or changes the reading direction.
func unsafe(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Bidi_Control) || r == '\u2028' || r == '\u2029'
}

// logged waits for the access record of a request and returns it. The record is written shortly
// after the response.
func (p *process) logged(id string) (record, bool) {
	deadline := time.Now().Add(20 * time.Second)
	late := time.AfterFunc(20*time.Second, p.recorded.Broadcast)
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if r, ok := p.lines[id]; ok {
			return r, true
		}
		if !time.Now().Before(deadline) {
			return record{}, false
		}
		p.recorded.Wait()
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all.String()
}

// kill sends SIGKILL to the process if it is still running.
func (p *process) kill() {
	p.stop.Do(func() { p.cmd.Process.Kill() })
	<-p.exited
}

// finish ends the process as an orchestrator does and returns the result of Wait.
func (p *process) finish() error {
	p.stop.Do(func() { p.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-p.exited:
	case <-time.After(40 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
		return errors.New("still running 40 s after SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit status %d", code)
	}
	return nil
}

// lineWriter writes whole lines.
type lineWriter struct {
	line func([]byte)
	part []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.part = append(w.part, b...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		w.line(w.part[:i])
		w.part = w.part[i+1:]
	}
}
