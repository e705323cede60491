package fleet

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// TestClusterMasterAway: each of three masters of a Redis Cluster is unavailable for 10 s
// in turn. No session that was used before is refused, /ready and the metrics report the
// unavailable share, and a sign-out meanwhile is effective on the other replica.
func TestClusterMasterAway(t *testing.T) {
	url, masters := realtool.StartCluster(t, 3, time.Minute, "no", "--appendonly", "yes")
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+url, "DINGGATE_DINGTALK_EVENTS=false")
	a, b := f.Replica(), f.Replica()
	servertest.Eventually(t, "the journals are live", func() bool {
		return a.Metric(t, "dinggate_journal_live") == "1" && b.Metric(t, "dinggate_journal_live") == "1"
	})
	people := make([]*servertest.FleetClient, 12)
	for i := range people {
		people[i] = f.NewClient(a)
		people[i].SignInAt(a, "zhangsan")
		if got := people[i].Page(b).StatusCode; got != 200 {
			t.Fatalf("the page on the other replica = %d", got)
		}
	}
	for i, r := range masters {
		stream := strings.TrimSpace(r.Do("KEYS", "dinggate:journal*"))
		entries := number(t, r.Do("XLEN", stream))
		r.Kill()
		servertest.Eventually(t, fmt.Sprintf("master %d is missed", i), func() bool {
			up := a.Metric(t, "dinggate_store_up")
			return up >= "0.6" && up <= "0.7" && b.Metric(t, "dinggate_store_up") == up
		})
		sent, refused, unavailable := 0, 0, countUnavailable(a, t)+countUnavailable(b, t)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			for _, c := range people {
				for _, p := range []*servertest.Program{a, b} {
					if sent++; c.Page(p).StatusCode != 200 {
						refused++
					}
				}
			}
		}
		t.Logf("master %d away for 10 s: %d of %d requests of people seen before refused", i, refused, sent)
		if refused > 0 {
			t.Errorf("master %d away: %d of %d requests refused", i, refused, sent)
		}
		if got := countUnavailable(a, t) + countUnavailable(b, t) - unavailable; got != refused {
			t.Errorf("master %d away: the metrics show %d requests refused, want %d", i, got, refused)
		}
		for _, p := range []*servertest.Program{a, b} {
			status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready")
			if status != 200 || !strings.Contains(body, "ready\nstore: 6") {
				t.Errorf("/ready with one of three masters away = %d %q", status, body)
			}
			if got := p.Metric(t, "dinggate_journal_live"); got != "1" {
				t.Errorf("journal_live with one of three masters away = %s", got)
			}
		}
		// A sign-out succeeds if its own records are available, otherwise it is refused.
		// In both cases the other replica receives it.
		leaver := people[len(people)-1]
		people = people[:len(people)-1]
		leaver.To = a
		leaver.Do("POST", servertest.FleetURL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
		servertest.Eventually(t, "the sign-out holds on the other replica", func() bool {
			return leaver.Page(b).StatusCode != 200
		})
		r.Start()
		servertest.Eventually(t, fmt.Sprintf("master %d is back", i), func() bool {
			return a.Metric(t, "dinggate_store_up") == "1" && b.Metric(t, "dinggate_store_up") == "1"
		})
		// Its part of the journal has a new anchor of each replica: only then can another
		// master fail without an effect.
		servertest.Eventually(t, fmt.Sprintf("both follow what master %d has", i), func() bool {
			return number(t, r.Do("XLEN", stream)) >= entries+2
		})
	}
	masters[0].Kill()
	masters[2].Kill()
	servertest.Eventually(t, "/ready without two of three masters", func() bool { return a.Ready(t) == "store" })
	a.Stop(t)
	b.Stop(t)
}

// number parses a response of Redis.
func number(t *testing.T, answer string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(answer))
	if err != nil {
		t.Fatalf("Redis answers %q, want a number", answer)
	}
	return n
}
