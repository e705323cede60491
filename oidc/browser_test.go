package oidc

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// answer is a response.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) location(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// browser sends the request of a browser.
func (e *env) browser(method, path, cookie, body string, headers ...string) answer {
	e.t.Helper()
	headers = append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Accept-Language", "en"}, headers...)
	if cookie != "" {
		headers = append(headers, "Cookie", "s="+cookie)
	}
	return e.call(method, path, body, headers...)
}

func (e *env) call(method, path, body string, headers ...string) answer {
	e.t.Helper()
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := *direct
	if e.virtual {
		client.Transport = e
	}
	res, err := client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}
}

// authorizeURL is an authorization request of client app.
func authorizeURL(change ...string) string {
	v := url.Values{
		"client_id":     {"app"},
		"redirect_uri":  {callback},
		"response_type": {"code"},
		"scope":         {"openid profile email groups offline_access"},
		"state":         {"S&t=1 ä"},
		"nonce":         {"N"},
	}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

// code signs a person in to an application and returns the code.
func (e *env) code(cookie string, change ...string) string {
	e.t.Helper()
	a := e.browser("GET", PathAuthorize+"?"+authorizeURL(change...), cookie, "")
	code := a.location(e.t).Query().Get("code")
	if code == "" {
		e.t.Fatalf("no code: %d %s %s %v", a.status, a.header.Get("Location"), a.body, e.errs)
	}
	return code
}

const appSecret = "a-secret-of-the-application"

func redemption(code string, change ...string) string {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	for i := 0; i < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

// tokens calls the token endpoint as an application.
func (e *env) tokens(body, id, secret string) (answer, map[string]any) {
	e.t.Helper()
	return e.tokensAt(PathToken, body, id, secret)
}

// tokensAt calls another endpoint of programs.
func (e *env) tokensAt(path, body, id, secret string) (answer, map[string]any) {
	e.t.Helper()
	req, _ := http.NewRequest("POST", "http://x", nil)
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	a := e.call("POST", path, body, "Authorization", req.Header.Get("Authorization"))
	return a, object(e.t, a)
}

func object(t testing.TB, a answer) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d is no JSON: %s", a.status, a.body)
	}
	return v
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// fields parses the hidden fields of a page.
func fields(body string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[2]))
	}
	return v
}
