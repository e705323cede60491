package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// opened is how many connections the application has seen so far.
func (h *house) opened() int {
	res, err := http.Get(h.up.base + "/opened")
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	var n int
	fmt.Fscan(res.Body, &n)
	return n
}

// browser is what wrk pretends to be, beside its own headers.
var browser = []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Accept: text/html,application/xhtml+xml", "Accept-Language: zh-CN,zh;q=0.9", "Sec-Fetch-Mode: navigate"}

// ratios compares CPU per request, pair by pair.
func (h *house) ratios(rounds int, d time.Duration, connections int) error {
	question := append(slices.Clone(browser), "X-Original-URL: http://127.0.0.1:4180/reports/daily?day=1", "X-Original-Method: GET", "X-Forwarded-For: 192.0.2.1")
	signedIn := append(slices.Clone(question), h.cookie)
	page := append(slices.Clone(browser), h.cookie)
	fmt.Printf("%-32s %10s %9s %6s %13s %9s %8s %18s %18s\n", fmt.Sprintf("CPU per request, %d connections", connections), "yardstick", "dinggate", "ratio", "min … max", "target", "rps", "p50 bare/ours", "p99 bare/ours")
	for _, c := range []struct {
		name      string
		yardstick *process
		path      string
		headers   []string
		refused   bool
		target    float64
	}{
		{"/oauth2/auth, signed in", h.handler, "/oauth2/auth", signedIn, false, 1.30},
		{"/oauth2/auth, nobody (401)", h.handler, "/oauth2/auth", question, true, 1.30},
		{"GET 1 KiB through the proxy", h.proxy, "/reports/daily?day=1", page, false, 1.25},
	} {
		var ratio, speed []float64
		fresh, asked := 0, 0
		var bare, ours load
		for range rounds {
			var err error
			if bare, err = press(c.yardstick, c.path, c.headers, d, connections); err != nil {
				return err
			}
			before := h.opened()
			if ours, err = press(h.gate, c.path, c.headers, d, connections); err != nil {
				return err
			}
			if want := map[bool]int{true: ours.requests}[c.refused]; ours.errors != want {
				return fmt.Errorf("%s: %d of %d answers are no 2xx, want %d", c.name, ours.errors, ours.requests, want)
			}
			ratio = append(ratio, float64(ours.cpu)/float64(bare.cpu))
			speed = append(speed, float64(ours.requests)/float64(bare.requests))
			fresh, asked = fresh+h.opened()-before-1, asked+ours.requests // one of them is the question itself
		}
		slices.Sort(ratio)
		slices.Sort(speed)
		middle := ratio[len(ratio)/2]
		h.drawn = append(h.drawn, bar{fmt.Sprintf("%s, %d connections", c.name, connections), middle, ratio[0], ratio[len(ratio)-1], c.target})
		fmt.Printf("%-32s %10v %9v %6.2f %6.2f … %.2f %9.2f %8.2f %18s %18s\n", c.name, bare.cpu.Round(100*time.Nanosecond), ours.cpu.Round(100*time.Nanosecond), middle, ratio[0], ratio[len(ratio)-1], c.target,
			speed[len(speed)/2], bare.p50+"/"+ours.p50, bare.p99+"/"+ours.p99)
		if c.yardstick == h.proxy {
			fmt.Printf("%-32s %.4f per request (target ≤ 0.03)\n", "  new upstream connections", float64(fresh)/float64(asked))
		}
	}
	return nil
}

// transfers moves 100 MiB down and up.
func (h *house) transfers(rounds int) error {
	const size = 100 << 20
	name, cookie, _ := strings.Cut(h.cookie, ": ")
	move := func(p *process, up bool) (time.Duration, error) {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/?bytes=%d", p.base, size), nil)
		if up {
			r, err = http.NewRequest(http.MethodPost, p.base+"/", io.LimitReader(zeros{}, size))
			r.ContentLength = size
		}
		if err != nil {
			return 0, err
		}
		r.Header.Set(name, cookie)
		began := time.Now()
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("moving 100 MiB: %d %v", res.StatusCode, err)
		}
		return time.Since(began), nil
	}
	fmt.Println()
	for _, up := range []bool{false, true} {
		before, err := h.gate.memory()
		if err != nil {
			return err
		}
		var ratio []float64
		for range rounds {
			bare, err := move(h.proxy, up)
			if err != nil {
				return err
			}
			ours, err := move(h.gate, up)
			if err != nil {
				return err
			}
			ratio = append(ratio, float64(bare)/float64(ours))
		}
		after, err := h.gate.memory()
		if err != nil {
			return err
		}
		slices.Sort(ratio)
		fmt.Printf("100 MiB %-4s  throughput beside a bare proxy %.2f (%.2f … %.2f), memory %+d KiB   target ≥ 0.95, flat\n", map[bool]string{false: "down", true: "up"}[up], ratio[len(ratio)/2], ratio[0], ratio[len(ratio)-1], (after-before)>>10)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// footprint starts fresh servers and counts what they hold.
func (h *house) footprint() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := start(nil, self, "yardstick", "handler", "-")
	if err != nil {
		return err
	}
	defer bare.stop()
	gate, err := start(h.gateEnv, h.binary, "serve")
	if err != nil {
		return err
	}
	defer gate.stop()
	file, err := os.Stat(h.binary)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // let the start be over
	idle, err := gate.memory()
	if err != nil {
		return err
	}
	own, err := gate.status("RssAnon:")
	if err != nil {
		return err
	}
	bareEach, err := perConnection(bare)
	if err != nil {
		return err
	}
	oursEach, err := perConnection(gate)
	if err != nil {
		return err
	}
	fmt.Printf("\nstart to ready %v (target ≤ 200 ms), binary %.1f MB, idle %.1f MiB (target ≤ 12 MiB), of it %.1f MiB of its own and the rest the program file\n", gate.ready.Round(time.Millisecond), float64(file.Size())/1e6, float64(idle)/(1<<20), float64(own)/(1<<20))
	fmt.Printf("per idle connection %.1f KiB, bare %.1f KiB, ratio %.2f (target ≤ 1.3)\n", oursEach/1024, bareEach/1024, oursEach/bareEach)
	return nil
}

// perConnection is the resident memory that 1,000 connections add, each after one request.
func perConnection(p *process) (float64, error) {
	const n, warm = 1000, 50 // the first requests bring the program itself into memory
	var before int64
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	buf := make([]byte, 4096)
	for i := range warm + n {
		if i == warm {
			var err error
			if before, err = p.memory(); err != nil {
				return 0, err
			}
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		if err != nil {
			return 0, err
		}
		open = append(open, c)
		fmt.Fprintf(c, "GET /oauth2/auth HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
		if _, err := c.Read(buf); err != nil {
			return 0, err
		}
	}
	after, err := p.memory()
	return float64(after-before) / n, err
}

// handlers runs the benchmarks beside the hot path: what is ours alone, without
// net/http around it.
func (h *house) handlers() error {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "BenchmarkAuth$|BenchmarkLoadKnown$|BenchmarkLoadFirst$", "-benchmem", "./cmd/dinggate", "./session").CombinedOutput()
	if err != nil {
		return fmt.Errorf("handlers: %w: %s", err, out)
	}
	fmt.Println("\n/oauth2/auth inside our handler (target ≤ 20 allocations); a session that is known, and one at first sight (target ≤ 2 µs more)")
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			fmt.Print(line)
		}
	}
	return nil
}
