package login

import (
	"testing"
	"time"

	"dinggate/internal/ratelimit"
)

// TestEmbeddedStartsAreNotCounted: embedded parts of pages use up no allowance (threats S10).
func TestEmbeddedStartsAreNotCounted(t *testing.T) {
	h := build(t, plan{change: func(f *Flow) { f.Starts = ratelimit.Rate{Every: time.Hour, Burst: 1} }})
	b := h.browser()
	for range 20 {
		for _, dest := range []string{"iframe", "image", "script", "object"} {
			b.send("GET", "/oauth2/start", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode",
				map[bool]string{true: "navigate", false: "no-cors"}[dest == "iframe" || dest == "object"], "Sec-Fetch-Dest", dest, "Accept", "text/html")
		}
	}
	if a := b.visit("/oauth2/start"); a.StatusCode != 302 {
		t.Errorf("a person's own start = %d, want 302", a.StatusCode)
	}
}
