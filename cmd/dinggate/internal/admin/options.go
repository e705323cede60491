package admin

import (
	"net/http"
	"net/http/pprof"
	"sync/atomic"
)

// Degraded makes /ready answer 200 with that word while the store is unavailable, for
// deployments whose load balancer would otherwise remove every replica.
func Degraded(ready *atomic.Bool, stored func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/ready" && ready.Load() && !stored() {
			oneWord(w, http.StatusOK, "degraded")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Profiles serves Go's profiles below /debug/pprof/. They reveal addresses and function
// names, and slow the process while they run.
func Profiles(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound) // the command line is not published
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/", next)
	return mux
}
