package hostile

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// nginxGateway is a real nginx with the example of deploy/ in front of dinggate, and an application
// of its own.
type nginxGateway struct {
	address string
	up      *recorder
}

// openNginx runs the example. Only names and ports are changed.
func openNginx(t *testing.T, s *env) *nginxGateway {
	t.Helper()
	program := realtool.Path(t, "nginx")
	n := &nginxGateway{address: realtool.FreeAddr(t), up: newRecorder(t)}
	n.up.plain = true // nginx forwards responses unchanged: the application is trusted there
	dir := t.TempDir()
	changes := []string{"/etc/nginx/", dir + "/", "127.0.0.1:4180", s.addr, "127.0.0.1:8080", n.up.l.Addr().String(),
		"listen 443 ssl;", "listen " + n.address + ";", "app.example.com;", "app.test;",
		"    ssl_certificate     /etc/ssl/app.example.com.pem;\n", "",
		"    ssl_certificate_key /etc/ssl/app.example.com.key;\n", ""}
	for _, name := range []string{"dinggate.conf", "dinggate.inc"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nginx", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), strings.NewReplacer(changes...).Replace(string(text)))
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	main := filepath.Join(dir, "main.conf")
	// It is the only peer that dinggate trusts.
	write(t, main,
		"daemon off; master_process off; pid "+dir+
			"/pid; error_log stderr crit;\nevents {}\nhttp {\naccess_log off; proxy_bind "+gateway+";\n"+temp+
			"include "+dir+"/dinggate.conf;\n}\n")
	cmd := exec.Command(program, "-e", "stderr", "-c", main)
	out := &strings.Builder{}
	cmd.Stderr = &lineWriter{line: func(b []byte) { out.Write(append(b, '\n')) }}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", n.address); err == nil {
			c.Close()
			return n
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("nginx does not listen on %s: %s", n.address, out)
	return nil
}

// nginxOrSkip returns nil without nginx. In that case only this part of the class is skipped, and
// the skip is reported.
func nginxOrSkip(t *testing.T, s *env) (n *nginxGateway) {
	t.Run("nginx", func(t *testing.T) { realtool.Path(t, "nginx"); n = &nginxGateway{} })
	if n != nil {
		n = openNginx(t, s)
	}
	return n
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// behindNginx covers F12: the example keeps its guarantees for every request of a client.
func behindNginx(s *env) (list []try) {
	n := s.nginx
	if n == nil {
		return nil
	}
	names := append(slices.Clone(protectedNames[:11]), "X-Forwarded-Access-Token", "Remote-User", "Remote-Email",
		"Remote-Groups", "Remote-Name", "X-Real-IP")
	for _, name := range names {
		for i, spell := range spellings {
			if i == 6 || i == 7 || i == 9 { // names that no framework folds; nginx deletes by exact name
				continue
			}
			for _, c := range []struct {
				target string
				member bool
			}{{"/page", true}, {"/public/a", false}, {"/page", false}, {"/admin/", true}} {
				line := spell(name) + ": " + forged
				list = append(list,
					try{fmt.Sprintf("F12 %s at %s member %v", line, c.target, c.member), func(h *client) {
						lines := []string{line, "Accept: text/html"}
						if c.member {
							lines = append(lines, h.member("zhangsan"))
						}
						allowed := c.target != "/admin/" && (c.member || c.target == "/public/a")
						a := h.send(request{
							to:         n.address,
							raw:        requestText("GET", c.target, h.id, lines...),
							authorized: allowed,
						})
						seen := n.up.received(h.id)
						if !allowed {
							if want := map[bool]int{true: 403, false: 302}[c.member]; a.status != want ||
								len(seen) > 0 {
								h.failf("got %v, want %d", a, want)
							}
							return
						}
						if a.status != 200 || len(seen) != 1 {
							h.failf("got %v", a)
							return
						}
						if strings.Contains(seen[0].head, forged) {
							h.failf("a forged value arrived: %q", seen[0].head)
						}
						want := ""
						if c.member {
							want = "zhangsan"
						}
						if v := strings.Join(seen[0].values("X-Auth-Request-User"), ","); v != want {
							h.failf("X-Auth-Request-User arrived as %q, want %q", v, want)
						}
						if strings.Contains(seen[0].head, sessionCookie) {
							h.failf("our cookie arrived: %q", seen[0].head)
						}
					}})
			}
		}
	}
	for _, line := range []string{"X-Original-URL: https://app.test/public/a", "X-Original-URI: /public/a",
		"X-Forwarded-Uri: /public/a", "X-Original-Method: OPTIONS", "X-Forwarded-Method: GET",
		"X-Forwarded-Host: evil.test", "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1",
		"X-Auth-Request-Redirect: /public/a", "Connection: X-Original-URL", "Connection: X-Auth-Request-User",
		"X-HTTP-Method-Override: GET", "X-Forwarded-Proto: http"} {
		for _, target := range []string{"/page", "/admin/", "/office/x"} {
			list = append(list, try{"F12 " + line + " at " + target, func(h *client) {
				if a := h.send(request{
					to:  n.address,
					raw: requestText("GET", target, h.id, line, "Accept: text/html"),
				}); a.status != 302 || len(n.up.received(h.id)) > 0 {
					h.failf("got %v", a)
				}
			}})
		}
	}
	list = append(list, n.claims()...)
	for _, path := range restrictedPaths() {
		list = append(list, try{fmt.Sprintf("F12 path %q", path), func(h *client) {
			if a := h.send(request{
				to:    n.address,
				raw:   requestText("GET", path, h.id),
				fresh: true,
			}); a.status == 200 || a.status >= 500 || len(n.up.received(h.id)) > 0 {
				h.failf("an anonymous client got %v", a)
			}
		}})
	}
	for _, path := range guardedPaths {
		list = append(list, try{fmt.Sprintf("F12 guarded %q", path), func(h *client) {
			if a := h.send(request{
				to:    n.address,
				raw:   requestText("GET", path, h.id, h.member("zhangsan")),
				fresh: true,
			}); a.status == 200 || a.status >= 500 || len(n.up.received(h.id)) > 0 {
				h.failf("a member without the right got %v", a)
			}
		}})
	}
	n.up.handle("h2c", func(c net.Conn, r *upstreamRequest) { // accepts every requested protocol
		if r.value("Upgrade") == "" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Upstream: "+mark+"\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(c,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+r.value("Upgrade")+
				"\r\nConnection: Upgrade\r\nX-Upstream: "+mark+"\r\n\r\n"+mark)
	})
	for _, up := range []string{"h2c", "H2C", "websocket, h2c", "h2c\r\nUpgrade: websocket", "TLS/1.0", "websocket2",
		"foo"} {
		for _, settings := range []string{"X-A: b", "HTTP2-Settings: AAMAAABkAAQAAP__"} {
			list = append(list, try{fmt.Sprintf("F12 M6 %q, %.14s", up, settings), func(h *client) {
				a := h.send(request{
					to:         n.address,
					fresh:      true,
					more:       true,
					authorized: true,
					failing:    true,
					raw: requestText("GET", "/act/h2c", h.id, "Connection: Upgrade, HTTP2-Settings",
						"Upgrade: "+up, settings, h.member("zhangsan")) + "PRI * HTTP/2.0\r\n",
				})
				if a.status == 101 {
					h.failf("became a tunnel: %v", a)
				}
				for _, got := range n.up.received(h.id) {
					if v := got.values("Upgrade"); len(v) > 0 &&
						!strings.EqualFold(strings.Join(v, ", "), "websocket") {
						h.failf("arrived as Upgrade: %q", v)
					}
				}
			}})
		}
	}
	for _, planted := range []string{"SESSION; dinggate=x", "dinggate=x; SESSION",
		"a=b; SESSION; c=d; dinggate=x; dinggate=y", "dinggate=; SESSION; dinggate=", "SESSION; a=b; dinggate=x;",
		"SESSION;dinggate=x", "dinggate=x;a=b;SESSION"} {
		list = append(list, try{fmt.Sprintf("F12 B2 %q", planted), func(h *client) {
			session := strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")
			a := h.send(request{
				to:         n.address,
				authorized: true,
				raw:        requestText("GET", "/page", h.id, "Cookie: "+strings.Replace(planted, "SESSION", session, 1)),
			})
			for _, got := range n.up.received(h.id) {
				if strings.Contains(got.head, session) || strings.Contains(got.head, session[len(sessionCookie)+1:]) {
					h.failf("%v: the session arrived: %q", a, got.values("Cookie"))
				}
			}
			if a.status != 200 || len(n.up.received(h.id)) != 1 {
				h.failf("got %v", a)
			}
		}})
	}
	for _, target := range []string{"/a?b=1&c=2", "/a?b=//x&c=%26", "/a?next=https://x/&y=1",
		"/%E6%8A%A5?q=%E8%A1%A8&x=1"} {
		list = append(list, try{"F13 " + target, func(h *client) {
			v := h.visitor()
			a := v.do(request{to: n.address}, "GET", target)
			// The Location of the authorization subrequest leads to /oauth2/start, and the browser
			// follows it.
			start, ok := strings.CutPrefix(a.header.Get("Location"), "https://app.test")
			if a.status != 302 || !ok {
				h.failf("got %v", a)
				return
			}
			state, _ := v.begin(start)
			if a = v.finish("zhangsan", state); a.header.Get("Location") != target {
				h.failf("ended at %q, want %q", a.header.Get("Location"), target)
			}
		}})
	}
	return list
}
