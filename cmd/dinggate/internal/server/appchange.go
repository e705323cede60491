package server

import (
	"log/slog"
	"sync"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/telemetry"
)

// appChanges records events about the app itself: it was disabled, or its visibility
// changed. After such an event, sign-ins may fail for everyone. Each event reaches one
// of several replicas.
type appChanges struct {
	log *slog.Logger

	mu   sync.Mutex
	last dingtalk.Event
	at   time.Time
	n    int
}

// appChangeHints describe the consequence, by type of event.
var appChangeHints = map[string]string{
	"inner_app_status_change": "while the app is disabled, sign-ins and rechecks fail: " +
		"管理后台 https://oa.dingtalk.com > 工作台",
	"inner_app_scopes_change": "whom the app's visible range leaves out cannot sign in: 应用发布 > 版本管理与发布 > 可使用范围",
}

func (a *appChanges) note(e dingtalk.Event) {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.last, a.at = e, time.Now()
	a.n++
	a.mu.Unlock()
	a.log.Warn("the app was changed at DingTalk: everyone is looked up again", "event", e.Type, "status", e.Status,
		"hint", appChangeHints[e.Type])
}

// latest returns the last change; at is zero if there was none.
func (a *appChanges) latest() (what string, at time.Time) {
	if a == nil {
		return "", time.Time{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	what = a.last.Type
	if a.last.Status != "" {
		what += " " + a.last.Status
	}
	return what, a.at
}

// measure registers the metric.
func (a *appChanges) measure(to *telemetry.Metrics) {
	to.Count("app_changes_total",
		"Events about the app itself: stopped, enabled, or another visible range. Of several replicas one gets each.", "", "",
		func() float64 {
			a.mu.Lock()
			defer a.mu.Unlock()
			return float64(a.n)
		})
}
