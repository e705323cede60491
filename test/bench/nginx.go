package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// nginxConf runs nginx twice: alone in front of the upstream, and with auth_request to
// dinggate, as in deploy/nginx. It uses one process, so that its CPU accounting is
// complete.
const nginxConf = `
daemon off; master_process off; worker_processes 1; pid DIR/pid; error_log DIR/error.log;
events { worker_connections 1024; }
http {
    access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
    uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
    upstream app { server UPSTREAM; keepalive 64; }
    upstream gate { server GATE; keepalive 64; }
    proxy_http_version 1.1; proxy_set_header Connection "";
    server { listen ALONE; location / { proxy_pass http://app; } }
    server {
        listen ASKING;
        location / {
            auth_request /_dinggate;
            auth_request_set $user $upstream_http_x_auth_request_user;
            auth_request_set $email $upstream_http_x_auth_request_email;
            proxy_set_header X-Auth-Request-User $user; proxy_set_header X-Auth-Request-Email $email;
            proxy_set_header Connection "";
            proxy_pass http://app;
        }
        location = /_dinggate {
            internal; proxy_pass http://gate/oauth2/auth; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_set_header Connection "";
            proxy_set_header X-Original-URL $scheme://127.0.0.1:4180$request_uri;
            proxy_set_header X-Original-Method $request_method; proxy_set_header X-Forwarded-For $remote_addr;
        }
    }
}
`

// behindNginx prints the cost of a request for nginx alone, and for nginx and dinggate
// together.
func (h *env) behindNginx(rounds int, d time.Duration, connections int) error {
	path, err := exec.LookPath("nginx")
	if err != nil { // a normal user on Debian has no /usr/sbin on PATH
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		fmt.Println("\nnginx is not installed: its figure is left out (`make tools`)")
		return nil
	}
	dir, err := os.MkdirTemp("", "bench-nginx")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	alone, asking, err := twoPorts()
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("DIR", dir, "UPSTREAM", strings.TrimPrefix(h.up.base, "http://"), "GATE",
		strings.TrimPrefix(h.dinggate.base, "http://"), "ALONE", alone, "ASKING", asking).Replace(nginxConf)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	p := &process{
		cmd:  exec.Command("taskset", "-c", "0", path, "-e", filepath.Join(dir, "error.log"), "-c", file),
		base: "http://" + alone,
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	defer p.stop()
	if err := answers(alone); err != nil {
		return err
	}
	both := &process{cmd: p.cmd, base: "http://" + asking, with: h.dinggate}
	headers := append(slices.Clone(browser), h.cookie)
	var bare, ours []time.Duration
	for range rounds {
		a, err := press(p, "/", headers, d, connections)
		if err != nil {
			return err
		}
		b, err := press(both, "/", headers, d, connections)
		if err != nil {
			return err
		}
		if a.errors+b.errors > 0 {
			return fmt.Errorf("behind nginx %d answers are no 2xx", a.errors+b.errors)
		}
		bare, ours = append(bare, a.cpu), append(ours, b.cpu)
	}
	slices.Sort(bare)
	slices.Sort(ours)
	h.note("nginx alone; nginx `auth_request` and dinggate, CPU per request",
		"仅 nginx；nginx `auth_request` 加 dinggate，每个请求的 CPU", "< 97 µs", "%v; %v", tenths(bare[len(bare)/2]),
		tenths(ours[len(ours)/2]))
	return nil
}

// twoPorts finds two free addresses.
func twoPorts() (a, b string, err error) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

// answers waits until a server listens.
func answers(address string) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("no program listens on %s", address)
}
