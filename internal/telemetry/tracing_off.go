//go:build !otel

package telemetry

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// TracingBuilt tells whether this program can send traces.
const TracingBuilt = false

// Tracing sends nothing in a program that was built without -tags otel; there
// is only the nil one.
type Tracing struct{}

// StartTracing is an error.
func StartTracing(context.Context, string, string, float64, func(error)) (*Tracing, error) {
	return nil, errors.New("telemetry: tracing: built without -tags otel")
}

// Handler is next.
func (*Tracing) Handler(next http.Handler, _ func(*http.Request) bool) http.Handler { return next }

// Describe does nothing.
func (*Tracing) Describe(context.Context, *Access) {}

// Called does nothing.
func (*Tracing) Called(context.Context, string, string, string, string, time.Duration) {}

// Stored does nothing.
func (*Tracing) Stored(context.Context, string, string, string, time.Duration) {}

// Close does nothing.
func (*Tracing) Close() {}
