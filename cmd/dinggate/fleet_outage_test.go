package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOutagesSignNobodyOut: people at work on two replicas while Redis is killed,
// hangs and returns, again and again. Anyone who is signed in gets the page or 503,
// nothing else; anyone who signed out never gets the page again (threats V14, V17).
func TestOutagesSignNobodyOut(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_SESSION_STORE_GRACE=0s", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.replica(), f.replica()
	var at, out []*caller
	for i := range 8 {
		c := f.caller(a)
		c.enters([]*program{a, b}[i%2], []string{"zhangsan", "lisi"}[i%2])
		at = append(at, c)
	}
	for range 2 {
		c := f.caller(a)
		c.enters(a, "zhangsan")
		out = append(out, f.copy(c))
		c.leaves(a)
	}
	eventually(t,
		"the sign-outs are known", func() bool {
			return out[0].page(b).StatusCode == 302 && out[1].page(b).StatusCode == 302
		})

	var all sync.WaitGroup
	var stop atomic.Bool
	var pages, ill atomic.Int32
	work := func(c *caller, wanted int) {
		for turn := 0; !stop.Load(); turn++ {
			c.to = []*program{a, b}[turn%2]
			r, _ := http.NewRequest("GET", fleetURL+"/", nil)
			r.Header = c.header.Clone()
			res, err := c.client.Do(r)
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
				ill.Add(1)
			case http.StatusTooManyRequests: // so many sign-ins begun from one address
				if wanted == 200 {
					t.Error("somebody who is signed in gets 429")
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
	// a blip, and longer than what is known lasts
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
	t.Logf("%d pages as wanted, %d times 503", pages.Load(), ill.Load())
	if pages.Load() == 0 || ill.Load() == 0 {
		t.Error("the outages were not felt: the test tests nothing")
	}
	for _, c := range at {
		eventually(t,
			"still signed in", func() bool { return c.page(a).StatusCode == 200 && c.page(b).StatusCode == 200 })
	}
}
