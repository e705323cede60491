package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestTwoDeploymentsOnOneApp: two processes that share nothing but the DingTalk app.
// The event of a leaver reaches one of them; the other notices what it missed, and
// says so in its log, its metrics and its status.
func TestTwoDeploymentsOnOneApp(t *testing.T) {
	f := newFleet(t, "DINGGATE_SESSION_RECHECK=1s")
	a, b := f.replica(), f.replica()
	people := map[*program]*caller{a: f.caller(a), b: f.caller(b)}
	for p, c := range people {
		eventually(t, "events are followed", func() bool {
			return p.metric(t, "dinggate_events_connected_since_seconds") > "1"
		})
		c.enters(p, "lisi")
	}
	confirmed := func(p *program) bool {
		_, body := fetch(t, http.DefaultClient, p.admin+"/metrics")
		return !strings.Contains(body, `dinggate_rechecks_total{result="ok"} 0`)
	}
	for p, c := range people { // confirmed while the stream is open
		eventually(t, "a recheck", func() bool { return c.page(p).StatusCode == 200 && confirmed(p) })
	}
	if err := f.platform.Leave("lisi"); err != nil {
		t.Fatal(err)
	}
	for p, c := range people {
		eventually(t, "the leaver is out", func() bool { return c.page(p).StatusCode != 200 })
	}
	var missed *program
	eventually(t, "one of the two has missed the event", func() bool {
		for p := range people {
			if p.metric(t, "dinggate_events_missed_total") == "1" {
				missed = p
			}
		}
		return missed != nil
	})
	for p := range people {
		if got := p.metric(t, "dinggate_events_missed_total"); p != missed && got != "0" {
			t.Errorf("the one that got the event has missed %s", got)
		}
	}
	if _, body := fetch(t, http.DefaultClient, missed.admin+"/status"); !strings.Contains(body, `"events_missed": 1`) {
		t.Errorf("/status does not tell of the event that was missed: %s", body)
	}
	eventually(t, "the log says so", func() bool {
		return strings.Contains(missed.log.String(), "another deployment on this DingTalk app")
	})
	a.stop(t)
	b.stop(t)
}
