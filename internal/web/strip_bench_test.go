package web

import (
	"net/http"
	"strings"
	"testing"
)

// BenchmarkStripCookies: StripCookies runs on every request with a session; it allocates only the
// list of lines and the line without our cookies.
func BenchmarkStripCookies(b *testing.B) {
	line := []string{"a=1; __Host-dinggate=" + strings.Repeat("V", 600) + "; b=2"}
	b.ReportAllocs()
	for b.Loop() {
		StripCookies(http.Header{"Cookie": line})
	}
}
