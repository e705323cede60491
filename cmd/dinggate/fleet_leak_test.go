package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestACrowdLeavesNothingBehind: descriptors and goroutines of two replicas after
// people with open WebSockets have come and gone.
func TestACrowdLeavesNothingBehind(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+echo(t))
	both := []*program{f.replica(), f.replica()}
	crowd := func(n int) {
		var open []<-chan struct{}
		for i := range n {
			c := f.caller(both[i%2])
			c.enters(both[i%2], []string{"zhangsan", "lisi", "wangwu"}[i%3])
			gone := c.socket(both[(i+1)%2])
			if i%4 == 0 {
				c.leaves(both[i%2])
			}
			open = append(open, gone)
		}
		f.platform.Emit("org_remove", map[string]any{}) // everybody out
		for _, gone := range open {
			eventually(t, "closed", func() bool { return isClosed(gone) })
		}
	}
	crowd(20) // pools are filled, lazily made things exist
	var fds, routines [2]int
	for i, p := range both {
		eventually(t, "idle connections are few", func() bool { fds[i], routines[i] = p.holds(t); return fds[i] < 100 })
	}
	crowd(60)
	for i, p := range both {
		var fd, routine int
		const slack = 16 // idle connections of pools come and go
		eventually(t, "as before", func() bool {
			fd, routine = p.holds(t)
			return fd <= fds[i]+slack && routine <= routines[i]+2*slack
		})
		t.Logf("replica %d: %d descriptors and %d goroutines before, %d and %d after", i, fds[i], routines[i], fd,
			routine)
	}
}

var goroutineMetric = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// holds counts the descriptors and the goroutines of a process.
func (p *program) holds(t *testing.T) (descriptors, goroutines int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("counting descriptors: %v", err)
	}
	_, body := fetch(t, http.DefaultClient, p.admin+"/metrics")
	m := goroutineMetric.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("/metrics has no go_goroutines")
	}
	n, _ := strconv.Atoi(m[1])
	return len(list), n
}
