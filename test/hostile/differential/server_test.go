package differential

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// The marks that the pages of each area contain.
const (
	adminMark  = "MARK-ADMIN"
	publicMark = "MARK-PUBLIC"
	restMark   = "MARK-REST"
)

// domain is the parent domain of all hosts. The host of a server is its name below it.
const domain = "apps.test"

// server is real software behind dinggate.
type server struct {
	name string
	addr string // 127.0.0.1:port

	// divergent counts paths of the corpus that the server, without dinggate in front, takes for a
	// restricted page although they denote another page when decoded once.
	divergent atomic.Int64
}

func (s *server) host() string { return s.name + "." + domain }

// fleet is the list of servers. Several tests start them at once. The servers are stopped at the
// end of the test life.
type fleet struct {
	life *testing.T
	mu   sync.Mutex
	list []*server
	php  string // PHP-FPM's socket, "" without it
}

func (f *fleet) add(name, addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, &server{name: name, addr: addr})
}

// find returns the address of a server. It returns "" if there is none with that name.
func (f *fleet) find(name string) string {
	for _, s := range f.list {
		if s.name == name {
			return s.addr
		}
	}
	return ""
}

// run starts a program and returns its output.
func (f *fleet) run(t *testing.T, cmd *exec.Cmd) *output {
	t.Helper()
	out := &output{}
	cmd.Stderr, cmd.WaitDelay = out, 10*time.Second
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.life.Cleanup(func() { end(cmd) })
	return out
}

// end terminates a program, so that it also stops its workers. It kills the program if it does not
// exit.
func end(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait()
}

// output records the output of a program.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// awaitListener waits until a program accepts connections.
func awaitListener(t *testing.T, addr string, out *output) {
	t.Helper()
	awaitDial(t, "tcp", addr, out)
}

func awaitDial(t *testing.T, network, addr string, out *output) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); <-again.C {
		if c, err := net.Dial(network, addr); err == nil {
			c.Close()
			return
		}
	}
	t.Errorf("nothing listens on %s:\n%s", addr, out)
}

// awaitUnixListener is awaitListener for a Unix socket.
func awaitUnixListener(t *testing.T, path string, out *output) {
	t.Helper()
	awaitDial(t, "unix", path, out)
}

// startNamed starts a program that prints lines of a name and a port, and that exits at the end of its
// input.
func (f *fleet) startNamed(t *testing.T, cmd *exec.Cmd, names ...string) {
	t.Helper()
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = in
	lines, w := io.Pipe()
	cmd.Stdout = w
	out := f.run(t, cmd)
	in.Close()
	f.life.Cleanup(func() { stdin.Close(); w.Close() })
	scanner := bufio.NewScanner(lines)
	late := time.AfterFunc(time.Minute, func() { w.CloseWithError(fmt.Errorf("no line within a minute")) })
	defer late.Stop()
	for range names {
		if !scanner.Scan() {
			t.Errorf("%s does not print all of %v: %v\n%s", cmd.Path, names, scanner.Err(), out)
			return
		}
		name, port, _ := strings.Cut(scanner.Text(), " ")
		f.add(name, "127.0.0.1:"+port)
	}
	go io.Copy(io.Discard, lines)
}

// pages returns a directory of files for servers that have no other pages.
func pages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mark := range map[string]string{"index.html": restMark, "page": restMark, "x": restMark, "a": restMark,
		"settings":         adminMark,
		"admin/index.html": adminMark, "admin/x": adminMark, "admin/page": adminMark, "public/index.html": publicMark,
		"public/x": publicMark, "public/page": publicMark} {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), mark)
	}
	return dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// goServers starts net/http's multiplexer and its file server.
func (f *fleet) goServers(t *testing.T, files string) {
	mux := http.NewServeMux()
	for pattern, mark := range map[string]string{"/admin/": adminMark, "/settings": adminMark, "/public/": publicMark,
		"/": restMark} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, mark) })
	}
	for name, handler := range map[string]http.Handler{"go-mux": mux, "go-files": http.FileServer(http.Dir(files))} {
		s := httptest.NewServer(handler)
		f.life.Cleanup(s.Close)
		f.add(name, s.Listener.Addr().String())
	}
}

func (f *fleet) node(t *testing.T) {
	cmd := exec.Command(realtool.Path(t, "node"), filepath.Join("testdata", "servers.js"))
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Dir(realtool.NPM(t, "express@5.3.0")))
	f.startNamed(t, cmd, "express", "node-url", "node-files")
}

func (f *fleet) java(t *testing.T) {
	dir, jars := f.life.TempDir(), []string{}
	for _, jar := range []string{"tomcat10-embed-core", "jetty9-server", "jetty9-servlet", "jetty9-http", "jetty9-io",
		"jetty9-util", "jetty9-security", "servlet-api"} {
		jars = append(jars, realtool.File(t, "/usr/share/java/"+jar+".jar"))
	}
	path := strings.Join(append(jars, dir), string(filepath.ListSeparator))
	if out, err := exec.Command(realtool.Path(t, "javac"), "-J-XX:TieredStopAtLevel=1", "-nowarn", "-cp", path, "-d",
		dir, filepath.Join("testdata", "Servers.java")).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	cmd := exec.Command(realtool.Path(t, "java"), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.io.tmpdir="+dir, "-cp", path, "Servers")
	f.startNamed(t, cmd, "tomcat", "tomcat-lenient", "jetty", "jetty-lenient")
}

func (f *fleet) python(t *testing.T) {
	addr := realtool.FreeAddr(t)
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(realtool.Path(t, "gunicorn"), "--bind", addr, "--workers", "1", "--threads", "8",
		"--keep-alive", "60", "--chdir", dir, "--worker-tmp-dir", f.life.TempDir(), "--log-level", "error", "app:app")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	awaitListener(t, addr, f.run(t, cmd))
	f.add("python", addr)
}

func (f *fleet) apache(t *testing.T, files string) {
	dir, addr, modules := f.life.TempDir(), realtool.FreeAddr(t), ""
	for _, name := range []string{"mpm_event", "authz_core", "dir"} {
		modules += "LoadModule " + name + "_module " + realtool.File(t, "/usr/lib/apache2/modules/mod_"+name+".so") +
			"\n"
	}
	conf := write(t, filepath.Join(dir, "httpd.conf"),
		"ServerRoot "+dir+"\nDefaultRuntimeDir "+dir+"\nPidFile "+dir+
			"/pid\nServerName 127.0.0.1\nErrorLog /dev/stderr\nLogLevel crit\nStartServers 1\nListen "+addr+"\n"+
			modules+
			"DocumentRoot "+files+
			"\nDirectoryIndex index.html\nAllowEncodedSlashes On\nKeepAlive On\nMaxKeepAliveRequests 0\n"+
			"KeepAliveTimeout 60\n<Directory "+files+">\nRequire all granted\n</Directory>\n")
	awaitListener(t, addr, f.run(t, exec.Command(realtool.Path(t, "apache2"), "-DFOREGROUND", "-f", conf)))
	f.add("apache", addr)
}

func (f *fleet) caddy(t *testing.T, files string) {
	marks, static := realtool.FreeAddr(t), realtool.FreeAddr(t)
	conf := write(t, filepath.Join(f.life.TempDir(), "Caddyfile"), fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:%[1]s {
	bind 127.0.0.1
	@admin path /admin /admin/* /settings
	respond @admin %[3]s
	@public path /public /public/*
	respond @public %[4]s
	respond %[5]s
}
http://:%[2]s {
	bind 127.0.0.1
	root * %[6]s
	file_server
}
`, port(marks), port(static), adminMark, publicMark, restMark, files))
	cmd := exec.Command(realtool.Path(t, "caddy@v2.11.9"), "run", "--adapter", "caddyfile", "--config", conf)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Dir(conf), "XDG_DATA_HOME="+filepath.Dir(conf))
	out := f.run(t, cmd)
	for name, addr := range map[string]string{"caddy": marks, "caddy-files": static} {
		awaitListener(t, addr, out)
		f.add(name, addr)
	}
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
