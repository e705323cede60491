package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// load is the result of one run of wrk.
type load struct {
	requests int
	errors   int // answers other than 2xx, and socket errors
	p50, p99 string
	cpu      time.Duration // per request, of the server
}

var (
	total     = regexp.MustCompile(`(\d+) requests in`)
	notOK     = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	latency   = regexp.MustCompile(`(50|99)%\s+(\S+)`)
	socketErr = regexp.MustCompile(`Socket errors: .*`)
)

// press makes wrk request path from p, on the second core, and divides the CPU time that p
// used by the number of answered requests.
func press(p *process, path string, headers []string, d time.Duration, connections int,
	arguments ...string) (load, error) {
	args := []string{"-c", "1", "wrk", "-t", "1", "-c", strconv.Itoa(connections), "-d",
		fmt.Sprintf("%ds", int(d.Seconds())), "--latency"}
	args = append(args, arguments...)
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	before, err := p.cpu()
	if err != nil {
		return load{}, err
	}
	out, err := exec.Command("taskset", append(args, p.base+path)...).Output()
	if err != nil {
		return load{}, fmt.Errorf("wrk (install it with `make tools`): %w", err)
	}
	after, err := p.cpu()
	if err != nil {
		return load{}, err
	}
	if m := socketErr.Find(out); m != nil {
		return load{}, fmt.Errorf("wrk: %s", m)
	}
	var l load
	if m := total.FindSubmatch(out); m != nil {
		l.requests, _ = strconv.Atoi(string(m[1]))
	}
	if l.requests == 0 {
		return load{}, fmt.Errorf("wrk counted no request: %s", out)
	}
	if m := notOK.FindSubmatch(out); m != nil {
		l.errors, _ = strconv.Atoi(string(m[1]))
	}
	for _, m := range latency.FindAllSubmatch(out, -1) {
		if string(m[1]) == "50" {
			l.p50 = string(m[2])
		} else {
			l.p99 = string(m[2])
		}
	}
	l.cpu = (after - before) / time.Duration(l.requests)
	return l, nil
}
