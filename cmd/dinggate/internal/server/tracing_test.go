package server_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"

	"github.com/alicebob/miniredis/v2"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanCollector receives spans as an OpenTelemetry collector does.
type spanCollector struct {
	*httptest.Server
	mu  sync.Mutex
	got []*spans.Span
}

func newSpanCollector(t *testing.T) *spanCollector {
	c := &spanCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("the collector got %s: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.got = append(c.got, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// tracing exports all spans to c.
func (c *spanCollector) tracing(t *testing.T) *telemetry.Tracing {
	t.Helper()
	tracing, err := telemetry.StartTracing(t.Context(), c.URL, "test", 1, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return tracing
}

// take returns the received spans and discards them.
func (c *spanCollector) take() []*spans.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// TestTracing checks that each request has one span, in the trace of a trusted proxy, and
// that the trace is propagated to the application. An untrusted peer starts a new trace.
func TestTracing(t *testing.T) {
	collector := newSpanCollector(t)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, trusted := range []bool{true, false} {
		tracing := collector.tracing(t)
		h := servertest.New(t, func(c *config.Config) {
			c.DingTalk.Events = false
			if !trusted {
				c.TrustedProxies = nil
			}
		}, func(kit *server.Observability) { kit.Tracing = tracing })
		h.NewClient().Get(h.URL+"/public/x?code=canary-code", "Traceparent: 00-"+trace+"-"+parent+"-01",
			"Tracestate: a=b")
		sent := h.Upstream.Last(t).Header
		tracing.Close()
		got := collector.take()
		if len(got) != 1 {
			t.Fatalf("%d spans, want 1", len(got))
		}
		span := got[0]
		if ours := hex.EncodeToString(span.TraceId) == trace &&
			hex.EncodeToString(span.ParentSpanId) == parent; ours != trusted {
			t.Errorf("trusted %v: the span is %x below %x", trusted, span.TraceId, span.ParentSpanId)
		}
		if want := "00-" + hex.EncodeToString(span.TraceId) + "-" + hex.EncodeToString(span.SpanId) +
			"-01"; sent.Get("Traceparent") != want || (sent.Get("Tracestate") == "a=b") != trusted {
			t.Errorf("trusted %v: the application gets %q and %q, want %q", trusted, sent.Get("Traceparent"),
				sent.Get("Tracestate"), want)
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
		servertest.Eventually(t, "the record names the trace", func() bool {
			return strings.Contains(h.Log.String(), `"trace":"`+hex.EncodeToString(span.TraceId)+`"`)
		})
	}
}

// TestTracingCalls checks that calls to DingTalk and to the store are child spans of their
// request, including refusals and failures, and that no span contains a secret.
func TestTracingCalls(t *testing.T) {
	collector := newSpanCollector(t)
	tracing := collector.tracing(t)
	l := &leaks{secrets: map[string]string{}}
	var h *servertest.Env
	dingtalk := httptest.NewServer(l.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Platform.ServeHTTP(w, r)
	})))
	t.Cleanup(dingtalk.Close)
	h = servertest.New(t, func(c *config.Config) {
		c.DingTalk.APIURL, c.DingTalk.OAPIURL = dingtalk.URL, dingtalk.URL
		c.Session.Store, c.Redis.URL = "redis", conf.NewSecret("redis://"+miniredis.RunT(t).Addr())
		c.DingTalk.Events = false
	}, func(kit *server.Observability) { kit.Tracing = tracing })
	v := l.browser(h)
	v.Get(v.Choose(v.StartSignIn(h.URL+"/oauth2/start?rd=%2Freports"), "zhangsan"))
	v.Get(h.URL + "/reports?code=canary-code")
	h.Platform.Fault(simulator.Fault{On: "/topapi/v2/user/get", Do: simulator.Code(60011), Times: 1})
	h.NewClient().SignIn(h.URL+"/", "lisi")
	tracing.Close()
	got := collector.take()
	requests := map[string]string{} // by id
	for _, s := range got {
		if s.Kind == spans.Span_SPAN_KIND_SERVER {
			requests[string(s.SpanId)] = s.Name
		}
	}
	seen := map[string]int{}
	var text strings.Builder
	for _, s := range got {
		text.WriteString(s.String())
		if s.Kind == spans.Span_SPAN_KIND_CLIENT {
			seen[requests[string(s.ParentSpanId)]+" > "+s.Name]++
		}
		if s.Name == "dingtalk /topapi/v2/user/get" && strings.Contains(s.String(), "60011") {
			seen["refused with its code"]++
		}
	}
	l.add("configuration", servertest.Canary+"-app-secret")
	l.add("given", "canary-code")
	l.search(t, map[string]string{"spans": text.String()}, "state", "access_token", "user token", "code",
		"cookie dinggate")
	for _, want := range []string{"GET callback > dingtalk /v1.0/oauth2/userAccessToken",
		"GET callback > dingtalk /topapi/v2/user/get", "GET callback > redis put", "GET callback > redis add",
		"refused with its code"} {
		if seen[want] == 0 {
			t.Errorf("there is no span %s among %v", want, seen)
		}
	}
	if seen[" > redis ping"]+seen[" > redis follow"] > 0 {
		t.Errorf("background work has spans: %v", seen)
	}
}

func TestTracingConfig(t *testing.T) {
	_, problems := config.Load(nil, append(servertest.Environ, "DINGGATE_TRACING_ENDPOINT=http://127.0.0.1:4318/x"))
	if config.Mistakes(problems) > 0 {
		t.Errorf("the endpoint is a mistake: %v", problems)
	}
}
