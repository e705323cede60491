package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// leaks collects every secret when it is created, and all output in which no secret may
// occur.
type leaks struct {
	mu      sync.Mutex
	secrets map[string]string // secret → its kind
	kinds   map[string]int    // number of secrets of each kind; one secret may have two kinds
	pages   strings.Builder   // the body of every response of dinggate
	host    string            // of dinggate
	parrot  atomic.Bool       // DingTalk's refusals repeat everything that they received
}

func (l *leaks) add(what, secret string) {
	if len(secret) < 6 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secrets[secret] = what
	if l.kinds == nil {
		l.kinds = map[string]int{}
	}
	l.kinds[what]++
}

var secretFields = []string{"accessToken", "refreshToken", "access_token", "refresh_token", "ticket", "code",
	"authCode", "clientSecret", "appSecret", "client_secret"}

// gather collects the secrets of a JSON document and of a query.
func (l *leaks) gather(body []byte, query url.Values) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) == nil {
		for _, name := range secretFields {
			// `code` is also the name of a refusal
			if text, ok := fields[name].(string); ok && !strings.Contains(text, ".") {
				l.add(name, text)
			}
		}
	}
	for _, name := range append(secretFields, "state", "attempt") {
		l.add(name, query.Get(name))
	}
}

// between is a proxy on the connection from dinggate to DingTalk.
func (l *leaks) between(dingtalk http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		l.gather(body, r.URL.Query())
		l.add("user token", r.Header.Get("X-Acs-Dingtalk-Access-Token"))
		if r.URL.Path == "/connect" { // a WebSocket
			dingtalk.ServeHTTP(w, r)
			return
		}
		if l.parrot.Load() && (strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/topapi/")) {
			repeated := fmt.Sprintf("%s %s %v", r.URL.String(), body, r.Header)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(map[bool]int{true: 400, false: 200}[strings.HasPrefix(r.URL.Path, "/v1.0/")])
			json.NewEncoder(w).Encode(map[string]any{"code": "odd " + repeated, "message": repeated,
				"requestid": repeated, "errcode": 88, "sub_code": repeated, "sub_msg": repeated, "errmsg": repeated,
				"request_id":         repeated,
				"accessdenieddetail": map[string]any{"requiredScopes": []string{repeated}}})
			return
		}
		answer := httptest.NewRecorder()
		dingtalk.ServeHTTP(answer, r)
		l.gather(answer.Body.Bytes(), nil)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// RoundTrip records the requests and responses of a browser of the test.
func (l *leaks) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, c := range r.Cookies() {
		if strings.Contains(c.Name, "dinggate") {
			l.add("cookie "+c.Name, c.Value)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		if strings.Contains(c.Name, "dinggate") {
			l.add("cookie "+c.Name, c.Value)
		}
	}
	if to, err := url.Parse(res.Header.Get("Location")); err == nil {
		l.gather(nil, to.Query())
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Host == l.host && r.URL.Path != "/dingtalk/token" {
		l.mu.Lock()
		l.pages.Write(body)
		l.mu.Unlock()
	}
	return res, err
}

// spellings returns the encodings of a secret that are searched for: unchanged, escaped,
// in hex, in base64 at each of the three offsets that it may have in a longer text.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	all := map[string]string{"plain": secret, "escaped": url.QueryEscape(secret),
		"path-escaped": url.PathEscape(secret), "JSON": strings.Trim(string(quoted), `"`),
		"hex": hex.EncodeToString([]byte(secret))}
	for at := range 3 {
		for name, coding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding,
			"base64url": base64.RawURLEncoding} {
			text := coding.EncodeToString([]byte(strings.Repeat("\x00", at) + secret))
			text = text[(at*8+5)/6 : len(text)-2] // without the characters that depend on the adjacent bytes
			all[fmt.Sprintf("%s+%d", name, at)] = text
		}
	}
	return all
}

// search searches for every secret in every text.
func (l *leaks) search(t *testing.T, texts map[string]string, gathered ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for secret, what := range l.secrets {
		for form, text := range spellings(secret) {
			for where, output := range texts {
				// pages contain the first and the last, and the form returns the other one
				// to the person who entered it
				if strings.Contains(output, text) &&
					!(where == "pages" && (what == "state" || what == "misplaced" || what == "link")) {
					t.Errorf("%s: a %s is there (%s) near %.60q", where, what, form,
						output[max(strings.Index(output, text)-60, 0):])
				}
			}
		}
	}
	for _, what := range gathered {
		if l.kinds[what] == 0 {
			t.Errorf("no %s was gathered: this test cannot fail (%v)", what, l.kinds)
		}
	}
}

// TestSpellings checks that the base64 of a longer text with a secret is found, at any
// offset.
func TestSpellings(t *testing.T) {
	const secret = "canary-secret/+&"
	for at := range 6 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("é", at)[:at] + secret + "tail"))
		var found []string
		for form, spelling := range spellings(secret) {
			if strings.Contains(text, spelling) {
				found = append(found, form)
			}
		}
		if !slices.ContainsFunc(found, func(form string) bool { return strings.HasPrefix(form, "base64") }) {
			t.Errorf("at %d nothing finds the secret in %s", at, text)
		}
	}
}
