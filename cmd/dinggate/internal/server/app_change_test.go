package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestAppChanges checks that a stopped app, and a change of its visibility, are reported
// in the log, on the status page and in a metric, and that every person is looked up
// again.
func TestAppChanges(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.DingTalk.Events = true })
	servertest.Eventually(t, "the event stream is connected", func() bool { return h.Platform.Streams() > 0 })
	h.NewClient().SignIn(h.URL+"/", "lisi")
	lookups := func() int { return h.Platform.Calls("/topapi/v2/user/get") }
	before := lookups()
	h.Platform.Emit("inner_app_status_change", map[string]any{"unifiedAppId": "u-1", "operatorUnionId": "x", "status": "disable"})
	servertest.Eventually(t, "the person is looked up again", func() bool { return lookups() > before })
	servertest.Eventually(t, "the log names the change", func() bool {
		return strings.Contains(h.Log.String(), `"event":"inner_app_status_change","status":"disable"`)
	})
	h.Platform.Emit("inner_app_scopes_change", `no JSON`)
	servertest.Eventually(t, "the log names the other change", func() bool {
		return strings.Contains(h.Log.String(), `"event":"inner_app_scopes_change"`)
	})
	w := httptest.NewRecorder()
	h.AdminHandler().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/status", nil))
	if !strings.Contains(w.Body.String(), `"app_change": "inner_app_scopes_change"`) {
		t.Errorf("/status does not name the change: %s", w.Body)
	}
	w = httptest.NewRecorder()
	h.AdminHandler().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil))
	if !strings.Contains(w.Body.String(), "dinggate_app_changes_total 2") {
		t.Error("the metric does not count two changes")
	}
}
