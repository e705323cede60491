package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestOtherChallenges(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`NTLM`, ``},
		{`ntlm`, ``},
		{`Negotiate`, ``},
		{`NEGOTIATE oYG2MIGzoAMKAQE=`, ``},
		{`NTLM TlRMTVNTUAACAAAA==`, ``},
		{`X-Corp TlRMTVNTUAACAAAA==`, ``},
		{`Kerberos`, ``},
		{`Negotiate, NTLM`, ``},
		{`Negotiate,NTLM,`, ``},
		{`Basic realm="x"`, `Basic realm="x"`},
		{`Basic realm="x", charset="UTF-8"`, `Basic realm="x", charset="UTF-8"`},
		{`Basic  realm = "x" ,charset="UTF-8"`, `Basic  realm = "x" ,charset="UTF-8"`},
		{`Bearer`, `Bearer`},
		{`Basic realm="ntlmish"`, `Basic realm="ntlmish"`},
		{`Negotiate, Basic realm="a, b", NTLM`, `Basic realm="a, b"`},
		{`Basic realm="a", charset="UTF-8", NTLM, Digest realm="d", nonce="n\", NTLM"`,
			`Basic realm="a", charset="UTF-8", Digest realm="d", nonce="n\", NTLM"`},
		{`NTLM realm="x", opaque="y", Bearer error="invalid_token"`, `Bearer error="invalid_token"`},
		{`Basic realm="an NTLM server"`, `Basic realm="an NTLM server"`},
		{`Basic realm="x, NTLM`, ``},
		{`Basic realm="x\", Negotiate`, ``},
		{`Basic realm="x", NTLM "`, ``},
	} {
		if got := otherChallenges(c.line); got != c.want {
			t.Errorf("otherChallenges(%q) = %q, want %q", c.line, got, c.want)
		}
	}
}

func TestBindsConnection(t *testing.T) {
	for line, want := range map[string]bool{
		"NTLM TlRMTVNTUAAB": true, "ntlm x": true, "Negotiate YII": true, "\tNEGOTIATE\tYII": true,
		"Kerberos x": true, "NTLM": true, "Basic eDp5, NTLM x": true, "Custom TlRMTVNTUAADAAAA": true, "Nego2 x": true,
		"Basic eDp5": false, "Bearer ntlm.x.y": false, "Bearer eyJ": false, "Digest username=\"ntlm\"": false,
		"NTLMv9x y": false, "": false,
	} {
		if got := bindsConnection([]string{"Basic eDp5", line}); got != want {
			t.Errorf("bindsConnection(%q) = %v, want %v", line, got, want)
		}
	}
}

// windows is an application that authenticates a connection by a credential sent on it: in one
// step, as IIS does with Kerberos, so that no challenge has to reach a client. Its answer names
// the user and the connection.
type windows struct {
	mu     sync.Mutex
	people map[net.Conn]string
	closed chan net.Conn
}

type connKey struct{}

func (w *windows) start(t *testing.T) string {
	w.people, w.closed = map[net.Conn]string{}, make(chan net.Conn, 100)
	app := httptest.NewUnstartedServer(w)
	app.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}
	app.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			w.closed <- c
		}
	}
	app.Start()
	t.Cleanup(app.Close)
	return app.URL
}

func (w *windows) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	conn := r.Context().Value(connKey{}).(net.Conn)
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && token != "" {
		w.people[conn] = token
	}
	who := w.people[conn]
	if who == "" {
		rw.Header()["Www-Authenticate"] = []string{"Negotiate", `NTLM, Basic realm="app"`}
		rw.WriteHeader(http.StatusUnauthorized)
	}
	fmt.Fprintf(rw, "%s %s", who, conn.RemoteAddr())
}

// TestConnectionAuthAlone: a credential that authenticates a connection gets a connection that no
// later request uses (M17). Requests without one continue to share theirs.
func TestConnectionAuthAlone(t *testing.T) {
	app := &windows{}
	d := open(t, plan{upstream: app.start(t)})
	res, body := d.do("GET /public/")
	_, shared, _ := strings.Cut(body, " ")
	if got := strings.Join(res.Header["Www-Authenticate"], "|"); res.StatusCode != 401 || got != `Basic realm="app"` {
		t.Errorf("no credential = %d with the challenge %q, want 401 with Basic alone", res.StatusCode, got)
	}
	seen := map[string]bool{shared: true}
	for _, credential := range []string{"Negotiate ZHANGSAN", "NTLM ZHANGSAN", "ntlm ZHANGSAN", "NEGOTIATE ZHANGSAN",
		"Kerberos ZHANGSAN", "Basic\tx,NTLM ZHANGSAN", "Other TlRMTVNTUAADAAAA"} {
		_, body := d.do("POST /public/", "Authorization: "+credential, "Content-Length: 0")
		who, conn, _ := strings.Cut(body, " ")
		if who == "" || seen[conn] {
			t.Errorf("%s: the application takes us for %q on a connection that was used before (%v)", credential,
				body, seen[conn])
		}
		seen[conn] = true
		for _, line := range []string{"GET /public/", "GET /public/other", "POST /public/"} {
			res, body := d.do(line, "Content-Length: 0")
			if res.StatusCode != 401 || body != " "+shared {
				t.Errorf("%s after %s = %d %q, want no one on the shared connection %s", line, credential,
					res.StatusCode, body, shared)
			}
		}
	}
	if t.Failed() {
		return
	}
	app.mu.Lock()
	open := len(app.people)
	app.mu.Unlock()
	for ; open > 0; open-- { // each of them ends; the shared one does not
		if conn := (<-app.closed).RemoteAddr().String(); !seen[conn] || conn == shared {
			t.Errorf("the connection %s was closed (shared: %v), want those of credentials", conn, conn == shared)
		}
	}
}
