package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is what Prometheus reads, on a registry of its own. Every label comes
// from a bounded set: endpoint and route names of the configuration, status
// codes, verdicts, results; never a user, an address or a URL. Safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	decision *prometheus.CounterVec
	signIns  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	calls    *prometheus.CounterVec
	callTime *prometheus.HistogramVec
	upstream *prometheus.CounterVec
	store    *prometheus.CounterVec
	storing  *prometheus.HistogramVec

	cells sync.Map // cellKey → *cell: label look-ups happen once per combination, not per request
}

type cellKey struct {
	handler, route, verdict string
	code                    int
}

type cell struct {
	requests, decision prometheus.Counter
	latency            prometheus.Observer
}

// NewMetrics registers everything. dropped counts log records that found no room.
func NewMetrics(version, revision string, dropped func() uint64) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "dinggate", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "dinggate", Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("http_requests_total", "Requests answered, by handler (an own endpoint, or proxy) and status code.", "handler", "code"),
		latency:  histogram("http_request_duration_seconds", "Time to the end of the answer.", []float64{.0005, .001, .005, .025, .1, .5, 2.5, 10}, "handler"),
		decision: counter("decisions_total", "Who-may-enter decisions.", "endpoint", "route", "result"),
		signIns:  counter("signins_total", "Finished sign-ins by method and result; a result other than ok is the code of the refusal.", "method", "result"),
		ended:    counter("sessions_ended_total", "Sessions that ended before their time.", "reason"),
		calls:    counter("dingtalk_requests_total", "Calls to DingTalk; result is ok or the effective error code.", "call", "result"),
		callTime: histogram("dingtalk_request_duration_seconds", "Time of a call to DingTalk.", []float64{.025, .05, .1, .25, .5, 1, 2.5, 8}, "call"),
		upstream: counter("upstream_errors_total", "Requests that an upstream failed to answer.", "route", "reason"),
		store:    counter("store_requests_total", "Requests to the session store; result is ok or what went wrong.", "op", "result"),
		storing:  histogram("store_request_duration_seconds", "Time of a request to the session store.", []float64{.0005, .001, .0025, .005, .01, .025, .1, .5}, "op"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "dinggate", Name: "build_info", Help: "Always 1."}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(version, revision, runtime.Version()).Set(1)
	drops := prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "dinggate", Name: "log_records_dropped_total", Help: "Log records that found no room."},
		func() float64 { return float64(dropped()) })
	m.registry.MustRegister(m.requests, m.latency, m.decision, m.signIns, m.ended, m.calls, m.callTime, m.upstream, m.store, m.storing, build, drops,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the text that Prometheus scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gauge registers a value that is read at each scrape.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "dinggate", Name: name, Help: help}, read))
}

// Request counts one answered request. An empty verdict decided nothing.
func (m *Metrics) Request(handler, route, verdict string, code int, d time.Duration) {
	if handler == "" {
		handler = "proxy"
	}
	key := cellKey{handler, route, verdict, code}
	found, ok := m.cells.Load(key)
	if !ok {
		found, _ = m.cells.LoadOrStore(key, m.cell(key))
	}
	c := found.(*cell)
	c.requests.Inc()
	c.latency.Observe(d.Seconds())
	if c.decision != nil {
		c.decision.Inc()
	}
}

func (m *Metrics) cell(k cellKey) *cell {
	code := "other" // an upstream may answer with any number; a label may not
	if http.StatusText(k.code) != "" {
		code = strconv.Itoa(k.code)
	}
	c := &cell{requests: m.requests.WithLabelValues(k.handler, code), latency: m.latency.WithLabelValues(k.handler)}
	if k.verdict != "" {
		c.decision = m.decision.WithLabelValues(k.handler, k.route, k.verdict)
	}
	return c
}

// SignIn counts a finished sign-in.
func (m *Metrics) SignIn(method, result string) { m.signIns.WithLabelValues(method, result).Inc() }

// SessionEnded counts a session that ended before its time.
func (m *Metrics) SessionEnded(reason string) { m.ended.WithLabelValues(reason).Inc() }

// UpstreamError counts a request that an upstream failed to answer.
func (m *Metrics) UpstreamError(route, reason string) {
	m.upstream.WithLabelValues(route, reason).Inc()
}

// Store counts one request to the session store.
func (m *Metrics) Store(op, result string, d time.Duration) {
	m.store.WithLabelValues(op, result).Inc()
	m.storing.WithLabelValues(op).Observe(d.Seconds())
}

// DingTalk counts one call.
func (m *Metrics) DingTalk(call, result string, d time.Duration) {
	m.calls.WithLabelValues(call, result).Inc()
	m.callTime.WithLabelValues(call).Observe(d.Seconds())
}
