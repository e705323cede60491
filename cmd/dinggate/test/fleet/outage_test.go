package fleet

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestOutagesEndNoSession: people use two replicas while Redis is killed, hangs and
// recovers repeatedly. A signed-in person gets only the page or 503; a signed-out person
// never gets the page again (threats V14, V17).
func TestOutagesEndNoSession(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_SESSION_STORE_GRACE=0s", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.Replica(), f.Replica()
	var at, out []*servertest.FleetClient
	for i := range 8 {
		c := f.NewClient(a)
		c.SignInAt([]*servertest.Program{a, b}[i%2], []string{"zhangsan", "lisi"}[i%2])
		at = append(at, c)
	}
	for range 2 {
		c := f.NewClient(a)
		c.SignInAt(a, "zhangsan")
		out = append(out, f.Copy(c))
		c.SignOutAt(a)
	}
	servertest.Eventually(t,
		"the sign-outs are known", func() bool {
			return out[0].Page(b).StatusCode == 302 && out[1].Page(b).StatusCode == 302
		})

	var all sync.WaitGroup
	var stop atomic.Bool
	var pages, unavailable atomic.Int32
	work := func(c *servertest.FleetClient, wanted int) {
		for turn := 0; !stop.Load(); turn++ {
			c.To = []*servertest.Program{a, b}[turn%2]
			r, _ := http.NewRequest("GET", servertest.FleetURL+"/", nil)
			r.Header = c.Header.Clone()
			res, err := c.HTTP.Do(r)
			if err != nil {
				t.Errorf("a request in the outage = %v, want an answer", err)
				return
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			switch res.StatusCode {
			case wanted:
				pages.Add(1)
			case http.StatusServiceUnavailable:
				unavailable.Add(1)
			case http.StatusTooManyRequests: // this number of sign-ins started from one address
				if wanted == 200 {
					t.Error("a signed-in user gets 429")
				}
				time.Sleep(50 * time.Millisecond)
			default:
				t.Errorf("a request = %d to %q, want %d or 503", res.StatusCode, res.Header.Get("Location"), wanted)
				return
			}
			if set := strings.Join(res.Header["Set-Cookie"], " "); wanted == 200 && strings.Contains(set, "dinggate=") {
				t.Errorf("with %d comes the cookie %q", res.StatusCode, set)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	for _, c := range at {
		all.Go(func() { work(c, 200) })
	}
	for _, c := range out {
		all.Go(func() { work(c, 302) })
	}
	// a short outage, and one that is longer than the lifetime of cached results
	for _, outage := range []time.Duration{50 * time.Millisecond, 3 * time.Second} {
		redis.Kill()
		time.Sleep(outage)
		redis.Start()
		time.Sleep(time.Second)
		redis.Hang()
		time.Sleep(outage)
		redis.Wake()
		time.Sleep(time.Second)
	}
	stop.Store(true)
	all.Wait()
	t.Logf("%d pages as wanted, %d times 503", pages.Load(), unavailable.Load())
	if pages.Load() == 0 || unavailable.Load() == 0 {
		t.Error("the outages were not felt: the test tests nothing")
	}
	for _, c := range at {
		servertest.Eventually(t,
			"still signed in", func() bool { return c.Page(a).StatusCode == 200 && c.Page(b).StatusCode == 200 })
	}
}
