package fleet

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestManyClientsLeaveNothingBehind compares descriptors and goroutines of two replicas before
// and after people with open WebSockets.
func TestManyClientsLeaveNothingBehind(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+servertest.EchoUpstream(t))
	both := []*servertest.Program{f.Replica(), f.Replica()}
	load := func(n int) {
		var open []<-chan struct{}
		for i := range n {
			c := f.NewClient(both[i%2])
			c.SignInAt(both[i%2], []string{"zhangsan", "lisi", "wangwu"}[i%3])
			gone := c.WebSocket(both[(i+1)%2])
			if i%4 == 0 {
				c.SignOutAt(both[i%2])
			}
			open = append(open, gone)
		}
		f.Platform.Emit("org_remove", map[string]any{}) // end all sessions
		for _, gone := range open {
			servertest.Eventually(t, "closed", func() bool { return servertest.IsClosed(gone) })
		}
	}
	load(20) // pools are filled, lazily created objects exist
	var fds, routines [2]int
	for i, p := range both {
		servertest.Eventually(t, "idle connections are few", func() bool { fds[i], routines[i] = holds(p, t); return fds[i] < 100 })
	}
	load(60)
	for i, p := range both {
		var fd, routine int
		const slack = 16 // the number of idle connections in pools varies
		servertest.Eventually(t, "as before", func() bool {
			fd, routine = holds(p, t)
			return fd <= fds[i]+slack && routine <= routines[i]+2*slack
		})
		t.Logf("replica %d: %d descriptors and %d goroutines before, %d and %d after", i, fds[i], routines[i], fd,
			routine)
	}
}

var goroutineMetric = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// holds counts the descriptors and the goroutines of a process.
func holds(p *servertest.Program, t *testing.T) (descriptors, goroutines int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	if err != nil {
		t.Skipf("counting descriptors: %v", err)
	}
	_, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
	m := goroutineMetric.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("/metrics has no go_goroutines")
	}
	n, _ := strconv.Atoi(m[1])
	return len(list), n
}
