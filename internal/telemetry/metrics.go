package telemetry

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics for Prometheus, in a registry of their own. Every label has a bounded
// set of values: endpoint and route names of the configuration, status codes, verdicts, results;
// never a user, an address or a URL. Safe for concurrent use; it outlives a reload of the
// configuration.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	streams  prometheus.Histogram
	decision *prometheus.CounterVec
	refused  *prometheus.CounterVec
	signIns  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	calls    *prometheus.CounterVec
	oidc     *prometheus.CounterVec
	refusals *prometheus.CounterVec
	callTime *prometheus.HistogramVec
	rechecks *prometheus.CounterVec
	answers  *prometheus.HistogramVec
	upstream *prometheus.CounterVec
	store    *prometheus.CounterVec
	storing  *prometheus.HistogramVec
	audits   *prometheus.CounterVec
	reloads  *prometheus.CounterVec
	access   accessRequests

	cells sync.Map // Answered → *cell: labels are looked up once per combination, not per request

	dropped func() uint64

	mu      sync.Mutex
	names   map[string][]string // each of our metrics and its labels
	sources map[string]*source  // values read at each scrape, by name and label
}

// source is a value that is read at each scrape.
type source struct {
	read atomic.Pointer[func() float64]
}

func (s *source) value() float64 { return (*s.read.Load())() }

const namespace = "dinggate"

// NewMetrics registers the metrics of every process. dropped is the number of log records that did
// not fit.
func NewMetrics(version, revision string, dropped func() uint64) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		dropped:  dropped,
		names:    map[string][]string{},
		sources:  map[string]*source{},
	}
	m.requests = m.counter("http_requests_total",
		"Requests answered, by handler (an own endpoint, or proxy) and status code.", "handler", "code")
	m.latency = m.histogram("http_request_duration_seconds",
		"Time to the end of the answer, of requests that are no WebSockets and no event streams.",
		[]float64{.0005, .001, .005, .025, .1, .5, 2.5, 10}, "handler")
	m.streams = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace,
		Name:      "stream_duration_seconds",
		Help:      "How long WebSockets and event streams were open.",
		Buckets:   []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
	})
	m.named("stream_duration_seconds")
	m.registry.MustRegister(m.streams)
	m.decision = m.counter("decisions_total",
		"Authorization decisions; result unavailable: the store or DingTalk did not answer.",
		"endpoint", "route", "result")
	m.refused = m.counter("refusals_total",
		"Decisions deny and unavailable by the code of their answer, whatever status the gateway received.",
		"endpoint", "reason")
	m.signIns = m.counter("signins_total",
		"Finished sign-ins by method and result; a result other than ok is the code of the refusal.", "method",
		"result")
	m.ended = m.counter("sessions_ended_total",
		"Sessions that ended before their expiry; sign_out is a sign-out by the person.", "reason")
	m.oidc = m.counter("oidc_requests_total",
		"Requests of applications to the OpenID Connect provider; result is ok or the error code. authorize with "+
			"ok is a sign-in.", "application", "endpoint", "result")
	m.calls = m.counter("dingtalk_requests_total",
		"Calls to DingTalk or to the SSO service; result is ok, refused, or what went wrong.", "call", "result")
	m.refusals = m.counter("dingtalk_refusals_total",
		"Refusals of DingTalk by its effective error code; one that is not known here is other.", "call", "code")
	m.callTime = m.histogram("dingtalk_request_duration_seconds", "Time of a call to DingTalk or to the SSO service.",
		[]float64{.025, .05, .1, .25, .5, 1, 2.5, 8}, "call")
	m.rechecks = m.counter("rechecks_total",
		"Lookups of signed-in people: ok, refused (sessions end at once), trouble (the lookup failed; sessions continue "+
			"during the grace period), postponed.", "result")
	m.answers = m.histogram("upstream_request_duration_seconds",
		"Time until an upstream's response headers, from the arrival of the request.",
		[]float64{.001, .005, .025, .1, .5, 2.5, 10, 60}, "route")
	m.upstream = m.counter("upstream_errors_total", "Requests that an upstream failed to answer.", "route", "reason")
	m.store = m.counter("store_requests_total", "Requests to the session store; result is ok or what went wrong.",
		"op", "result")
	m.storing = m.histogram("store_request_duration_seconds", "Time of a request to the session store.",
		[]float64{.0005, .001, .0025, .005, .01, .025, .1, .5}, "op")
	m.audits = m.counter("audit_records_total",
		"Audit records; result is ok, or failed if the sink did not accept one.", "result")
	m.reloads = m.counter("config_reloads_total",
		"Reloads of the configuration; result is ok or refused, in whole or in part.", "result")
	m.access = m.newAccessRequests()
	// Prometheus sees no increase in a series that begins with its first failure.
	for _, result := range []string{"ok", "refused", "trouble", "postponed"} {
		m.rechecks.WithLabelValues(result)
	}
	for _, ok := range []bool{true, false} {
		m.audits.WithLabelValues(okOr(ok, "failed"))
		m.reloads.WithLabelValues(okOr(ok, "refused"))
	}
	for _, endpoint := range []string{"auth", "proxy"} {
		for _, reason := range []string{"store_unavailable", "unconfirmed"} {
			m.refused.WithLabelValues(endpoint, reason)
		}
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "Always 1."},
		m.named("build_info", "version", "revision", "goversion"))
	build.WithLabelValues(version, revision, runtime.Version()).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Count("log_records_dropped_total", "Log records that did not fit into the buffer.", "",
		"", func() float64 { return float64(dropped()) })
	return m
}

// named records a metric's name and returns its labels.
func (m *Metrics) named(name string, labels ...string) []string {
	m.names[namespace+"_"+name] = labels
	return labels
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help},
		m.named(name, labels...))
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace,
		Name:      name,
		Help:      help,
		Buckets:   buckets,
	}, m.named(name, labels...))
	m.registry.MustRegister(v)
	return v
}

// Handler serves the text that Prometheus scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Names lists each of our metrics with its labels, for checks of dashboards
// and alerts.
func (m *Metrics) Names() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.names)
}

// Gauge exports a value that is read at each scrape. A later call, as after a reload, replaces
// read.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.GaugeOf(name, help, "", "", read)
}

// GaugeOf is Gauge for one value of a label, from a fixed set.
func (m *Metrics) GaugeOf(name, help, label, value string, read func() float64) {
	m.offer(name, label, value, read, func(s *source, labels prometheus.Labels) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace:   namespace,
			Name:        name,
			Help:        help,
			ConstLabels: labels,
		}, s.value)
	})
}

// Count is GaugeOf for a value that only grows; label may be "".
func (m *Metrics) Count(name, help, label, value string, read func() float64) {
	m.offer(name, label, value, read, func(s *source, labels prometheus.Labels) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace:   namespace,
			Name:        name,
			Help:        help,
			ConstLabels: labels,
		}, s.value)
	})
}

// offer accepts labels and values that are lists, joined by commas.
func (m *Metrics) offer(name, label, value string, read func() float64,
	make func(*source, prometheus.Labels) prometheus.Collector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := name + " " + label + " " + value
	if s, known := m.sources[key]; known {
		s.read.Store(&read)
		return
	}
	labels := prometheus.Labels{}
	var names []string
	if label != "" {
		names = strings.Split(label, ",")
		for i, v := range strings.Split(value, ",") {
			labels[names[i]] = v
		}
	}
	s := &source{}
	s.read.Store(&read)
	m.sources[key] = s
	m.names[namespace+"_"+name] = slices.Clone(names)
	m.registry.MustRegister(make(s, labels))
}
