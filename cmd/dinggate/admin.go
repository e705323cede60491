package main

import (
	"io"
	"net/http"
	"sync/atomic"

	"dinggate/internal/telemetry"
)

// adminHandler is the listener for orchestrators and Prometheus: /livez touches
// nothing, /ready is one word and, where there is one, a note in a second line;
// details are in the log and in /metrics. It is not ready while the session
// store is away (stored tells). /status is for people.
func adminHandler(ready *atomic.Bool, stored func() bool, note func() string, metrics *telemetry.Metrics, status http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { oneWord(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !ready.Load():
			oneWord(w, http.StatusServiceUnavailable, "draining")
		case !stored():
			oneWord(w, http.StatusServiceUnavailable, "store")
		default:
			word := "ready"
			if more := note(); more != "" {
				word += "\n" + more
			}
			oneWord(w, http.StatusOK, word)
		}
	})
	mux.Handle("GET /metrics", metrics.Handler())
	mux.Handle("GET /status", status)
	return mux
}

func oneWord(w http.ResponseWriter, status int, word string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, word+"\n")
}
