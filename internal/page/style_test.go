package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var colour = regexp.MustCompile(`--([a-z]+):#([0-9a-f]{6})`)

// wcagLuminance is the relative luminance of WCAG 2.2 for an rrggbb colour.
func wcagLuminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(n>>(16-8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestContrast: text has a contrast of 4.5 to every background, in both schemes (WCAG 2.2, 1.4.3);
// the focus ring has 3 (1.4.11).
func TestContrast(t *testing.T) {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, ok := strings.Cut(string(css), "@media(prefers-color-scheme:dark)")
	if !ok {
		t.Fatal("no dark colours")
	}
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colours := make(map[string]string)
		for _, m := range colour.FindAllStringSubmatch(text, -1) {
			colours[m[1]] = m[2]
		}
		for _, row := range []struct {
			ink, on string
			want    float64
		}{
			{"text", "page", 4.5}, {"text", "glow", 4.5}, {"text", "card", 4.5}, {"text", "box", 4.5},
			{"text", "tint", 4.5},
			{"soft", "page", 4.5}, {"soft", "glow", 4.5}, {"soft", "card", 4.5},
			{"link", "page", 4.5}, {"link", "glow", 4.5}, {"link", "card", 4.5}, {"link", "tint", 4.5},
			{"ink", "button", 4.5}, {"ink", "over", 4.5},
			{"warm", "warmtint", 4.5}, {"good", "goodtint", 4.5},
		} {
			a, b := wcagLuminance(t, colours[row.ink]), wcagLuminance(t, colours[row.on])
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < row.want {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %v", scheme, row.ink, row.on, got, row.want)
			}
		}
	}
}

// TestStyle: the style is small, complete and loads nothing.
func TestStyle(t *testing.T) {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if len(css) > 6<<10 {
		t.Errorf("the style has %d bytes, want at most 6 KiB", len(css))
	}
	for _, never := range []string{"url(", "@import", "@font-face", "</", "<!--"} {
		if strings.Contains(string(css), never) {
			t.Errorf("the style contains %q", never)
		}
	}
	for _, always := range []string{":focus-visible", "prefers-color-scheme:dark", "max-width:520px",
		"user-select:all"} {
		if !strings.Contains(string(css), always) {
			t.Errorf("the style lacks %q", always)
		}
	}
}
