package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// TestClusterMasterAway: each of three masters of a Redis Cluster is away for 10 s
// in turn. Nobody who was seen before is refused, /ready and the metrics tell which
// share is away, and a sign-out meanwhile holds on the other replica.
func TestClusterMasterAway(t *testing.T) {
	url, masters := realtool.StartCluster(t, 3, time.Minute, "no", "--appendonly", "yes")
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+url, "DINGGATE_DINGTALK_EVENTS=false")
	a, b := f.replica(), f.replica()
	eventually(t, "the journals are live", func() bool {
		return a.metric(t, "dinggate_journal_live") == "1" && b.metric(t, "dinggate_journal_live") == "1"
	})
	people := make([]*caller, 12)
	for i := range people {
		people[i] = f.caller(a)
		people[i].enters(a, "zhangsan")
		if got := people[i].page(b).StatusCode; got != 200 {
			t.Fatalf("the page on the other replica = %d", got)
		}
	}
	for i, r := range masters {
		stream := strings.TrimSpace(r.Do("KEYS", "dinggate:journal*"))
		entries := number(t, r.Do("XLEN", stream))
		r.Kill()
		eventually(t, fmt.Sprintf("master %d is missed", i), func() bool {
			up := a.metric(t, "dinggate_store_up")
			return up >= "0.6" && up <= "0.7" && b.metric(t, "dinggate_store_up") == up
		})
		asked, refused := 0, 0
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			for _, c := range people {
				for _, p := range []*program{a, b} {
					if asked++; c.page(p).StatusCode != 200 {
						refused++
					}
				}
			}
		}
		t.Logf("master %d away for 10 s: %d of %d requests of people seen before refused", i, refused, asked)
		if refused > 0 {
			t.Errorf("master %d away: %d of %d requests refused", i, refused, asked)
		}
		for _, p := range []*program{a, b} {
			status, body := fetch(t, http.DefaultClient, p.admin+"/ready")
			if status != 200 || !strings.Contains(body, "ready\nstore: 6") {
				t.Errorf("/ready with one of three masters away = %d %q", status, body)
			}
			if got := p.metric(t, "dinggate_journal_live"); got != "1" {
				t.Errorf("journal_live with one of three masters away = %s", got)
			}
		}
		// A sign-out is taken where its own records are up, refused where they are not;
		// either way the other replica learns of it.
		leaver := people[len(people)-1]
		people = people[:len(people)-1]
		leaver.to = a
		leaver.do("POST", fleetURL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
		eventually(t, "the sign-out holds on the other replica", func() bool {
			return leaver.page(b).StatusCode != 200
		})
		r.Start()
		eventually(t, fmt.Sprintf("master %d is back", i), func() bool {
			return a.metric(t, "dinggate_store_up") == "1" && b.metric(t, "dinggate_store_up") == "1"
		})
		// Its part of the journal has a new anchor of each replica: only then another
		// master may go unnoticed.
		eventually(t, fmt.Sprintf("both follow what master %d has", i), func() bool {
			return number(t, r.Do("XLEN", stream)) >= entries+2
		})
	}
	masters[0].Kill()
	masters[2].Kill()
	eventually(t, "/ready without two of three masters", func() bool { return a.ready(t) == "store" })
	a.stop(t)
	b.stop(t)
}

// number reads an answer of Redis.
func number(t *testing.T, answer string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(answer))
	if err != nil {
		t.Fatalf("Redis answers %q, want a number", answer)
	}
	return n
}
