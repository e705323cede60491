// Package admin serves operators and orchestrators: /livez, /ready, /metrics and
// /status on the admin listener, and the control socket in state_dir with its client.
package admin

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"dinggate/internal/telemetry"
	"dinggate/internal/web"
)

// Handler serves the admin listener for orchestrators and Prometheus. /livez depends
// on nothing. /ready answers one word and, if there is one, a note in a second line;
// details are in the log and in /metrics. It is not ready while the session store is
// unavailable (reported by stored). /status is for people.
func Handler(ready *atomic.Bool, stored func() bool, note func() string, metrics *telemetry.Metrics,
	status http.Handler) http.Handler {
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

// OwnNames admits requests that address the admin listener by an IP address, by
// localhost, or by its own name: the host in admin.listen or the machine's name.
// Otherwise a page in the operator's browser that points its own host name here (DNS
// rebinding, threats W12) could read the metrics and the status. No browser reaches a
// unix socket, and no browser omits Host.
func OwnNames(listen string, next http.Handler) http.Handler {
	if strings.HasPrefix(listen, "unix:") {
		return next
	}
	names := map[string]bool{"localhost": true}
	machine, _ := os.Hostname()
	listening, _, _ := net.SplitHostPort(listen)
	for _, name := range []string{machine, listening} {
		if name, err := web.CleanHost(name, "http"); err == nil {
			names[name] = true
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, err := web.CleanHost(r.Host, "http")
		if r.Host != "" && (err != nil || !names[web.HostName(host)] && !web.IsAddress(host)) {
			oneWord(w, http.StatusMisdirectedRequest,
				"misdirected: ask by an address, localhost, or the host name in admin.listen")
			return
		}
		next.ServeHTTP(w, r)
	})
}
