package servertest

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/internal/buildinfo"
)

// Metrics returns the metrics that Prometheus would scrape at present.
func (h *Env) Metrics() string {
	w := httptest.NewRecorder()
	h.Kit.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// AdminHandler returns the handler of the admin listener.
func (h *Env) AdminHandler() http.Handler {
	var ready atomic.Bool
	ready.Store(true)
	return admin.Handler(&ready, h.Stores.Reads, func() string { return "" },
		h.Kit.Metrics, &admin.Status{
			Version:             buildinfo.Version(),
			Revision:            buildinfo.Revision(),
			Started:             time.Now(),
			Today:               h.Kit.Today,
			Health:              h.Kit.Health,
			UntrustedForwarders: h.Kit.UntrustedForwarders,
			Dropped:             h.Kit.Metrics.Dropped,
			Gateway:             h.State.Status,
			Store:               h.Stores.State,
			Host:                "gate-1",
			Reload:              func() *admin.ReloadResult { return &h.Reload },
		})
}
