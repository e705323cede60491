package deploy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// gatewayVisitor is a browser with a cookie jar. It does not follow redirects automatically.
type gatewayVisitor struct {
	t      *testing.T
	env    *gatewayEnv
	client *http.Client
}

// gatewayResponse is a response and its body.
type gatewayResponse struct {
	*http.Response
	body string
}

func (h *gatewayEnv) visitor() *gatewayVisitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &gatewayVisitor{h.t,
		h, &http.Client{
			Jar:           jar,
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
}

// member returns a visitor who has signed in.
func (h *gatewayEnv) member(person string) *gatewayVisitor {
	h.t.Helper()
	v := h.visitor()
	v.signIn("/", person)
	return v
}

// do sends a request. headers are lines that are sent unchanged. Host sets the claimed host.
func (v *gatewayVisitor) do(method, path, body string, headers ...string) gatewayResponse {
	v.t.Helper()
	r, err := http.NewRequest(method, v.env.base+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if got := r.URL.RequestURI(); got != path {
		v.t.Fatalf("the test's own client would send %s for %s", got, path)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header[name] = append(r.Header[name], value) // as written, without the canonical form
	}
	return v.send(r)
}

func (v *gatewayVisitor) send(r *http.Request) gatewayResponse {
	v.t.Helper()
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return gatewayResponse{res, string(text)}
}

// page loads a page as a browser does.
func (v *gatewayVisitor) page(path string, headers ...string) gatewayResponse {
	v.t.Helper()
	return v.do(http.MethodGet, path, "", append([]string{"Accept: text/html", "Accept-Language: en"}, headers...)...)
}

// open loads a page from any address.
func (v *gatewayVisitor) open(address string) gatewayResponse {
	v.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"text/html"}}
	return v.send(r)
}

// signIn requests path, is redirected to DingTalk and chooses a person there. It returns the
// address that dinggate redirects the browser to.
func (v *gatewayVisitor) signIn(path, person string) string {
	v.t.Helper()
	start := v.page(path)
	if got := start.Header.Get("Location"); start.StatusCode != http.StatusFound ||
		!strings.HasPrefix(strings.Replace(got, "?silent=no&rd=", "?rd=", 1), v.env.base+"/oauth2/start?rd=") {
		v.t.Fatalf("GET %s without a session = %d to %q, want 302 to %s/oauth2/start?rd=…", path, start.StatusCode,
			got, v.env.base)
	}
	leave := v.open(start.Header.Get("Location"))
	authorize := leave.Header.Get("Location")
	if leave.StatusCode != http.StatusFound || !strings.HasPrefix(authorize, v.env.dingtalk+"/oauth2/auth?") {
		v.t.Fatalf("GET /oauth2/start = %d to %q, want 302 to DingTalk", leave.StatusCode, authorize)
	}
	choice := v.open(authorize)
	button := regexp.MustCompile(`id="person-` + person +
		`" name="person" value="([^"]*)"`).FindStringSubmatch(choice.body)
	if button == nil {
		v.t.Fatalf("DingTalk's page has no button for %s:\n%s", person, choice.body)
	}
	back := v.open(v.open(authorize + "&person=" + url.QueryEscape(button[1])).Header.Get("Location"))
	if back.StatusCode != http.StatusFound && back.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("the callback = %d %s, want a redirect", back.StatusCode, back.body)
	}
	at, err := back.Location()
	if err != nil {
		v.t.Fatal(err)
	}
	return at.String()
}

// cookies returns the cookies that the gateway would receive, as a header line.
func (v *gatewayVisitor) cookies() string {
	u, _ := url.Parse(v.env.base)
	line := ""
	for _, c := range v.client.Jar.Cookies(u) {
		line += c.Name + "=" + c.Value + "; "
	}
	return "Cookie: " + strings.TrimSuffix(line, "; ")
}

// echo opens a WebSocket and returns the echoed text, or the status of the refusal.
func (v *gatewayVisitor) echo(path, text string) (string, int) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(v.env.base, "http")+path,
		&websocket.DialOptions{HTTPClient: v.client})
	if err != nil {
		if res == nil {
			v.t.Fatalf("WebSocket %s: %v", path, err)
		}
		return "", res.StatusCode
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		v.t.Fatalf("WebSocket %s: %v", path, err)
	}
	_, got, err := c.Read(ctx)
	if err != nil {
		v.t.Fatalf("WebSocket %s: %v", path, err)
	}
	return string(got), res.StatusCode
}
