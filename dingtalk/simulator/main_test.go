package simulator_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"dinggate/dingtalk/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a served platform and a client that follows no redirect and stores no
// connection, so that connection faults are observed directly.
type env struct {
	*testing.T
	*simulator.Platform
	url    string
	client *http.Client
}

func serve(t *testing.T, p *simulator.Platform) *env {
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	t.Cleanup(p.Close)
	return at(t, p, server.URL)
}

func at(t *testing.T, p *simulator.Platform, base string) *env {
	return &env{t, p, base, &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func demo(t *testing.T) *env { return serve(t, simulator.Demo()) }

func (w *env) send(method, path, kind, body string, header ...string) (*http.Response, string) {
	w.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, string(text)
}

// post sends JSON and decodes the response, with numbers unchanged.
func (w *env) post(path, body string, header ...string) (int, map[string]any) {
	w.Helper()
	resp, text := w.send("POST", path, "application/json", body, header...)
	return resp.StatusCode, decode(w.T, text)
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	m := map[string]any{}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("answer %q is no JSON object: %v", text, err)
	}
	return m
}

// compact returns the response without its request id, in one line with sorted keys.
func compact(m map[string]any) string {
	delete(m, "request_id")
	delete(m, "requestid")
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.Encode(m)
	return strings.TrimSpace(out.String())
}

const credentials = `"clientId":"` + simulator.DemoClientID + `","clientSecret":"` + simulator.DemoClientSecret + `"`

func (w *env) appToken() string {
	w.Helper()
	_, m := w.post("/v1.0/oauth2/accessToken",
		`{"appKey":"`+simulator.DemoClientID+`","appSecret":"`+simulator.DemoClientSecret+`"}`)
	token, _ := m["accessToken"].(string)
	if token == "" {
		w.Fatalf("no app token: %v", m)
	}
	return token
}

// old calls the old host with a valid token.
func (w *env) old(path, body string) map[string]any {
	w.Helper()
	return w.oldWith(w.appToken(), path, body)
}

func (w *env) oldWith(token, path, body string) map[string]any {
	w.Helper()
	status, m := w.post(path+"?access_token="+token, body)
	if status != 200 {
		w.Fatalf("%s: HTTP %d, want 200", path, status)
	}
	return m
}

func (w *env) code(kind simulator.Kind, person string) string {
	w.Helper()
	text, err := w.Code(kind, "", person)
	if err != nil {
		w.Fatal(err)
	}
	return text
}

// userToken exchanges a code.
func (w *env) userToken(code string) (int, map[string]any) {
	w.Helper()
	return w.post("/v1.0/oauth2/userAccessToken",
		`{`+credentials+`,"grantType":"authorization_code","code":"`+code+`"}`)
}

func (w *env) me(token string) (int, map[string]any) {
	w.Helper()
	resp, text := w.send("GET", "/v1.0/contact/users/me", "", "", "x-acs-dingtalk-access-token", token)
	return resp.StatusCode, decode(w.T, text)
}

// authorize returns the URL of the sign-in page with changes: "name", "value" ("" =
// omitted).
func authorize(changes ...string) string {
	q := url.Values{"redirect_uri": {"http://127.0.0.1:4180/oauth2/callback"}, "response_type": {"code"},
		"client_id": {simulator.DemoClientID},
		"scope":     {"openid corpid"}, "corpId": {simulator.DemoCorpID}, "prompt": {"consent"}, "state": {"s t/1"}}
	for i := 0; i+1 < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return "/oauth2/auth?" + q.Encode()
}
