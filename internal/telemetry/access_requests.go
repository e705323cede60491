package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// accessRequests are the counters of requests for access.
type accessRequests struct {
	steps   *prometheus.CounterVec
	answers *prometheus.HistogramVec
	notices *prometheus.CounterVec
}

func (m *Metrics) newAccessRequests() accessRequests {
	a := accessRequests{
		steps: m.counter("access_requests_total",
			"Steps of requests for access: waiting, granted, denied, expired (no answer), "+
				"ended (a grant is over).",
			"state"),
		answers: m.histogram("access_request_answer_seconds", "Time from a request for access to its answer.",
			[]float64{10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}, "state"),
		notices: m.counter("access_notices_total",
			"Work notifications about requests; result is ok, or failed if one may not have been delivered.", "result"),
	}
	for _, state := range []string{"waiting", "granted", "denied", "expired", "ended"} {
		a.steps.WithLabelValues(state)
	}
	for _, ok := range []bool{true, false} {
		a.notices.WithLabelValues(okOr(ok, "failed"))
	}
	return a
}

// AccessRequest counts a step of a request for access. answered is how long the answer took; 0 if
// the step is no answer.
func (m *Metrics) AccessRequest(state string, answered time.Duration) {
	m.access.steps.WithLabelValues(state).Inc()
	if answered > 0 {
		m.access.answers.WithLabelValues(state).Observe(answered.Seconds())
	}
}

// AccessNotice counts the work notifications of one step; ok means that all were sent.
func (m *Metrics) AccessNotice(ok bool) { m.access.notices.WithLabelValues(okOr(ok, "failed")).Inc() }
