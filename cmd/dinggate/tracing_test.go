//go:build otel

package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dinggate/internal/telemetry"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestTracing: one span for each request, part of the trace of a trusted proxy,
// and the application is told of it. A stranger begins a trace of their own.
func TestTracing(t *testing.T) {
	var mu sync.Mutex
	var got []*spans.Span
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("the collector got %s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				got = append(got, scope.Spans...)
			}
		}
	}))
	t.Cleanup(server.Close)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, trusted := range []bool{true, false} {
		got = nil
		tracing, err := telemetry.StartTracing(t.Context(), server.URL, "test", 1, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, func(c *Config) {
			if !trusted {
				c.TrustedProxies = nil
			}
		}, func(kit *telemetryKit) { kit.tracing = tracing })
		h.visitor().get(h.base+"/public/x?code=canary-code", "Traceparent: 00-"+trace+"-"+parent+"-01", "Tracestate: a=b")
		told := h.app.last(t).Header
		tracing.Close()
		mu.Lock()
		if len(got) != 1 {
			t.Fatalf("%d spans, want 1", len(got))
		}
		span := got[0]
		mu.Unlock()
		if ours := hex.EncodeToString(span.TraceId) == trace && hex.EncodeToString(span.ParentSpanId) == parent; ours != trusted {
			t.Errorf("trusted %v: the span is %x below %x", trusted, span.TraceId, span.ParentSpanId)
		}
		if want := "00-" + hex.EncodeToString(span.TraceId) + "-" + hex.EncodeToString(span.SpanId) + "-01"; told.Get("Traceparent") != want || (told.Get("Tracestate") == "a=b") != trusted {
			t.Errorf("trusted %v: the application is told %q and %q, want %q", trusted, told.Get("Traceparent"), told.Get("Tracestate"), want)
		}
		text := span.String()
		for _, want := range []string{"GET proxy", `"http.route"`, `"/public/"`, `"http.response.status_code"`} {
			if !strings.Contains(text, want) {
				t.Errorf("the span lacks %s: %s", want, text)
			}
		}
		if strings.Contains(text, "canary") {
			t.Errorf("the span holds the query: %s", text)
		}
		eventually(t, "the record names the trace", func() bool {
			return strings.Contains(h.log.String(), `"trace":"`+hex.EncodeToString(span.TraceId)+`"`)
		})
	}
}

func TestTracingConfig(t *testing.T) {
	_, problems := load([]string{"--tracing.endpoint", "http://127.0.0.1:4318/x"}, environment)
	if mistakes(problems) > 0 {
		t.Errorf("with -tags otel the endpoint is a mistake: %v", problems)
	}
}
