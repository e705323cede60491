package ratelimit

import (
	"testing"
	"time"
)

func TestRate_UnmarshalText(t *testing.T) {
	for _, tt := range []struct {
		in    string
		every time.Duration
		burst int
	}{
		{"20/s", time.Second / 20, 600},
		{"5/s burst 60", time.Second / 5, 60},
		{"30/m burst 60", 2 * time.Second, 60},
		{"60/m", time.Second, 30},
		{"1/m", time.Minute, 1},
		{"1000000/s", time.Microsecond, 30_000_000},
		{"", 0, 0}, {"20", 0, 0}, {"20/h", 0, 0}, {"0/s", 0, 0}, {"-1/s", 0, 0}, {"+1/s", 0, 0}, {"1.5/s", 0, 0},
		{"5/s burst", 0, 0}, {"5/s burst 0", 0, 0}, {"5/s bursts 6", 0, 0}, {"5/s burst 6 7", 0, 0}, {"1000001/s", 0, 0},
	} {
		var r Rate
		err := r.UnmarshalText([]byte(tt.in))
		if r.Every != tt.every || r.Burst != tt.burst || (err == nil) != (tt.every > 0) {
			t.Errorf("UnmarshalText(%q) = %v %d, %v, want %v %d", tt.in, r.Every, r.Burst, err, tt.every, tt.burst)
		}
	}
}

// FuzzRate: an accepted text is written as a text with the same value.
func FuzzRate(f *testing.F) {
	f.Add("20/s")
	f.Add("30/m burst 60")
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Rate
		if r.UnmarshalText([]byte(text)) != nil || r.Every < time.Millisecond { // faster ones are rounded
			return
		}
		written, _ := r.MarshalText()
		if err := again.UnmarshalText(written); err != nil || again.Burst != r.Burst {
			t.Errorf("%q reads as %v, is written %q, and reads as %v, %v", text, r, written, again, err)
		}
	})
}
