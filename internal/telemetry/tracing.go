package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing sends one OpenTelemetry span for each request, and one for each call that was made for
// it. A nil Tracing sends none and costs nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

var w3c = propagation.TraceContext{}

// StartTracing sends spans to endpoint by OTLP over HTTP, for a share of the requests unless a
// trusted peer has decided already. It opens no connection yet; failed is called with the errors
// of spans that did not arrive. OTEL_EXPORTER_OTLP_HEADERS and similar variables are used.
func StartTracing(ctx context.Context, endpoint, version string, share float64, failed func(error)) (*Tracing, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("telemetry: tracing: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()),
		otlptracehttp.WithTimeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("telemetry: tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), // bounded: spans that do not fit are dropped
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "dinggate"),
			attribute.String("service.version", version))))
	return &Tracing{provider, provider.Tracer("dinggate")}, nil
}

// Handler begins a span before next and ends it after. trusted reports whether the peer may name
// the trace of the request; a traceparent of any other peer begins a new trace. The upstream
// receives our span.
func (t *Tracing) Handler(next http.Handler, trusted func(*http.Request) bool) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if trusted(r) {
			ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
		} else {
			delete(r.Header, "Tracestate")
		}
		ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		w3c.Inject(ctx, propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Describe adds the outcome of the request with this context.
func (t *Tracing) Describe(ctx context.Context, a *Access) {
	if t == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	handler := a.Endpoint
	if handler == "" {
		handler = "proxy"
	}
	span.SetName(a.Method + " " + handler)
	for _, pair := range [][2]string{{"http.request.method", a.Method}, {"url.path", a.Path},
		{"server.address", a.Host}, {"http.route", a.Route},
		{"dinggate.handler", handler}, {"dinggate.rule", a.Rule}, {"dinggate.verdict", a.Verdict},
		{"dinggate.code", a.Code}, {"dinggate.request_id", a.ID}} {
		if pair[1] != "" {
			span.SetAttributes(attribute.String(pair[0], pair[1]))
		}
	}
	span.SetAttributes(attribute.Int("http.response.status_code", a.Status))
	if a.Status >= 500 {
		span.SetStatus(codes.Error, a.Code)
	}
}

// Called records a span of a call to DingTalk or to the SSO service that has just ended, as a
// child of the request that it was made for. A call that no request waits for, such as a lookup in
// the background, is a trace of its own. code is the reason for a refusal, from a fixed set. The
// other service receives nothing of our traces.
func (t *Tracing) Called(ctx context.Context, peer, call, result, code string, d time.Duration) {
	if t == nil {
		return
	}
	t.past(ctx, d, peer+" "+call, result, result != "ok" && result != "refused",
		attribute.String("peer.service", peer), attribute.String("url.path", call),
		attribute.String("dinggate.code", code))
}

// Stored is Called for a request to the session store. Without a request it records nothing, since
// background work runs all the time.
func (t *Tracing) Stored(ctx context.Context, store, op, result string, d time.Duration) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	t.past(ctx, d, store+" "+op, result, result != "ok", attribute.String("db.system.name", store),
		attribute.String("db.operation.name", op))
}

// past records a span that ended now.
func (t *Tracing) past(ctx context.Context, d time.Duration, name, result string, failed bool,
	about ...attribute.KeyValue) {
	end := time.Now()
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(end.Add(-d)))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return
	}
	for _, a := range append(about, attribute.String("dinggate.result", result)) {
		if a.Value.AsString() != "" {
			span.SetAttributes(a)
		}
	}
	if failed {
		span.SetStatus(codes.Error, result)
	}
}

// Close sends queued spans, for at most two seconds.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	t.provider.Shutdown(ctx)
}
