package servertest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FormType is the header of a form.
const FormType = "Content-Type: application/x-www-form-urlencoded"

// Submit posts a form.
func (v *Client) Submit(address string, fields url.Values, headers ...string) Response {
	v.T.Helper()
	return v.Do(http.MethodPost, address, fields.Encode(), append([]string{FormType}, headers...)...)
}

// Client is a browser with a cookie jar that follows no redirect by itself.
type Client struct {
	T      testing.TB
	HTTP   *http.Client
	Header http.Header
}

// NewClient returns a browser without cookies.
func (h *Env) NewClient() *Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.T.Fatal(err)
	}
	return &Client{h.T,
		&http.Client{
			Jar:           jar,
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		http.Header{"Accept": {"text/html"}, "Accept-Language": {"en"}}}
}

// Response is a response with its body read.
type Response struct {
	*http.Response
	Text string
}

// Do sends a request. A header is written as given, not in its canonical form.
func (v *Client) Do(method, address, body string, headers ...string) Response {
	v.T.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		v.T.Fatal(err)
	}
	r.Header = v.Header.Clone()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value) // as written: no canonical form
	}
	res, err := v.HTTP.Do(r)
	if err != nil {
		v.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.T.Fatal(err)
	}
	return Response{res, string(text)}
}

// Get loads a page. After a refused callback it follows the redirect to the URL without a
// code, which shows the refusal (threats S14).
func (v *Client) Get(address string, headers ...string) Response {
	v.T.Helper()
	a := v.Do(http.MethodGet, address, "", headers...)
	to, err := a.Location()
	if a.StatusCode != http.StatusSeeOther || err != nil || !to.Query().Has("refused") {
		return a
	}
	if to.Query().Has("code") || to.Query().Has("authCode") || to.Query().Has("state") {
		v.T.Errorf("GET %s leads to %s, which still has a code", address, to)
	}
	return v.Do(http.MethodGet, to.String(), "", headers...)
}

// StartSignIn opens a page of dinggate and returns the URL of DingTalk that it redirects
// to.
func (v *Client) StartSignIn(address string) string {
	v.T.Helper()
	a := v.Get(address)
	at := a.Header.Get("Location")
	if a.StatusCode != http.StatusFound || !strings.Contains(at, "/oauth2/auth?") {
		v.T.Fatalf("GET %s = %d to %q, want 302 to DingTalk", address, a.StatusCode, at)
	}
	return at
}

// Choose selects a person on DingTalk's page and returns the URL of the callback.
func (v *Client) Choose(authorize, person string) string {
	v.T.Helper()
	a := v.Get(authorize)
	button := regexp.MustCompile(`id="(?:person-)?` + person +
		`" name="person" value="([^"]*)"`).FindStringSubmatch(a.Text)
	if button == nil {
		v.T.Fatalf("DingTalk's page has no button for %s:\n%s", person, a.Text)
	}
	next := v.Get(authorize + "&person=" + url.QueryEscape(button[1]))
	if next.StatusCode != http.StatusFound {
		v.T.Fatalf("choosing %s at DingTalk = %d %s", person, next.StatusCode, next.Text)
	}
	return next.Header.Get("Location")
}

// SignIn completes a sign-in and returns the response of the callback.
func (v *Client) SignIn(address, person string) Response {
	v.T.Helper()
	return v.Get(v.Choose(v.StartSignIn(address), person))
}

// ParseURL parses a URL.
func ParseURL(t testing.TB, raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// SessionOf returns the session cookie that a response sets, "" if there is none.
func SessionOf(a Response) string {
	for _, c := range a.Cookies() {
		if c.Name == "dinggate" && c.MaxAge >= 0 {
			return c.Value
		}
	}
	return ""
}

// UntilRouted retries until Traefik has loaded its routes; until then Traefik answers 404.
func (v *Client) UntilRouted(address string) (a Response) {
	v.T.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		if a = v.Get(address); a.StatusCode != 404 {
			return a
		}
	}
	v.T.Fatalf("GET %s = %d: no route", address, a.StatusCode)
	return a
}

// SessionCookie returns the session cookie of a client.
func SessionCookie(t *testing.T, v *Client, h *Env) string {
	for _, c := range v.HTTP.Jar.Cookies(ParseURL(t, h.URL)) {
		if c.Name == "dinggate" {
			return c.Value
		}
	}
	t.Fatal("no session cookie")
	return ""
}
