package realtool

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Redis is a redis-server (or redis-sentinel) on a port of this machine. It ends with the test.
type Redis struct {
	Addr string // 127.0.0.1:port; the same after every Start

	t    testing.TB
	path string
	args []string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// StartRedis starts one without persistence; more arguments such as "--appendonly", "yes" follow
// redis-server's own. Its directory is empty and exists as long as the test. "PORT" in an argument
// is its port.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := newRedis(t, "redis-server")
	dir := t.TempDir()
	r.log = filepath.Join(dir, "log")
	r.args = append([]string{"--port", "PORT", "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly",
		"no", "--logfile", r.log, "--daemonize", "no"}, args...)
	r.fill()
	r.Start()
	return r
}

// StartSentinel starts a redis-sentinel that watches master with the name `main` and decides alone
// that it is down after a second, and waits until it knows that number of replicas.
func StartSentinel(t testing.TB, master *Redis, replicas int, lines ...string) *Redis {
	t.Helper()
	r := newRedis(t, "redis-sentinel")
	dir := t.TempDir()
	r.log = filepath.Join(dir, "log")
	host, port, _ := net.SplitHostPort(master.Addr)
	_, own, _ := net.SplitHostPort(r.Addr)
	text := fmt.Sprintf(
		"port %s\nbind 127.0.0.1\ndir %s\nlogfile %s\nsentinel monitor main %s %s 1\nsentinel "+
			"down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n%s\n",
		own, dir, r.log, host, port, strings.Join(lines, "\n"),
	)
	file := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.args = []string{file}
	r.Start()
	r.wait("its replicas", func() bool {
		return strings.Contains(r.Do("SENTINEL", "MASTER", "main"), fmt.Sprintf("num-slaves\n%d\n", replicas))
	})
	return r
}

func newRedis(t testing.TB, program string) *Redis {
	t.Helper()
	r := &Redis{t: t, path: Path(t, program), Addr: FreeAddr(t)}
	t.Cleanup(r.Kill)
	return r
}

func (r *Redis) fill() {
	_, port, _ := net.SplitHostPort(r.Addr)
	for i, a := range r.args {
		r.args[i] = strings.ReplaceAll(a, "PORT", port)
	}
}

// URL is redis://host:port/0.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// Start starts it, again after Kill, and waits until it answers.
func (r *Redis) Start() {
	r.t.Helper()
	r.cmd = exec.Command(r.path, r.args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	cmd, done := r.cmd, make(chan struct{})
	r.done = done
	go func() { cmd.Wait(); close(done) }()
	r.wait("an answer", func() bool { a := r.Do("PING"); return a == "PONG\n" || strings.HasPrefix(a, "NOAUTH") })
}

// Kill ends it as kill -9 does, and returns when it is gone.
func (r *Redis) Kill() {
	if r.cmd != nil && r.cmd.Process != nil {
		r.cmd.Process.Kill()
		<-r.done
	}
}

// Do sends one command on a connection of its own and returns the lines of the answer without
// their types and lengths; "" if there is none.
func (r *Redis) Do(words ...string) string {
	c, err := net.DialTimeout("tcp", r.Addr, 5*time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(w), w)
	}
	var out strings.Builder
	readReply(bufio.NewReader(c), &out)
	return out.String()
}

func readReply(in *bufio.Reader, out *strings.Builder) {
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	line = strings.TrimRight(line, "\r\n")
	var n int
	switch line[0] {
	case '*':
		fmt.Sscanf(line[1:], "%d", &n)
		for range n {
			readReply(in, out)
		}
	case '$':
		if fmt.Sscanf(line[1:], "%d", &n); n >= 0 {
			body := make([]byte, n+2)
			for at := 0; at < len(body); {
				m, err := in.Read(body[at:])
				if err != nil {
					return
				}
				at += m
			}
			out.Write(body[:n])
		}
		out.WriteByte('\n')
	default:
		out.WriteString(line[1:] + "\n")
	}
}

// wait polls until ok returns true.
func (r *Redis) wait(what string, ok func() bool) {
	r.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); <-again.C {
		if ok() {
			return
		}
		select {
		case <-r.done:
			log, _ := os.ReadFile(r.log)
			r.t.Fatalf("%s ended before it had %s:\n%s", r.path, what, log)
		default:
		}
	}
	log, _ := os.ReadFile(r.log)
	r.t.Fatalf("%s has no %s after 30 s:\n%s", r.path, what, log)
}

// Await waits until ok returns true, for tests that watch r from outside.
func (r *Redis) Await(what string, ok func() bool) { r.t.Helper(); r.wait(what, ok) }
