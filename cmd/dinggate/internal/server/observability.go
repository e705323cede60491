package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
)

// Observability holds the sinks of logs, metrics, traces and audit records.
type Observability struct {
	Log     *slog.Logger
	Access  *telemetry.AccessLog
	Metrics *telemetry.Metrics
	Tracing *telemetry.Tracing     // nil: no spans
	Audits  *telemetry.Audit       // nil: audit records go to the log
	Today   *telemetry.DailyCounts // for the status page
	Health  *telemetry.Health      // results of the latest calls to DingTalk, for the status page
	denials *denials               // refusals that were recorded a moment ago
	missed  *missedEvents          // leavers without an event; nil: not counted
	changed *appChanges            // events about the app itself; nil: not recorded

	refusals *refusals   // for the console; NewState sets it
	auditing *auditState // whether audit records are lost

	UntrustedForwarders *telemetry.UntrustedForwarders // untrusted peers that sent forwarded headers
}

// recorder writes the access record of each request.
type recorder struct {
	Observability
	rules map[string]string // rules of the routes, by name, for the audit records
}

// record writes the access record of a request and counts it.
func (t *recorder) record(x *web.Exchange, r *http.Request) {
	t.Metrics.Request(telemetry.Answered{
		Handler:  x.Endpoint,
		Route:    x.Route,
		Verdict:  x.Verdict,
		Reason:   refusalCode(x),
		Code:     x.Status,
		Streamed: x.Streamed,
	}, x.Duration)
	if !x.Trusted && forwards(r.Header) {
		t.UntrustedForwarders.Note(x.Peer, x.Start)
	}
	if x.Verdict == "deny" && x.User != "" && x.Route != "" {
		t.auditDenied(x)
	}
	line := telemetry.Access{
		Time:     x.Start,
		ID:       x.ID,
		Client:   x.Client,
		Method:   x.Method,
		Host:     x.Host,
		Path:     x.Target,
		Status:   x.Status,
		Bytes:    x.Bytes,
		Duration: x.Duration,
		Endpoint: x.Endpoint,
		Route:    x.Route,
		Rule:     x.Rule,
		Verdict:  x.Verdict,
		User:     x.User,

		UserAgent: x.UserAgent,
	}
	if trace := r.Header["Traceparent"]; len(trace) == 1 {
		line.Trace = telemetry.TraceID(trace[0])
	}
	if x.Err != nil {
		if e, ok := errors.AsType[*web.Error](x.Err); ok {
			line.Code = e.Code
			if e.Err != nil {
				line.Err = e.Err.Error()
			}
		} else {
			line.Code, line.Err = "internal", x.Err.Error()
		}
	}
	t.Tracing.Describe(r.Context(), &line)
	t.Access.Write(&line)
}

// refusalCode is the code of a refusal, "" if there was none.
func refusalCode(x *web.Exchange) string {
	if x.Verdict != "deny" && x.Verdict != "unavailable" {
		return ""
	}
	if e, ok := errors.AsType[*web.Error](x.Err); ok {
		return e.Code
	}
	return ""
}

// call counts one call to DingTalk, makes a span of it, and logs a failed one.
func (t Observability) call(ctx context.Context, c dingtalk.Call) {
	t.Tracing.Called(ctx, "dingtalk", c.Name, c.Result, c.Label, c.Duration)
	t.Metrics.DingTalk(c.Name, c.Result, c.Label, c.Duration)
	t.Health.Call(c.Name, c.Result, c.Label, c.Err == nil || c.Blameless, time.Now())
	if c.Err == nil {
		return
	}
	t.Log.Warn("call to DingTalk", "call", c.Name, "result", c.Result, "code", c.Code,
		"dingtalk_request", c.RequestID, "ms", c.Duration.Milliseconds(), "err", c.Err.Error())
}

// forwards reports whether a request has headers about another client.
func forwards(h http.Header) bool {
	return len(h["X-Forwarded-For"]) > 0 || len(h["X-Forwarded-Host"]) > 0 || len(h["X-Forwarded-Proto"]) > 0 ||
		len(h["X-Original-Url"]) > 0 || len(h["X-Original-Uri"]) > 0
}
