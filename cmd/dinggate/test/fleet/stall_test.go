package fleet

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// TestRedisFaultsUnnoticed: Redis stalls for 0.25 to 8 s, is killed and restarted, and
// fails over to a replica. No session that was used before is refused, since each outage
// is shorter than session.store_grace. /ready, store_up and the decisions report the
// outage.
func TestRedisFaultsUnnoticed(t *testing.T) {
	alone := servertest.DurableRedis(t)
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
			{"kill -9, started again after 5 s", 5 * time.Second, 6 * time.Second, alone.Kill, 5 * time.Second, alone.Start},
		},
		"redis-sentinel://" + sentinel.Addr + "/main": {
			{"failover", 0, 9 * time.Second, master.Kill, 0, func() {}},
		},
	} {
		f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+url)
		a, b := f.Replica(), f.Replica()
		var people []*servertest.FleetClient
		for range 6 {
			c := f.NewClient(a)
			c.SignInAt(a, "zhangsan")
			if got := c.Page(b).StatusCode; got != 200 {
				t.Fatalf("the page on the other replica = %d", got)
			}
			people = append(people, c)
		}
		for _, fault := range faults {
			for _, p := range []*servertest.Program{a, b} {
				servertest.Eventually(t, "the journal is live", func() bool { return p.Metric(t, "dinggate_journal_live") == "1" })
			}
			for _, c := range people { // confirmed after the last fault
				servertest.Eventually(t, "a page of each", func() bool { return c.Page(a).StatusCode+c.Page(b).StatusCode == 400 })
			}
			sent, refused, slowest := 0, 0, time.Duration(0)
			seen := watchOutage(a, t)
			unavailable := countUnavailable(a, t) + countUnavailable(b, t)
			begin, ended, lasted := time.Now(), make(chan struct{}), time.Duration(0)
			fault.begin()
			go func() { // not between requests: the requests of one round may take seconds
				defer close(ended)
				time.Sleep(fault.after)
				fault.end()
				lasted = time.Since(begin)
			}()
			for time.Since(begin) < fault.watch {
				for _, c := range people {
					for _, p := range []*servertest.Program{a, b} {
						before := time.Now()
						sent++
						if got := c.Page(p); got.StatusCode != 200 {
							refused++
							t.Errorf("%s: after %v a page of a user seen before = %d %s", fault.name,
								time.Since(begin).Round(time.Millisecond), got.StatusCode, got.Text)
						}
						slowest = max(slowest, time.Since(before))
					}
				}
			}
			<-ended
			away, journal := seen()
			t.Logf("%s: %d of %d requests of people seen before refused, the slowest took %v; it lasted %v, /ready was 503 and "+
				"store_up 0 for %v, the journal away for %v", fault.name, refused, sent, slowest.Round(time.Millisecond),
				lasted.Round(10*time.Millisecond), away.Round(100*time.Millisecond),
				journal.Round(100*time.Millisecond))
			if got := countUnavailable(a, t) + countUnavailable(b, t) - unavailable; got != refused {
				t.Errorf("%s: the metrics show %d requests refused, want %d", fault.name, got, refused)
			}
			if fault.lasts >= 3*time.Second && away == 0 {
				t.Errorf("%s: neither /ready nor store_up showed that the store was away", fault.name)
			}
		}
		a.Stop(t)
		b.Stop(t)
	}
}

// redisFault begins and ends after a while; requests continue for longer.
type redisFault struct {
	name  string
	lasts time.Duration // at least
	watch time.Duration
	begin func()
	after time.Duration
	end   func()
}

func stall(r *realtool.Redis, d time.Duration) redisFault {
	return redisFault{"a stall of " + d.String(), d, d + time.Second, r.Hang, d, r.Wake}
}

// countUnavailable counts the decisions that could not be made.
func countUnavailable(p *servertest.Program, t *testing.T) (n int) {
	t.Helper()
	_, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^dinggate_decisions_total{.*result="unavailable".*} (\d+)$`).FindAllStringSubmatch(body, -1) {
		n += number(t, m[1])
	}
	return n
}

// watchOutage polls the health of p's store. The func ends this and returns for how long
// the store was unavailable according to /ready and store_up, which must agree, and the
// journal.
func watchOutage(p *servertest.Program, t *testing.T) func() (away, journal time.Duration) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	var away, journal time.Duration
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			span := time.Since(last)
			last = time.Now()
			before := p.Metric(t, "dinggate_store_up")
			word := p.Ready(t)
			if after := p.Metric(t, "dinggate_store_up"); before == after && (after == "0") != (word == "store") {
				t.Errorf("/ready says %q while store_up is %s", word, after)
			}
			if word == "store" {
				away += span
			}
			if p.Metric(t, "dinggate_journal_live") == "0" {
				journal += span
			}
		}
	}()
	return func() (time.Duration, time.Duration) { close(end); <-ended; return away, journal }
}
