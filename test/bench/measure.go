package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// opened is the number of connections that the application has accepted so far.
func (h *env) opened() int {
	res, err := http.Get(h.up.base + "/opened")
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	var n int
	fmt.Fscan(res.Body, &n)
	return n
}

// browser are browser headers that wrk sends in addition to its own.
var browser = []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
	"Accept: text/html,application/xhtml+xml", "Accept-Language: zh-CN,zh;q=0.9", "Sec-Fetch-Mode: navigate"}

// authRequest are the headers of a gateway's authorization subrequest besides the cookie.
func (h *env) authRequest() []string {
	return append(slices.Clone(browser), "X-Original-URL: http://127.0.0.1:4180/reports/daily?day=1",
		"X-Original-Method: GET", "X-Forwarded-For: 192.0.2.1")
}

// ratios compares CPU per request, pair by pair.
func (h *env) ratios(rounds int, d time.Duration, connections int) error {
	headers := h.authRequest()
	signedIn := append(slices.Clone(headers), h.cookie)
	page := append(slices.Clone(browser), h.cookie)
	fmt.Printf("%-32s %10s %9s %6s %20s %9s %8s %18s %18s\n",
		fmt.Sprintf("CPU per request, %d connections", connections), "yardstick", "dinggate", "ratio", "rounds",
		"target", "rps", "p50 bare/ours", "p99 bare/ours")
	for _, c := range []struct {
		name, zh  string
		yardstick *process
		like      *process
		path      string
		headers   []string
		refused   bool
		target    float64
	}{
		{"/oauth2/auth, signed in", "/oauth2/auth，已登录", h.handler, h.like, "/oauth2/auth", signedIn, false, 1.25},
		{"/oauth2/auth, anonymous (401)", "/oauth2/auth，未登录（401）", h.handler, h.likeRefused, "/oauth2/auth", headers,
			true, 1.20},
		{"GET 1 KiB through the proxy", "经代理 GET 1 KiB", h.proxy, nil, "/reports/daily?day=1", page, false, 1.12},
	} {
		var speed []float64
		var bares, likes, all []time.Duration
		fresh, requests := 0, 0
		var bare, ours load
		for range rounds {
			var err error
			if bare, err = press(c.yardstick, c.path, c.headers, d, connections); err != nil {
				return err
			}
			if c.like != nil {
				like, err := press(c.like, c.path, c.headers, d, connections)
				if err != nil {
					return err
				}
				likes = append(likes, like.cpu)
			}
			before := h.opened()
			if ours, err = press(h.dinggate, c.path, c.headers, d, connections); err != nil {
				return err
			}
			if want := map[bool]int{true: ours.requests}[c.refused]; ours.errors != want {
				return fmt.Errorf("%s: %d of %d answers are no 2xx, want %d", c.name, ours.errors, ours.requests, want)
			}
			bares, all = append(bares, bare.cpu), append(all, ours.cpu)
			speed = append(speed, float64(ours.requests)/float64(bare.requests))
			fresh, requests = fresh+h.opened()-before-1, requests+ours.requests // one of them is this request itself
		}
		slices.Sort(speed)
		b := compare(bares, all)
		b.name, b.zh = fmt.Sprintf("%s, %d connections", c.name, connections), fmt.Sprintf("%s，%d 个连接", c.zh, connections)
		b.target = c.target
		if c.like != nil {
			b.like = slices.Min(likes)
		}
		h.drawn = append(h.drawn, b)
		fmt.Printf("%-32s %10v %9v %6.2f %6.2f (%.2f … %.2f) %9.2f %8.2f %18s %18s\n", c.name, tenths(b.bare),
			tenths(b.ours), b.ratio, b.median, b.least, b.most, c.target,
			speed[len(speed)/2], bare.p50+"/"+ours.p50, bare.p99+"/"+ours.p99)
		if c.like != nil {
			fmt.Printf("%-32s %10s %9v %6.2f\n", "  bare, with the same header", "", tenths(b.like),
				float64(b.like)/float64(b.bare))
		} else {
			h.note(fmt.Sprintf("new upstream connections per request, %d connections", connections),
				fmt.Sprintf("每个请求新建的后端连接，%d 个连接", connections), "≤ 0.03", "%.4f", float64(fresh)/float64(requests))
		}
	}
	return nil
}

// transfers moves 100 MiB down and up.
func (h *env) transfers(rounds int) error {
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
		before, err := h.dinggate.memory()
		if err != nil {
			return err
		}
		var ratio []float64
		for range rounds {
			bare, err := move(h.proxy, up)
			if err != nil {
				return err
			}
			ours, err := move(h.dinggate, up)
			if err != nil {
				return err
			}
			ratio = append(ratio, float64(bare)/float64(ours))
		}
		after, err := h.dinggate.memory()
		if err != nil {
			return err
		}
		slices.Sort(ratio)
		name := map[bool][2]string{false: {"down", "下载"}, true: {"up", "上传"}}[up]
		h.note("100 MiB "+name[0]+", throughput beside a bare proxy; memory", name[1]+" 100 MiB，与裸代理相比的吞吐；内存",
			"≥ 0.98", "%.2f (%.2f … %.2f); %+d KiB", ratio[len(ratio)/2], ratio[0], ratio[len(ratio)-1],
			(after-before)>>10)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// footprint starts fresh servers and measures their memory.
func (h *env) footprint() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := start(nil, self, "yardstick", "handler", "-")
	if err != nil {
		return err
	}
	defer bare.stop()
	second, err := start(h.dinggateEnv, h.binary, "serve")
	if err != nil {
		return err
	}
	defer second.stop()
	file, err := os.Stat(h.binary)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // wait until the start is complete
	idle, err := second.memory()
	if err != nil {
		return err
	}
	own, err := second.status("RssAnon:")
	if err != nil {
		return err
	}
	bareEach, err := perConnection(bare)
	if err != nil {
		return err
	}
	oursEach, err := perConnection(second)
	if err != nil {
		return err
	}
	h.note("start to ready", "启动到就绪", "≤ 50 ms", "%v", second.ready.Round(time.Millisecond))
	h.note("resident when idle; of it of its own, the rest is the program file", "空闲时常驻内存；其中自身占用，其余为程序文件", "≤ 12 MiB",
		"%.1f MiB; %.1f MiB", float64(idle)/(1<<20), float64(own)/(1<<20))
	h.note("memory per idle connection; bare", "每个空闲连接的内存；裸程序", "≤ 21 KiB", "%.1f KiB; %.1f KiB", oursEach/1024,
		bareEach/1024)
	h.note("size of the binary", "程序大小", "–", "%.1f MB", float64(file.Size())/1e6)
	return nil
}

// perConnection is the resident memory that 1,000 connections add, each after one request.
func perConnection(p *process) (float64, error) {
	const n, warm = 1000, 500 // the first requests load the program itself into memory
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

// handlers runs the benchmarks of the hot path: our code only, without net/http around
// it.
func (h *env) handlers() error {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench",
		"BenchmarkAuth$|BenchmarkLoadKnown$|BenchmarkLoadFirst$", "-benchmem", "./cmd/dinggate/internal/server",
		"./session").CombinedOutput()
	if err != nil {
		return fmt.Errorf("handlers: %w: %s", err, out)
	}
	took, allocations := map[string]float64{}, map[string]string{}
	for line := range strings.Lines(string(out)) { // BenchmarkAuth-2  1000  2000 ns/op  400 B/op  2 allocs/op
		if f := strings.Fields(line); len(f) == 8 && f[3] == "ns/op" {
			name, _, _ := strings.Cut(f[0], "-")
			took[name], _ = strconv.ParseFloat(f[2], 64)
			allocations[name] = f[6]
		}
	}
	h.note("`/oauth2/auth` inside our handler, allocations", "`/oauth2/auth` 在我们的处理函数中的内存分配次数", "≤ 2", "%s",
		allocations["BenchmarkAuth"])
	h.note("first request with a cookie, more than a known one", "首次见到的 Cookie 比已知的多花", "≤ 2 µs", "%.1f µs",
		(took["BenchmarkLoadFirst"]-took["BenchmarkLoadKnown"])/1000)
	return nil
}
