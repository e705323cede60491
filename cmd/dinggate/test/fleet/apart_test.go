package fleet

import (
	"net/http"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestTwoDeploymentsOnOneApp: two processes share only the DingTalk app. The event of a
// leaver reaches one of them. The other one detects the missed event, and reports it in
// its log, its metrics and its status.
func TestTwoDeploymentsOnOneApp(t *testing.T) {
	f := servertest.NewFleet(t, "DINGGATE_SESSION_RECHECK=1s")
	a, b := f.Replica(), f.Replica()
	people := map[*servertest.Program]*servertest.FleetClient{a: f.NewClient(a), b: f.NewClient(b)}
	for p, c := range people {
		servertest.Eventually(t, "events are followed", func() bool {
			return p.Metric(t, "dinggate_events_connected_since_seconds") > "1"
		})
		c.SignInAt(p, "lisi")
	}
	confirmed := func(p *servertest.Program) bool {
		_, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
		return !strings.Contains(body, `dinggate_rechecks_total{result="ok"} 0`)
	}
	for p, c := range people { // confirmed while the stream is open
		servertest.Eventually(t, "a recheck", func() bool { return c.Page(p).StatusCode == 200 && confirmed(p) })
	}
	if err := f.Platform.Leave("lisi"); err != nil {
		t.Fatal(err)
	}
	for p, c := range people {
		servertest.Eventually(t, "the session of the leaver has ended", func() bool { return c.Page(p).StatusCode != 200 })
	}
	var missed *servertest.Program
	servertest.Eventually(t, "one of the two has missed the event", func() bool {
		for p := range people {
			if p.Metric(t, "dinggate_events_missed_total") == "1" {
				missed = p
			}
		}
		return missed != nil
	})
	for p := range people {
		if got := p.Metric(t, "dinggate_events_missed_total"); p != missed && got != "0" {
			t.Errorf("the one that got the event has missed %s", got)
		}
	}
	if _, body := servertest.Fetch(t, http.DefaultClient, missed.Admin+"/status"); !strings.Contains(body, `"events_missed": 1`) {
		t.Errorf("/status does not show the event that was missed: %s", body)
	}
	servertest.Eventually(t, "the log says so", func() bool {
		return strings.Contains(missed.Log.String(), "another deployment with this DingTalk app")
	})
	a.Stop(t)
	b.Stop(t)
}
