package differential

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// phpFPM starts PHP's process manager. nginx uses its socket.
func (f *fleet) phpFPM(t *testing.T) {
	dir := f.life.TempDir()
	socket := filepath.Join(dir, "php.sock")
	pool := ""
	args := []string{"--nodaemonize", "--fpm-config", filepath.Join(dir, "fpm.conf")}
	if os.Getuid() == 0 {
		pool, args = "user = root\ngroup = root\n", append(args, "--allow-to-run-as-root")
	}
	write(t, filepath.Join(dir, "fpm.conf"),
		"[global]\nerror_log = /dev/stderr\nlog_level = error\n[www]\n"+pool+"listen = "+socket+
			"\npm = static\npm.max_children = 4\n")
	out := f.run(t, exec.Command(realtool.File(t, "/usr/sbin/php-fpm[0-9]*"), args...))
	awaitUnixListener(t, socket, out)
	f.php = socket
}

// nginx starts an nginx that acts as several servers: its own pages, PHP's pages, proxies that
// forward the decoded path, and the proxy in front that authorizes requests at dinggate by
// auth_request. The servers behind it must be running. nginxAddr is the proxy's address.
// setDinggate sets the address of dinggate once it is known.
func (f *fleet) nginx(t *testing.T) (nginxAddr string, setDinggate func(dinggate string)) {
	program := realtool.Path(t, "nginx")
	dir := f.life.TempDir()
	nginxAddr = realtool.FreeAddr(t)
	add := func(name string) string {
		addr := realtool.FreeAddr(t)
		f.add(name, addr)
		return "server {\nlisten " + addr + ";\n"
	}
	behind := fmt.Sprintf(add("nginx")+
		"location = /admin { return 200 %[1]s; }\nlocation /admin/ { return 200 %[1]s; }\nlocation = /settings { "+
		"return 200 %[1]s; }\nlocation = /public { return 200 %[2]s; }\nlocation /public/ { return 200 %[2]s; "+
		"}\nlocation / { return 200 %[3]s; }\n}\n", adminMark, publicMark, restMark)
	if f.php != "" {
		root, err := filepath.Abs("testdata")
		if err != nil {
			t.Fatal(err)
		}
		fastcgi := "fastcgi_pass unix:" + f.php +
			";\nfastcgi_param REQUEST_METHOD $request_method;\nfastcgi_param QUERY_STRING $query_string;\n" +
			"fastcgi_param REQUEST_URI $request_uri;\nfastcgi_param SERVER_PROTOCOL $server_protocol;\n"
		behind += add("php") + "location / { fastcgi_param SCRIPT_FILENAME " + root + "/index.php;\n" + fastcgi +
			"}\n" +
			"location ~ \\.php(/|$) { fastcgi_split_path_info ^(.+?\\.php)(/.*)$;\nfastcgi_param SCRIPT_FILENAME " +
			root + "$fastcgi_script_name;\nfastcgi_param PATH_INFO $fastcgi_path_info;\n" + fastcgi + "}\n}\n"
	}
	if f.find("node-url") != "" {
		hop := "proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_set_header Host $http_host;\n"
		behind += "upstream decoded { server " + f.find("node-url") + "; keepalive 16; }\n" +
			add("hop") + "location / { proxy_pass http://decoded$uri;\n" + hop + "}\n}\n"
		behind += "upstream twice { server " + f.find("hop") + "; keepalive 16; }\n" +
			add("hops") + "location / { proxy_pass http://twice$uri;\n" + hop + "}\n}\n"
	}
	return nginxAddr, func(dinggate string) {
		servers := "upstream dinggate { server " + dinggate + "; keepalive 32; }\n"
		for _, s := range f.list {
			servers += fmt.Sprintf(`upstream up_%[1]s { server %[2]s; keepalive 32; }
server {
listen %[3]s;
server_name %[4]s;
location = /.auth {
  internal;
  proxy_pass http://dinggate/oauth2/auth;
  proxy_bind %[5]s;
  proxy_pass_request_body off;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Content-Length "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Original-URL https://$http_host$request_uri;
  proxy_set_header X-Original-Method $request_method;
}
location / {
  auth_request /.auth;
  proxy_pass http://up_%[1]s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
}
}
`, s.name, s.addr, nginxAddr, s.host(), gateway)
		}
		temp := ""
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			temp += kind + "_temp_path " + dir + "/" + kind + ";\n"
		}
		conf := write(t, filepath.Join(dir, "nginx.conf"),
			"daemon off; master_process off; pid "+dir+
				"/pid; error_log stderr crit;\nevents { worker_connections 4096; }\nhttp {\naccess_log off; "+
				"keepalive_requests 1000000; keepalive_timeout 600; server_names_hash_bucket_size 128;\n"+temp+behind+
				servers+"}\n")
		out := f.run(t, exec.Command(program, "-e", "stderr", "-c", conf))
		for _, addr := range append([]string{nginxAddr}, f.find("nginx")) {
			awaitListener(t, addr, out)
		}
		if text := out.String(); strings.Contains(text, "[emerg]") {
			t.Fatal(text)
		}
	}
}
