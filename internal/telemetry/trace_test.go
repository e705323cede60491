package telemetry

import (
	"strings"
	"testing"
)

func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, tt := range []struct{ header, want string }{
		{"00-" + id + "-00f067aa0ba902b7-01", id}, // the example of W3C Trace Context §3.2
		{"00-" + id + "-00f067aa0ba902b7-00", id},
		{"01-" + id + "-00f067aa0ba902b7-01-later", id},
		{"00-" + id + "-00f067aa0ba902b7-01-later", ""},
		{"01-" + id + "-00f067aa0ba902b7-01later", ""},
		{"ff-" + id + "-00f067aa0ba902b7-01", ""},
		{"00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01", ""},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		{"00-" + id + "-0000000000000000-01", ""},
		{"00-" + id + "-00f067aa0ba902b7", ""}, {"", ""}, {"00-" + id[:31] + "\"-00f067aa0ba902b7-01", ""},
	} {
		if got := TraceID(tt.header); got != tt.want {
			t.Errorf("TraceID(%q) = %q, want %q", tt.header, got, tt.want)
		}
	}
}

// FuzzTraceID: the result is a plain id from the header, or "".
func FuzzTraceID(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, header string) {
		if id := TraceID(header); id != "" && (len(id) != 32 || !lowerHex(id) || zeros(id) || header[3:35] != id) {
			t.Errorf("TraceID(%q) = %q", header, id)
		}
	})
}
