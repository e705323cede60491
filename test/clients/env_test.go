package clients

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// binary is the real program, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dinggate-clients")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "dinggate")
	build := exec.Command("go", "build", "-o", path, "./cmd/dinggate")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

const (
	clientID     = "app"
	clientSecret = "the-secret-of-the-application"
	publicID     = "native"
)

// env is a running dinggate, and a DingTalk to sign in at.
type env struct {
	t        *testing.T
	issuer   string
	callback string
	sim      *simulator.Platform

	transport http.RoundTripper // by which dinggate is reached; nil: http.DefaultTransport
}

// open starts dinggate with one confidential and one public client that are sent
// back to callback.
func open(t *testing.T, callbacks ...string) *env {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, callback: callbacks[0], sim: simulator.Demo()}
	dingtalk := httptest.NewServer(e.sim)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(e.sim.Close)
	dir := t.TempDir()
	e.issuer = "http://127.0.0.1:" + freePort(t)
	secret := base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))
	config := fmt.Sprintf(`
public_url: %[1]s
listen: %[2]s
admin: {listen: "127.0.0.1:0"}
state_dir: %[3]s
dingtalk:
  client_id: %[4]s
  client_secret: %[5]s
  corp_id: %[6]s
  events: false
  login_url: %[7]s
  api_url: %[7]s
  oapi_url: %[7]s
cookie: {secrets: ["%[8]s"]}
oidc:
  clients:
    - client_id: %[9]s
      client_secret: %[10]s
      redirect_uris: [%[11]s]
      post_logout_redirect_uris: [%[11]s]
      groups: [roles, departments]
      backchannel_logout_uri: "%[13]s"
    - client_id: %[12]s
      redirect_uris: [%[11]s, "http://127.0.0.1/callback", "http://localhost/callback"]
      post_logout_redirect_uris: [%[11]s]
      groups: [roles, departments]
`, e.issuer, strings.TrimPrefix(e.issuer, "http://"), filepath.Join(dir, "state"), simulator.DemoClientID,
		simulator.DemoClientSecret, simulator.DemoCorpID, dingtalk.URL, secret,
		clientID, clientSecret, strings.Join(callbacks, ", "), publicID, backchannel(callbacks[0]))
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start(program, path)
	return e
}

// backchannel is the back-channel logout address of the client, or "".
func backchannel(callback string) string {
	if strings.HasSuffix(callback, apacheRedirect) {
		return callback + "?logout=backchannel"
	}
	return ""
}

func (e *env) start(program, config string) {
	e.t.Helper()
	serve := exec.Command(program, "serve", "--config", config)
	stderr, err := serve.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	serve.Stdout = io.Discard
	if err := serve.Start(); err != nil {
		e.t.Fatal(err)
	}
	var mu sync.Mutex
	var log strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			mu.Lock()
			fmt.Fprintln(&log, lines.Text())
			mu.Unlock()
		}
	}()
	e.t.Cleanup(func() {
		serve.Process.Signal(os.Interrupt)
		<-done
		serve.Wait()
		if e.t.Failed() {
			e.t.Logf("output of dinggate:\n%s", log.String())
		}
	})
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); {
		client := http.Client{Transport: e.transport}
		if res, err := client.Get(e.issuer + "/.well-known/openid-configuration"); err == nil {
			res.Body.Close()
			return
		}
	}
	e.t.Fatal("dinggate does not answer")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// browser is a person's, with cookies; it clicks the person at DingTalk.
type browser struct {
	t      *testing.T
	client *http.Client
	person string
}

func (e *env) browser(person string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return &browser{e.t,
		&http.Client{
			Jar:           jar,
			Transport:     e.transport,
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}, person}
}

// visit follows redirects, signs in on the page of DingTalk, and stops at an address
// that begins with stop, or at a page.
func (b *browser) visit(address, stop string) (at *url.URL, page string) {
	b.t.Helper()
	for range 20 {
		if stop != "" && strings.HasPrefix(address, stop) {
			u, err := url.Parse(address)
			if err != nil {
				b.t.Fatal(err)
			}
			return u, ""
		}
		status, location, body := b.send(http.MethodGet, address, nil)
		if location != "" {
			address = location
			continue
		}
		button := regexp.MustCompile(`id="(?:person-)?` + b.person +
			`" name="person" value="([^"]*)"`).FindStringSubmatch(body)
		if button == nil {
			u, _ := url.Parse(address)
			if stop != "" {
				b.t.Fatalf("GET %s = %d, and not on to %s:\n%s", address, status, stop, body)
			}
			return u, body
		}
		address += "&person=" + url.QueryEscape(button[1])
	}
	b.t.Fatalf("redirects without end, at %s", address)
	return nil, ""
}

func (b *browser) send(method, address string, form url.Values) (status int, location, body string) {
	b.t.Helper()
	var content io.Reader
	if form != nil {
		content = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, address, content)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if to, err := res.Location(); err == nil {
		location = to.String()
	}
	return res.StatusCode, location, string(text)
}

// submit posts a page's form with its hidden fields and what is added.
func (b *browser) submit(page, base string, add ...string) (location, body string) {
	b.t.Helper()
	action := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindStringSubmatch(page)
	if action == nil {
		b.t.Fatalf("no form:\n%s", page)
	}
	form := url.Values{}
	for _, m := range regexp.MustCompile(
		`<input type="hidden" name="([^"]*)" value="([^"]*)">`,
	).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	for i := 0; i < len(add); i += 2 {
		form.Set(add[i], add[i+1])
	}
	_, location, body = b.send(http.MethodPost, base+action[1], form)
	return location, body
}
