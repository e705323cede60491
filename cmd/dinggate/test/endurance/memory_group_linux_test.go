package endurance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// memoryGroup is a control group with a memory limit, of version 1 or 2.
type memoryGroup struct{ dir, peak, kills string }

// newMemoryGroup needs root and a writable control group file system. Without it the test
// is skipped, except in make endure.
func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	impossible := t.Skipf
	if soaking() {
		impossible = t.Fatalf
	}
	g := &memoryGroup{}
	for _, version := range []struct{ root, probe, limit, swap, peak, kills string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
			"memory.max_usage_in_bytes", "memory.oom_control"},
		{"/sys/fs/cgroup", "cgroup.subtree_control", "memory.max", "memory.swap.max", "memory.peak", "memory.events"},
	} {
		if _, err := os.Stat(filepath.Join(version.root, version.probe)); err != nil {
			continue
		}
		dir := filepath.Join(version.root, fmt.Sprintf("dinggate-test-%d", os.Getpid()))
		if version.limit == "memory.max" {
			_ = os.WriteFile(filepath.Join(version.root, version.probe), []byte("+memory"), 0o600) // it may be enabled
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			impossible("SKIPPED: a control group of memory cannot be made: %v", err)
		}
		t.Cleanup(func() { os.Remove(dir) })
		if err := os.WriteFile(filepath.Join(dir, version.limit), []byte(strconv.FormatInt(limit, 10)), 0o600); err != nil {
			impossible("SKIPPED: a control group takes no limit of memory: %v", err)
		}
		swap := "0"
		if version.limit != "memory.max" {
			swap = strconv.FormatInt(limit, 10) // memory and swap together
		}
		_ = os.WriteFile(filepath.Join(dir, version.swap), []byte(swap), 0o600) // if swap is accounted
		g.dir, g.peak, g.kills = dir, filepath.Join(dir, version.peak), filepath.Join(dir, version.kills)
		return g
	}
	impossible("SKIPPED: no control groups of memory are mounted")
	return nil
}

// killed returns how many processes of the group the system ended because of the memory
// limit.
func (g *memoryGroup) killed(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(g.kills)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, n, _ := strings.Cut(strings.TrimSpace(line), " "); name == "oom_kill" {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	t.Fatalf("%s says nothing of processes killed", g.kills)
	return 0
}

// most returns the maximum memory of the group; 0 if the system does not report it.
func (g *memoryGroup) most() int64 {
	text, _ := os.ReadFile(g.peak)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// authRequest is a subrequest whose response has no body.
const authRequest = "GET /oauth2/auth HTTP/1.1\r\nHost: 127.0.0.1:4180\r\n\r\n"

// TestClientProcess is the client process of TestMemoryGroup. It opens connections, requests a
// page on each, prints the result, and leaves them idle until its input ends.
func TestClientProcess(t *testing.T) {
	address, n := os.Getenv("CLIENTS_OF"), 0
	if address == "" {
		t.Skip("a part of TestMemoryGroup")
	}
	fmt.Sscan(os.Getenv("CLIENTS"), &n)
	var connected, answered atomic.Int64
	all := make([]net.Conn, n)
	var hands sync.WaitGroup
	until := time.Now().Add(20 * time.Second)
	for i := range all {
		hands.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Second / time.Duration(n))
			c, err := net.DialTimeout("tcp", address, time.Until(until))
			if err != nil {
				return
			}
			all[i] = c
			connected.Add(1)
			c.SetDeadline(until)
			io.WriteString(c, authRequest)
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && strings.HasPrefix(line, "HTTP/1.1 200") {
				answered.Add(1)
			}
		})
	}
	hands.Wait()
	fmt.Printf("clients %d %d\n", connected.Load(), answered.Load())
	io.Copy(io.Discard, os.Stdin)
}

// startClients starts one. done returns how many connections were accepted and answered, end ends
// it.
func startClients(t *testing.T, address string, n int) (done func() (connected, answered int), end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestClientProcess$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "CLIENTS_OF="+address, fmt.Sprint("CLIENTS=", n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return func() (connected, answered int) {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, _ := fmt.Sscanf(lines.Text(), "clients %d %d", &connected, &answered); n == 2 {
				return connected, answered
			}
		}
		t.Fatal("a process of clients printed nothing")
		return 0, 0
	}, func() { in.Close() }
}

// TestMemoryGroup tests threats V31. In a control group of 128 MiB dinggate accepts as
// many connections as fit, of 20,000 idle ones; the others wait in the system's queue. The
// system kills no process, connected clients are served, and after the idle ones
// disconnect all are served.
func TestMemoryGroup(t *testing.T) {
	limit, clients, want := int64(48<<20), 2_000, "930"
	if soaking() {
		limit, clients, want = 128<<20, 20_000, "3723"
	}
	g := newMemoryGroup(t, limit)
	dir := t.TempDir()
	s := &servertest.FileEnv{Dir: dir, File: dir + "/config.yaml", Secret: dir + "/secrets"}
	s.Write(t, "secrets", config.NewSecret())
	s.Configure(t, "routes: [{path: /, access: public, upstream: 'http://127.0.0.1:1'}]\n")
	cmd := exec.Command("/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir, servertest.Binary(t), "serve", "--config", s.File)
	cmd.Env = os.Environ()
	p := servertest.Start(t, cmd)
	if got := p.Metric(t, "dinggate_connections_max"); got != want {
		t.Errorf("max_connections = %s in %d MiB, want %s", got, limit>>20, want)
	}
	regular, err := exchange(p, authRequest, "\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	address := strings.TrimPrefix(p.Public, "http://")
	var processes []func() (int, int)
	var ends []func()
	for range 4 {
		done, end := startClients(t, address, clients/4)
		processes, ends = append(processes, done), append(ends, end)
	}
	connected, answered := 0, 0
	for _, done := range processes {
		c, a := done()
		connected, answered = connected+c, answered+a
	}
	most, _ := strconv.Atoi(want)
	if answered < most-1 || answered > most {
		t.Errorf("%d of %d were answered, want all that fit but one: %d", answered, clients, most-1)
	}
	answers := bufio.NewReader(regular)
	for range 10 { // of a client that was connected before
		io.WriteString(regular, authRequest)
		regular.SetReadDeadline(time.Now().Add(time.Minute))
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("a client that was connected before is answered with %v, %v", res, err)
		}
		res.Body.Close()
	}
	if status, _ := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready"); status != 200 {
		t.Errorf("/ready = %d", status)
	}
	open, resident := p.Metric(t, "dinggate_connections_open"), residentOf(p, t)
	if killed := g.killed(t); killed != 0 {
		t.Errorf("the system killed %d processes", killed)
	}
	for _, end := range ends {
		end()
	}
	servertest.Eventually(t, "a new client is served", func() bool {
		c, err := exchange(p, authRequest, "\r\n\r\n")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	t.Logf("%d connections in a group of %d MiB: %d connected, %d answered, %s open; %.1f MiB resident, the group used %.1f MiB "+
		"at most", clients, limit>>20, connected, answered, open, mib(resident), mib(g.most()))
	p.Cmd.Process.Signal(syscall.SIGTERM)
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("serve ends with %v, want exit code 0:\n%.2000s", err, p.Log)
	}
	if killed := g.killed(t); killed != 0 {
		t.Errorf("the system killed %d processes", killed)
	}
}
