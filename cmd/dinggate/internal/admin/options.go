package admin

import (
	"net/http"
	"net/http/pprof"
	"sync/atomic"
)

// Degraded has /ready answer 200 with that word while the store is away, for
// fleets whose balancer would otherwise take every replica away.
func Degraded(ready *atomic.Bool, stored func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/ready" && ready.Load() && !stored() {
			oneWord(w, http.StatusOK, "degraded")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Profiles adds Go's profiles below /debug/pprof/. They show addresses and
// function names, and cost time while they run.
func Profiles(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound) // the command line is nobody's to read
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/", next)
	return mux
}
