package web

import (
	"net/http"
	"strings"
	"testing"
)

func TestOverfull(t *testing.T) { // C12
	for _, c := range []struct {
		name  string
		lines []string
		want  int
	}{
		{"2,999 others before it", []string{strings.Repeat("a=b; ", 2999) + "s=v"}, 1},
		{"2,999 others behind it", []string{"s=v" + strings.Repeat("; a=b", 2999)}, 1},
		{"3,000 others", []string{"s=v" + strings.Repeat("; a=b", 3000)}, 0},
		{"3,000 others in two lines",
			[]string{"s=v" + strings.Repeat("; a=b", 1500), strings.Repeat("a=b; ", 1499) + "a=b"}, 0},
		{"3,000 without a name", []string{"s=v" + strings.Repeat(";", 3000)}, 0},
		{"48 KiB", []string{"s=v; a=" + strings.Repeat("b", 48<<10-7)}, 1},
		{"48 KiB and a byte", []string{"s=v; a=" + strings.Repeat("b", 48<<10-6)}, 0},
		{"48 KiB and a byte in two lines", []string{"s=v", strings.Repeat("b", 48<<10-2)}, 0},
	} {
		if got := len(CookieValues(http.Header{"Cookie": c.lines}, "s")); got != c.want {
			t.Errorf("%s: %d values, want %d", c.name, got, c.want)
		}
	}
}
