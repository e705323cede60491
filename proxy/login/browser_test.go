package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"dinggate/internal/web"
)

// browser is a browser with its cookies; it follows no redirect by itself.
type browser struct {
	*env
	jar    http.CookieJar
	client *http.Client
}

func (h *env) browser() *browser {
	jar := must(cookiejar.New(nil))
	address := h.server.Listener.Addr().String()
	client := &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // names that do not exist
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h.t.(interface{ Cleanup(func()) }).Cleanup(client.CloseIdleConnections)
	return &browser{h, jar, client}
}

// answer is an answer as the browser received it.
type answer struct {
	*http.Response
	text string
}

// send sends a request; header is name, value, name, value …
func (b *browser) send(method, address string, header ...string) answer {
	b.t.Helper()
	return b.sendBody(method, address, nil, header...)
}

func (b *browser) sendBody(method, address string, body io.Reader, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.Origins.Public() + address
	}
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	var read bytes.Buffer
	if _, err := read.ReadFrom(resp.Body); err != nil {
		b.t.Fatal(err)
	}
	text := read.String()
	if before, rest, found := strings.Cut(text, "<style>"); found { // its text is not visible
		_, after, _ := strings.Cut(rest, "</style>")
		text = before + after
	}
	return answer{resp, text}
}

// visit loads a page. From a refused callback it follows the redirect to the URL without a code,
// as browsers do (threats S14).
func (b *browser) visit(address string, header ...string) answer {
	b.t.Helper()
	header = append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, header...)
	return b.followRefused(address, b.send("GET", address, header...), header)
}

// stateOf returns the state in a redirect to DingTalk.
func (b *browser) stateOf(a answer) string {
	b.t.Helper()
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil || u.Host != "login.ding.test" || a.StatusCode != http.StatusFound {
		b.t.Fatalf("answer %d to %q, want 302 to DingTalk", a.StatusCode, a.Header.Get("Location"))
	}
	return u.Query().Get("state")
}

// back returns from DingTalk with a code and a state.
func (b *browser) back(code, state string, header ...string) answer {
	b.t.Helper()
	return b.visit("/oauth2/callback?authCode="+code+"&state="+state, header...)
}

// signIn performs a whole sign-in and returns the final answer.
func (b *browser) signIn(who string) answer {
	b.t.Helper()
	a := b.back(who, b.stateOf(b.visit("/oauth2/start")))
	if a.StatusCode != http.StatusFound || b.session() == "" {
		b.t.Fatalf("sign-in of %s = %d %s, want 302 and a session", who, a.StatusCode, a.text)
	}
	return a
}

func (b *browser) cookies() []*http.Cookie {
	return b.jar.Cookies(must(url.Parse(b.Origins.Public())))
}

// session is the session cookie, or "".
func (b *browser) session() string {
	for _, c := range b.cookies() {
		if c.Name == b.Sessions.CookieName() {
			return c.Value
		}
	}
	return ""
}

func (b *browser) attempts() (list []*http.Cookie) {
	for _, c := range b.cookies() {
		if strings.Contains(c.Name, "-attempt-") {
			list = append(list, c)
		}
	}
	return list
}

func (b *browser) plant(name, value string) {
	b.jar.SetCookies(must(url.Parse(b.Origins.Public())), []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// refused checks that an answer is a refusal with this code, that no session exists and how often
// DingTalk was called.
func (b *browser) refused(what string, a answer, status int, code string, calls int32) {
	b.t.Helper()
	b.mu.Lock()
	err := b.last
	b.mu.Unlock()
	got := ""
	if e, ok := errors.AsType[*web.Error](err); ok {
		got = e.Code
	}
	if a.StatusCode != status || got != code {
		b.t.Errorf("%s = %d %s (%v), want %d %s", what, a.StatusCode, got, err, status, code)
	}
	if b.session() != "" {
		b.t.Errorf("%s left a session", what)
	}
	if n := b.provider.calls.Load(); n != calls {
		b.t.Errorf("%s: %d exchanges, want %d", what, n, calls)
	}
}

// cookieLine returns the Set-Cookie line of a name.
func (a answer) cookieLine(name string) string {
	for _, line := range a.Header["Set-Cookie"] {
		if strings.HasPrefix(line, name+"=") {
			return line
		}
	}
	return ""
}
