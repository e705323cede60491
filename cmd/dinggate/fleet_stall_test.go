package main

import (
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// TestRedisFaultsUnnoticed: Redis stalls for 0.25 to 8 s, is killed and started again,
// and fails over to a replica. Nobody who was seen before is refused: each lasts less
// than session.store_grace. At the end of the longest stall a request may be: one whose
// question is still under way when the journal is lost a second time.
func TestRedisFaultsUnnoticed(t *testing.T) {
	alone := durableRedis(t)
	master := realtool.StartRedis(t)
	replica := realtool.StartRedis(t, "--replicaof", strings.Replace(master.Addr, ":", " ", 1))
	replica.Await("its master", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up")
	})
	sentinel := realtool.StartSentinel(t, master, 1)
	for url, faults := range map[string][]redisFault{
		alone.URL(): {
			stall(alone, 250*time.Millisecond), stall(alone, 500*time.Millisecond), stall(alone, time.Second),
			stall(alone, 2*time.Second), stall(alone, 4*time.Second), stall(alone, 8*time.Second),
			{"kill -9, started again after 5 s", 6 * time.Second, alone.Kill, 5 * time.Second, alone.Start},
		},
		"redis-sentinel://" + sentinel.Addr + "/main": {
			{"failover", 9 * time.Second, master.Kill, 0, func() {}},
		},
	} {
		f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+url)
		a, b := f.replica(), f.replica()
		var people []*caller
		for range 6 {
			c := f.caller(a)
			c.enters(a, "zhangsan")
			if got := c.page(b).StatusCode; got != 200 {
				t.Fatalf("the page on the other replica = %d", got)
			}
			people = append(people, c)
		}
		for _, fault := range faults {
			for _, p := range []*program{a, b} {
				eventually(t, "the journal is live", func() bool { return p.metric(t, "dinggate_journal_live") == "1" })
			}
			for _, c := range people { // confirmed after the last fault
				eventually(t, "a page of each", func() bool { return c.page(a).StatusCode+c.page(b).StatusCode == 400 })
			}
			asked, refused, slowest := 0, 0, time.Duration(0)
			begin, ended := time.Now(), false
			fault.begin()
			for time.Since(begin) < fault.watch {
				if !ended && time.Since(begin) >= fault.after {
					fault.end()
					ended = true
				}
				for _, c := range people {
					for _, p := range []*program{a, b} {
						before := time.Now()
						if asked++; c.page(p).StatusCode != 200 {
							refused++
						}
						slowest = max(slowest, time.Since(before))
					}
				}
			}
			if !ended {
				fault.end()
			}
			t.Logf("%s: %d of %d requests of people seen before refused, the slowest took %v", fault.name, refused, asked,
				slowest.Round(time.Millisecond))
			if refused > 0 && (fault.watch < 9*time.Second || refused > 2) {
				t.Errorf("%s: %d of %d requests refused", fault.name, refused, asked)
			}
		}
		a.stop(t)
		b.stop(t)
	}
}

// redisFault begins, is over after a while, and people are watched for longer.
type redisFault struct {
	name  string
	watch time.Duration
	begin func()
	after time.Duration
	end   func()
}

func stall(r *realtool.Redis, d time.Duration) redisFault {
	return redisFault{"a stall of " + d.String(), d + time.Second, r.Hang, d, r.Wake}
}
