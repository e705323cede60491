package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Answered is one answered request. Every text is one of a bounded set.
type Answered struct {
	Handler  string // the name of an own endpoint; "" for a routed request
	Route    string
	Verdict  string // "" if there was no decision
	Reason   string // the code of the refusal if the verdict is deny or unavailable; otherwise ""
	Code     int
	Streamed bool // it was a WebSocket or an event stream
}

// cell holds the counters of one combination of labels.
type cell struct {
	requests, decision, refusal prometheus.Counter
	latency                     prometheus.Observer
}

// Request counts one answered request, which took d.
func (m *Metrics) Request(key Answered, d time.Duration) {
	if key.Handler == "" {
		key.Handler = "proxy"
	}
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
	if c.refusal != nil {
		c.refusal.Inc()
	}
}

func (m *Metrics) cell(k Answered) *cell {
	code := "other" // an upstream may answer with any number; a label may not
	if http.StatusText(k.Code) != "" {
		code = strconv.Itoa(k.Code)
	}
	c := &cell{requests: m.requests.WithLabelValues(k.Handler, code), latency: m.latency.WithLabelValues(k.Handler)}
	if k.Streamed {
		c.latency = m.streams
	}
	if k.Verdict != "" {
		c.decision = m.decision.WithLabelValues(k.Handler, k.Route, k.Verdict)
	}
	if k.Reason != "" {
		c.refusal = m.refused.WithLabelValues(k.Handler, k.Reason)
	}
	return c
}

// SignIn counts a finished sign-in.
func (m *Metrics) SignIn(method, result string) { m.signIns.WithLabelValues(method, result).Inc() }

// SessionEnded counts a session that ended before its time.
func (m *Metrics) SessionEnded(reason string) { m.ended.WithLabelValues(reason).Inc() }

// Recheck counts a lookup of a signed-in person.
func (m *Metrics) Recheck(result string) { m.rechecks.WithLabelValues(result).Inc() }

// UpstreamError counts a request that an upstream failed to answer.
func (m *Metrics) UpstreamError(route, reason string) {
	m.upstream.WithLabelValues(route, reason).Inc()
}

// UpstreamTime returns the func that records the response time of a route's upstream: looked up
// once, not per request.
func (m *Metrics) UpstreamTime(route string) func(time.Duration) {
	o := m.answers.WithLabelValues(route)
	return func(d time.Duration) { o.Observe(d.Seconds()) }
}

// Store counts one request to the session store.
func (m *Metrics) Store(op, result string, d time.Duration) {
	m.store.WithLabelValues(op, result).Inc()
	m.storing.WithLabelValues(op).Observe(d.Seconds())
}

// OIDC counts one request of an application: a configured one, or "".
func (m *Metrics) OIDC(application, endpoint, result string) {
	m.oidc.WithLabelValues(application, endpoint, result).Inc()
}

// DingTalk counts one call. code, from a fixed set, is the reason for a refusal; otherwise "".
func (m *Metrics) DingTalk(call, result, code string, d time.Duration) {
	m.calls.WithLabelValues(call, result).Inc()
	m.callTime.WithLabelValues(call).Observe(d.Seconds())
	if code != "" {
		m.refusals.WithLabelValues(call, code).Inc()
	}
}

// Audited counts one audit record.
func (m *Metrics) Audited(ok bool) { m.audits.WithLabelValues(okOr(ok, "failed")).Inc() }

// Dropped is the number of log records that did not fit.
func (m *Metrics) Dropped() uint64 { return m.dropped() }

// Reloaded counts a reload of the configuration.
func (m *Metrics) Reloaded(ok bool) { m.reloads.WithLabelValues(okOr(ok, "refused")).Inc() }

// Configured exports whether the running configuration is that of the files, and since when it is
// used.
func (m *Metrics) Configured(current func() bool, since func() time.Time) {
	m.Gauge("config_last_reload_successful",
		"1 when the last reload was taken whole, 0 when it was refused and the old configuration serves on, or "+
			"when a part of it (a certificate, the local accounts) stays as it was.", func() float64 {
			if current() {
				return 1
			}
			return 0
		})
	m.Moment("config_last_reload_success_timestamp_seconds",
		"When the configuration that serves was taken, Unix time.", since)
}

// Certificate exports the expiry of our own certificate.
func (m *Metrics) Certificate(notAfter func() time.Time) {
	m.Gauge("tls_certificate_expiry_timestamp_seconds",
		"When our own certificate ends, Unix time; 0 without one.", func() float64 { return seconds(notAfter()) })
}

// Moment exports a time, as Unix time; the zero time is 0.
func (m *Metrics) Moment(name, help string, read func() time.Time) {
	m.Gauge(name, help, func() float64 { return seconds(read()) })
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

func okOr(ok bool, otherwise string) string {
	if ok {
		return "ok"
	}
	return otherwise
}
