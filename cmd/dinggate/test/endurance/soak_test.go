package endurance

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
)

// soaking reports whether the machine is reserved for some minutes (make endure): then the
// number of clients and the duration are those in docs/operating.md. Otherwise there are
// few clients, and no result depends on the speed of the machine.
func soaking() bool { return os.Getenv("ENDURE") != "" }

// residentOf returns the resident memory of a process in bytes.
func residentOf(p *servertest.Program, t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Skipf("SKIPPED: reading memory: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			fmt.Sscan(v, &kib)
			return kib << 10
		}
	}
	t.Fatal("the kernel reports no VmRSS")
	return 0
}

// slowly starts n clients that send their header one byte at a time and reconnect when
// they are disconnected.
func slowly(p *servertest.Program, n int, pause time.Duration) (cut *atomic.Int64, stop func()) {
	cut = new(atomic.Int64)
	gone := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			wait := time.NewTimer(pause * time.Duration(i) / time.Duration(n))
			defer wait.Stop()
			var c net.Conn
			for at := 0; ; at++ {
				select {
				case <-gone:
					if c != nil {
						c.Close()
					}
					return
				case <-wait.C:
					wait.Reset(pause)
				}
				if c == nil {
					c, _ = net.DialTimeout("tcp", strings.TrimPrefix(p.Public, "http://"), 10*time.Second)
					at = 0
				}
				if c != nil {
					const header = "GET / HTTP/1.1\r\nHost: 127.0.0.1:4180\r\nX-Slow: "
					b := byte('x')
					if at < len(header) {
						b = header[at]
					}
					c.SetWriteDeadline(time.Now().Add(10 * time.Second))
					if _, err := c.Write([]byte{b}); err != nil {
						c.Close()
						c = nil
						cut.Add(1)
					}
				}
			}
		})
	}
	return cut, sync.OnceFunc(func() { close(gone); all.Wait() })
}

// normally requests a page repeatedly with four clients, where every tenth request uses a
// new connection, and returns the duration of each response.
func normally(p *servertest.Program, t *testing.T, d time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for begin, i := time.Now(), 0; time.Since(begin) < d; i++ {
				if i%10 == 9 {
					client.CloseIdleConnections()
				}
				at := time.Now()
				res, err := client.Get(p.Public + "/page")
				if err != nil {
					t.Errorf("a normal request: %v", err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || string(body) != "UPSTREAM-MARK" {
					t.Errorf("a normal request = %d %.40q %v", res.StatusCode, body, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("no normal request was served")
	}
	return took
}

func percentile(sorted []time.Duration, p int) time.Duration { return sorted[(len(sorted)-1)*p/100] }

// TestSlowClients tests threats D1. Clients that send a byte per second delay no other
// client and cost a bounded amount of memory each.
func TestSlowClients(t *testing.T) {
	n, pause, alone, together := 300, 50*time.Millisecond, time.Second, 2*time.Second
	if soaking() {
		n, pause, alone, together = 1000, time.Second, 20*time.Second, time.Minute
	}
	p := servertest.NewFileEnv(t,
		fmt.Sprintf("server: {max_connections: 2000}\nroutes: [{path: /, access: public, upstream: %q}]\n",
			startApplication(t))).Program
	normally(p, t, alone/4) // lazily allocated memory exists
	before := normally(p, t, alone)
	small := residentOf(p, t)
	cut, stop := slowly(p, n, pause)
	defer stop()
	servertest.Eventually(t, "all are there", func() bool {
		var open int
		fmt.Sscan(p.Metric(t, "dinggate_connections_open"), &open)
		return open >= n*9/10 // some are reconnecting
	})
	quarters := make(chan []int64)
	go func() {
		var held []int64
		for range 4 {
			time.Sleep(together / 4)
			held = append(held, residentOf(p, t))
		}
		quarters <- held
	}()
	with := normally(p, t, together)
	held := <-quarters
	end := held[3]
	t.Logf(
		"%d slow clients for %v, cut off %d times; resident %.1f MiB before, %.1f, %.1f, %.1f and %.1f MiB after "+
			"each quarter: %.1f KiB for each",
		n, together, cut.Load(), mib(small), mib(held[0]), mib(held[1]), mib(held[2]), mib(end),
		float64(end-small)/1024/float64(n),
	)
	const each = 64 << 10 // two buffers, a stack, and the overhead of the collector
	if end-small > int64(n)*each {
		t.Errorf("the slow clients hold %d bytes each, more than %d", (end-small)/int64(n), each)
	}
	if !soaking() {
		return
	}
	stop()
	after := normally(p, t, alone)
	t.Logf(
		"p50 and p99 of normal requests: %v %v without slow clients, %v %v with them (%d requests), %v %v when "+
			"they are gone",
		percentile(before, 50), percentile(before, 99), percentile(with, 50), percentile(with, 99), len(with),
		percentile(after, 50), percentile(after, 99),
	)
	if most := 2 * max(percentile(before, 99), percentile(after, 99)); percentile(with, 99) > most {
		t.Errorf("p99 with slow clients is %v, more than twice that without: %v", percentile(with, 99), most)
	}
	if cut.Load() < int64(4*n) {
		t.Errorf("%d slow clients were cut off %d times in %v, want every 10 s", n, cut.Load(), together)
	}
	if end > held[1]+held[1]/10 { // in the first half all are disconnected and reconnect for the first times
		t.Errorf("memory goes from %.1f to %.1f MiB while they are there", mib(held[1]), mib(end))
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// TestApplication is not a test: it is the application of the tests below, in a process
// with its own descriptors.
func TestApplication(t *testing.T) {
	if os.Getenv("APPLICATION") == "" {
		t.Skip("only as an application of other tests")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("application on http://%s\n", l.Addr())
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Sec-Websocket-Key")
		if key == "" {
			io.WriteString(w, "UPSTREAM-MARK")
			return
		}
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: %s\r\n\r\n\x81\x02hi", base64.StdEncoding.EncodeToString(sum[:]))
		io.Copy(io.Discard, c) // sends nothing more
	}))
}

// startApplication returns its address.
func startApplication(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestApplication$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "APPLICATION=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "application on "); ok {
			return at
		}
	}
	t.Fatal("the application names no address")
	return ""
}

// gather opens idle connections with a few goroutines.
func gather(t *testing.T, n int, open func() (net.Conn, error)) []net.Conn {
	t.Helper()
	all := make([]net.Conn, n)
	var next atomic.Int64
	var hands sync.WaitGroup
	for range 32 {
		hands.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
				c, err := open()
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				all[i] = c
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				c.Close()
			}
		}
	})
	hands.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// exchange opens a connection, sends one request and reads until the response ends with
// the given text.
func exchange(p *servertest.Program, request, until string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(p.Public, "http://"), time.Minute)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, request)
	var got []byte
	b := make([]byte, 1024)
	for !bytes.HasSuffix(got, []byte(until)) {
		n, err := c.Read(b)
		if got = append(got, b[:n]...); err != nil {
			c.Close()
			return nil, fmt.Errorf("after %.60q: %w", got, err)
		}
	}
	return c, c.SetDeadline(time.Time{})
}

// TestManyConnections tests threats V31. Idle connections, then idle WebSockets, with a
// memory limit: other clients are served, each connection costs a bounded amount, and a
// drain ends all of them with a close frame.
func TestManyConnections(t *testing.T) {
	n := 400
	if soaking() {
		n = 10_000
	}
	files := cmp.Or(server.OpenFiles(), 1<<20)
	app := startApplication(t)
	for _, kind := range []struct {
		name           string
		files          int // that one of them needs
		request, until string
		each, limit    int64
	}{
		{"connections", 1, "GET /page HTTP/1.1\r\nHost: 127.0.0.1:4180\r\n\r\n", "UPSTREAM-MARK", 48 << 10, 256 << 20},
		{"WebSockets", 2,
			"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:4180\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "\x81\x02hi",
			96 << 10, 512 << 20},
	} {
		t.Run(kind.name, func(t *testing.T) {
			n := min(n, (files-200)/kind.files)
			s := &servertest.FileEnv{Dir: t.TempDir()}
			s.File, s.Secret = s.Dir+"/config.yaml", s.Dir+"/secrets"
			s.Write(t, "secrets", config.NewSecret())
			s.Configure(t,
				fmt.Sprintf(
					"server: {max_connections: %d}\nroutes: [{path: /, access: public, websocket: true, "+
						"upstream: %q}]\n", n+50, app,
				))
			cmd := exec.Command(servertest.Binary(t), "serve", "--config", s.File)
			cmd.Env = append(os.Environ(), fmt.Sprint("GOMEMLIMIT=", kind.limit))
			p := servertest.Start(t, cmd)
			normally(p, t, time.Second/2)
			small := residentOf(p, t)
			begin := time.Now()
			all := gather(t, n, func() (net.Conn, error) { return exchange(p, kind.request, kind.until) })
			opened := time.Since(begin)
			took := normally(p, t, time.Second)
			big := residentOf(p, t)
			if got := p.Metric(t, "dinggate_connections_open"); got < fmt.Sprint(n) && len(got) <= len(fmt.Sprint(n)) {
				t.Errorf("%s connections are open, want at least %d", got, n)
			}
			if status, _ := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready"); status != 200 {
				t.Errorf("/ready = %d", status)
			}
			if big-small > int64(n)*kind.each+16<<20 {
				t.Errorf("one of the %d holds %d bytes, more than %d", n, (big-small)/int64(n), kind.each)
			}
			const program = 24 << 20 // that the limit does not include
			if big > kind.limit+program {
				t.Errorf("%.1f MiB are resident under a limit of %.0f MiB", mib(big), mib(kind.limit))
			}
			begin = time.Now()
			p.Cmd.Process.Signal(syscall.SIGTERM)
			ends := map[string]int{}
			for _, c := range all {
				c.SetReadDeadline(time.Now().Add(time.Minute))
				rest, err := io.ReadAll(c)
				if err != nil {
					ends[err.Error()]++
					continue
				}
				ends[fmt.Sprintf("%x", rest[:min(4, len(rest))])]++
			}
			want := map[string]string{"connections": "", "WebSockets": "880203e9"}[kind.name] // 1001
			if ends[want] != n {
				t.Errorf("the drain ended them so: %v, want all with %q", ends, want)
			}
			if err := p.Cmd.Wait(); err != nil {
				t.Errorf("serve ends with %v, want exit code 0:\n%.2000s", err, p.Log)
			}
			t.Logf(
				"%d %s opened in %v under GOMEMLIMIT=%.0fMiB: resident %.1f MiB before, %.1f MiB with them, %.1f "+
					"KiB each; p99 of normal requests beside them %v; drained in %v",
				n, kind.name, opened.Round(time.Millisecond), mib(kind.limit), mib(small), mib(big),
				float64(big-small)/1024/float64(n), percentile(took, 99), time.Since(begin).Round(time.Millisecond),
			)
		})
	}
}
